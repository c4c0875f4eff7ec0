"""Gold pairs: those whose right answer is known, to see how carefully somebody labels."""

from __future__ import annotations

from dataclasses import dataclass

from sqlite_utils import Database

from detox.errors import UserError
from labeling.records import now
from labeling.schema import OUTCOMES
from labeling.store import Store
from labeling.text import clean_text


@dataclass(frozen=True)
class Gold:
    """A gold pair: ``outcome`` is ``a``, ``b``, ``tie`` or ``both_bad`` of its candidates."""

    pair_id: str
    batch: str
    outcome: str
    note: str
    source: str
    created: str


def mark_gold(
    store: Store, pair_id: str, outcome: str, *, note: str = "", source: str = "lead"
) -> None:
    """Makes a pair gold, or corrects the answer of one that is.

    From then on it is given out in the batch's share of gold only. Raises ``UserError`` for an
    unknown pair or outcome.
    """
    with store.writing() as db:
        write_gold(db, pair_id, outcome, note=note, source=source)


def write_gold(
    db: Database, pair_id: str, outcome: str, *, note: str = "", source: str = "lead"
) -> None:
    """``mark_gold`` inside a transaction."""
    if outcome not in OUTCOMES:
        raise UserError(f"Unknown gold answer '{outcome}': use one of {', '.join(OUTCOMES)}.")
    if not next(db.query("SELECT 1 FROM pairs WHERE id = ?", [pair_id]), None):
        raise UserError(f"There is no pair '{pair_id}': `labeling gold` lists those that are gold.")
    db.execute(
        "INSERT INTO gold (pair_id, outcome, note, source, created) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (pair_id) DO UPDATE SET outcome = excluded.outcome, note = excluded.note,"
        " source = excluded.source, created = excluded.created",
        [pair_id, outcome, clean_text(note), source, now()],
    )


def unmark_gold(store: Store, pair_id: str) -> None:
    """Makes a gold pair an ordinary one again; its picks stay. ``UserError`` if it is not gold."""
    with store.writing() as db:
        cursor = db.execute("DELETE FROM gold WHERE pair_id = ?", [pair_id])
        if cursor.rowcount == 0:
            raise UserError(f"The pair '{pair_id}' is not gold: `labeling gold` lists those.")


def gold_pairs(store: Store, batch: str | None = None) -> list[Gold]:
    """The gold pairs of a batch, or all of them, oldest first."""
    with store.reading() as db:
        rows = db.query(
            "SELECT g.pair_id, p.batch, g.outcome, g.note, g.source, g.created FROM gold AS g"
            " JOIN pairs AS p ON p.id = g.pair_id WHERE :batch IS NULL OR p.batch = :batch"
            " ORDER BY g.created, g.pair_id",
            {"batch": batch},
        )
        return [Gold(**row) for row in rows]
