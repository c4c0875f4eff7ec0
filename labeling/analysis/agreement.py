"""How far labelers agree, beyond what chance would give.

A rating is ``(unit, rater, label)``: a pair, a labeler, and what they preferred in terms of the
pair's own candidates (``a``, ``b``, ``tie``, ``both_bad``), never of left and right. Each measure
is None where it is undefined: nobody overlaps, or only one label was ever used. Intervals are
percentile intervals of a bootstrap over units.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.bootstrap import (
    EXACT_PROMPTS,
    PROMPT_GROUPS,
    RESAMPLES,
    Floats,
    compact,
    dealt,
    drawn,
    percentiles,
    unanimous,
)
from labeling.analysis.cohen import Codes, mean_cohen
from labeling.analysis.frame import OUTCOME_NAMES, frame
from labeling.analysis.selection import Picks, Selection, select
from labeling.store import Store

Rating = tuple[Hashable, Hashable, Hashable]
Interval = tuple[float, float] | None
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """Agreement over the pairs that at least two labelers judged (skips are no judgement).

    ``raw`` is the share of labeler pairs who say the same. ``cohen`` is the mean of Cohen's kappa
    over all two labelers who share pairs, weighted by how many they share. An interval is None
    where its measure is, and where no resample differs from another.
    """

    pairs: int
    labelers: int
    raw: float | None
    fleiss: float | None
    alpha: float | None
    cohen: float | None
    raw_interval: Interval = None
    fleiss_interval: Interval = None
    alpha_interval: Interval = None
    cohen_interval: Interval = None


def agreement(store: Store, batch: str | None = None) -> Agreement:
    """Agreement of people's current picks, all of them or those of one batch.

    Raises ``UserError`` for an unknown batch, ``StoreError`` by the database.
    """
    return agreement_of(select(frame(store), Selection(batch=batch)))


def agreement_of(picks: Picks) -> Agreement:
    """Agreement of picks, each by another labeler or on another pair."""
    some = picks.judged
    return _measure(some.pair, some.labeler, some.outcome.astype(np.int32), len(OUTCOME_NAMES) - 1)


def raw_of(picks: Picks) -> float | None:
    """The raw agreement of picks alone, which takes a moment where all measures take longer."""
    some, k = picks.judged, len(OUTCOME_NAMES) - 1
    counts = np.bincount(some.pair * np.int64(k) + some.outcome).astype(np.float64)
    per_pair = np.bincount(some.pair)
    possible = float((per_pair * (per_pair - 1)).sum())
    return float((counts * (counts - 1)).sum()) / possible if possible else None


def measure(ratings: Iterable[Rating]) -> Agreement:
    """Every measure at once; a rater's later label for a unit replaces the earlier one.

    Fleiss' kappa only where all shared units have as many ratings.
    """
    found = [
        (unit, rater, label)
        for unit, by_rater in _by_unit(ratings).items()
        for rater, label in by_rater.items()
    ]
    if not found:
        return Agreement(0, 0, None, None, None, None)
    units, raters, labels = (_places(column) for column in zip(*found, strict=True))
    return _measure(units, raters, labels, int(labels.max()) + 1)


def _measure(units: Codes, raters: Codes, labels: Codes, k: int) -> Agreement:
    units, n_units = compact(units)
    counts = np.bincount(units * np.int64(k) + labels, minlength=n_units * k).reshape(-1, k)
    shared = counts.sum(axis=1) > 1
    if not shared.all():
        inside = shared[units]
        units, raters, labels = compact(units[inside])[0], raters[inside], labels[inside]
        counts = counts[shared]
    if len(counts) == 0:
        return Agreement(0, 0, None, None, None, None)
    raters, n_raters = compact(raters)
    even = bool((counts.sum(axis=1) == counts[0].sum()).all())
    totals = _totals(counts)
    whole = totals.sum(axis=0)[:, None]
    resampled = _resampled(totals)
    cohen, cohen_interval = mean_cohen(units, raters, labels, k)
    raw = _raw(whole)[0]
    return Agreement(
        pairs=len(counts),
        labelers=n_raters,
        raw=float(raw),
        fleiss=_known(_fleiss(whole)[0]) if even else None,
        alpha=_known(_alpha(whole)[0]),
        cohen=cohen,
        raw_interval=_interval(_raw(resampled)) or unanimous(float(raw), len(counts))[0],
        fleiss_interval=_interval(_fleiss(resampled)) if even else None,
        alpha_interval=_interval(_alpha(resampled)),
        cohen_interval=cohen_interval,
    )


# Every measure is a function of sums over units, so a resample is a weighted sum of these rows:
# agreeing and possible pairs of ratings, disagreement, share of agreeing pairs, units, labels.
_AGREEING, _POSSIBLE, _DISAGREEMENT, _SHARE, _UNITS, _LABELS = range(6)


def _totals(counts: Counts) -> Floats:
    """What the measures need of each unit, ``[units, 5 + k]``."""
    n = counts.astype(np.float64)
    m = n.sum(axis=1)
    agreeing, possible = (n * (n - 1)).sum(axis=1), m * (m - 1)
    disagreement = (m**2 - (n**2).sum(axis=1)) / (m - 1)
    rows = [agreeing, possible, disagreement, agreeing / possible, np.ones(len(n)), *n.T]
    return np.stack(rows, axis=1)


def _resampled(totals: Floats) -> Floats:
    """Those sums over every resample of the units, ``[5 + k, resamples]``."""
    group = dealt(len(totals), EXACT_PROMPTS, PROMPT_GROUPS)
    groups = int(group.max()) + 1
    dealt_totals = np.stack(
        [np.bincount(group, weights=column, minlength=groups) for column in totals.T]
    )
    # Single precision holds these sums to 1e-7, and the resampling is far less precise.
    resampled = dealt_totals.astype(np.float32) @ drawn(groups, RESAMPLES).astype(np.float32)
    return resampled.astype(np.float64)


def _raw(totals: Floats) -> Floats:
    return totals[_AGREEING] / totals[_POSSIBLE]


def _fleiss(totals: Floats) -> Floats:
    labels = totals[_LABELS:]
    expected = ((labels / labels.sum(axis=0)) ** 2).sum(axis=0)
    return _ratio(totals[_SHARE] / totals[_UNITS] - expected, 1 - expected)


def _alpha(totals: Floats) -> Floats:
    labels = totals[_LABELS:]
    n = labels.sum(axis=0)
    expected = n**2 - (labels**2).sum(axis=0)
    return 1 - _ratio((n - 1) * totals[_DISAGREEMENT], expected)


def _ratio(above: Floats, below: Floats) -> Floats:
    """NaN where all labels are the same, and chance alone agrees."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-12)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _interval(values: Floats) -> Interval:
    known = values[~np.isnan(values)]
    if len(known) == 0 or np.ptp(known) < 1e-9:
        return None
    return percentiles(known)


