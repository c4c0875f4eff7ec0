"""Bradley–Terry rankings: golden numbers, intervals, and what cannot be ranked."""

from __future__ import annotations

import numpy as np
import pytest

from detox.errors import UserError
from labeling.analysis import ranking as module
from labeling.analysis.judged import judged
from labeling.analysis.ranking import bradley_terry, fit_bradley_terry, ranking
from labeling.analysis.selection import select
from labeling.batches import add_pairs
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows
from tests.labeling.frames import make_frame, make_pairs


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


def test_every_two_policies_are_seen_from_either_side() -> None:
    pairs = make_pairs(
        3, policy_a=[0, 2, 0], policy_b=[1, 1, 2], policies=("before", "after", "later")
    )
    outcomes = ["b", "b", "a", "tie", "b", "both_bad"]
    found = ranking(
        judged(select(make_frame([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 0], outcomes, pairs)))
    )
    rates = {(duel.policy, duel.other): (duel.rate, duel.picks) for duel in found.duels}
    assert rates["after", "before"] == (pytest.approx(2 / 3), 3)
    assert rates["before", "after"] == (pytest.approx(1 / 3), 3)
    # "after" is the second candidate: one tie, one win.
    assert rates["after", "later"] == (0.75, 2)
    assert rates["later", "before"] == (0.5, 1)
    assert [rating.policy for rating in found.ratings] == ["after", "before", "later"]


def test_two_policies_are_told_but_not_ranked() -> None:
    found = ranking(judged(select(make_frame([0, 1], [0, 0], ["a", "b"]))))
    assert found.ratings == () and "three policies" in found.why
    assert len(found.duels) == 2


def test_couples_counted_in_turns_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    first, second = np.array([(i, j) for i in range(5) for j in range(5) if i != j]).T
    pairs = make_pairs(20, policy_a=first, policy_b=second, policies=tuple("vwxyz"))
    some = judged(
        select(
            make_frame(np.repeat(np.arange(20), 6), [0, 1] * 60, rng.integers(0, 4, 120), pairs)
        ),
        resamples=300,
    )
    at_once = ranking(some)
    monkeypatch.setattr(module, "_CHUNK_CELLS", 1)
    assert ranking(some) == at_once
    assert len(at_once.duels) == 20 and len(at_once.ratings) == 5


def test_a_fit_may_start_anywhere() -> None:
    rng = np.random.default_rng(0)
    won = rng.integers(0, 9, (20, 4, 4)).astype(float)
    won[:, range(4), range(4)] = 0
    anew = fit_bradley_terry(won)
    assert fit_bradley_terry(won, start=np.array([[1.0, -2.0, 0.5, 0.5]])) == pytest.approx(
        anew, abs=1e-6
    )
