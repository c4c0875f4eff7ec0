"""Cohen's kappa of every two labelers who share pairs, as one number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.bootstrap import Floats, dealt, drawn, percentiles

Codes = NDArray[np.int32]

# Cohen's kappa is for two raters: of more than these many, those with most ratings are compared.
RATERS_COMPARED = 20
# Of more than so many units, as many drawn at random say the same: kappa to a hundredth.
UNITS_COMPARED = 10_000
# How many numbers the confusion counts of all groups of units may hold, and those of all
# resamples: for many raters, units are drawn in fewer groups and less often.
_GROUP_NUMBERS, _RESAMPLED_NUMBERS = 500_000, 2_500_000
_GROUPS, _RESAMPLES, _CHUNK = (100, 1_000), (1_000, 10_000), 500_000


def mean_cohen(
    units: Codes, raters: Codes, labels: Codes, k: int
) -> tuple[float | None, tuple[float, float] | None]:
    """The mean of Cohen's kappa over pairs of raters, weighted by the units they share.

    ``units``, ``raters`` and ``labels`` ``[n]`` are codes from 0, labels below ``k``. Pairs of
    raters who only used one and the same label have no kappa and do not count. Also a 95 %
    interval of a bootstrap over units; None where kappa is, or does not vary. Cohen, "A
    coefficient of agreement for nominal scales" (1960).
    """
    counts = np.bincount(raters)
    if len(counts) > RATERS_COMPARED:
        kept = np.argsort(-counts, kind="stable")[:RATERS_COMPARED]
        place = np.full(len(counts), -1, dtype=np.int32)
        place[kept] = np.arange(RATERS_COMPARED, dtype=np.int32)
        inside = place[raters] >= 0
        units, raters, labels = units[inside], place[raters[inside]], labels[inside]
    if len(units) and (n_units := int(units.max()) + 1) > UNITS_COMPARED:
        place = np.random.default_rng(0).permutation(n_units).astype(np.int32)
        inside = place[units] < UNITS_COMPARED
        units, raters, labels = place[units[inside]], raters[inside], labels[inside]
    n_raters = min(len(counts), RATERS_COMPARED)
    couples = n_raters * (n_raters - 1) // 2
    if couples == 0:
        return None, None
    numbers = couples * (2 * k + 1)
    groups = int(np.clip(_GROUP_NUMBERS // numbers, *_GROUPS))
    tables = _confusions(units, raters, labels, n_raters, k, groups)
    kappa = float(_weighted_kappa(tables.sum(axis=0, keepdims=True))[0])
    if np.isnan(kappa):
        return None, None
    resamples = int(np.clip(_RESAMPLED_NUMBERS // numbers, *_RESAMPLES))
    return kappa, _interval(tables, resamples)


def _confusions(
    units: Codes, raters: Codes, labels: Codes, n_raters: int, k: int, groups: int
) -> NDArray[np.float32]:
    """Of each group of units and each two raters, over the units both rated: how often the first
    gave each label, how often the second did, and how often they gave the same,
    ``[group, couple, 2 k + 1]``.
    """
    n_units = int(units.max()) + 1
    group = dealt(n_units, groups, groups)
    # A unit's place in its group: the table of a group has a row for each of its units.
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(int(group.max()) + 2))
    place = np.empty(n_units, dtype=np.int64)
    place[order] = np.arange(n_units) - starts[group[order]]
    by_group = np.argsort(group[units].astype(np.int16), kind="stable")
    ends = np.cumsum(np.bincount(group[units], minlength=len(starts) - 1))
    first, second = np.triu_indices(n_raters, 1)
    tables = np.empty((len(starts) - 1, len(first), 2 * k + 1), dtype=np.float32)
    begin = 0
    for number, end in enumerate(ends):
        rows = by_group[begin:end]
        begin = end
        given = np.zeros((starts[number + 1] - starts[number], n_raters * k), dtype=np.float32)
        given[place[units[rows]], labels[rows] * n_raters + raters[rows]] = 1
        by_label = given.reshape(len(given), k, n_raters)
        beside = (given.T @ by_label.sum(axis=1)).reshape(k, n_raters, n_raters)
        same = np.matmul(by_label.transpose(1, 2, 0), by_label.transpose(1, 0, 2)).sum(axis=0)
        tables[number, :, :k] = beside[:, first, second].T
        tables[number, :, k : 2 * k] = beside[:, second, first].T
        tables[number, :, 2 * k] = same[first, second]
    return tables


def _weighted_kappa(tables: NDArray[np.float32]) -> Floats:
    """The mean kappa ``[r]`` of confusion counts ``[r, couple, 2 k + 1]``; NaN without any."""
    tables = tables.astype(np.float64)
    k = tables.shape[2] // 2
    shared = tables[:, :, :k].sum(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (tables[:, :, :k] * tables[:, :, k : 2 * k]).sum(axis=2) / shared**2
        kappa = (tables[:, :, -1] / shared - expected) / (1 - expected)
        weight = np.where((shared > 0) & (expected < 1 - 1e-12), shared, 0.0)
        total = np.where(weight > 0, weight * kappa, 0.0).sum(axis=1)
        return total / weight.sum(axis=1)


def _interval(tables: NDArray[np.float32], resamples: int) -> tuple[float, float] | None:
    groups, couples, columns = tables.shape
    flat = tables.reshape(groups, couples * columns)
    weights = drawn(groups, resamples).T.astype(np.float32)
    chunk = max(1, _CHUNK // flat.shape[1])
    kappas = np.concatenate(
        [
            _weighted_kappa((weights[start : start + chunk] @ flat).reshape(-1, couples, columns))
            for start in range(0, resamples, chunk)
        ]
    )
    kappas = kappas[~np.isnan(kappas)]
    return percentiles(kappas) if len(kappas) and np.ptp(kappas) > 1e-6 else None