def raw_agreement(ratings: Iterable[Rating]) -> float | None:
    """The share of rater pairs, over all units, who gave the same label."""
    return measure(ratings).raw


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Cohen's kappa of two raters' labels of the same units, in the same order.

    Cohen, "A coefficient of agreement for nominal scales" (1960). Raises ``ValueError`` for
    sequences of different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"Both raters must label the same units: {len(first)} != {len(second)}.")
    both = [
        (unit, rater, label)
        for rater in (0, 1)
        for unit, label in enumerate((first, second)[rater])
    ]
    return measure(both).cohen


def fleiss_kappa(counts: Counts) -> float | None:
    """Fleiss' kappa of ``counts[unit, label]``, the number of raters who gave each label.

    Fleiss, "Measuring nominal scale agreement among many raters" (1971). Raises ``ValueError``
    unless every unit has the same number of ratings, at least two.
    """
    raters = counts.sum(axis=1)
    if len(counts) == 0 or raters.min() != raters.max() or raters[0] < 2:
        raise ValueError("Fleiss' kappa needs the same number of ratings, two or more, per unit.")
    return _known(_fleiss(_totals(counts).sum(axis=0)[:, None])[0])


def krippendorff_alpha(ratings: Iterable[Rating]) -> float | None:
    """Krippendorff's alpha for nominal labels; raters may have skipped units.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C:
    ``alpha = 1 - (n - 1) * sum_u [m_u^2 - sum_c n_uc^2] / (m_u - 1) / [n^2 - sum_c n_c^2]``,
    over units with ``m_u > 1`` ratings, ``n`` ratings in all.
    """
    return measure(ratings).alpha


def _by_unit(ratings: Iterable[Rating]) -> dict[Hashable, dict[Hashable, Hashable]]:
    units: dict[Hashable, dict[Hashable, Hashable]] = defaultdict(dict)
    for unit, rater, label in ratings:
        units[unit][rater] = label
    return dict(units)


def _places(values: Sequence[Hashable]) -> Codes:
    """``values`` as integers ``0..k-1`` by first appearance; shape ``[n]``."""
    places: dict[Hashable, int] = {}
    return np.array([places.setdefault(value, len(places)) for value in values], dtype=np.int32)
