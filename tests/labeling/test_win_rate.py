"""Win rates and rankings: golden numbers, clustering, and no verdict without grounds."""

from __future__ import annotations

import numpy as np
import pytest

from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.picks import undo
from labeling.ranking import (
    bradley_terry,
    clustered_interval,
    codes,
    fit_bradley_terry,
    planned_picks,
    verdict,
    win_rate,
)
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows


def _scores(wins: int, losses: int) -> np.ndarray:
    return np.array([1.0] * wins + [0.0] * losses)


def test_the_plan_of_the_design() -> None:
    assert (planned_picks(0.1), planned_picks(0.05)) == (96, 384)


def test_independent_picks_give_the_binomial_interval() -> None:
    interval = clustered_interval(_scores(65, 35), np.arange(100), np.zeros(100, dtype=int))
    half = 1.96 * (0.65 * 0.35 / 100) ** 0.5
    assert interval == pytest.approx((0.65 - half, 0.65 + half), abs=0.01)
    assert verdict(interval, 100) == "higher"


@pytest.mark.parametrize("copies_are", ["prompt", "labeler"])
def test_copies_within_a_cluster_add_nothing(copies_are: str) -> None:
    once, copies = _scores(20, 10), np.repeat(_scores(20, 10), 7)
    few, many, one = np.arange(30), np.repeat(np.arange(30), 7), np.zeros(30, dtype=int)
    if copies_are == "prompt":
        single = clustered_interval(once, few, one, resamples=2000)
        repeated = clustered_interval(copies, many, np.zeros(210, dtype=int), resamples=2000)
    else:
        single = clustered_interval(once, one, few, resamples=2000)
        repeated = clustered_interval(copies, np.zeros(210, dtype=int), many, resamples=2000)
    assert repeated == pytest.approx(single)


def test_labelers_who_differ_widen_the_interval() -> None:
    prompts, labelers = np.repeat(np.arange(40), 6), np.tile(np.arange(6), 40)
    rng = np.random.default_rng(0)
    # Three labelers prefer it 9 times in 10, three 3 times in 10.
    scores = (rng.random(240) < np.where(labelers < 3, 0.9, 0.3)).astype(float)
    both = clustered_interval(scores, prompts, labelers, resamples=2000)
    prompts_only = clustered_interval(scores, prompts, np.zeros_like(prompts), resamples=2000)
    assert both is not None
    assert prompts_only is not None
    assert both[1] - both[0] > 2 * (prompts_only[1] - prompts_only[0])


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for seed in range(200):
        scores = (rng.random(60) < 0.6).astype(float)
        interval = clustered_interval(
            scores, np.arange(60), np.zeros(60, dtype=int), resamples=400, seed=seed
        )
        assert interval is not None
        covered += interval[0] <= 0.6 <= interval[1]
    assert 180 <= covered <= 198


def test_the_interval_is_seeded() -> None:
    args = (_scores(12, 8), np.arange(20), np.zeros(20, dtype=int))
    first = clustered_interval(*args, resamples=300, seed=1)
    assert clustered_interval(*args, resamples=300, seed=1) == first
    assert clustered_interval(*args, resamples=300, seed=2) != first


@pytest.mark.parametrize(
    ("value", "n", "wanted"),
    [
        # Clopper–Pearson for n of n: the lower end is 0.025^(1/n).
        (1.0, 10, (0.6915, 1.0)),
        (0.0, 10, (0.0, 0.3085)),
        (0.5, 10, (0.34575, 0.65425)),
    ],
)
def test_unanimous_picks_are_not_certainty(
    value: float, n: int, wanted: tuple[float, float]
) -> None:
    interval = clustered_interval(np.full(n, value), np.arange(n), np.zeros(n, dtype=int))
    assert interval == pytest.approx(wanted, abs=1e-4)


def test_no_picks_have_no_interval() -> None:
    assert clustered_interval(np.array([]), np.array([], int), np.array([], int)) is None
    assert verdict(None, 0) == "inconclusive"


@pytest.mark.parametrize(
    ("interval", "prompts", "wanted"),
    [
        ((0.51, 0.7), 6, "higher"),
        ((0.51, 0.7), 5, "inconclusive"),
        ((0.2, 0.49), 50, "lower"),
        ((0.4, 0.6), 5000, "inconclusive"),
        ((0.5, 0.9), 50, "inconclusive"),
    ],
)
def test_verdicts(interval: tuple[float, float], prompts: int, wanted: str) -> None:
    assert verdict(interval, prompts) == wanted


def test_codes_number_values_as_they_come() -> None:
    assert codes(["b", "a", "b", 3]).tolist() == [0, 1, 0, 2]


