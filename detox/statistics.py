"""Honest differences: paired, clustered, with an interval and a verdict."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """A mean difference with its percentile 95 % interval."""

    mean: float
    low: float
    high: float
    n: int
    clusters: int

    @property
    def verdict(self) -> str:
        """``lower`` or ``higher`` when the interval leaves out 0, else ``inconclusive``."""
        if self.clusters < 2:
            return "inconclusive"  # resampling one prompt finds no spread, whatever there is
        if self.high < 0:
            return "lower"
        return "higher" if self.low > 0 else "inconclusive"


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> Difference:
    """Mean of ``after - before`` with a bootstrap over clusters (Efron & Tibshirani 1993).

    ``before`` and ``after`` are n paired numbers; pairs of one cluster (samples of one prompt)
    are drawn together, by default each pair is a cluster. Raises ``ValueError`` for unequal or
    empty input.
    """
    gaps = np.asarray(after, float) - np.asarray(before, float)
    if len(gaps) == 0 or len(before) != len(after):
        raise ValueError("paired_difference needs two equally long, non-empty sequences")
    names = list(clusters) if clusters is not None else list(range(len(gaps)))
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    member = np.array([index[name] for name in names])
    sums = np.bincount(member, weights=gaps)
    sizes = np.bincount(member)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(index), np.full(len(index), 1 / len(index)), size=RESAMPLES)
    means = (drawn @ sums) / (drawn @ sizes)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(gaps.mean()), float(low), float(high), len(gaps), len(index))
