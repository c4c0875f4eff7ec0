"""Which policy people prefer, how sure that is, and how many picks it takes to be sure.

All intervals are percentile intervals of a bootstrap clustered both ways: prompts and labelers
are resampled independently and a pick counts as often as its prompt times as its labeler was
drawn (the pigeonhole bootstrap; Owen, "The pigeonhole bootstrap", Annals of Applied Statistics,
2007). It never understates the uncertainty of crossed data. With one labeler it says nothing
about other labelers, only about other prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detox.errors import UserError
from labeling.store import Store

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Below six prompts not even unanimous picks pass a two-sided sign test at 5 % (2 * 0.5^5 > 0.05).
MIN_PROMPTS = 6
_CHUNK_CELLS = 5_000_000


@dataclass(frozen=True)
class WinRate:
    """How often ``after`` was preferred to ``before``; shares between 0 and 1, None without picks.

    ``wins``, ``losses``, ``ties`` and ``both_bad`` are ``n`` picks; ``skips`` are left out of it.
    """

    after: str
    before: str
    rate: float | None
    low: float | None
    high: float | None
    verdict: str
    n: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    skips: int
    prompts: int
    labelers: int


@dataclass(frozen=True)
class Rating:
    """A policy's Bradley–Terry strength: log-odds against the average of those compared."""

    policy: str
    strength: float
    low: float
    high: float
    picks: int


def win_rate(
    store: Store,
    after: str = "after",
    before: str = "before",
    batch: str | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> WinRate:
    """Win rate of policy ``after`` against ``before`` over the current picks.

    A tie and a both-bad count half, skips are left out. Raises ``UserError`` if both are the same.
    """
    if after == before:
        raise UserError(f"A policy cannot be compared with itself ('{after}'): name two.")
    with store.reading() as db:
        rows = list(
            db.query(
                """
                SELECT prompt_id, labeler_id, CASE
                    WHEN choice = 'left' AND left_policy = :after THEN 'wins'
                    WHEN choice = 'right' AND right_policy = :after THEN 'wins'
                    WHEN choice IN ('left', 'right') THEN 'losses'
                    WHEN choice = 'tie' THEN 'ties'
                    WHEN choice = 'skip' THEN 'skips'
                    ELSE 'both_bad' END AS result
                FROM preferences
                WHERE (left_policy = :after AND right_policy = :before
                    OR left_policy = :before AND right_policy = :after)
                    AND (:batch IS NULL OR batch = :batch)
                """,
                {"after": after, "before": before, "batch": batch},
            )
        )
    results = [row["result"] for row in rows]
    counts = {name: results.count(name) for name in ("wins", "losses", "ties", "both_bad", "skips")}
    judged = [row for row in rows if row["result"] != "skips"]
    scores = np.array(
        [{"wins": 1.0, "losses": 0.0}.get(row["result"], 0.5) for row in judged], dtype=float
    )
    prompts = codes([row["prompt_id"] for row in judged])
    labelers = codes([row["labeler_id"] for row in judged])
    interval = clustered_interval(scores, prompts, labelers, resamples=resamples, seed=seed)
    n_prompts = int(prompts.max()) + 1 if len(prompts) else 0
    return WinRate(
        after=after,
        before=before,
        rate=float(scores.mean()) if len(scores) else None,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        verdict=verdict(interval, n_prompts),
        n=len(judged),
        prompts=n_prompts,
        labelers=int(labelers.max()) + 1 if len(labelers) else 0,
        **counts,
    )


def verdict(interval: tuple[float, float] | None, prompts: int, null: float = 0.5) -> str:
    """``higher`` or ``lower`` if the interval lies on one side of ``null``, else ``inconclusive``.

    Fewer than ``MIN_PROMPTS`` prompts are always inconclusive: a percentile interval of so few
    is too narrow.
    """
    if interval is None or prompts < MIN_PROMPTS:
        return "inconclusive"
    low, high = interval
    return "higher" if low > null else "lower" if high < null else "inconclusive"


def planned_picks(margin: float) -> int:
    """Independent picks for a 95 % interval of ± ``margin`` (a share) around 50 %.

    ``n = 1.96^2 * 0.25 / margin^2``: 96 for ±0.10, 384 for ±0.05.
    """
    return round(1.96**2 * 0.25 / margin**2)


def codes(values: Sequence[object]) -> Ints:
    """``values`` as integers ``0..k-1`` by first appearance; shape ``[n]``."""
    places: dict[object, int] = {}
    return np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int64)