def test_the_win_rate_of_the_record(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "after", "before", "tie", "both_bad", "skip"], seed=2)
    judge(store, "ben", ["after"], seed=3)
    rate = win_rate(store)
    counts = (rate.wins, rate.losses, rate.ties, rate.both_bad, rate.skips)
    assert counts == (3, 1, 1, 1, 1)
    assert rate.n == 6
    assert rate.rate == pytest.approx((3 + 0.5 + 0.5) / 6)
    assert rate.labelers == 2
    assert rate.verdict == "inconclusive"
    mirrored = win_rate(store, "before", "after")
    assert mirrored.rate == pytest.approx(1 - (4 / 6))
    assert (mirrored.wins, mirrored.losses) == (1, 3)


def test_undone_picks_do_not_count(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "after"])
    undo(store, "ann")
    assert win_rate(store).n == 1


def test_a_win_rate_is_of_one_batch_and_two_policies(
    store: Store, rows: Rows, judge: Judge
) -> None:
    judge(store, "ann", ["after"] * 6)
    assert win_rate(store, batch="first").n == 6
    assert win_rate(store, batch="other").n == 0
    empty = win_rate(store, after="ppo-2")
    assert (empty.n, empty.rate, empty.low, empty.verdict) == (0, None, None, "inconclusive")
    with pytest.raises(UserError, match="with itself"):
        win_rate(store, "after", "after")


def test_unanimous_labelers_of_enough_pairs_decide(
    fresh_store: Store, judge: Judge, rows: Rows
) -> None:
    add_pairs(fresh_store, rows(12), "b")
    judge(fresh_store, "ann", ["after"] * 12)
    rate = win_rate(fresh_store)
    assert (rate.rate, rate.verdict) == (1.0, "higher")
    assert rate.low == pytest.approx(0.025 ** (1 / 12))


def test_bradley_terry_of_the_published_example() -> None:
    # Wikipedia, "Bradley–Terry model", worked example: wins of A, B, C, D over each other.
    won = np.array([[[0, 2, 0, 1], [3, 0, 5, 0], [0, 3, 0, 1], [4, 0, 3, 0]]], dtype=float)
    strengths = fit_bradley_terry(won, prior=1e-9)[0]
    assert np.exp(strengths) == pytest.approx([0.640, 1.043, 0.660, 2.270], abs=5e-4)


def test_bradley_terry_of_two_is_the_log_odds() -> None:
    won = np.array([[[0.0, 30.0], [10.0, 0.0]]])
    strengths = fit_bradley_terry(won, prior=1e-9)[0]
    assert strengths[0] - strengths[1] == pytest.approx(np.log(3))


def test_a_policy_that_never_lost_stays_finite() -> None:
    won = np.array([[[0, 5, 5], [0, 0, 5], [0, 0, 0]]], dtype=float)
    strengths = fit_bradley_terry(won)[0]
    assert np.isfinite(strengths).all()
    assert strengths[0] > strengths[1] > strengths[2]


def _tournament(store: Store, rows: Rows, judge: Judge, games: dict[tuple[str, str], int]) -> None:
    """`games[x, y]` pairs of policies x and y, all judged in favour of x by one labeler."""
    start = 0
    for (better, worse), n in games.items():
        made = rows(n, start=start)
        start += n
        for row in made:
            row["after"]["policy"], row["before"]["policy"] = better, worse
        add_pairs(store, made, f"{better}-{worse}")
    judge(store, "ann", ["after"] * start)


def test_a_ranking_of_three(fresh_store: Store, rows: Rows, judge: Judge) -> None:
    games = {("x", "y"): 12, ("y", "x"): 4, ("y", "z"): 12, ("z", "y"): 4}
    _tournament(fresh_store, rows, judge, games)
    ranking = bradley_terry(fresh_store, resamples=500)
    assert [rating.policy for rating in ranking] == ["x", "y", "z"]
    assert [rating.picks for rating in ranking] == [16, 32, 16]
    # Each step is won 3 times in 4.
    strengths = [rating.strength for rating in ranking]
    assert strengths == pytest.approx([np.log(3), 0, -np.log(3)], abs=0.02)
    for rating in ranking:
        assert rating.low < rating.strength < rating.high
    assert ranking[0].low > 0 > ranking[2].high


def test_a_ranking_needs_three_policies_that_met(
    fresh_store: Store, rows: Rows, judge: Judge
) -> None:
    _tournament(fresh_store, rows, judge, {("x", "y"): 2})
    with pytest.raises(UserError, match="three policies"):
        bradley_terry(fresh_store)
    made = rows(1, start=70)
    made[0]["after"]["policy"], made[0]["before"]["policy"] = "v", "w"
    add_pairs(fresh_store, made, "island")
    judge(fresh_store, "ann", ["after"])
    with pytest.raises(UserError, match="never compared"):
        bradley_terry(fresh_store)
