"""What a labeler does in the Label tab, without gradio."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import labeling.store
from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.queue import progress
from labeling.store import Store, StoreError, open_store
from labeling.ui import session
from labeling.ui.session import Turn
from tests.labeling.conftest import Judge, Rows

RNG = random.Random


def picks(store: Store) -> list[tuple[str, int]]:
    with store.reading() as db:
        rows = db.query("SELECT choice, retracted FROM picks ORDER BY seq")
        return [(row["choice"], row["retracted"]) for row in rows]


def assignment(turn: Turn) -> str:
    assert turn.task is not None
    return turn.task.assignment_id


def test_signing_in_shows_the_first_pair_and_nothing_of_the_models(
    fresh_store: Store, rows: Rows
) -> None:
    row = rows(1)[0]
    row["before"] |= {"policy": "secret-base", "reward": -7.25, "toxicity": 0.625}
    row["after"] |= {"policy": "secret-ppo", "reward": 6.75, "toxicity": 0.125}
    add_pairs(fresh_store, [row], "secret-batch")
    turn = session.sign_in(fresh_store, "  Ada  Lovelace ", RNG(0))
    assert turn.labeler == "Ada Lovelace"
    assert turn.last is None
    with fresh_store.reading() as db:
        ids = [row["id"] for table in ("pairs", "candidates", "policies") for row in db[table].rows]
    told = json.dumps(turn.answer())
    for secret in ["secret", "7.25", "6.75", "0.625", "0.125", *ids]:
        assert secret not in told


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_a_name_is_needed(store: Store, name: str) -> None:
    with pytest.raises(UserError, match="Give a labeler name of 1 to 100 characters"):
        session.sign_in(store, name, RNG(0))


def test_a_pick_is_recorded_and_then_revealed(store: Store) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    turn = session.judge(store, "ann", assignment(first), "left", 3.5, RNG(0))
    assert picks(store) == [("left", 0)]
    assert turn.progress.done == 1
    assert assignment(turn) != assignment(first)
    assert turn.last is not None and turn.last.choice == "left"
    assert first.task is not None
    left_is_after = first.task.left.startswith("They disagree")
    assert turn.last.reveal.left.policy == ("after" if left_is_after else "before")
    with store.reading() as db:
        assert next(db.query("SELECT seconds FROM picks"))["seconds"] == 3.5


def test_the_same_click_twice_is_kept_once(store: Store) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    one = session.judge(store, "ann", assignment(first), "tie", None, RNG(0))
    two = session.judge(store, "ann", assignment(first), "tie", None, RNG(1))
    assert picks(store) == [("tie", 0)]
    assert one == two


def test_another_answer_to_a_judged_pair_changes_nothing_and_says_so(store: Store) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    session.judge(store, "ann", assignment(first), "left", None, RNG(0))
    stale = session.judge(store, "ann", assignment(first), "right", None, RNG(0))
    assert picks(store) == [("left", 0)]
    assert stale.note == session.ALREADY
    assert stale.last is None


def test_undo_brings_the_pair_back_on_the_same_sides(store: Store) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    session.judge(store, "ann", assignment(first), "left", None, RNG(0))
    back = session.take_back(store, "ann", RNG(9))
    assert back.task == first.task
    assert back.note == session.TAKEN_BACK
    assert back.last is None
    again = session.judge(store, "ann", assignment(back), "right", None, RNG(0))
    assert again.last is not None
    assert picks(store) == [("left", 0), ("left", 1), ("right", 0)]


def test_undo_with_nothing_to_undo(store: Store) -> None:
    session.sign_in(store, "ann", RNG(0))
    assert session.take_back(store, "ann", RNG(0)).note == session.NOTHING_TO_UNDO
    assert picks(store) == []


def test_after_the_last_pair_there_is_none(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 5)
    last = session.look_again(store, "ann", RNG(0))
    end = session.judge(store, "ann", assignment(last), "skip", None, RNG(0))
    assert end.task is None
    assert (end.progress.done, end.progress.total) == (6, 6)
    assert end.last is not None
    assert session.take_back(store, "ann", RNG(0)).task == last.task


def test_new_pairs_are_found(store: Store, judge: Judge, rows: Rows) -> None:
    judge(store, "ann", ["after"] * 6)
    assert session.look_again(store, "ann", RNG(0)).task is None
    add_pairs(store, rows(1, start=50), "second")
    assert session.look_again(store, "ann", RNG(0)).task is not None


def test_a_tab_can_be_limited_to_a_batch(store: Store, rows: Rows) -> None:
    add_pairs(store, rows(2, start=50), "second")
    turn = session.sign_in(store, "ann", RNG(0), "second")
    assert turn.progress.total == 2
    with pytest.raises(UserError, match="There is no batch 'third'"):
        session.sign_in(store, "ann", RNG(0), "third")


@pytest.mark.parametrize("labeler", ["", " "])
def test_nothing_is_judged_without_a_name(store: Store, labeler: str) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    with pytest.raises(UserError, match="Sign in first"):
        session.judge(store, labeler, assignment(first), "left", None, RNG(0))
    with pytest.raises(UserError, match="Sign in first"):
        session.take_back(store, labeler, RNG(0))
    with pytest.raises(UserError, match="Sign in first"):
        session.look_again(store, labeler, RNG(0))
    assert picks(store) == []


def test_the_pair_of_another_labeler(store: Store) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    with pytest.raises(UserError, match="given to another labeler"):
        session.judge(store, "bob", assignment(first), "left", None, RNG(0))
    assert picks(store) == []


def test_an_unknown_choice(store: Store) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    with pytest.raises(UserError, match="Unknown choice 'middle'"):
        session.judge(store, "ann", assignment(first), "middle", None, RNG(0))


def test_a_pair_that_is_gone_leads_to_the_next_one(store: Store) -> None:
    session.sign_in(store, "ann", RNG(0))
    turn = session.judge(store, "ann", "from-another-database", "left", None, RNG(0))
    assert turn.note == "This pair is no longer in the project: go on to the next one."
    assert turn.task is not None and turn.last is None
    assert progress(store, "ann").done == 0


def test_a_database_that_is_read_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session.sign_in(store, "ann", RNG(0))
    connect = labeling.store._connect

    def read_only(path: Path, create: bool) -> object:
        connection = connect(path, create)
        connection.execute("PRAGMA query_only = ON")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(labeling.store, "_connect", read_only)
        with pytest.raises(StoreError, match="read-only and nothing was saved"):
            session.judge(store, "ann", assignment(first), "left", None, RNG(0))
    assert picks(open_store(store.path)) == []
