"""What adjudication changed: its labels beside the majority of the picks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labeling.analysis.frame import NONE, OUTCOME_NAMES
from labeling.analysis.selection import Picks

_LABELS = len(OUTCOME_NAMES) - 1


@dataclass(frozen=True)
class Adjudicated:
    """Of the ``pairs`` that were adjudicated and judged: how the label stands to the majority.

    In ``kept`` pairs it is what most picks said, in ``changed`` another one, and in ``settled``
    pairs the picks had no majority.
    """

    pairs: int
    kept: int
    changed: int
    settled: int


def adjudicated(picks: Picks) -> Adjudicated:
    """The adjudicated pairs among those that ``picks`` judge; skips are no votes."""
    some, frame = picks.judged, picks.frame
    cell = some.pair * np.int64(_LABELS) + some.outcome
    counts = np.bincount(cell, minlength=len(frame.pairs) * _LABELS).reshape(-1, _LABELS)
    ruled = np.flatnonzero((frame.pairs.adjudicated != NONE) & (counts.sum(axis=1) > 0))
    votes, label = counts[ruled], frame.pairs.adjudicated[ruled]
    most = votes.max(axis=1, initial=0)
    alone = (votes == most[:, None]).sum(axis=1) == 1
    kept = alone & (votes[np.arange(len(ruled)), label] == most)
    return Adjudicated(
        pairs=len(ruled),
        kept=int(kept.sum()),
        changed=int((alone & ~kept).sum()),
        settled=int((~alone).sum()),
    )
