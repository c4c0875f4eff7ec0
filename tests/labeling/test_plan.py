"""What is still needed: figures that follow from the interval, and what is lacking."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.analysis.bootstrap import Share, cluster, draw, shares
from labeling.analysis.plan import Parts, plan, planned_picks, variance_parts


def _share(rate: float, half: float, n: int, verdict: str = "inconclusive", labelers: int = 5):
    return Share(rate, rate - half, rate + half, 0.5, verdict, n, n, labelers)


def test_the_plan_of_the_design() -> None:
    assert (planned_picks(0.1), planned_picks(0.05)) == (96, 384)


def test_the_interval_narrows_with_the_root_of_the_picks() -> None:
    found = plan(_share(0.55, 0.2, 50), None)
    assert [(row.margin, row.wanted, row.more) for row in found.margins] == [
        (0.10, 200, 150),
        (0.05, 800, 750),
    ]
    assert found.design_effect == pytest.approx(50 * 4 * 0.2**2 / 1.96**2)


def test_the_plan_of_independent_picks_is_the_simple_one() -> None:
    n = 384
    found = plan(_share(0.5, 1.96 * 0.5 / n**0.5, n), None)
    assert found.design_effect == pytest.approx(1)
    assert found.margins[1].wanted == pytest.approx(planned_picks(0.05), abs=1)


def test_a_margin_that_is_reached_needs_no_more() -> None:
    assert [row.more for row in plan(_share(0.6, 0.04, 900), None).margins] == [0, 0]


def test_picks_until_a_verdict_are_those_of_the_usual_power() -> None:
    # 196 picks with a standard error of 0.0357 each way; 0.05 is to be 2.80 of them.
    found = plan(_share(0.55, 0.07, 196), None)
    wanted = 196 * ((1.96 + 0.8416) * (0.07 / 1.96) / 0.05) ** 2
    assert found.decides == pytest.approx(wanted - 196, abs=1)
    assert plan(_share(0.55, 0.04, 600, "higher"), None).decides == 0
    assert plan(_share(0.5, 0.07, 196), None).decides is None


def test_with_so_many_picks_four_of_five_projects_decide() -> None:
    rate, n = 0.6, 60
    wanted = plan(_share(rate, 1.96 * (rate * (1 - rate) / n) ** 0.5, n), None)
    total = n + (wanted.decides or 0)
    wins = np.random.default_rng(0).binomial(total, rate, 4000) / total
    low = wins - 1.96 * (wins * (1 - wins) / total) ** 0.5
    assert (low > 0.5).mean() == pytest.approx(0.8, abs=0.03)


def test_without_an_interval_there_is_only_the_simple_plan() -> None:
    found = plan(Share(None, None, None, None, "inconclusive", 0, 0, 0), None)
    assert [(row.independent, row.wanted, row.more) for row in found.margins] == [
        (96, None, None),
        (384, None, None),
    ]
    assert (found.design_effect, found.decides, found.lacking, found.floor) == (None,) * 4


@pytest.mark.parametrize(
    ("parts", "labelers", "wanted"),
    [
        (Parts(0.6, 0.1, 0.2), 5, "labelers"),
        (Parts(0.1, 0.6, 0.2), 5, "dialogues"),
        (Parts(0.1, 0.1, 0.6), 5, "picks"),
        (Parts(0.0, 0.1, 0.6), 1, "labelers"),
    ],
)
def test_what_is_lacking(parts: Parts, labelers: int, wanted: str) -> None:
    found = plan(_share(0.5, 0.1, 90, labelers=labelers), parts)
    assert found.lacking == wanted
    if labelers > 1:
        assert found.floor == pytest.approx(1.96 * parts.labelers**0.5)
    else:
        assert found.floor is None


@pytest.mark.parametrize("which", ["labelers", "prompts", "picks"])
def test_the_parts_of_a_variance_are_found(which: str) -> None:
    rng = np.random.default_rng(2)
    n_prompts, n_labelers = 200, 30
    prompts = np.repeat(np.arange(n_prompts), n_labelers)
    labelers = np.tile(np.arange(n_labelers), n_prompts)
    spread = {"labelers": 0.0, "prompts": 0.0} | {which: 0.25}
    chance = np.clip(
        0.5
        + rng.normal(0, spread["labelers"], n_labelers)[labelers]
        + rng.normal(0, spread["prompts"], n_prompts)[prompts],
        0,
        1,
    )
    scores = (rng.random(len(prompts)) < chance).astype(float)
    clusters = cluster(prompts, labelers, np.arange(n_prompts))
    parts = variance_parts(scores, clusters)
    assert parts is not None
    assert parts.picks == pytest.approx(0.25 / len(prompts), rel=0.2)
    whole = {"labelers": parts.labelers, "prompts": parts.prompts, "picks": parts.picks}
    assert max(whole, key=whole.__getitem__) == which
    if which == "labelers":
        # The variance of a mean of 30 labelers whose own rates spread by 0.25, clipped a little.
        assert parts.labelers == pytest.approx(0.25**2 / n_labelers, rel=0.45)


def test_one_pick_has_no_parts() -> None:
    one = np.zeros(1, dtype=np.int32)
    assert variance_parts(np.ones(1), cluster(one, one, one)) is None


def test_the_floor_is_below_the_interval() -> None:
    rng = np.random.default_rng(3)
    labelers = np.repeat(np.arange(6), 80)
    scores = (rng.random(480) < np.linspace(0.3, 0.8, 6)[labelers]).astype(float)
    prompts = np.tile(np.arange(80), 6)
    clusters = cluster(prompts, labelers, np.arange(80))
    share = shares(scores, clusters, draw(clusters.shape, 2000))[0]
    found = plan(share, variance_parts(scores, clusters))
    assert found.lacking == "labelers"
    assert found.floor is not None and share.half_width is not None
    assert 0.7 * share.half_width < found.floor < 1.2 * share.half_width
