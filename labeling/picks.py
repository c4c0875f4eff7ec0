"""A labeler's answers: given, changed, taken back, looked behind, and listed.

Every answer is a new row. ``revealed_at`` of an assignment is when its labeler was first free to
look behind the pair; rows that come later are ``informed``, as they are no longer blind.
"""

from __future__ import annotations

import json
import math
import uuid as uuids
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.active import follow_pick
from labeling.queue import Task, as_task, progress, shown
from labeling.records import add_pick, labeler_name, now
from labeling.schema import CHOICES, STRENGTHS
from labeling.store import GoneError, Store, StoreError
from labeling.text import clean_text

NOTE_LENGTH = 2_000
REASON_LENGTH = 60
REASON_COUNT = 10
# What the pages offer; a file or a program may say others.
PICK_REASONS = ("gentler", "more faithful", "more fluent", "better length")
SKIP_REASONS = ("cannot tell", "hard to understand", "broken text", "too upsetting")


@dataclass(frozen=True)
class Pick:
    """One row of the record; ``retracted`` marks an undo of the row it ``supersedes``.

    ``flagged`` says that something is wrong with the pair itself; ``informed`` that the labeler
    could already know which policy was which.
    """

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
    flagged: bool = False
    informed: bool = False


@dataclass(frozen=True)
class Side:
    """What was behind one side of a pair: the policy's name, its reward and toxicity if known."""

    policy: str
    reward: float | None
    toxicity: float | None


@dataclass(frozen=True)
class Reveal:
    """What a labeler learns after the pick; ``chosen`` is None for a tie, both bad or a skip.

    ``others`` counts how other people judged this pair, in terms of this labeler's sides.
    """

    left: Side
    right: Side
    chosen: Side | None
    others: Mapping[str, int]


@dataclass(frozen=True)
class Earlier:
    """One of a labeler's own picks, with what they saw; ``closed`` if it can no longer change."""

    task: Task
    pick: Pick
    closed: bool


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
    flagged: bool = False,
    uuid: str | None = None,
) -> Pick:
    """Records a pick and returns it once it is on disk.

    ``choice`` is one of ``left right tie both_bad skip``, ``strength`` None, ``slightly`` or
    ``clearly``, ``seconds`` the time taken, ``reasons`` short texts (of the preference, or of the
    skip). The same answer sent twice (a double click, or a repeated ``uuid``) is kept once;
    another answer to the same assignment is an edit, a new row that supersedes the old one.

    A pick of a pair that was held in time is accepted whatever became of its batch; an edit in a
    closed batch is not. Raises ``UserError`` for that, for a bad choice, strength, note, reason or
    time, and when the assignment belongs to somebody other than ``labeler``; ``StoreError`` when
    the pair is gone.
    """
    answer = _checked(choice, strength, reasons, note, seconds, flagged)
    if not isinstance(assignment_id, str) or not isinstance(uuid, str | None):
        raise UserError("The ids of a pair and of a pick are texts: send them as they were given.")
    with store.writing() as db:
        if uuid and (known := _pick(db, "uuid = ?", uuid)):
            return known
        given = _assignment(db, assignment_id)
        if labeler is not None and given["labeler"] != labeler_name(labeler):
            raise UserError("This pair was given to another labeler: go on to the next one.")
        latest = _latest(db, assignment_id)
        if latest and not latest.retracted and _same(latest, answer):
            return latest
        if latest:
            _refuse_closed(given)
        row = answer | {
            "uuid": uuid or str(uuids.uuid4()),
            "assignment_id": assignment_id,
            "picked_at": now(),
            "supersedes": latest.uuid if latest else None,
            "retracted": 0,
            "informed": int(given["revealed_at"] is not None),
        }
        add_pick(db, row)
        follow_pick(db, given["pair_id"])
        if given["reveal"] and given["revealed_at"] is None:
            db.execute(
                "UPDATE assignments SET revealed_at = ? WHERE id = ?",
                [row["picked_at"], assignment_id],
            )
    return _as_pick(row)


def undo(store: Store, labeler: str) -> Pick | None:
    """Takes back the latest current pick of ``labeler``, which becomes their next pair again.

    Appends a ``retracted`` row that supersedes it and returns that row; None if there is none.
    Raises ``UserError`` when its batch is closed.
    """
    with store.writing() as db:
        last = _pick(
            db,
            "seq = (SELECT c.seq FROM current_picks AS c"
            " JOIN assignments AS a ON a.id = c.assignment_id"
            " WHERE a.labeler_id = (SELECT id FROM labelers WHERE name = ?)"
            " ORDER BY c.seq DESC LIMIT 1)",
            labeler_name(labeler),
        )
        if last is None:
            return None
        given = _assignment(db, last.assignment_id)
        _refuse_closed(given)
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
            "flagged": 0,
            "informed": int(given["revealed_at"] is not None),
        }
        add_pick(db, row)
        follow_pick(db, given["pair_id"])
        held = datetime.now(UTC) + timedelta(minutes=given["hold_minutes"])
        db.execute(
            "UPDATE assignments SET held_until = ? WHERE id = ?",
            [held.isoformat(timespec="microseconds"), last.assignment_id],
        )
    return _as_pick(row)


