"""The practice round: sound examples, right feedback, and no trace among the picks."""

from __future__ import annotations

import pytest

from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.practice import ANSWERS, Example, examples, is_new, practise, worked
from labeling.queue import progress
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows


def tries(store: Store) -> list[tuple[str, str, int]]:
    with store.reading() as db:
        return [
            (row["item"], row["choice"], row["correct"])
            for row in db.query("SELECT * FROM practice ORDER BY seq")
        ]


def test_every_answer_is_once_the_right_one() -> None:
    assert 4 <= len(examples()) <= 5
    assert len({example.id for example in examples()}) == len(examples())
    only = {example.expected[0] for example in examples() if len(example.expected) == 1}
    assert only >= {"right", "tie", "both_bad"}
    for example in examples():
        assert set(example.expected) < set(ANSWERS)
        assert example.left != example.right
        # One sentence each.
        assert example.why.endswith(".") and example.why.count(". ") == 0


def test_worked_examples_say_why() -> None:
    assert 2 <= len(worked()) <= 3
    for case in worked():
        assert case.answer in ANSWERS
        assert case.why.endswith(".")
        assert case.dialogue not in {example.dialogue for example in examples()}


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.id)
def test_feedback_follows_what_is_expected(fresh_store: Store, example: Example) -> None:
    for choice in ANSWERS:
        said = practise(fresh_store, "ann", example.id, choice)
        assert said.correct == (choice in example.expected)
        assert (said.expected, said.why) == (example.expected, example.why)
    assert [row[1] for row in tries(fresh_store)] == list(ANSWERS)


def test_practice_is_kept_apart_from_the_picks(store: Store) -> None:
    practise(store, "ann", "tickets", "right")
    practise(store, "ann", "tickets", "left")
    assert tries(store) == [("tickets", "right", 1), ("tickets", "left", 0)]
    assert progress(store, "ann").done == 0
    with store.reading() as db:
        assert not list(db.query("SELECT 1 FROM picks"))
        assert not list(db.query("SELECT 1 FROM assignments"))


def test_who_has_practised_or_picked_is_no_longer_new(
    fresh_store: Store, rows: Rows, judge: Judge
) -> None:
    add_pairs(fresh_store, rows(1), "b")
    assert is_new(fresh_store, "ann")
    with fresh_store.reading() as db:
        assert not list(db.query("SELECT 1 FROM labelers"))
    practise(fresh_store, " ann ", "soup", "tie")
    assert not is_new(fresh_store, "ann")
    judge(fresh_store, "bob", ["tie"])
    assert not is_new(fresh_store, "bob")
    assert is_new(fresh_store, "cleo")


@pytest.mark.parametrize(
    ("labeler", "item", "choice", "said"),
    [
        ("ann", "lunch", "left", "There is no practice pair 'lunch'"),
        ("ann", "soup", "skip", "Unknown answer 'skip'"),
        (" ", "soup", "tie", "Give a labeler name"),
    ],
)
def test_bad_answers_are_refused_with_a_sentence(
    fresh_store: Store, labeler: str, item: str, choice: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        practise(fresh_store, labeler, item, choice)
    assert tries(fresh_store) == []
