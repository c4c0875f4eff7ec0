"""Three policies or more on one scale, and each two of them beside it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detox.errors import UserError
from labeling.analysis.bootstrap import Draws, Floats, cell_sums
from labeling.analysis.frame import Frame, frame
from labeling.analysis.judged import Judged, judged
from labeling.analysis.selection import Selection, select
from labeling.analysis.win_rates import FIRST, SIDES
from labeling.store import Store

# A model is fitted to each resample, so a ranking takes the first draws only: its intervals then
# have a relative standard error of 2 %.
RANKING_RESAMPLES = 2_000
# Cells of all couples of policies that are counted at a time.
_CHUNK_CELLS = 2_000_000


@dataclass(frozen=True)
class Rating:
    """A policy's Bradley–Terry strength: log-odds against the average of those compared."""

    policy: str
    strength: float
    low: float
    high: float
    picks: int


@dataclass(frozen=True)
class Duel:
    """How often ``policy`` was preferred to ``other`` in ``picks`` picks, ties half each way."""

    policy: str
    other: str
    rate: float
    picks: int


@dataclass(frozen=True)
class Ranking:
    """Policies from the strongest down, and every two that met, seen from either side.

    ``ratings`` are empty, and ``why`` is a sentence, where there is nothing to rank.
    """

    ratings: tuple[Rating, ...]
    duels: tuple[Duel, ...]
    why: str = ""


def bradley_terry(
    store: Store, batch: str | None = None, *, resamples: int = RANKING_RESAMPLES, seed: int = 0
) -> list[Rating]:
    """Every compared policy's strength with its interval, strongest first.

    Raises ``UserError`` with fewer than three policies (use ``win_rate``), when some were never
    compared with the others, directly or through a third, and for an unknown batch.
    """
    picks = select(frame(store), Selection(batch=batch))
    found = ranking(judged(picks, resamples=resamples, seed=seed))
    if found.why:
        raise UserError(found.why)
    return list(found.ratings)


def ranking(some: Judged) -> Ranking:
    """The policies among judged picks, ranked."""
    won, resampled = _won(some, some.draws.first(RANKING_RESAMPLES))
    met = np.flatnonzero((won + won.T).any(axis=1))
    names = [some.picks.frame.pairs.policies[place] for place in met]
    won, resampled = won[np.ix_(met, met)], resampled[:, met[:, None], met]
    played = won + won.T
    order = sorted(range(len(names)), key=names.__getitem__)
    duels = tuple(
        Duel(names[i], names[j], float(won[i, j] / played[i, j]), int(played[i, j]))
        for i in order
        for j in order
        if played[i, j]
    )
    if len(names) < 3:
        why = "A ranking needs picks between three policies: use the win rate for two."
        return Ranking((), duels, why)
    if not _connected(played):
        return Ranking(
            (),
            duels,
            "Some policies were never compared with the others, directly or through a third: "
            "label pairs that join them.",
        )
    strengths = fit_bradley_terry(won[None])
    drawn = fit_bradley_terry(resampled, start=strengths)
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    ratings = [
        Rating(name, float(strengths[0, i]), float(low[i]), float(high[i]), int(played[i].sum()))
        for i, name in enumerate(names)
    ]
    return Ranking(tuple(sorted(ratings, key=lambda rating: -rating.strength)), duels)


def _won(some: Judged, draws: Draws) -> tuple[Floats, Floats]:
    """``won[i, j]``, how often policy i was preferred to j, and that of each draw ``[r, i, j]``.

    Policies are in the order of their places; picks between two texts of one do not count.
    """
    picks, k = some.picks, len(some.picks.frame.pairs.policies)
    couple = _couples(picks.frame)
    judged = np.bincount(picks.pair, minlength=len(couple)) > 0
    couples = np.unique(couple[judged & (couple >= 0)])
    place = np.where(judged & (couple >= 0), np.searchsorted(couples, couple), -1).astype(np.int32)
    # The score of the policy whose place comes first.
    turned = picks.frame.pairs.policy_a > picks.frame.pairs.policy_b
    table = np.concatenate([FIRST, 1 - FIRST])
    scores = table[(turned * np.int8(SIDES))[picks.pair] + picks.outcome]
    won, drawn = np.zeros((k, k)), np.zeros((draws.prompts.shape[1], k, k))
    chunk = max(1, _CHUNK_CELLS // max(1, math.prod(some.clusters.shape)))
    for start in range(0, len(couples), chunk):
        now = couples[start : start + chunk]
        inside = (place >= start) & (place < start + chunk)
        slices = np.where(inside, place - start, -1).astype(np.int32)
        tables = cell_sums(scores, some.clusters, slices, len(now))
        for (i, j), sums, counts in zip((divmod(int(n), k) for n in now), *tables, strict=True):
            won[i, j], won[j, i] = sums.sum(), (counts - sums).sum()
            drawn[:, i, j], drawn[:, j, i] = draws.totals(np.stack([sums, counts - sums]))
    return won, drawn


def _couples(frame: Frame) -> NDArray[np.int64]:
    """The two policies of each pair as one number, the lower place first; -1 if they are one."""
    pairs, k = frame.pairs, len(frame.pairs.policies)
    low = np.minimum(pairs.policy_a, pairs.policy_b).astype(np.int64)
    high = np.maximum(pairs.policy_a, pairs.policy_b)
    return np.where(low == high, -1, low * k + high)


def fit_bradley_terry(won: Floats, prior: float = 0.01, start: Floats | None = None) -> Floats:
    """Strengths ``[r, k]``, mean 0, from ``won[r, i, j]``: how often i was preferred to j.

    Maximises ``sum_ij won_ij log sigmoid(s_i - s_j) - prior/2 * sum_i s_i^2`` by Newton's method
    (Bradley and Terry, "Rank analysis of incomplete block designs", 1952; a tie is half a win
    each way), from ``start`` ``[1, k]`` or from 0. The small prior keeps a policy that never lost
    finite.
    """
    r, k, _ = won.shape
    games = won + won.transpose(0, 2, 1)
    strengths = np.zeros((r, k)) if start is None else np.repeat(start, r, axis=0)
    for _ in range(100):
        expected = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
        gradient = (won - games * expected).sum(axis=2) - prior * strengths
        spread = games * expected * (1 - expected)
        hessian = -spread
        hessian[:, range(k), range(k)] += spread.sum(axis=2) + prior
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        strengths += np.clip(step, -1, 1)
        # All strengths moved alike are the same ranking, and only the prior holds them.
        if np.abs(step - step.mean(axis=1, keepdims=True)).max() < 1e-9:
            break
    centred: Floats = strengths - strengths.mean(axis=1, keepdims=True)
    return centred


def _connected(played: Floats) -> bool:
    reached = np.zeros(len(played), dtype=bool)
    reached[0] = True
    for _ in range(len(played)):
        reached |= (played[reached] > 0).any(axis=0)
    return bool(reached.all())