def clustered_interval(
    scores: Floats,
    prompts: Ints,
    labelers: Ints,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % interval of the mean of ``scores[n]`` in [0, 1]; None without scores.

    ``prompts[n]`` and ``labelers[n]`` are codes from 0. Where all scores are equal, resampling
    cannot vary; then the share of prompts that could differ unseen bounds the mean (for all wins
    that is the Clopper–Pearson interval over prompts).
    """
    if len(scores) == 0:
        return None
    if np.ptp(scores) == 0:
        value = float(scores[0])
        unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / (int(prompts.max()) + 1))
        return value * (1 - unseen), value * (1 - unseen) + unseen
    sums, counts = _cells(scores, prompts, labelers)
    means = np.concatenate(
        [
            _weighted(weights, sums) / _positive(_weighted(weights, counts))
            for weights in _weights(counts.shape, resamples, seed)
        ]
    )
    return _percentiles(means)


def _cells(scores: Floats, prompts: Ints, labelers: Ints) -> tuple[Floats, Floats]:
    """Sum of scores and number of picks per prompt and labeler, both ``[P, L]``."""
    shape = (int(prompts.max()) + 1, int(labelers.max()) + 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (prompts, labelers), scores)
    np.add.at(counts, (prompts, labelers), 1.0)
    return sums, counts


def _weights(shape: tuple[int, ...], resamples: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Chunks of how often each prompt ``[r, P]`` and each labeler ``[r, L]`` was drawn."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_CELLS // max(shape))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = [generator.multinomial(k, np.full(k, 1 / k), size=size) for k in shape]
        yield drawn[0].astype(float), drawn[1].astype(float)


def _weighted(weights: tuple[Floats, Floats], cells: Floats) -> Floats:
    """``sum_pl w_rp * cells_pl * v_rl`` per resample, ``[r]``."""
    total: Floats = ((weights[0] @ cells) * weights[1]).sum(axis=1)
    return total


def _positive(counts: Floats) -> Floats:
    # A resample may draw only prompts and labelers that never met; it has no mean.
    return np.where(counts > 0, counts, np.nan)


def _percentiles(values: Floats) -> tuple[float, float]:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def bradley_terry(
    store: Store, batch: str | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> list[Rating]:
    """Every compared policy's strength with its interval, strongest first.

    Raises ``UserError`` with fewer than three policies (use ``win_rate``) and when some were
    never compared with the others, directly or through a third.
    """
    with store.reading() as db:
        rows = list(
            db.query(
                "SELECT prompt_id, labeler_id, choice, left_policy, right_policy FROM preferences"
                " WHERE choice <> 'skip' AND left_policy <> right_policy"
                " AND (:batch IS NULL OR batch = :batch)",
                {"batch": batch},
            )
        )
    names = sorted({row[side] for row in rows for side in ("left_policy", "right_policy")})
    if len(names) < 3:
        raise UserError("A ranking needs picks between three policies: use the win rate for two.")
    place = {name: index for index, name in enumerate(names)}
    left = np.array([place[row["left_policy"]] for row in rows])
    right = np.array([place[row["right_policy"]] for row in rows])
    share = np.array([{"left": 1.0, "right": 0.0}.get(row["choice"], 0.5) for row in rows])
    prompts = codes([row["prompt_id"] for row in rows])
    labelers = codes([row["labeler_id"] for row in rows])
    played = np.zeros((len(names), len(names)))
    np.add.at(played, (left, right), 1.0)
    played += played.T
    if not _connected(played):
        raise UserError(
            "Some policies were never compared with the others, directly or through a third: "
            "label pairs that join them."
        )
    won = np.zeros_like(played)
    np.add.at(won, (left, right), share)
    np.add.at(won, (right, left), 1 - share)
    strengths = fit_bradley_terry(won[None])[0]
    k, cells = len(names), (int(prompts.max()) + 1, int(labelers.max()) + 1)
    tables = {
        (i, j): np.zeros(cells) for i in range(k) for j in range(k) if played[i, j] and i != j
    }
    for i, j in tables:
        as_left, as_right = (left == i) & (right == j), (left == j) & (right == i)
        np.add.at(tables[i, j], (prompts[as_left], labelers[as_left]), share[as_left])
        np.add.at(tables[i, j], (prompts[as_right], labelers[as_right]), 1 - share[as_right])
    drawn = []
    for weights in _weights(cells, resamples, seed):
        resampled = np.zeros((len(weights[0]), k, k))
        for (i, j), table in tables.items():
            resampled[:, i, j] = _weighted(weights, table)
        drawn.append(fit_bradley_terry(resampled))
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5], axis=0)
    ratings = [
        Rating(name, float(strengths[i]), float(low[i]), float(high[i]), int(played[i].sum()))
        for i, name in enumerate(names)
    ]
    return sorted(ratings, key=lambda rating: -rating.strength)


def fit_bradley_terry(won: Floats, prior: float = 0.01) -> Floats:
    """Strengths ``[r, k]``, mean 0, from ``won[r, i, j]``: how often i was preferred to j.

    Maximises ``sum_ij won_ij log sigmoid(s_i - s_j) - prior/2 * sum_i s_i^2`` by Newton's method
    (Bradley and Terry, "Rank analysis of incomplete block designs", 1952; a tie is half a win
    each way). The small prior keeps a policy that never lost finite.
    """
    r, k, _ = won.shape
    games = won + won.transpose(0, 2, 1)
    strengths = np.zeros((r, k))
    for _ in range(100):
        expected = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
        gradient = (won - games * expected).sum(axis=2) - prior * strengths
        spread = games * expected * (1 - expected)
        hessian = -spread
        hessian[:, range(k), range(k)] += spread.sum(axis=2) + prior
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        strengths += np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    centred: Floats = strengths - strengths.mean(axis=1, keepdims=True)
    return centred


def _connected(played: Floats) -> bool:
    reached = np.zeros(len(played), dtype=bool)
    reached[0] = True
    for _ in range(len(played)):
        reached |= (played[reached] > 0).any(axis=0)
    return bool(reached.all())
