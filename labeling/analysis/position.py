"""Whether the left side wins more often than it should."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr

from labeling.analysis.bootstrap import shares
from labeling.analysis.judged import Judged


@dataclass(frozen=True)
class Position:
    """How often the left response was preferred, of the picks that prefer one.

    ``p`` is the exact two-sided binomial test against one half: were all picks independent. The
    interval from ``low`` to ``high`` is clustered by labeler and prompt, as habits belong to
    people. All are None without such picks.
    """

    picks: int
    left: int
    share: float | None
    low: float | None
    high: float | None
    p: float | None


def position(some: Judged) -> Position:
    """The share of left among judged picks that prefer a side."""
    decided = some.decided
    lefts = decided.picks.left
    left, n = int(lefts.sum()), len(lefts)
    if n == 0:
        return Position(0, 0, None, None, None, None)
    share = shares(lefts.astype(np.float64), decided.clusters, decided.draws)[0]
    return Position(n, left, share.rate, share.low, share.high, float(fair_coin(left, n)))


def fair_coin(k: ArrayLike, n: ArrayLike) -> NDArray[np.float64]:
    """Two-sided exact p-values of ``k`` heads of ``n`` throws of a fair coin; 1 for no throws.

    For a fair coin this is ``scipy.stats.binomtest``, for many ``k`` and ``n`` at once: both
    tails are alike, so it is twice the smaller one.
    """
    k, n = np.asarray(k), np.asarray(n)
    return np.minimum(1.0, 2 * bdtr(np.minimum(k, n - k), n, 0.5))
