"""Who an analysis flags, by name: for those who would rather learn from the others."""

from __future__ import annotations

from labeling.analysis.flags import flagged
from labeling.analysis.frame import frame
from labeling.analysis.labelers import Reliability, reliability
from labeling.analysis.selection import Selection
from labeling.store import Store


def suspects(store: Store, batch: str | None = None) -> tuple[Reliability, ...]:
    """The people who should be looked at before their picks are believed, with the reasons.

    Judged by all their picks, or those of ``batch``; see ``flags`` for what it takes. Raises
    ``UserError`` for an unknown batch, ``StoreError`` by the database.
    """
    rows = flagged(reliability(frame(store), Selection(batch=batch)))
    return tuple(row for row in rows if row.flags)


def left_out(
    store: Store, without: tuple[str, ...], asked: bool, batch: str | None = None
) -> tuple[str, ...]:
    """``without``, and the pseudonyms of the suspects as well where that is ``asked``."""
    if not asked:
        return without
    found = {row.labeler for row in suspects(store, batch)}
    return (*without, *sorted(found.difference(without)))
