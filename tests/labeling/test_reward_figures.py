"""How good a reward model is: figures by hand, and against what scipy makes of the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from detox.calibration import chances
from labeling.reward_model.figures import correlation, figures, leaks, share

Row = dict[str, Any]


class Fixed:
    """A judge that gives the number each response begins with."""

    name = "fixed"
    temperature: float | None = 2.0

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        return torch.tensor([float(text.split()[0]) for text in responses])

    def describe(self) -> Row:
        return {"name": self.name}


def row(
    number: int, chosen: str, rejected: str, margin: float = 2 / 3, labeler: str = "ann"
) -> Row:
    return {
        "prompt": f"prompt {number}",
        "dialogue": f"d{number}",
        "pair": f"p{number}",
        "labeler": labeler,
        "chosen": chosen,
        "rejected": rejected,
        "margin": margin,
        "target": 1.0,
    }


def rows(count: int, right: float, seed: int = 0) -> list[Row]:
    """Pairs, one a dialogue, of which a share is judged right by ``Fixed``."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        gap = abs(rng.normal(0, 2)) + 0.1
        gap = gap if number < right * count else -gap
        fill = "word " * int(rng.integers(1, 9))
        made.append(row(number, f"{gap:.3f} {fill}", "0.0 a b c", (1 / 3, 2 / 3, 1)[number % 3]))
    return made


def measured(given: list[Row], **more: Any) -> Row:
    judge: Any = Fixed()
    return figures(judge, given, given, given, joined=more.pop("joined", False), **more)


def test_accuracy_and_its_interval() -> None:
    found = measured(rows(60, 0.75))["accuracy"]
    assert (found["rate"], found["n"], found["dialogues"], found["labelers"]) == (0.75, 60, 60, 1)
    # a bootstrap of independent picks is about the normal interval
    half = 1.96 * np.sqrt(0.75 * 0.25 / 60)
    assert found["low"] == pytest.approx(0.75 - half, abs=0.025)
    assert found["high"] == pytest.approx(0.75 + half, abs=0.025)


def test_picks_of_a_dialogue_are_drawn_together() -> None:
    given = [r | {"dialogue": f"d{number // 10}"} for number, r in enumerate(rows(60, 0.5))]
    found = measured(given)["accuracy"]
    assert found["dialogues"] == 6 and found["high"] - found["low"] > 0.5


def test_accuracy_by_margin() -> None:
    given = [
        row(0, "1 x", "0 y", 1 / 3),
        row(1, "0 x", "1 y", 1 / 3),
        row(2, "1 x", "0 y", 1.0),
    ]
    found = measured(given)["by_margin"]
    assert [(part["margin"], part["rate"], part["n"]) for part in found] == [
        ("slightly better", 0.5, 2),
        ("clearly better", 1.0, 1),
    ]
    joined = measured([row(0, "1 x", "0 y", 0.0), row(1, "1 x", "0 y", 0.34)], joined=True)
    assert [part["margin"] for part in joined["by_margin"]] == [
        "up to a third of the votes ahead",
        "up to two thirds ahead",
    ]


def test_calibration_uses_the_temperature() -> None:
    given = rows(200, 0.7)
    found = measured(given)["calibration"]
    gaps = np.array([float(r["chosen"].split()[0]) for r in given])
    sure = chances(np.abs(gaps), 2.0)
    assert sum(part["n"] for part in found["bins"]) == 200
    for part in found["bins"]:
        inside = (sure >= part["low"]) & (sure < part["high"] + 1e-9)
        assert part["n"] == pytest.approx(int(inside.sum()), abs=1)
        assert part["accuracy_low"] <= part["accuracy"] <= part["accuracy_high"]
    assert found["temperature"] == 2.0 and found["error"] != found["error_before"]
    # the same by the definition: mean |accuracy - confidence| of each part, weighted by its pairs
    error = sum(part["n"] * abs(part["accuracy"] - part["confidence"]) for part in found["bins"])
    assert found["error"] == pytest.approx(error / 200, abs=1e-3)
    assert found["error_low"] <= found["error"] <= found["error_high"]


