"""Intervals of means: golden numbers, clustering, slices, and groups where there are many."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.analysis import bootstrap
from labeling.analysis.bootstrap import (
    PROMPT_GROUPS,
    cluster,
    clustered_interval,
    dealt,
    draw,
    drawn,
    holm,
    shares,
    verdict,
)


def _scores(wins: int, losses: int) -> np.ndarray:
    return np.array([1.0] * wins + [0.0] * losses)


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
    # Weights are applied in single precision.
    assert repeated == pytest.approx(single, abs=1e-5)


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


def _clustered(scores: np.ndarray, prompts: np.ndarray, labelers: np.ndarray, **known: int):
    clusters = cluster(prompts, labelers, np.arange(prompts.max() + 1))
    return scores, clusters, draw(clusters.shape, **known)


def test_the_interval_is_that_of_the_pigeonhole_bootstrap_written_out() -> None:
    rng = np.random.default_rng(1)
    prompts, labelers = rng.integers(0, 12, 90), rng.integers(0, 4, 90)
    scores = rng.choice([0.0, 0.5, 1.0], 90)
    found = clustered_interval(scores, prompts, labelers, resamples=400)
    means = []
    of_prompts, of_labelers = drawn(12, 400, 0, 0), drawn(4, 400, 0, 1)
    for r in range(400):
        weights = of_prompts[prompts, r].astype(float) * of_labelers[labelers, r]
        means.append((weights * scores).sum() / weights.sum())
    assert found == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-5)


def test_draws_are_with_replacement() -> None:
    counts = drawn(50, 2000)
    assert (counts.sum(axis=0) == 50).all()
    assert counts.mean(axis=1) == pytest.approx(np.ones(50), abs=0.1)
    assert counts.var() == pytest.approx(0.98, abs=0.03)
    assert not np.array_equal(drawn(50, 2000, side=1), counts)


def test_totals_of_one_table_of_many_and_of_none() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 5, (3, 6, 4)).astype(float)
    draws = draw((6, 4), 20)
    wanted = np.einsum("mpl,pr,lr->mr", cells, draws.prompts, draws.labelers)
    assert draws.totals(cells) == pytest.approx(wanted)
    assert draws.totals(cells[1]) == pytest.approx(wanted[1])
    assert draws.totals(cells[:0]).shape == (0, 20)
    assert draws.totals(np.zeros((6, 4))).tolist() == [0.0] * 20
    assert np.isnan(draws.means(cells[:1], np.zeros((1, 6, 4)))).all()
    assert draw((0, 0), 20).totals(np.zeros((1, 0, 0))).tolist() == [[0.0] * 20]


def test_a_slice_is_the_mean_of_its_own_picks() -> None:
    rng = np.random.default_rng(2)
    pairs, labelers = rng.integers(0, 40, 300), rng.integers(0, 5, 300)
    slices = rng.integers(-1, 3, 40).astype(np.int32)
    scores = rng.random(300)
    _, clusters, draws = _clustered(scores, pairs, labelers, resamples=500)
    found = shares(scores, clusters, draws, slices, 4)
    for place in range(3):
        inside = slices[pairs] == place
        assert found[place].rate == pytest.approx(scores[inside].mean())
        assert found[place].n == inside.sum()
        assert found[place].prompts == len(set(pairs[inside]))
        assert found[place].labelers == len(set(labelers[inside]))
        assert found[place].low < found[place].rate < found[place].high
    assert (found[3].n, found[3].rate, found[3].verdict) == (0, None, "inconclusive")


def test_slices_of_all_picks_are_the_whole() -> None:
    rng = np.random.default_rng(3)
    scores, clusters, draws = _clustered(
        rng.random(100), np.arange(100) % 30, np.arange(100) % 7, resamples=300
    )
    whole = shares(scores, clusters, draws)[0]
    assert shares(scores, clusters, draws, np.zeros(30, np.int32), 1)[0] == whole


@pytest.mark.parametrize("spread", [0.0, 0.8])
def test_groups_of_prompts_give_the_interval_of_single_ones(
    monkeypatch: pytest.MonkeyPatch, spread: float
) -> None:
    rng = np.random.default_rng(5)
    n = 6000
    prompts, labelers = np.repeat(np.arange(n // 3), 3), rng.integers(0, 8, n)
    taste = rng.normal(0, spread, n // 3)[prompts] + rng.normal(0, 0.3, 8)[labelers]
    scores = (rng.random(n) < 1 / (1 + np.exp(-0.4 - taste))).astype(float)
    grouped = clustered_interval(scores, prompts, labelers, resamples=4000)
    monkeypatch.setattr(bootstrap, "EXACT_PROMPTS", n)
    exact = clustered_interval(scores, prompts, labelers, resamples=4000)
    assert grouped is not None and exact is not None and grouped != exact
    width = exact[1] - exact[0]
    assert (grouped[1] - grouped[0]) / width == pytest.approx(1, abs=0.1)
    assert grouped == pytest.approx(exact, abs=0.06 * width)


def test_groups_of_labelers_give_the_interval_of_single_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)
    labelers = np.repeat(np.arange(600), 5)
    prompts = rng.integers(0, 400, 3000)
    scores = (rng.random(3000) < np.clip(rng.normal(0.6, 0.2, 600), 0, 1)[labelers]).astype(float)
    grouped = clustered_interval(scores, prompts, labelers, resamples=4000)
    monkeypatch.setattr(bootstrap, "EXACT_LABELERS", 600)
    exact = clustered_interval(scores, prompts, labelers, resamples=4000)
    assert grouped is not None and exact is not None and grouped != exact
    # 100 groups: a relative standard error of 7 % of the half-width.
    assert (grouped[1] - grouped[0]) / (exact[1] - exact[0]) == pytest.approx(1, abs=0.15)


def test_prompts_are_dealt_evenly() -> None:
    assert dealt(1000, 1000, 500).tolist() == list(range(1000))
    sizes = np.bincount(dealt(5001, 1000, PROMPT_GROUPS))
    assert len(sizes) == PROMPT_GROUPS and set(sizes) == {10, 11}
    assert not np.array_equal(dealt(5001, 1000, 500, seed=1), dealt(5001, 1000, 500, seed=2))


def test_the_p_value_says_what_the_interval_says() -> None:
    rng = np.random.default_rng(8)
    for rate in (0.35, 0.5, 0.55, 0.7):
        scores = (rng.random(80) < rate).astype(float)
        args = _clustered(scores, np.arange(80), np.zeros(80, int), resamples=2000)
        share = shares(*args)[0]
        assert share.p is not None
        assert (share.p < 0.05) == (share.verdict != "inconclusive")
        mirrored = shares(1 - args[0], *args[1:])[0]
        assert mirrored.p == pytest.approx(share.p)


def test_the_p_value_of_unanimous_picks_is_the_sign_tests() -> None:
    args = _clustered(np.ones(12), np.arange(12), np.zeros(12, int), resamples=100)
    assert shares(*args)[0].p == pytest.approx(2 * 0.5**12)
    ties = _clustered(np.full(12, 0.5), np.arange(12), np.zeros(12, int), resamples=100)
    assert shares(*ties)[0].p == 1.0


def test_opposed_picks_in_every_cell_are_not_certainty() -> None:
    # One win and one loss on each prompt: no resample differs from another.
    scores, prompts = np.tile([0.0, 1.0], 10), np.repeat(np.arange(10), 2)
    share = shares(*_clustered(scores, prompts, np.zeros(20, int), resamples=100))[0]
    assert share.low is not None and share.high is not None
    assert share.low < 0.4 and share.high > 0.6 and share.verdict == "inconclusive"


def test_holm_of_the_worked_example() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([None, 0.04, None]) == [None, 0.04, None]
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_adjusted_p_values_keep_their_order_and_only_grow(p_values: list[float]) -> None:
    adjusted = holm(list(p_values))
    assert all(a is not None and p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert all(adjusted[i] <= adjusted[j] for i, j in pairwise(order))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_an_interval_contains_what_it_is_of(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 30))

    def column(high: int) -> np.ndarray:
        return np.array(data.draw(st.lists(st.integers(0, high), min_size=n, max_size=n)))

    scores = column(2) / 2
    interval = clustered_interval(scores, column(6), column(3), resamples=200)
    assert interval is not None
    assert 0 <= interval[0] <= interval[1] <= 1
