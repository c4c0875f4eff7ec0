"""Picks of a file into the record, each once.

A row that names its pick is known by that. Any other row is added only if its pair has fewer
current picks with that outcome than the file has rows that say so.
"""

from __future__ import annotations

import json
import re
import uuid as uuids
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from detox import __version__
from detox.errors import UserError
from labeling.imports.pairs import Pairs, StoredPair
from labeling.imports.rows import LABELER, Comparison, Origin
from labeling.records import (
    add_labeler,
    add_pick,
    labeler_name,
    now,
)
from labeling.text import clean_text

_PSEUDONYM = re.compile(r"labeler-[0-9a-f]{12}")
_MIRRORED = {"left": "right", "right": "left"}


class Adder:
    """Adds judged pairs one by one, remembering what the record held before the first.

    Rows without a worker are picks of ``labeler``.
    """

    def __init__(self, db: Database, pairs: Pairs, labeler: str) -> None:
        self.db, self.pairs = db, pairs
        self.labeler = labeler_name(labeler) or LABELER
        # Picks that this import adds are not "already there" for its later rows.
        self.start = int(next(db.query("SELECT coalesce(max(seq), 0) AS n FROM picks"))["n"])
        self._before: dict[tuple[str, str | None], Counter[str]] = {}
        self._seen: Counter[tuple[str, str | None, str]] = Counter()
        self._labelers: dict[tuple[str, str | None], int] = {}

    def compare(self, row: Comparison) -> Counter[str]:
        """Adds a judged pair, and returns what that changed.

        ``pairs``, ``picks``, ``edits`` (an answer replaced), ``known`` or ``identical`` are
        counted. Raises ``UserError`` for what cannot be.
        """
        if clean_text(row.left.text) == clean_text(row.right.text):
            return Counter(identical=1)
        origin = row.origin if row.origin and row.origin.pick else None
        if origin and self._has_pick(origin.pick):
            return Counter(known=1)
        pair = self.pairs.of(row)
        done = self._restore(pair, row, origin) if origin else self._count(pair, row)
        return done + Counter(pairs=int(pair.new))

    def _has_pick(self, uuid: str | None) -> bool:
        return next(self.db.query("SELECT 1 FROM picks WHERE uuid = ?", [uuid]), None) is not None

    def _labeler(self, name: str, kind: str | None = None) -> int:
        """The id of a labeler, who may be named by their pseudonym in this very project.

        Somebody known by a pseudonym only keeps it, so that exports of both projects agree.
        Raises ``UserError`` where a person here is a model there, or the other way round.
        """
        key = (name, kind)
        if key not in self._labelers:
            query = "SELECT * FROM labelers WHERE pseudonym = :name OR name = :name"
            known = next(self.db.query(query, {"name": labeler_name(name)}), None)
            if known and kind not in (None, known["kind"]):
                raise UserError(f"'{name}' is a {known['kind']} in this project: rename one.")
            if known:
                self._labelers[key] = int(known["id"])
            elif _PSEUDONYM.fullmatch(name):
                cursor = self.db.execute(
                    "INSERT INTO labelers (name, pseudonym, kind) VALUES (:name, :name, :kind)",
                    {"name": name, "kind": kind or "person"},
                )
                self._labelers[key] = int(cursor.lastrowid or 0)
            else:
                self._labelers[key] = add_labeler(self.db, name, kind or "person")
        return self._labelers[key]

    def _next_labeler(self, pair_id: str) -> int:
        """``labeler``, ``labeler 2``, …: who has not judged the pair yet."""
        rows = self.db.query(
            "SELECT count(*) AS n FROM assignments AS a JOIN labelers AS l"
            " ON l.id = a.labeler_id WHERE a.pair_id = ?"
            " AND substr(l.name || ' ', 1, length(?) + 1) = ? || ' '",
            [pair_id, self.labeler, self.labeler],
        )
        earlier = int(next(rows)["n"])
        return self._labeler(f"{self.labeler} {earlier + 1}" if earlier else self.labeler)

    def _count(self, pair: StoredPair, row: Comparison) -> Counter[str]:
        """Adds the pick of a row that names none, if the record holds fewer that say so."""
        worker = (labeler_name(row.worker) or None) if row.worker else None
        labeler_id = self._labeler(worker, row.worker_kind) if worker else None
        key = f"{labeler_id}" if labeler_id else None
        outcome = pair.outcome(row.choice)
        self._seen[pair.id, key, outcome] += 1
        if self._seen[pair.id, key, outcome] <= self._known_picks(pair, labeler_id)[outcome]:
            return Counter(known=1)
        labeler_id = labeler_id or self._next_labeler(pair.id)
        assignment = self._assignment(pair, labeler_id)
        if assignment and self._latest(assignment["id"], current=True):
            self._judge(pair, row, self._assign(pair, row, labeler_id, kind="repeat"))
        elif assignment:
            self._judge(pair, row, assignment)
        else:
            self._judge(pair, row, self._assign(pair, row, labeler_id, kind=row.kind))
        return Counter(picks=1)

    def _known_picks(self, pair: StoredPair, labeler_id: int | None) -> Counter[str]:
        if pair.new:
            return Counter()
        key = (pair.id, f"{labeler_id}" if labeler_id else None)
        if key not in self._before:
            rows = self.db.query(
                "SELECT outcome, count(*) AS n FROM preferences WHERE pair_id = :pair"
                " AND seq <= :start AND (:labeler IS NULL OR labeler_id = :labeler)"
                " GROUP BY outcome",
                {"pair": pair.id, "start": self.start, "labeler": labeler_id},
            )
            self._before[key] = Counter({row["outcome"]: row["n"] for row in rows})
        return self._before[key]

    def _restore(self, pair: StoredPair, row: Comparison, origin: Origin) -> Counter[str]:
        """Adds a raw pick as it was. A labeler's later answer to the same pair counts."""
        labeler_id = (
            self._labeler(row.worker, row.worker_kind)
            if row.worker
            else self._next_labeler(pair.id)
        )
        assignment = self._same_assignment(pair, row, origin, labeler_id)
        if assignment is None:
            self._judge(pair, row, self._assign(pair, row, labeler_id, kind=row.kind))
            return Counter(picks=1)
        latest = self._latest(assignment["id"])
        if latest and (latest["picked_at"] >= (origin.picked_at or now())):
            return Counter(known=1)
        edits = bool(latest and not latest["retracted"])
        if edits and latest and _same(latest, row, _choice(row.choice, pair, assignment)):
            return Counter(known=1)
        self._judge(pair, row, assignment)
        return Counter(edits=1) if edits else Counter(picks=1)

    def _same_assignment(
        self, pair: StoredPair, row: Comparison, origin: Origin, labeler_id: int
    ) -> Mapping[str, Any] | None:
        rows = self.db.query("SELECT * FROM assignments WHERE id = ?", [origin.assignment_id])
        found = next(rows, None)
        if found and (found["pair_id"], found["labeler_id"]) != (pair.id, labeler_id):
            raise UserError("`assignment_id` belongs to another pair or labeler in this project.")
        return found or (None if row.kind == "repeat" else self._assignment(pair, labeler_id))

    def _assignment(self, pair: StoredPair, labeler_id: int) -> Mapping[str, Any] | None:
        """The one assignment of the pair to a labeler that is no repeat."""
        if pair.new:
            return None
        rows = self.db.query(
            "SELECT * FROM assignments WHERE labeler_id = ? AND pair_id = ? AND kind <> 'repeat'",
            [labeler_id, pair.id],
        )
        return next(rows, None)

    def _latest(self, assignment_id: str, *, current: bool = False) -> Mapping[str, Any] | None:
        """The last row of an assignment's chain; None where it is retracted and must not be."""
        rows = self.db.query(
            "SELECT * FROM picks WHERE assignment_id = ? ORDER BY seq DESC LIMIT 1",
            [assignment_id],
        )
        latest = next(rows, None)
        return None if current and latest and latest["retracted"] else latest

    def _assign(
        self, pair: StoredPair, row: Comparison, labeler_id: int, *, kind: str
    ) -> Mapping[str, Any]:
        """A new assignment, given out when the file says."""
        origin, moment = row.origin, now()
        picked_at = (origin.picked_at if origin else None) or moment
        assigned_at = (origin.assigned_at if origin else None) or picked_at
        assignment = {
            "id": (origin.assignment_id if origin and origin.pick else None) or uuids.uuid4().hex,
            "pair_id": pair.id,
            "labeler_id": labeler_id,
            "left_candidate": pair.left,
            "right_candidate": pair.right,
            "assigned_at": assigned_at,
            "app_version": (origin.app_version if origin else None) or __version__,
            "kind": kind,
            "held_until": assigned_at,
            # The file names both policies to whoever reads it, unless it tells when that was.
            "revealed_at": origin.revealed_at if origin and origin.assigned_at else picked_at,
        }
        names, slots = ", ".join(assignment), ", ".join(f":{name}" for name in assignment)
        self.db.execute(f"INSERT INTO assignments ({names}) VALUES ({slots})", assignment)
        return assignment

    def _judge(self, pair: StoredPair, row: Comparison, assignment: Mapping[str, Any]) -> None:
        """Appends the pick to the chain of an assignment, on the sides that were shown there."""
        latest, origin = self._latest(assignment["id"]), row.origin
        add_pick(
            self.db,
            {
                "uuid": (origin.pick if origin else None) or str(uuids.uuid4()),
                "assignment_id": assignment["id"],
                "choice": _choice(row.choice, pair, assignment),
                "strength": row.strength,
                "reasons": json.dumps(list(row.reasons)),
                "note": row.note,
                "seconds": row.seconds,
                "picked_at": origin.picked_at if origin else None,
                "supersedes": latest["uuid"] if latest else None,
                "flagged": int(row.flagged),
                "informed": int(row.informed),
                "app_version": origin.app_version if origin else None,
            },
        )


def _choice(choice: str, pair: StoredPair, assignment: Mapping[str, Any]) -> str:
    """``choice`` on the sides of an assignment, which may have been given out the other way."""
    swapped = assignment["left_candidate"] != pair.left
    return _MIRRORED.get(choice, choice) if swapped else choice


def _same(latest: Mapping[str, Any], row: Comparison, choice: str) -> bool:
    return (
        latest["choice"],
        latest["strength"],
        json.loads(latest["reasons"]),
        latest["note"],
        latest["flagged"],
    ) == (choice, row.strength, list(row.reasons), row.note, int(row.flagged))
