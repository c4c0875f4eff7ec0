"""The history of a pair is complete, and a record that was tampered with is found out."""

from __future__ import annotations

import random
import sqlite3

import pytest

from detox.errors import UserError
from labeling.adjudication import adjudicate
from labeling.check import check_record
from labeling.history import find_pair, pair_history, pick_history
from labeling.picks import submit, undo
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Judge


def test_a_history_tells_everything_in_order(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    submit(store, task.assignment_id, "left", strength="clearly", reasons=["gentler"], seconds=4)
    submit(store, task.assignment_id, "right", labeler="ann")
    undo(store, "ann")
    submit(store, task.assignment_id, "tie", note="close", flagged=True)
    with store.reading() as db:
        (row,) = db.query("SELECT pair_id, left_candidate FROM assignments")
    adjudicate(store, "lea", row["pair_id"], "left", row["left_candidate"])
    told = pair_history(store, row["pair_id"][:12])
    assert told["pair"] == row["pair_id"]
    events = told["events"]
    assert [event["event"] for event in events] == [
        "assigned",
        "picked",
        "changed",
        "undone",
        "picked",
        "adjudicated",
    ]
    left = events[0]["left"]
    assert told["candidates"][left]["text"] == task.left
    assert [event.get("outcome") for event in events[1:3]] == [left, {"a": "b", "b": "a"}[left]]
    assert [event.get("informed") for event in events[1:5]] == [False, True, True, True]
    assert events[5]["outcome"] == left and events[4]["flagged"]
    assert all(event["app_version"] for event in events)
    assert {event["labeler"] for event in events} != {"ann"}
    assert all(event["labeler"].startswith("labeler-") for event in events)
    chain = pick_history(store, task.assignment_id)
    assert [row["supersedes"] for row in chain] == [None, *[row["uuid"] for row in chain[:-1]]]


def test_an_id_must_name_one_pair(store: Store) -> None:
    with store.reading() as db:
        ids = [row["id"] for row in db.query("SELECT id FROM pairs")]
    assert find_pair(store, ids[0]) == ids[0]
    for wrong in ("", "no-such-pair", "%", "*"):
        with pytest.raises(UserError, match="There is no pair"):
            find_pair(store, wrong)


def test_a_record_that_was_used_is_whole(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "skip", "tie", "before"])
    judge(store, "ben", ["after", "both_bad"])
    undo(store, "ben")
    health = check_record(store)
    assert health.problems == ()
    assert (health.prompts, health.candidates, health.pairs, health.picks) == (6, 12, 6, 7)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("DROP TRIGGER candidates_no_update; UPDATE candidates SET text = 'x'", "12 responses are"),
        ("DROP TRIGGER prompts_no_update; UPDATE prompts SET dialogue = 'x'", "6 prompts are not"),
        ("UPDATE pairs SET votes = 9 WHERE rowid = 1", "1 pairs have wrong counts"),
        ("UPDATE batches SET votes = 9", "1 batches have wrong counts: first"),
        ("UPDATE tallies SET done = 9", "1 labelers have wrong counts"),
        ("UPDATE assignments SET state = 'done' WHERE state = 'open'", "in the wrong state"),
        ("DROP TRIGGER picks_no_delete; DELETE FROM picks", "in the wrong state"),
        (
            "PRAGMA foreign_keys = OFF; DROP TRIGGER policies_no_delete; DELETE FROM policies",
            "rows refer to what is not there",
        ),
    ],
)
def test_what_was_changed_behind_our_back_is_found(
    store: Store, judge: Judge, damage: str, sentence: str
) -> None:
    judge(store, "ann", ["after", "tie"])
    assert next_pair(store, "ann", random.Random(0)) is not None
    with sqlite3.connect(store.path) as db:
        db.executescript(damage)
    db.close()
    assert any(sentence in problem for problem in check_record(store).problems)


def test_what_was_shown_cannot_be_changed(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    for statement in (
        "UPDATE candidates SET text = 'x'",
        "DELETE FROM candidates",
        "UPDATE prompts SET dialogue = 'x'",
        "UPDATE policies SET name = 'x'",
        "UPDATE pairs SET candidate_a = candidate_b",
        "UPDATE assignments SET left_candidate = right_candidate",
        "UPDATE assignments SET labeler_id = 2",
        "DELETE FROM assignments",
        "DELETE FROM pairs",
    ):
        with pytest.raises(sqlite3.IntegrityError), store.writing() as db:
            db.execute(statement)
