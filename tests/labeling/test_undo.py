"""An undo is a new row; the pair comes back with the sides it had."""

from __future__ import annotations

import random

import pytest

from labeling.picks import reveal, submit, undo
from labeling.queue import next_pair, progress
from labeling.store import Store, StoreError
from tests.labeling.conftest import Judge


def test_an_undone_pair_is_next_before_one_already_open(store: Store) -> None:
    rng = random.Random(3)
    task = next_pair(store, "ann", rng)
    assert task is not None
    pick = submit(store, task.assignment_id, "left")
    opened = next_pair(store, "ann", rng)
    undone = undo(store, "ann")
    assert undone is not None
    assert (undone.supersedes, undone.retracted) == (pick.uuid, True)
    again = next_pair(store, "ann", rng)
    assert again == task
    submit(store, again.assignment_id, "right")
    assert next_pair(store, "ann", rng) == opened


def test_undo_and_redo_keep_the_whole_history(store: Store, judge: Judge) -> None:
    (pick,) = judge(store, "ann", ["after"])
    undo(store, "ann")
    redone = submit(store, pick.assignment_id, pick.choice)
    with store.reading() as db:
        history = [(r["choice"], r["retracted"]) for r in db.query("SELECT * FROM picks")]
        current = [r["uuid"] for r in db.query("SELECT uuid FROM current_picks")]
    assert history == [(pick.choice, 0), (pick.choice, 1), (pick.choice, 0)]
    assert current == [redone.uuid]
    assert redone.uuid != pick.uuid


def test_undoing_several_brings_them_back_last_first(store: Store, judge: Judge) -> None:
    picks = judge(store, "ann", ["after"] * 3)
    for pick in reversed(picks):
        undone = undo(store, "ann")
        assert undone is not None
        assert undone.supersedes == pick.uuid
    assert undo(store, "ann") is None
    assert progress(store, "ann").done == 0
    for pick in picks:
        task = next_pair(store, "ann", random.Random(0))
        assert task is not None
        assert task.assignment_id == pick.assignment_id
        submit(store, task.assignment_id, "tie")


def test_undo_takes_back_the_edit_and_not_what_it_replaced(store: Store, judge: Judge) -> None:
    (pick,) = judge(store, "ann", ["after"])
    submit(store, pick.assignment_id, "tie")
    undo(store, "ann")
    with store.reading() as db:
        assert list(db.query("SELECT * FROM current_picks")) == []


def test_undo_is_only_of_ones_own(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    assert undo(store, "ben") is None
    with store.reading() as db:
        assert next(db.query("SELECT count(*) AS n FROM current_picks"))["n"] == 1


def test_nothing_is_revealed_of_an_undone_pick(store: Store, judge: Judge) -> None:
    (pick,) = judge(store, "ann", ["after"])
    reveal(store, pick)
    undo(store, "ann")
    with pytest.raises(StoreError, match="no such pick"):
        reveal(store, pick)


def test_the_pair_undone_last_comes_back_first_however_old(store: Store, judge: Judge) -> None:
    first, second = judge(store, "ann", ["after", "after"])
    submit(store, first.assignment_id, "tie")
    undo(store, "ann")
    undo(store, "ann")
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    assert task.assignment_id == second.assignment_id
