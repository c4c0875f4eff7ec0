"""Which batches a labeler may choose from, and why there is no pair for them when there is none.

Batches go by number here. A lead may have put a model's name into a batch's name, and labelers
must not read it before their pick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.records import labeler_name
from labeling.store import Store
from labeling.text import content_id

KEY_LENGTH = 12


@dataclass(frozen=True)
class OpenBatch:
    """A batch that gives pairs: its ``key`` for the page, and what may be told of it.

    ``number`` counts batches from the oldest one; ``pairs`` are all of it, of which the labeler
    has judged ``done``; ``opened`` is a time in UTC as ISO 8601.
    """

    key: str
    number: int
    pairs: int
    done: int
    opened: str


def open_batches(store: Store, labeler: str, only: str | None = None) -> tuple[OpenBatch, ...]:
    """The open batches with pairs in them, oldest first, or ``only`` the one of that name."""
    with store.reading() as db:
        rows = _batches(db)
        done = {
            row["batch"]: int(row["done"])
            for row in db.query(
                "SELECT batch, done FROM tallies"
                " WHERE labeler_id = (SELECT id FROM labelers WHERE name = ?)",
                [labeler_name(labeler)],
            )
        }
    return tuple(
        OpenBatch(
            _key(row["name"]), number, int(row["pairs"]), done.get(row["name"], 0), row["created"]
        )
        for number, row in enumerate(rows, start=1)
        if row["status"] == "open" and row["pairs"] and only in (None, row["name"])
    )


def batch_named(store: Store, key: str | None) -> str | None:
    """The name of the batch that a page calls ``key``, and None for an empty one: all batches.

    A program may give the name itself. Raises ``UserError`` for an unknown one.
    """
    if not key:
        return None
    with store.reading() as db:
        names = [str(row["name"]) for row in _batches(db)]
    for name in names:
        if key in (name, _key(name)):
            return name
    raise UserError("This batch is no longer in the project: choose another one.")


def why_nothing(store: Store, batch: str | None) -> str:
    """Why no pair is left for a labeler: ``empty``, ``paused``, ``closed`` or ``finished``.

    ``batch`` limits the question to one batch. Call it only when there is none: ``finished`` is
    said of an open batch.
    """
    with store.reading() as db:
        rows = [row for row in _batches(db) if row["pairs"] and batch in (None, row["name"])]
    statuses = {row["status"] for row in rows}
    if not statuses:
        return "empty"
    if "open" in statuses:
        return "finished"
    return "paused" if "paused" in statuses else "closed"


def _batches(db: Database) -> list[Mapping[str, Any]]:
    return list(db.query("SELECT name, status, pairs, created FROM batches ORDER BY created, name"))


def _key(name: str) -> str:
    return content_id("batch", name)[:KEY_LENGTH]
