"""Divided and flagged pairs go to a lead, blind, and the decision is a record of its own."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable

import pytest

from detox.errors import UserError
from labeling.adjudication import adjudicate, adjudications, conflicts, next_conflict
from labeling.gold import gold_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Judge


@pytest.fixture
def divided(store: Store, judge: Judge) -> Store:
    """Six pairs: `ann` and `ben` agree on some and differ on some; `cem` judges all."""
    judge(store, "ann", ["after"] * 6)
    judge(store, "ben", ["after", "after", "before", "tie", "skip", "both_bad"])
    return store


def dump(store: Store, table: str) -> list[object]:
    with store.reading() as db:
        return list(db.query(f"SELECT * FROM {table}"))


def test_only_divided_pairs_wait(divided: Store) -> None:
    assert conflicts(divided) == conflicts(divided, "first") == 3
    assert conflicts(divided, "another") == 0


def test_nothing_tells_which_policy_is_which(divided: Store) -> None:
    sides = set()
    for seed in range(12):
        conflict = next_conflict(divided, random.Random(seed))
        assert conflict is not None
        assert "before" not in repr(conflict) and "after" not in repr(conflict)
        sides.add(conflict.left)
    assert len(sides) == 2


def test_votes_are_told_by_the_side_the_lead_sees(divided: Store) -> None:
    for seed in range(6):
        conflict = next_conflict(divided, random.Random(seed))
        assert conflict is not None
        side = "left" if conflict.left.startswith("They disagree") else "right"
        assert conflict.votes[0].choice == side  # ann, who always prefers `after`
        assert all(vote.labeler.startswith("labeler-") for vote in conflict.votes)


def test_a_decision_changes_no_pick_and_takes_the_pair_off_the_queue(divided: Store) -> None:
    picks = dump(divided, "picks")
    decided = []
    while conflict := next_conflict(divided, random.Random(7)):
        choice = "left" if conflict.left.startswith("They disagree") else "right"
        label = adjudicate(
            divided, "lea", conflict.pair_id, choice, conflict.left_candidate, note=" why "
        )
        decided.append(label.outcome)
    assert decided == ["b"] * 3 and conflicts(divided) == 0
    assert dump(divided, "picks") == picks
    assert {label.note for label in adjudications(divided, "first")} == {"why"}
    assert all(label.lead.startswith("labeler-") for label in adjudications(divided))


def test_a_later_decision_counts_and_the_earlier_stays(divided: Store) -> None:
    conflict = next_conflict(divided, random.Random(0))
    assert conflict is not None
    for choice in ("tie", "both_bad"):
        adjudicate(divided, "lea", conflict.pair_id, choice, conflict.left_candidate)
    assert [label.outcome for label in adjudications(divided)] == ["both_bad"]
    assert len(dump(divided, "adjudications")) == 2
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), divided.writing() as db:
        db.execute("DELETE FROM adjudications")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"), divided.writing() as db:
        db.execute("UPDATE adjudications SET outcome = 'a'")


def test_a_pair_may_be_left_for_later(divided: Store) -> None:
    seen: tuple[str, ...] = ()
    while conflict := next_conflict(divided, random.Random(0), skip=seen):
        seen += (conflict.pair_id,)
    assert len(set(seen)) == 3


def test_a_flagged_pair_waits_even_without_conflict(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    submit(store, task.assignment_id, "skip", flagged=True, note="cut off")
    assert conflicts(store) == 1
    conflict = next_conflict(store, random.Random(0))
    assert conflict is not None
    assert (conflict.flags, conflict.votes[0].note) == (1, "cut off")
    submit(store, task.assignment_id, "left")
    assert conflicts(store) == 0


def test_a_decision_may_become_gold(divided: Store) -> None:
    conflict = next_conflict(divided, random.Random(3))
    assert conflict is not None
    adjudicate(divided, "lea", conflict.pair_id, "left", conflict.left_candidate, gold=True)
    (gold,) = gold_pairs(divided)
    assert gold.pair_id == conflict.pair_id and gold.source == "adjudication"
    assert gold.outcome == adjudications(divided)[0].outcome


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: {"choice": "skip"}, "Unknown choice 'skip'"),
        (lambda c: {"pair_id": "x"}, "no longer in the project"),
        (lambda c: {"left_candidate": "x"}, "no longer in the project"),
        (lambda c: {"note": "x" * 2001}, "2,001 characters"),
        (lambda c: {"lead": " "}, "labeler name"),
    ],
)
def test_a_bad_decision_is_refused(
    divided: Store, change: Callable[[object], dict[str, str]], sentence: str
) -> None:
    conflict = next_conflict(divided, random.Random(0))
    assert conflict is not None
    fields = {
        "lead": "lea",
        "pair_id": conflict.pair_id,
        "choice": "left",
        "left_candidate": conflict.left_candidate,
    } | change(conflict)
    with pytest.raises(UserError, match=sentence):
        adjudicate(divided, **fields)
    assert dump(divided, "adjudications") == []
