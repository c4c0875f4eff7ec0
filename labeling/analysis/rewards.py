"""How often the hate classifier's reward prefers what people prefer, and where it is sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.agreement import raw_of
from labeling.analysis.bootstrap import Share, cluster, draw, shares
from labeling.analysis.frame import A, B
from labeling.analysis.judged import Judged
from labeling.analysis.labelers import SAME, UNKNOWN, said_by_others

# Pairs are cut into as many equal parts by how far their rewards lie apart.
BANDS = ("least sure third", "middle third", "surest third")


@dataclass(frozen=True)
class Band:
    """Agreement where the two rewards differ by ``from_`` to ``to``, in the reward's own unit.

    Both are None for all pairs together.
    """

    name: str
    from_: float | None
    to: float | None
    share: Share


@dataclass(frozen=True)
class RewardAgreement:
    """How often the response with the higher reward is the preferred one.

    ``people`` is over picks that prefer a side, of pairs whose responses both have a reward and
    not the same one; ``bands`` are parts of these. ``adjudicated`` and ``adjudicated_bands`` are
    over pairs with an adjudicated label that prefers a side. ``undecided`` picks and pairs
    ``without_reward`` are left out. ``one_other`` is how often two people who prefer a side agree
    on such pairs, ``majority`` how often a pick is what most others picked: no reward can be
    expected to do better.
    """

    people: Share
    bands: tuple[Band, ...]
    adjudicated: Share
    adjudicated_bands: tuple[Band, ...]
    undecided: int
    without_reward: int
    one_other: float | None
    majority: float | None


def reward_agreement(some: Judged) -> RewardAgreement:
    """How the rewards of pairs compare with judged picks, and with what was adjudicated."""
    frame, picks = some.picks.frame, some.picks
    gap = frame.pairs.reward_a - frame.pairs.reward_b
    scored = ~np.isnan(gap) & (gap != 0)
    decided = some.decided
    mine = decided.only(scored[decided.picks.pair])
    pairs = np.flatnonzero(np.bincount(mine.picks.pair, minlength=len(gap)))
    bands = _bands(np.abs(gap), pairs)
    agrees = (mine.picks.outcome == A) == (gap[mine.picks.pair] > 0)
    people = shares(agrees.astype(np.float64), mine.clusters, mine.draws)[0]
    labels = frame.pairs.adjudicated
    judged = np.bincount(picks.pair, minlength=len(gap)) > 0
    ruled = np.flatnonzero(judged & scored & ((labels == A) | (labels == B)))
    right = ((labels[ruled] == A) == (gap[ruled] > 0)).astype(np.float64)
    # Each of these pairs is one row, by one adjudicator in the end.
    alone = np.zeros(len(ruled), dtype=np.int32)
    clusters = cluster(ruled.astype(np.int32), alone, frame.pairs.prompt)
    draws = draw(clusters.shape)
    said = said_by_others(mine.picks, np.ones(len(mine), dtype=np.bool_))
    known = int((said != UNKNOWN).sum())
    return RewardAgreement(
        people=people,
        bands=_in_bands(
            np.abs(gap),
            bands,
            shares(
                agrees.astype(np.float64),
                mine.clusters,
                mine.draws,
                bands,
                len(BANDS),
            ),
        ),
        adjudicated=shares(right, clusters, draws)[0],
        adjudicated_bands=_in_bands(
            np.abs(gap), bands, shares(right, clusters, draws, bands, len(BANDS))
        ),
        undecided=len(some) - len(decided),
        without_reward=int((judged & ~scored).sum()),
        one_other=raw_of(mine.picks),
        majority=int((said == SAME).sum()) / known if known else None,
    )


def _bands(distance: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.int32]:
    """The band of each pair by its ``distance``, cut so that ``pairs`` fill them alike.

    -1 where that cannot be told: a distance is unknown, or most are equal.
    """
    nowhere = np.full(len(distance), -1, dtype=np.int32)
    if len(pairs) < len(BANDS):
        return nowhere
    edges = np.quantile(distance[pairs], np.arange(1, len(BANDS)) / len(BANDS))
    found = np.searchsorted(edges, np.nan_to_num(distance), side="left").astype(np.int32)
    if len(np.unique(found[pairs])) < len(BANDS):
        return nowhere
    return np.where(np.isnan(distance), np.int32(-1), found)


def _in_bands(
    distance: NDArray[np.float32], bands: NDArray[np.int32], found: list[Share]
) -> tuple[Band, ...]:
    made = []
    for place, share in enumerate(found):
        inside = distance[bands == place]
        if share.n:
            made.append(Band(BANDS[place], float(inside.min()), float(inside.max()), share))
    return tuple(made)
