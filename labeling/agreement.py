"""How far labelers agree, beyond what chance would give.

A rating is ``(unit, rater, label)``: a pair, a labeler, and what they preferred in terms of the
pair's own candidates (``a``, ``b``, ``tie``, ``both_bad``), never of left and right.
Each measure is None where it is undefined: nobody overlaps, or only one label was ever used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from labeling.store import Store

Rating = tuple[Hashable, Hashable, Hashable]


@dataclass(frozen=True)
class Agreement:
    """Agreement over the pairs that at least two labelers judged (skips are no judgement)."""

    pairs: int
    labelers: int
    raw: float | None
    fleiss: float | None
    alpha: float | None
    # Of the two labelers who share most pairs, as Cohen's kappa is for two.
    cohen: float | None


def agreement(store: Store, batch: str | None = None) -> Agreement:
    """Agreement of the current picks, all of them or those of one batch."""
    with store.reading() as db:
        rows = list(
            db.query(
                "SELECT pair_id, labeler_id, outcome FROM preferences"
                " WHERE outcome <> 'skip' AND (:batch IS NULL OR batch = :batch)",
                {"batch": batch},
            )
        )
    return measure((row["pair_id"], row["labeler_id"], row["outcome"]) for row in rows)


def measure(ratings: Iterable[Rating]) -> Agreement:
    """Every measure at once; Fleiss' kappa only where all shared units have as many ratings."""
    units = _by_unit(ratings)
    shared = {unit: labels for unit, labels in units.items() if len(labels) > 1}
    flat = [(unit, rater, label) for unit, by in shared.items() for rater, label in by.items()]
    counts = count_labels(flat)
    even = len(counts) > 0 and len(set(counts.sum(axis=1).tolist())) == 1
    pair = _closest_pair(shared)
    return Agreement(
        pairs=len(shared),
        labelers=len({rater for _, rater, _ in flat}),
        raw=raw_agreement(flat),
        fleiss=fleiss_kappa(counts) if even else None,
        alpha=krippendorff_alpha(flat),
        cohen=cohen_kappa(*pair) if pair else None,
    )


def raw_agreement(ratings: Iterable[Rating]) -> float | None:
    """The share of rater pairs, over all units, who gave the same label."""
    counts = count_labels(ratings).astype(float)
    raters = counts.sum(axis=1)
    possible = float((raters * (raters - 1)).sum())
    return float((counts * (counts - 1)).sum()) / possible if possible else None


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Cohen's kappa of two raters' labels of the same units, in the same order.

    Cohen, "A coefficient of agreement for nominal scales" (1960). Raises ``ValueError`` for
    sequences of different lengths.
    """
    if len(first) != len(second):
        raise ValueError(f"Both raters must label the same units: {len(first)} != {len(second)}.")
    if len({*first, *second}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    names = {label: place for place, label in enumerate(dict.fromkeys([*first, *second]))}
    return float(cohen_kappa_score([names[x] for x in first], [names[x] for x in second]))


def fleiss_kappa(counts: NDArray[np.int64]) -> float | None:
    """Fleiss' kappa of ``counts[unit, label]``, the number of raters who gave each label.

    Fleiss, "Measuring nominal scale agreement among many raters" (1971). Raises ``ValueError``
    unless every unit has the same number of ratings, at least two.
    """
    raters = counts.sum(axis=1)
    if len(counts) == 0 or raters.min() != raters.max() or raters[0] < 2:
        raise ValueError("Fleiss' kappa needs the same number of ratings, two or more, per unit.")
    n = float(raters[0])
    observed = float(((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean())
    expected = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (observed - expected) / (1 - expected) if expected < 1 else None


def krippendorff_alpha(ratings: Iterable[Rating]) -> float | None:
    """Krippendorff's alpha for nominal labels; raters may have skipped units.

    Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C:
    ``alpha = 1 - (n - 1) * sum_u [m_u^2 - sum_c n_uc^2] / (m_u - 1) / [n^2 - sum_c n_c^2]``,
    over units with ``m_u > 1`` ratings, ``n`` ratings in all.
    """
    counts = count_labels(ratings).astype(float)
    counts = counts[counts.sum(axis=1) > 1]
    per_unit = counts.sum(axis=1)
    total = counts.sum()
    expected = float(total**2 - (counts.sum(axis=0) ** 2).sum())
    if expected == 0:
        return None
    observed = float(((per_unit**2 - (counts**2).sum(axis=1)) / (per_unit - 1)).sum())
    return 1 - float(total - 1) * observed / expected


def count_labels(ratings: Iterable[Rating]) -> NDArray[np.int64]:
    """``counts[unit, label]`` of ratings; a rater's later label for a unit replaces the earlier."""
    units = _by_unit(ratings)
    labels: dict[Hashable, int] = {}
    for by_rater in units.values():
        for label in by_rater.values():
            labels.setdefault(label, len(labels))
    counts = np.zeros((len(units), len(labels)), dtype=np.int64)
    for row, by_rater in enumerate(units.values()):
        for label in by_rater.values():
            counts[row, labels[label]] += 1
    return counts


def _by_unit(ratings: Iterable[Rating]) -> dict[Hashable, dict[Hashable, Hashable]]:
    units: dict[Hashable, dict[Hashable, Hashable]] = defaultdict(dict)
    for unit, rater, label in ratings:
        units[unit][rater] = label
    return dict(units)


def _closest_pair(
    units: dict[Hashable, dict[Hashable, Hashable]],
) -> tuple[list[Hashable], list[Hashable]] | None:
    """Both label lists of the two raters who share most units."""
    shared: dict[tuple[Hashable, Hashable], list[tuple[Hashable, Hashable]]] = defaultdict(list)
    for by_rater in units.values():
        for first, second in combinations(sorted(by_rater, key=repr), 2):
            shared[first, second].append((by_rater[first], by_rater[second]))
    if not shared:
        return None
    labels = max(shared.values(), key=len)
    return [first for first, _ in labels], [second for _, second in labels]
