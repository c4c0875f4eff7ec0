"""How many more picks it takes, and whether it is picks that are lacking.

What a pick is worth is taken from the interval at hand: ``n`` picks with a 95 % half-width ``h``
are worth ``1.96^2 / (4 h^2)`` independent ones at a rate of one half, so each stands for
``1 / design_effect`` of them (Kish, "Survey Sampling", 1965). More picks of the same sort narrow
the interval with ``1 / sqrt(n)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from labeling.analysis.bootstrap import Clusters, Floats, Share, cell_sums

Z = 1.96
MARGINS = (0.10, 0.05)
# The usual power: with so many picks the verdict comes in four of five such projects.
POWER = 0.80
_Z_POWER = 0.8416
# A part of the variance is called dominant from here on.
DOMINANT = 0.5


@dataclass(frozen=True)
class Margin:
    """Picks for a 95 % interval of ± ``margin``.

    ``independent`` are needed if every pick told something new, ``wanted`` at the present design
    effect, of which ``more`` are still to come; both are None before there is an interval.
    """

    margin: float
    independent: int
    wanted: int | None
    more: int | None


@dataclass(frozen=True)
class Plan:
    """What is still needed for a comparison of two policies.

    ``decides`` is how many more picks decide with a chance of ``POWER`` if the present rate is
    the true one: 0 when it is decided, None when that cannot be said (no interval, or a rate of
    exactly one half). ``lacking`` is what would narrow the interval most: ``picks``,
    ``labelers``, ``dialogues``, or None before there is an interval. ``floor`` is the half-width
    that no number of further picks by the same labelers goes below.
    """

    margins: tuple[Margin, ...]
    design_effect: float | None
    decides: int | None
    lacking: str | None
    floor: float | None


@dataclass(frozen=True)
class Parts:
    """The variance of a mean, taken apart; each at least 0."""

    labelers: float
    prompts: float
    picks: float

    @property
    def whole(self) -> float:
        """The variance of the mean."""
        return self.labelers + self.prompts + self.picks


def planned_picks(margin: float) -> int:
    """Independent picks for a 95 % interval of ± ``margin`` (a share) around 50 %.

    ``n = 1.96^2 * 0.25 / margin^2``: 96 for ±0.10, 384 for ±0.05.
    """
    return round(Z**2 * 0.25 / margin**2)


def plan(share: Share, parts: Parts | None, margins: tuple[float, ...] = MARGINS) -> Plan:
    """What is needed beyond the picks of ``share``, whose variance has these ``parts``."""
    half = share.half_width
    if half is None or share.rate is None or half == 0:
        unknown = tuple(Margin(margin, planned_picks(margin), None, None) for margin in margins)
        return Plan(unknown, None, None, None, None)
    rows = []
    for margin in margins:
        wanted = math.ceil(share.n * (half / margin) ** 2)
        rows.append(Margin(margin, planned_picks(margin), wanted, max(0, wanted - share.n)))
    return Plan(
        tuple(rows),
        design_effect=4 * share.n * half**2 / Z**2,
        decides=_decides(share, half),
        lacking=_lacking(share, parts),
        floor=Z * math.sqrt(parts.labelers) if parts and share.labelers > 1 else None,
    )


def _decides(share: Share, half: float) -> int | None:
    """Picks still needed, so that ``|rate - 1/2|`` is ``1.96 + 0.84`` standard errors."""
    if share.verdict != "inconclusive":
        return 0
    distance = abs((share.rate or 0.0) - 0.5)
    if distance == 0:
        return None
    wanted = share.n * (half * (Z + _Z_POWER) / (Z * distance)) ** 2
    return max(1, math.ceil(wanted) - share.n)


def _lacking(share: Share, parts: Parts | None) -> str:
    if share.labelers == 1:
        return "labelers"
    if parts is not None and parts.whole > 0:
        if parts.labelers > DOMINANT * parts.whole:
            return "labelers"
        if parts.prompts > DOMINANT * parts.whole:
            return "dialogues"
    return "picks"


def variance_parts(scores: Floats, clusters: Clusters) -> Parts | None:
    """The variance of the mean of ``scores[n]``, taken apart; None for fewer than two picks.

    With residuals ``e = score - mean``, sums over clusters give the variance that clusters of
    one kind alone explain, ``k / (k - 1) * sum_c (sum_c e)^2 / n^2`` (the cluster-robust variance
    of a mean; Liang and Zeger, 1986), noise of single picks included; what exceeds that noise,
    ``sum e^2 / n^2``, belongs to the clusters.
    """
    n = len(scores)
    if n < 2:
        return None
    sums, counts = cell_sums(scores, clusters)
    mean = float(scores.mean())
    residuals = (sums - mean * counts)[0]
    noise = float(((scores - mean) ** 2).sum()) / n**2
    parts = []
    for axis in (0, 1):
        present = counts[0].sum(axis=axis) > 0
        k = int(present.sum())
        if k < 2:
            parts.append(0.0)
            continue
        explained = k / (k - 1) * float((residuals.sum(axis=axis) ** 2).sum()) / n**2
        parts.append(max(0.0, explained - noise))
    return Parts(labelers=parts[0], prompts=parts[1], picks=noise)
