"""What a judge is asked, and what its two answers come to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from detox.errors import UserError
from labeling.judge import (
    QUESTION,
    Answer,
    Case,
    Question,
    combine,
    judge_name,
    read_question,
    version_of,
)
from labeling.judge.verdict import by_odds
from labeling.records import NAME_LENGTH
from labeling.schema import ANSWERS

CASE = Case("p", "l", "r", "A: Hm {first}.", "Left {second}", "Right {dialogue}")
ODDS = st.floats(-1e6, 1e6)


def test_a_question_holds_the_texts_in_the_order_asked() -> None:
    text = Question("{dialogue} | {first} | {second}")
    assert text.of(CASE) == "A: Hm {first}. | Left {second} | Right {dialogue}"
    assert text.of(CASE, swapped=True) == "A: Hm {first}. | Right {dialogue} | Left {second}"


def test_braces_that_are_no_slots_stay() -> None:
    text = Question('Reply {"a": 1} to {dialogue}, {first} and {second}.').of(CASE)
    assert text.startswith('Reply {"a": 1} to A: Hm')


@pytest.mark.parametrize(
    "text",
    [
        "{dialogue} {first}",
        "{dialogue} {first} {second} {second}",
        "{dialogue} {first} {second} {policy}",
        "",
    ],
)
def test_a_question_without_each_slot_once_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"must hold \{dialogue\}, \{first\}, \{second\}"):
        Question(text)


def test_a_question_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "question.txt"
    file.write_text(QUESTION + "\n", encoding="utf-8")
    assert read_question(file) == Question()
    file.write_bytes(b"\xff\xfe{dialogue}")
    with pytest.raises(UserError, match="cannot be read as a text"):
        read_question(file)
    with pytest.raises(UserError, match="cannot be read as a text"):
        read_question(tmp_path / "none.txt")
    with pytest.raises(UserError, match="shorten it"):
        Question(QUESTION + "x" * 20_000)


@given(strength=st.floats(-30, 30), bias=st.floats(-30, 30), margin=st.floats(0, 0.49))
def test_a_liking_for_a_position_cancels_out(strength: float, bias: float, margin: float) -> None:
    chance = 1 / (1 + math.exp(-strength))
    # A rounding error away from the margin either answer is right.
    assume(abs(abs(chance - 0.5) - margin) > 1e-6)
    forward, backward = (
        Answer(by_odds(odds, margin), log_odds=odds) for odds in (strength + bias, -strength + bias)
    )
    sides = {"first": "left", "second": "right", "tie": "tie"}
    assert combine(forward, backward, margin) == sides[by_odds(strength, margin)]


@given(forward=ODDS, backward=ODDS, margin=st.floats(0, 0.49))
def test_swapping_the_texts_mirrors_the_pick(
    forward: float, backward: float, margin: float
) -> None:
    one, two = Answer("tie", log_odds=forward), Answer("tie", log_odds=backward)
    mirrored = {"left": "right", "right": "left", "tie": "tie"}
    assert combine(two, one, margin) == mirrored[combine(one, two, margin)]


@pytest.mark.parametrize("forward", ANSWERS)
@pytest.mark.parametrize("backward", ANSWERS)
def test_without_likelihoods_both_orders_must_prefer_the_same_text(
    forward: str, backward: str
) -> None:
    expected = {("first", "second"): "left", ("second", "first"): "right"}
    found = combine(Answer(forward), Answer(backward))
    assert found == expected.get((forward, backward), "tie")


@pytest.mark.parametrize(
    ("odds", "margin", "answer"),
    [
        (0.0, 0.0, "tie"),
        (0.1, 0.0, "first"),
        (-0.1, 0.0, "second"),
        (math.log(0.56 / 0.44), 0.05, "first"),
        (math.log(0.54 / 0.46), 0.05, "tie"),
        (math.log(0.44 / 0.56), 0.05, "second"),
        (1e9, 0.05, "first"),
        (-1e9, 0.05, "second"),
    ],
)
def test_a_tie_is_what_is_near_one_half(odds: float, margin: float, answer: str) -> None:
    assert by_odds(odds, margin) == answer


def test_another_prompt_is_another_judge() -> None:
    one, two = {"model": "m", "question": "a"}, {"question": "b", "model": "m"}
    assert version_of(one) != version_of(two)
    assert version_of(one) == version_of(dict(reversed(one.items())))
    assert judge_name("m", one) == f"judge:m@{version_of(one)}"
    assert judge_name("m", one, "mine") == "mine"
    assert len(judge_name("m" * 500, one)) == NAME_LENGTH
    assert judge_name("m" * 500, one).endswith(version_of(one))
    for name in ("", "n" * 101):
        with pytest.raises(UserError, match="1 to 100 characters"):
            judge_name("m", one, name)
