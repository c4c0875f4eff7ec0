"""Picks as lines of JSON with all that they rest on, and back into a database.

A line is a row of a table: ``{"version": 1, "table": "picks", "row": {...}}``. Within a file what a
row refers to stands before it, once, so that a file can be replayed into an empty database. Rows
are identified by their ids: replaying a file twice, or files in any order, changes nothing more.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.records import add_known, add_labeler
from labeling.store import Store

VERSION = 1
# Picks of one file at most; more go into the next.
MOST = 5_000
Row = dict[str, Any]

# What each table refers to, in the order in which rows can be added.
TABLES: dict[str, tuple[str, ...]] = {
    "policies": ("id", "name", "base", "adapter", "fingerprint", "created"),
    "prompts": ("id", "dialogue_id", "dialogue", "prompt", "topic", "tone", "source", "split"),
    "candidates": ("id", "prompt_id", "policy_id", "text", "sampling", "reward", "toxicity"),
    "batches": (
        *("name", "status", "votes_wanted", "repeat_share", "gold_share", "strategy"),
        *("hold_minutes", "reveal", "guidelines", "seed", "created"),
    ),
    "pairs": ("id", "prompt_id", "candidate_a", "candidate_b", "batch", "created"),
    "labelers": ("name", "pseudonym", "kind"),
    "assignments": (
        *("id", "pair_id", "left_candidate", "right_candidate", "assigned_at", "app_version"),
        *("kind", "held_until", "revealed_at"),
    ),
    "picks": (
        *("uuid", "assignment_id", "choice", "strength", "reasons", "note", "seconds"),
        *("picked_at", "supersedes", "retracted", "flagged", "informed", "app_version"),
    ),
}
_KEYS = {"batches": "name", "labelers": "name", "picks": "uuid"}


@dataclass(frozen=True)
class Replayed:
    """What became of the picks of a journal."""

    added: int
    known: int
    orphans: int
    """Picks whose predecessor, or whose assignment, is nowhere; they change nothing."""


def lines_since(store: Store, seq: int, most: int = MOST) -> tuple[list[str], int, int]:
    """The lines of up to ``most`` picks after the one numbered ``seq``, oldest first.

    Returns them with the number of the last pick among them (``seq`` where there is none), and
    how many picks they are. Raises ``StoreError`` by the database.
    """
    with store.reading() as db:
        picks = list(
            db.query("SELECT * FROM picks WHERE seq > ? ORDER BY seq LIMIT ?", [seq, most])
        )
        rows = _with_foundations(db, picks)
    lines = [
        json.dumps({"version": VERSION, "table": table, "row": row}, ensure_ascii=False)
        for table in TABLES
        for row in rows[table]
    ]
    return lines, int(picks[-1]["seq"]) if picks else seq, len(picks)


def _with_foundations(db: Database, picks: Sequence[Row]) -> dict[str, list[Row]]:
    given = _fetch(db, "assignments", "id", {row["assignment_id"] for row in picks})
    people = {row["id"]: row for row in _fetch(db, "labelers", "id", _of(given, "labeler_id"))}
    pairs = _fetch(db, "pairs", "id", _of(given, "pair_id"))
    shown = _of(pairs, "candidate_a") | _of(pairs, "candidate_b")
    candidates = _fetch(db, "candidates", "id", shown)
    found = {
        "policies": _fetch(db, "policies", "id", _of(candidates, "policy_id")),
        "prompts": _fetch(db, "prompts", "id", _of(candidates, "prompt_id")),
        "candidates": candidates,
        "batches": _fetch(db, "batches", "name", _of(pairs, "batch")),
        "pairs": pairs,
        "labelers": list(people.values()),
        "assignments": given,
        "picks": picks,
    }
    rows = {
        table: [{name: row[name] for name in TABLES[table]} for row in found[table]]
        for table in TABLES
    }
    # numbers of labelers are a database's own
    for row, assignment in zip(rows["assignments"], given, strict=True):
        row["labeler"] = people[assignment["labeler_id"]]["name"]
    return rows


def _of(rows: Iterable[Row], name: str) -> set[Any]:
    return {row[name] for row in rows}


def _fetch(db: Database, table: str, key: str, values: set[Any]) -> list[Row]:
    found: list[Row] = []
    wanted = sorted(values)
    for start in range(0, len(wanted), 500):
        part = wanted[start : start + 500]
        slots = ", ".join("?" * len(part))
        found += db.query(f"SELECT * FROM {table} WHERE {key} IN ({slots})", part)
    return found


def replay(store: Store, lines: Iterable[str]) -> Replayed:
    """Adds what ``lines``, of any number of files, have and the database has not; all or nothing.

    Raises ``UserError`` for a line that is none of ours, ``StoreError`` by the database.
    """
    rows: dict[str, dict[Any, Row]] = defaultdict(dict)
    for table, row in _read(lines):
        rows[table].setdefault(row[_KEYS.get(table, "id")], row)
    with store.writing() as db:
        for table in list(TABLES)[:-3]:
            for row in rows[table].values():
                add_known(db, table, row)
        people = _people(db, rows["labelers"].values())
        for row in rows["assignments"].values():
            labeler = row.pop("labeler")
            add_known(db, "assignments", row | {"labeler_id": people[labeler]})
        return _add_picks(db, list(rows["picks"].values()))


def _read(lines: Iterable[str]) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            version, table, row = entry["version"], entry["table"], dict(entry["row"])
            names = {*TABLES[table], *(("labeler",) if table == "assignments" else ())}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"Line {number} of the saved picks cannot be read: they are damaged, or not ours."
            ) from error
        if version != VERSION or set(row) != names:
            raise UserError(
                f"Line {number} of the saved picks was written by another version of Detox Arena: "
                "use that one, or a newer."
            )
        yield table, row


def _people(db: Database, labelers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The number that each labeler has in this database, by name."""
    for row in labelers:
        add_known(db, "labelers", row)
    return {row["name"]: add_labeler(db, row["name"], row["kind"]) for row in labelers}


def _add_picks(db: Database, picks: list[Row]) -> Replayed:
    known = added = 0
    left = sorted(picks, key=lambda row: row["picked_at"])
    while left:
        waiting = []
        for row in left:
            if _has(db, row["uuid"]):
                known += 1
            elif _fits(db, row):
                add_known(db, "picks", row)
                added += 1
            else:
                waiting.append(row)
        if len(waiting) == len(left):
            break
        left = waiting
    return Replayed(added, known, len(left))


def _has(db: Database, uuid: str) -> bool:
    return next(db.query("SELECT 1 FROM picks WHERE uuid = ?", [uuid]), None) is not None


def _fits(db: Database, row: Row) -> bool:
    """Whether ``row`` is the first pick of its assignment, or follows the latest of them."""
    latest = next(
        db.query(
            "SELECT uuid FROM picks AS p WHERE assignment_id = ? AND NOT EXISTS"
            " (SELECT 1 FROM picks AS later WHERE later.supersedes = p.uuid)",
            [row["assignment_id"]],
        ),
        None,
    )
    given = "SELECT 1 FROM assignments WHERE id = ?"
    if next(db.query(given, [row["assignment_id"]]), None) is None:
        return False
    return bool(row["supersedes"] == (latest["uuid"] if latest else None))
