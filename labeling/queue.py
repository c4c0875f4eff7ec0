"""Which pair a labeler sees next, on which side, and what becomes of their pick."""

from __future__ import annotations

import json
import math
import random
import uuid as uuids
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.records import add_assignment, add_labeler, add_pick, labeler_name, now
from labeling.schema import CHOICES, STRENGTHS
from labeling.store import Store, StoreError
from labeling.text import clean_text

NOTE_LENGTH = 2_000
REASON_LENGTH = 60
REASON_COUNT = 10


@dataclass(frozen=True)
class Progress:
    """How far a labeler is: ``done`` of ``total`` pairs, in one batch or the whole project."""

    done: int
    total: int


@dataclass(frozen=True)
class Task:
    """All a labeler may see before the pick; nothing in it tells which policy is which."""

    assignment_id: str
    dialogue: str
    left: str
    right: str
    progress: Progress


@dataclass(frozen=True)
class Pick:
    """One row of the record; ``retracted`` marks an undo of the row it ``supersedes``."""

    uuid: str
    assignment_id: str
    choice: str
    strength: str | None
    reasons: tuple[str, ...]
    note: str
    seconds: float | None
    picked_at: str
    supersedes: str | None
    retracted: bool


@dataclass(frozen=True)
class Side:
    """What was behind one side of a pair: the policy's name, its reward and toxicity if known."""

    policy: str
    reward: float | None
    toxicity: float | None


@dataclass(frozen=True)
class Reveal:
    """What a labeler learns after the pick; ``chosen`` is None for a tie, both bad or a skip."""

    left: Side
    right: Side
    chosen: Side | None


def next_pair(
    store: Store, labeler: str, rng: random.Random, batch: str | None = None
) -> Task | None:
    """The pair ``labeler`` should judge next, or None when none is left for them.

    Pairs they were shown but have not judged come first, the one undone last before all others,
    with the sides they saw. Then a pair with the fewest picks, drawn by ``rng``, which also draws
    the sides. A pair they judged or skipped never comes back. Unknown labelers are added.

    Raises ``UserError`` for an empty name or an unknown batch, ``StoreError`` by the database.
    """
    with store.writing() as db:
        labeler_id = add_labeler(db, labeler)
        total = _total(db, batch)
        if total == 0 and batch is not None:
            raise UserError(f"There is no batch '{batch}': load one with `labeling pairs`.")
        assignment_id = _open_assignment(db, labeler_id, batch)
        if assignment_id is None:
            pair_ids = _least_picked(db, labeler_id, batch)
            if not pair_ids:
                return None
            assignment_id = _assign(db, rng.choice(pair_ids), labeler_id, rng)
        progress = Progress(_done(db, labeler_id, batch), total)
        return _task(db, assignment_id, progress)


def _open_assignment(db: Database, labeler_id: int, batch: str | None) -> str | None:
    rows = db.query(
        """
        SELECT a.id FROM assignments AS a JOIN pairs AS p ON p.id = a.pair_id
        WHERE a.labeler_id = :labeler AND (:batch IS NULL OR p.batch = :batch)
            AND NOT EXISTS (SELECT 1 FROM current_picks AS c WHERE c.assignment_id = a.id)
        ORDER BY (SELECT max(seq) FROM picks WHERE assignment_id = a.id) DESC, a.rowid
        LIMIT 1
        """,
        {"labeler": labeler_id, "batch": batch},
    )
    return next((str(row["id"]) for row in rows), None)


def _least_picked(db: Database, labeler_id: int, batch: str | None) -> list[str]:
    """Ids of the pairs never shown to the labeler that have the fewest picks, in a fixed order."""
    rows = db.query(
        """
        WITH counts AS (
            SELECT a.pair_id, count(*) AS n
            FROM current_picks AS c JOIN assignments AS a ON a.id = c.assignment_id
            WHERE c.choice <> 'skip' GROUP BY a.pair_id
        ), unseen AS (
            SELECT p.id, coalesce(counts.n, 0) AS n
            FROM pairs AS p LEFT JOIN counts ON counts.pair_id = p.id
            WHERE (:batch IS NULL OR p.batch = :batch) AND NOT EXISTS (
                SELECT 1 FROM assignments AS a WHERE a.labeler_id = :labeler AND a.pair_id = p.id
            )
        )
        SELECT id FROM unseen WHERE n = (SELECT min(n) FROM unseen) ORDER BY id
        """,
        {"labeler": labeler_id, "batch": batch},
    )
    return [str(row["id"]) for row in rows]