def reveal(store: Store, pick: Pick | str) -> Reveal | None:
    """The policies and scores behind a current pick, given it or its uuid, and others' picks.

    None where the batch keeps them hidden. Raises ``StoreError`` for a pick that does not exist,
    was undone or was replaced.
    """
    uuid = pick if isinstance(pick, str) else pick.uuid
    with store.reading() as db:
        row = next(db.query("SELECT * FROM preferences WHERE pick = ?", [uuid]), None)
        if row is None:
            raise StoreError(
                "There is no such pick any more: make a pick first, then look behind it."
            )
        if not _assignment(db, row["assignment_id"])["reveal"]:
            return None
        others = _others(db, row)
    sides = {
        name: Side(row[f"{name}_policy"], row[f"{name}_reward"], row[f"{name}_toxicity"])
        for name in ("left", "right")
    }
    return Reveal(sides["left"], sides["right"], sides.get(row["choice"]), others)


def earlier(store: Store, labeler: str, *, limit: int = 50, offset: int = 0) -> list[Earlier]:
    """The labeler's own current picks with the pairs as they saw them, newest first."""
    with store.reading() as db:
        rows = list(
            db.query(
                """
                SELECT c.*, b.status FROM current_picks AS c
                JOIN assignments AS a ON a.id = c.assignment_id
                JOIN pairs AS p ON p.id = a.pair_id JOIN batches AS b ON b.name = p.batch
                WHERE a.labeler_id = (SELECT id FROM labelers WHERE name = ?)
                ORDER BY c.seq DESC LIMIT ? OFFSET ?
                """,
                [labeler_name(labeler), limit, offset],
            )
        )
        texts = {row["uuid"]: shown(db, row["assignment_id"]) for row in rows}
    done = progress(store, labeler)
    return [
        Earlier(
            as_task(row["assignment_id"], texts[row["uuid"]], done),
            _as_pick(row),
            row["status"] == "closed",
        )
        for row in rows
    ]


def look_back(store: Store, labeler: str, assignment_id: str) -> Earlier:
    """One earlier pick of the labeler's own, with its pair.

    Raises ``UserError`` for somebody else's, ``StoreError`` for one that is gone or undone.
    """
    with store.reading() as db:
        given = _assignment(db, assignment_id)
        if given["labeler"] != labeler_name(labeler):
            raise UserError("This pair was given to another labeler: choose one of your own.")
        latest = _latest(db, assignment_id)
        texts = shown(db, assignment_id)
    if latest is None or latest.retracted:
        raise StoreError("This pick was taken back: judge the pair anew.")
    done = progress(store, labeler)
    return Earlier(as_task(assignment_id, texts, done), latest, given["status"] == "closed")


def _assignment(db: Database, assignment_id: str) -> dict[str, Any]:
    rows = db.query(
        """
        SELECT a.id, a.pair_id, a.revealed_at, l.name AS labeler, b.name AS batch, b.status,
            b.reveal, b.hold_minutes
        FROM assignments AS a JOIN labelers AS l ON l.id = a.labeler_id
        JOIN pairs AS p ON p.id = a.pair_id JOIN batches AS b ON b.name = p.batch
        WHERE a.id = ?
        """,
        [assignment_id],
    )
    found = next(rows, None)
    if found is None:
        raise GoneError
    return found


def _refuse_closed(given: Mapping[str, Any]) -> None:
    if given["status"] == "closed":
        raise UserError(
            f"The batch '{given['batch']}' is closed and its picks stay as they are: "
            "ask a lead to open it again."
        )


def _others(db: Database, row: Mapping[str, Any]) -> dict[str, int]:
    """How other people judged the pair of ``row``, on the sides of its own assignment."""
    counts = Counter(
        str(other["outcome"])
        for other in db.query(
            "SELECT outcome FROM preferences WHERE pair_id = ? AND labeler_id <> ?"
            " AND kind <> 'repeat' AND outcome <> 'skip' AND labeler_kind = 'person'",
            [row["pair_id"], row["labeler_id"]],
        )
    )
    pair = next(db.query("SELECT candidate_a FROM pairs WHERE id = ?", [row["pair_id"]]))
    on_left = "a" if row["left_candidate"] == pair["candidate_a"] else "b"
    side = {on_left: "left", {"a": "b", "b": "a"}[on_left]: "right"}
    return {side.get(outcome, outcome): count for outcome, count in counts.items()}


def _checked(
    choice: str,
    strength: str | None,
    reasons: Sequence[str],
    note: str,
    seconds: float | None,
    flagged: bool,
) -> dict[str, Any]:
    if not isinstance(reasons, list | tuple) or not isinstance(flagged, bool | int):
        raise UserError("Reasons must be a list of texts, and the flag true or false.")
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
    number = isinstance(seconds, int | float) and math.isfinite(seconds) and seconds >= 0
    if seconds is not None and not number:
        raise UserError("The time taken must be a number of seconds, zero or more.")
    return {
        "choice": choice,
        "strength": strength,
        "reasons": json.dumps(reasons),
        "note": note,
        "seconds": None if seconds is None else float(seconds),
        "flagged": int(bool(flagged)),
    }


def _same(pick: Pick, answer: Mapping[str, Any]) -> bool:
    return (
        pick.choice,
        pick.strength,
        json.dumps(pick.reasons),
        pick.note,
        int(pick.flagged),
    ) == tuple(answer[key] for key in ("choice", "strength", "reasons", "note", "flagged"))


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
        flagged=bool(row["flagged"]),
        informed=bool(row["informed"]),
    )
