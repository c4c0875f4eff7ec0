"""The classifier's reward beside people's picks, and adjudicated labels beside majorities."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.analysis.adjudicated import adjudicated
from labeling.analysis.judged import judged
from labeling.analysis.rewards import BANDS, reward_agreement
from labeling.analysis.selection import select
from tests.labeling.frames import make_frame, make_pairs


def test_the_higher_reward_is_compared_with_the_pick() -> None:
    pairs = make_pairs(
        5, reward_a=[2, 0, 1, 5, np.nan], reward_b=[1, 3, 1, 0, 2], adjudicated=[1, 1, -1, 2, 0]
    )
    found = reward_agreement(
        judged(
            select(
                make_frame(
                    [0, 0, 1, 2, 3, 3, 4],
                    [0, 1, 0, 0, 0, 1, 0],
                    ["a", "b", "b", "a", "a", "tie", "a"],
                    pairs,
                )
            )
        )
    )
    # Pair 0: one of two; pair 1: right; pair 2 has equal rewards; pair 3: right; pair 4: unknown.
    assert (found.people.rate, found.people.n) == (pytest.approx(3 / 4), 4)
    assert found.undecided == 1
    assert found.without_reward == 2
    # Adjudicated and decided: pair 0 (b, reward says a) and pair 1 (b, reward says b).
    assert (found.adjudicated.rate, found.adjudicated.n) == (0.5, 2)


def test_bands_are_thirds_by_the_distance_of_the_rewards() -> None:
    rng = np.random.default_rng(0)
    n = 300
    gap = rng.normal(0, 2, n)
    pairs = make_pairs(n, reward_a=gap, reward_b=np.zeros(n))
    # The surer the reward, the more often people agree with it.
    agrees = rng.random(n) < 1 / (1 + np.exp(-np.abs(gap)))
    outcome = np.where((gap > 0) == agrees, 0, 1)
    found = reward_agreement(judged(select(make_frame(np.arange(n), np.zeros(n), outcome, pairs))))
    assert [band.name for band in found.bands] == list(BANDS)
    assert [band.share.n for band in found.bands] == [100, 100, 100]
    assert found.bands[0].to <= found.bands[1].from_ < found.bands[2].to
    assert found.bands[2].to == pytest.approx(np.abs(gap).max(), rel=1e-6)
    rates = [band.share.rate or 0 for band in found.bands]
    assert rates[0] < rates[1] < rates[2]
    assert sum(rates) / 3 == pytest.approx(found.people.rate)
    assert found.people.low < found.people.rate < found.people.high


def test_people_set_the_ceiling() -> None:
    pairs = make_pairs(2, reward_a=[1, 1], reward_b=[0, 0])
    found = reward_agreement(
        judged(
            select(
                make_frame([0, 0, 0, 1, 1, 1], [0, 1, 2] * 2, ["a", "a", "b", "b", "b", "b"], pairs)
            )
        )
    )
    # Pair 0: one of three pairs of people agrees; pair 1: three of three.
    assert found.one_other == pytest.approx(4 / 6)
    # Pair 0: the b meets two a's; the others of each a are divided. Pair 1: three agree.
    assert found.majority == pytest.approx(3 / 4)


def test_without_rewards_there_is_nothing_to_compare() -> None:
    found = reward_agreement(judged(select(make_frame([0, 1], [0, 0], ["a", "b"]))))
    assert (found.people.n, found.bands, found.majority) == (0, (), None)
    assert found.without_reward == 2


def test_what_adjudication_changed() -> None:
    pairs = make_pairs(5, adjudicated=[0, 1, 0, 2, -1])
    found = adjudicated(
        select(
            make_frame(
                [0, 0, 0, 1, 1, 1, 2, 2, 4, 4],
                [0, 1, 2, 0, 1, 2, 0, 1, 0, 1],
                ["a", "a", "b", "a", "a", "skip", "a", "b", "a", "a"],
                pairs,
            )
        )
    )
    # Pair 0 keeps its majority, pair 1 changes it, pair 2 has none, pair 3 was not judged.
    assert (found.pairs, found.kept, found.changed, found.settled) == (3, 1, 1, 1)


def test_nothing_was_adjudicated() -> None:
    assert adjudicated(select(make_frame([0], [0], ["a"]))).pairs == 0