def _assign(db: Database, pair_id: str, labeler_id: int, rng: random.Random) -> str:
    pair = next(db.query("SELECT candidate_a, candidate_b FROM pairs WHERE id = ?", [pair_id]))
    sides = [pair["candidate_a"], pair["candidate_b"]]
    rng.shuffle(sides)
    return add_assignment(db, pair_id, labeler_id, sides[0], sides[1])


def _task(db: Database, assignment_id: str, progress: Progress) -> Task:
    row = next(
        db.query(
            """
            SELECT r.dialogue, l.text AS left_text, t.text AS right_text
            FROM assignments AS a JOIN pairs AS p ON p.id = a.pair_id
            JOIN prompts AS r ON r.id = p.prompt_id
            JOIN candidates AS l ON l.id = a.left_candidate
            JOIN candidates AS t ON t.id = a.right_candidate
            WHERE a.id = ?
            """,
            [assignment_id],
        )
    )
    return Task(
        assignment_id=assignment_id,
        dialogue=clean_text(row["dialogue"]),
        left=clean_text(row["left_text"]),
        right=clean_text(row["right_text"]),
        progress=progress,
    )


def _total(db: Database, batch: str | None) -> int:
    query = "SELECT count(*) AS n FROM pairs WHERE :batch IS NULL OR batch = :batch"
    return int(next(db.query(query, {"batch": batch}))["n"])


def _done(db: Database, labeler_id: int, batch: str | None) -> int:
    query = """
        SELECT count(DISTINCT a.pair_id) AS n FROM assignments AS a
        JOIN current_picks AS c ON c.assignment_id = a.id
        JOIN pairs AS p ON p.id = a.pair_id
        WHERE a.labeler_id = :labeler AND (:batch IS NULL OR p.batch = :batch)
    """
    return int(next(db.query(query, {"labeler": labeler_id, "batch": batch}))["n"])


def progress(store: Store, labeler: str, batch: str | None = None) -> Progress:
    """How many pairs ``labeler`` has judged or skipped, of how many. Adds nobody."""
    with store.reading() as db:
        labeler_id = _find_labeler(db, labeler)
        done = _done(db, labeler_id, batch) if labeler_id is not None else 0
        return Progress(done, _total(db, batch))


def _find_labeler(db: Database, name: str) -> int | None:
    rows = db.query("SELECT id FROM labelers WHERE name = ?", [labeler_name(name)])
    return next((int(row["id"]) for row in rows), None)


def submit(
    store: Store,
    assignment_id: str,
    choice: str,
    *,
    labeler: str | None = None,
    strength: str | None = None,
    reasons: Sequence[str] = (),
    note: str = "",
    seconds: float | None = None,
    uuid: str | None = None,
) -> Pick:
    """Records a pick and returns it once it is on disk.

    ``choice`` is one of ``left right tie both_bad skip``, ``strength`` None, ``slightly`` or
    ``clearly``, ``seconds`` the time taken. The same answer sent twice (a double click, or a
    repeated ``uuid``) is kept once; another answer to the same assignment is an edit, a new row
    that supersedes the old one.

    Raises ``UserError`` for a bad choice, strength, note, reason or time, and when the assignment
    belongs to somebody other than ``labeler``; ``StoreError`` when the pair is gone.
    """
    answer = _checked(choice, strength, reasons, note, seconds)
    with store.writing() as db:
        if uuid and (known := _pick(db, "uuid = ?", uuid)):
            return known
        owner = next(
            db.query(
                "SELECT l.name FROM assignments AS a JOIN labelers AS l ON l.id = a.labeler_id"
                " WHERE a.id = ?",
                [assignment_id],
            ),
            None,
        )
        if owner is None:
            raise StoreError("This pair is no longer in the project: go on to the next one.")
        if labeler is not None and owner["name"] != labeler_name(labeler):
            raise UserError("This pair was given to another labeler: go on to the next one.")
        latest = _latest(db, assignment_id)
        if latest and not latest.retracted and _same(latest, answer):
            return latest
        row = answer | {
            "uuid": uuid or str(uuids.uuid4()),
            "assignment_id": assignment_id,
            "picked_at": now(),
            "supersedes": latest.uuid if latest else None,
            "retracted": 0,
        }
        add_pick(db, row)
    return _as_pick(row)


