"""The noise ceiling: what anybody could get right at best, as far as labelers' votes tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.reward_model.ceiling import noise_ceiling

Vote = tuple[int, int, str]


def votes(chances: list[float], each: int, seed: int = 0) -> list[Vote]:
    """``each`` votes on pairs of which a share of all labelers prefers ``a``; two a dialogue."""
    rng = np.random.default_rng(seed)
    return [
        (pair // 2, pair, "a" if rng.random() < chance else "b")
        for pair, chance in enumerate(chances)
        for _ in range(each)
    ]


def test_by_hand() -> None:
    # three pairs with two votes: two agree, one does not
    found = noise_ceiling([(0, 0, "a"), (0, 0, "a"), (1, 1, "b"), (1, 1, "b"), (2, 2, "a")])
    assert found is not None and (found.pairs, found.votes, found.agreement) == (2, 4, 1.0)
    cast = [(0, 0, "a"), (0, 0, "a"), (1, 1, "b"), (1, 1, "b"), (2, 2, "a"), (2, 2, "b")]
    found = noise_ceiling(cast)
    assert found is not None
    assert found.agreement == found.lower == pytest.approx(2 / 3)
    assert found.upper == pytest.approx((1 + math.sqrt(1 / 3)) / 2)


def test_votes_of_three_by_hand() -> None:
    # 2 of 3: a vote of the two is foretold by 1:1 (half), the third is not; most of them are 2
    found = noise_ceiling([(0, 0, "a"), (0, 0, "a"), (0, 0, "b")])
    assert found is not None
    assert found.agreement == pytest.approx(1 / 3)
    assert found.lower == pytest.approx((2 * 0.5 + 0) / 3)
    assert found.upper == pytest.approx(0.5)  # Cover and Hart's, below the 2/3 of most


def test_nobody_overlaps() -> None:
    assert noise_ceiling([]) is None
    assert noise_ceiling([(0, 0, "a"), (0, 1, "a"), (1, 2, "b")]) is None


@pytest.mark.parametrize("noise", [0.05, 0.15, 0.3])
def test_where_all_pairs_are_equally_hard_the_upper_bound_is_the_ceiling(noise: float) -> None:
    found = noise_ceiling(votes([1 - noise, noise] * 1500, 2))
    assert found is not None
    assert found.upper == pytest.approx(1 - noise, abs=0.02)
    assert found.low < 1 - noise < found.high
    assert found.high - found.low < 0.07


@settings(derandomize=True, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(2, 5), st.integers(0, 9))
def test_the_truth_lies_between_the_bounds(shares: list[float], each: int, seed: int) -> None:
    """Whatever mixture of easy and hard pairs there is, given enough of them."""
    chances = shares * (3000 // len(shares))
    truth = float(np.mean([max(p, 1 - p) for p in chances]))
    found = noise_ceiling(votes(chances, each, seed), resamples=200)
    assert found is not None
    # Near chance the upper bound is a square root of almost nothing, which only the interval tells.
    assert found.lower - 0.03 <= truth <= max(found.upper, found.high) + 0.03
    assert 0 <= found.lower <= found.upper + 1e-9 <= 1 + 1e-9
    assert found.low <= found.upper + 0.02 and found.high >= found.upper - 0.02


def test_more_votes_a_pair_bring_the_bounds_together() -> None:
    chances = [0.55, 0.95, 0.2, 0.7] * 500
    widths = []
    for each in (2, 5, 15):
        found = noise_ceiling(votes(chances, each), resamples=50)
        assert found is not None
        widths.append(found.upper - found.lower)
    assert widths[0] > widths[1] > widths[2] > 0


def test_dialogues_are_drawn_not_pairs() -> None:
    """Pairs of one dialogue that agree alike are no independent evidence."""
    rng = np.random.default_rng(0)
    cast = []
    for dialogue in range(40):
        agree = rng.random() < 0.7
        for pair in range(25):
            cast += [
                (dialogue, (dialogue, pair), "a"),
                (dialogue, (dialogue, pair), "ab"[not agree]),
            ]
    clustered = noise_ceiling(cast)
    apart = noise_ceiling([(pair, pair, said) for _, pair, said in cast])
    assert clustered is not None and apart is not None
    assert clustered.agreement == apart.agreement
    wide, narrow = (f.agreement_high - f.agreement_low for f in (clustered, apart))
    assert wide > 3 * narrow


def test_the_same_votes_give_the_same_interval() -> None:
    cast = votes([0.8, 0.6] * 50, 3)
    assert noise_ceiling(cast) == noise_ceiling(cast)
