"""Variety, and the signs that a policy serves its reward only."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.collapse import collapsed, distinct, echoed, repeated, signs, variety

texts = st.lists(st.text(alphabet="ab c", max_size=12), max_size=8)


def test_distinct() -> None:
    assert distinct(["a b a", "b a"], 1) == pytest.approx(2 / 5)
    assert distinct(["a b a", "b a"], 2) == pytest.approx(2 / 3)
    assert distinct([], 2) == distinct(["a"], 2) == 0


def test_copies() -> None:
    assert repeated(["It is fine.", "it  is FINE.", "No.", "Yes."]) == 0.5
    assert repeated(["a", "b"]) == repeated([]) == 0


def test_echoes() -> None:
    assert echoed("a b c d") == 0
    assert echoed("a b c a b c") == pytest.approx(1 / 4)
    assert echoed("a b") == 0


@given(texts)
def test_all_are_shares(some: list[str]) -> None:
    assert all(0 <= share <= 1 for share in variety(some).values())


def healthy() -> dict[str, Any]:
    same = {"distinct1": 0.3, "distinct2": 0.7, "repeated": 0.0, "echoed": 0.01, "empty": 0.0}
    return {
        "reward": {"difference": 1.5},
        "words": {"before_mean": 25.0, "after_mean": 22.0},
        "rouge1": {"difference": -0.4, "verdict": "inconclusive"},
        "variety": {"before": dict(same), "after": dict(same)},
    }


def test_a_healthy_policy_gives_no_sign() -> None:
    assert signs(healthy()) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("words", "after_mean"), 12.0, "Responses shrank from 25.0 to 12.0 words."),
        (("rouge1", "difference"), -3.24, "ROUGE-1 fell by 3.2 points."),
        (("variety", "after", "distinct2"), 0.4, "Different word pairs fell from 70% to 40%."),
        (("variety", "after", "repeated"), 0.31, "31% of the responses are copies of another"),
        (("variety", "after", "echoed"), 0.2, "20% of a response repeats what it said before"),
        (("variety", "after", "empty"), 0.1, "10% of the responses are empty (before: 0%)."),
    ],
)
def test_each_sign(path: tuple[str, ...], value: float, said: str) -> None:
    group = copy.deepcopy(healthy())
    group["rouge1"]["verdict"] = "lower"
    place: Any = group
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (sign,) = signs(group)
    assert sign.startswith(said)
    group["reward"]["difference"] = -0.1  # a policy that is merely bad over-optimises nothing
    assert signs(group) == []


def steps(lengths: list[float], variety: float = 0.8) -> list[dict[str, float]]:
    return [{"tokens/response_mean": n, "text/distinct2": variety} for n in lengths]


def test_a_run_is_held_against_its_first_steps() -> None:
    falling = [40.0] * 5 + [30.0] * 3 + [19.0] * 5
    assert collapsed(steps(falling), 0.5) == "responses shrank from 40.0 to 19.0 tokens"
    assert collapsed(steps(falling), 0.4) == ""
    assert collapsed(steps(falling), 0) == ""
    assert collapsed(steps([40.0] * 5 + [1.0] * 4), 0.5) == ""  # too few to be sure


def test_a_run_that_says_the_same_to_all_is_found() -> None:
    rows = steps([40.0] * 5) + steps([40.0] * 5, variety=0.2)
    assert collapsed(rows, 0.5) == "different word pairs of a batch fell from 80% to 20%"


def test_logs_from_before_variety_was_measured_are_judged_by_length() -> None:
    rows = [{"tokens/response_mean": 20.0}, *steps([20.0] * 12)]
    assert collapsed(rows, 0.5) == ""