def undo(store: Store, labeler: str) -> Pick | None:
    """Takes back the latest current pick of ``labeler``, which becomes their next pair again.

    Appends a ``retracted`` row that supersedes it and returns that row; None if there is none.
    """
    with store.writing() as db:
        labeler_id = _find_labeler(db, labeler)
        last = _pick(
            db,
            "uuid = (SELECT c.uuid FROM current_picks AS c"
            " JOIN assignments AS a ON a.id = c.assignment_id"
            " WHERE a.labeler_id = ? ORDER BY c.seq DESC LIMIT 1)",
            labeler_id,
        )
        if last is None:
            return None
        row: dict[str, Any] = {
            "uuid": str(uuids.uuid4()),
            "assignment_id": last.assignment_id,
            "choice": last.choice,
            "strength": last.strength,
            "reasons": json.dumps(last.reasons),
            "note": "",
            "seconds": None,
            "picked_at": now(),
            "supersedes": last.uuid,
            "retracted": 1,
        }
        add_pick(db, row)
    return _as_pick(row)


def reveal(store: Store, pick: Pick | str) -> Reveal:
    """The policies and scores behind a current pick, given it or its uuid.

    Raises ``StoreError`` for a pick that does not exist, was undone or was replaced.
    """
    uuid = pick if isinstance(pick, str) else pick.uuid
    with store.reading() as db:
        row = next(db.query("SELECT * FROM preferences WHERE pick = ?", [uuid]), None)
    if row is None:
        raise StoreError("There is no such pick any more: make a pick first, then look behind it.")
    sides = {
        name: Side(row[f"{name}_policy"], row[f"{name}_reward"], row[f"{name}_toxicity"])
        for name in ("left", "right")
    }
    return Reveal(sides["left"], sides["right"], sides.get(row["choice"]))


def _checked(
    choice: str, strength: str | None, reasons: Sequence[str], note: str, seconds: float | None
) -> dict[str, Any]:
    if choice not in CHOICES:
        raise UserError(f"Unknown choice '{choice}': use one of {', '.join(CHOICES)}.")
    if strength is not None and strength not in STRENGTHS:
        raise UserError(f"Unknown strength '{strength}': use one of {', '.join(STRENGTHS)}.")
    reasons = [clean_text(reason) for reason in reasons]
    if len(reasons) > REASON_COUNT or any(not 0 < len(r) <= REASON_LENGTH for r in reasons):
        raise UserError(
            f"Give at most {REASON_COUNT} reasons of 1 to {REASON_LENGTH} characters each."
        )
    note = clean_text(note)
    if len(note) > NOTE_LENGTH:
        raise UserError(f"The note has {len(note):,} characters: use at most {NOTE_LENGTH:,}.")
    if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
        raise UserError("The time taken must be a number of seconds, zero or more.")
    return {
        "choice": choice,
        "strength": strength,
        "reasons": json.dumps(reasons),
        "note": note,
        "seconds": None if seconds is None else float(seconds),
    }


def _same(pick: Pick, answer: Mapping[str, Any]) -> bool:
    return (pick.choice, pick.strength, json.dumps(pick.reasons), pick.note) == (
        answer["choice"],
        answer["strength"],
        answer["reasons"],
        answer["note"],
    )


def _latest(db: Database, assignment_id: str) -> Pick | None:
    return _pick(db, "seq = (SELECT max(seq) FROM picks WHERE assignment_id = ?)", assignment_id)


def _pick(db: Database, where: str, value: object) -> Pick | None:
    row = next(db.query(f"SELECT * FROM picks WHERE {where}", [value]), None)
    return _as_pick(row) if row else None


def _as_pick(row: Mapping[str, Any]) -> Pick:
    return Pick(
        uuid=row["uuid"],
        assignment_id=row["assignment_id"],
        choice=row["choice"],
        strength=row["strength"],
        reasons=tuple(json.loads(row["reasons"])),
        note=row["note"],
        seconds=row["seconds"],
        picked_at=row["picked_at"],
        supersedes=row["supersedes"],
        retracted=bool(row["retracted"]),
    )
