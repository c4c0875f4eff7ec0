"""Paired differences: the mean, its interval, and what may be said of it."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from detox.statistics import Difference, paired_difference


def normal(count: int, mean: float, std: float, seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, std) for _ in range(count)]


def test_the_mean_is_that_of_after_minus_before() -> None:
    found = paired_difference([1.0, 2.0, 3.0], [2.0, 1.0, 6.0])
    assert found.mean == pytest.approx((1 - 1 + 3) / 3)
    assert (found.n, found.clusters) == (3, 3)
    assert found.low <= found.mean <= found.high
    # resampled means cannot leave the range of the differences
    assert found.low >= -1 and found.high <= 3


def test_the_interval_is_about_two_standard_errors_wide() -> None:
    before, after = normal(400, 1.0, 2.0), normal(400, 0.5, 1.0, seed=1)
    found = paired_difference(before, after)
    gaps = [b - a for a, b in zip(before, after, strict=True)]
    mean = sum(gaps) / 400
    error = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / 400 / 400)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.1 * error)


def test_pairing_takes_out_what_both_have_in_common() -> None:
    common, noise = normal(50, 0, 100), normal(50, 0, 0.1, seed=1)
    after = [c - 1 + n for c, n in zip(common, noise, strict=True)]
    found = paired_difference(common, after)
    assert -1.1 < found.low < found.high < -0.9
    assert found.verdict == "lower"


def test_samples_of_one_prompt_are_drawn_together() -> None:
    # twenty prompts, ten samples each that say all the same: twenty facts, not two hundred
    prompts = [i for i in range(20) for _ in range(10)]
    gaps = normal(20, 0.4, 1.0, seed=3)
    after = [gaps[i] for i in prompts]
    together = paired_difference([0.0] * 200, after, prompts)
    apart = paired_difference([0.0] * 200, after)
    once = paired_difference([0.0] * 20, gaps)
    assert (together.n, together.clusters, apart.clusters) == (200, 20, 200)
    assert together.mean == pytest.approx(once.mean) == pytest.approx(apart.mean)
    assert (together.low, together.high) == pytest.approx((once.low, once.high))
    ratio = (together.high - together.low) / (apart.high - apart.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.1)


def test_clusters_may_differ_in_size_and_be_called_anything() -> None:
    found = paired_difference([0.0] * 4, [1.0, 1.0, 1.0, 5.0], ["a", "a", "a", ("b", 2)])
    assert found.mean == 2.0 and found.clusters == 2
    # two draws of two: only a, both, or only b; a mean of samples, not of prompts
    assert (found.low, found.high) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-2.0, -0.1, "lower"),
        (0.1, 2.0, "higher"),
        (-0.1, 0.1, "inconclusive"),
        (0.0, 1.0, "inconclusive"),
        (-1.0, 0.0, "inconclusive"),
        (0.0, 0.0, "inconclusive"),
    ],
)
def test_the_verdict_needs_an_interval_without_0(low: float, high: float, verdict: str) -> None:
    assert Difference((low + high) / 2, low, high, n=9, clusters=9).verdict == verdict


def test_one_prompt_proves_nothing() -> None:
    assert paired_difference([0.0], [1.0]).verdict == "inconclusive"
    assert paired_difference([0.0] * 3, [1.0, 1.1, 0.9], ["same"] * 3).verdict == "inconclusive"
    assert paired_difference([0.0] * 3, [1.0, 1.1, 0.9]).verdict == "higher"


def test_no_difference_is_found_where_there_is_none() -> None:
    # of forty experiments without an effect, a 95 % interval misses 0 in about two
    missed = sum(
        paired_difference(normal(60, 0, 1, seed), normal(60, 0, 1, seed + 1000)).verdict
        != "inconclusive"
        for seed in range(40)
    )
    assert missed <= 6


def test_the_seed_decides_the_interval_and_the_global_generator_stays() -> None:
    before, after = normal(30, 0, 1), normal(30, 0.2, 1, seed=1)
    np.random.seed(4)
    first = paired_difference(before, after, seed=1)
    np.random.seed(5)
    state = np.random.get_state()[1].tolist()
    assert paired_difference(before, after, seed=1) == first
    assert np.random.get_state()[1].tolist() == state
    other = paired_difference(before, after, seed=2)
    assert (other.low, other.high) != (first.low, first.high)
    assert other.low == pytest.approx(first.low, abs=0.05)


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_unequal_or_empty_numbers(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="two equally long, non-empty sequences"):
        paired_difference(before, after)