def test_length() -> None:
    given = [row(n, f"{n} " + "w " * n, f"{-n} x", 1.0) for n in range(1, 13)]
    found = measured(given)["length"]
    rewards = [*range(1, 13), *(-n for n in range(1, 13))]
    words = [n + 1 for n in range(1, 13)] + [2] * 12
    assert found["correlation"]["r"] == pytest.approx(pearsonr(rewards, words)[0], abs=1e-4)
    assert found["within_pairs"]["r"] > 0.9
    # the pair of equal lengths tells nothing of who prefers the longer one
    assert (found["people_prefer_longer"]["rate"], found["people_prefer_longer"]["n"]) == (1.0, 11)
    assert found["model_prefers_longer"]["rate"] == 1.0


def test_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=80)
    y = 0.5 * x + rng.normal(size=80) + 40
    found = correlation(x, y, np.arange(80))
    assert found is not None
    expected = pearsonr(x, y)
    assert found["r"] == pytest.approx(expected[0], abs=1e-4)
    interval = expected.confidence_interval()
    assert found["low"] == pytest.approx(interval.low, abs=0.06)
    assert found["high"] == pytest.approx(interval.high, abs=0.06)


def test_correlation_within_pairs_does_not_know_sides() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(1, 1, 40), rng.normal(1, 1, 40)
    flip = np.where(rng.random(40) < 0.5, -1, 1)
    first, second = (
        correlation(x * sign, y * sign, np.arange(40), centred=False) for sign in (1, flip)
    )
    assert first == second


@pytest.mark.parametrize("constant", [0.0, 3.0, 1e6])
def test_what_does_not_vary_correlates_with_nothing(constant: float) -> None:
    values = np.arange(10.0)
    assert correlation(values, np.full(10, constant), np.arange(10)) is None
    assert correlation(np.full(10, constant), values, np.arange(10)) is None


def test_ties_are_not_measured() -> None:
    given = [*rows(20, 1.0), row(99, "0 x", "5 y") | {"target": 0.5}]
    assert measured(given)["accuracy"]["n"] == 20


def test_nothing_held_out() -> None:
    found = measured([])
    assert found == {"ceiling": None, "accuracy": None, "single_votes": None}
    assert leaks(found) is None


def test_joined_votes_are_also_measured_one_by_one() -> None:
    joined = [row(n, "1 x", "0 y", 1 / 3, labeler="") | {"labeler": None} for n in range(10)]
    single = [
        row(n, *(("1 x", "0 y") if labeler != "cleo" else ("0 y", "1 x")), labeler=labeler)
        for n in range(10)
        for labeler in ("ann", "ben", "cleo")
    ]
    judge: Any = Fixed()
    found = figures(judge, joined, single, single, joined=True)
    assert (found["accuracy"]["rate"], found["accuracy"]["n"]) == (1.0, 10)
    assert found["single_votes"]["rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["single_votes"]["n"] == 30
    # on single votes nobody can be better than the 2/3 who agree
    assert found["ceiling"]["upper"] <= 2 / 3 + 1e-9


def noisy(count: int, agree: float) -> list[Row]:
    """Two votes a pair, of which a share agrees."""
    made = []
    for number in range(count):
        sides = ("1 x", "0 y")
        made.append(row(number, *sides, labeler="ann"))
        same = number < agree * count
        made.append(row(number, *(sides if same else sides[::-1]), labeler="ben"))
    return made


def test_accuracy_far_above_the_ceiling_is_told() -> None:
    judge: Any = Fixed()
    votes = noisy(400, 0.7)
    right = [vote for vote in votes if vote["labeler"] == "ann"]  # as if it had been told
    found = figures(judge, right, right, votes, joined=False)
    assert found["accuracy"]["rate"] == 1.0 and found["ceiling"]["high"] < 0.9
    said = leaks(found)
    assert said is not None and "Look for a leak before you trust it" in said
    assert "100% [99%, 100%], lies above the 82% [" in said


def test_accuracy_at_the_ceiling_is_not_told() -> None:
    judge: Any = Fixed()
    votes = noisy(400, 0.7)
    assert leaks(figures(judge, votes, votes, votes, joined=False)) is None
    few = noisy(6, 0.7)
    right = [vote for vote in few if vote["labeler"] == "ann"]
    assert leaks(figures(judge, right, right, few, joined=False)) is None


def test_a_share_of_nothing() -> None:
    assert share(np.array([]), [])["rate"] is None
