"""Pairs that labelers see differently, decided by a lead.

A lead's label is a record of its own and changes nobody's pick. Leads judge blind as well: the
sides of a pair are drawn for them, and votes are shown by side, not by policy.
"""

from __future__ import annotations

import random
import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox import __version__
from detox.errors import UserError
from labeling.gold import write_gold
from labeling.records import add_labeler, now
from labeling.store import GoneError, Store
from labeling.text import clean_text

SIDES = ("left", "right", "tie", "both_bad")
NOTE_LENGTH = 2_000


@dataclass(frozen=True)
class Vote:
    """One labeler's current pick, on the sides the lead sees."""

    labeler: str
    choice: str
    strength: str | None
    note: str
    flagged: bool


@dataclass(frozen=True)
class Conflict:
    """A pair to adjudicate, and how it was judged; nothing tells which policy is which."""

    pair_id: str
    batch: str
    dialogue: str
    left: str
    right: str
    left_candidate: str
    votes: tuple[Vote, ...]
    flags: int


@dataclass(frozen=True)
class Adjudication:
    """A lead's label of a pair: ``outcome`` in terms of its candidates ``a`` and ``b``."""

    uuid: str
    pair_id: str
    lead: str
    outcome: str
    note: str
    adjudicated_at: str


@dataclass(frozen=True)
class Decision:
    """An adjudication with the pair it is about, unveiled: for lists and files."""

    uuid: str
    pair_id: str
    batch: str
    dialogue: str
    text_a: str
    text_b: str
    policy_a: str
    policy_b: str
    votes_a: int
    votes_b: int
    votes_tie: int
    votes_both_bad: int
    lead: str
    outcome: str
    note: str
    adjudicated_at: str
    gold: bool
    """Whether the pair is gold with this very answer."""

    @property
    def policy(self) -> str | None:
        """The policy that was found better; None for a tie and both bad."""
        return {"a": self.policy_a, "b": self.policy_b}.get(self.outcome)


def conflicts(store: Store, batch: str | None = None) -> int:
    """How many pairs wait for a lead: their votes differ or somebody flagged them."""
    with store.reading() as db:
        return int(next(db.query(f"SELECT count(*) AS n {_WAITING}", {"batch": batch}))["n"])


def next_conflict(
    store: Store, rng: random.Random, batch: str | None = None, *, skip: tuple[str, ...] = ()
) -> Conflict | None:
    """The pair a lead should look at next, the most divided first; None when none is left.

    ``skip`` names pairs to leave for later; ``rng`` draws the sides.
    """
    with store.reading() as db:
        marks = ", ".join(f":s{index}" for index in range(len(skip)))
        row = next(
            db.query(
                f"""
                SELECT p.id {_WAITING} AND p.id NOT IN ({marks})
                ORDER BY CAST(max(p.votes_a, p.votes_b, p.votes_tie, p.votes_both_bad) AS REAL)
                    / max(p.votes, 1), p.votes DESC, p.id LIMIT 1
                """,
                {"batch": batch} | {f"s{index}": pair for index, pair in enumerate(skip)},
            ),
            None,
        )
        return _conflict(db, str(row["id"]), rng) if row else None


def look_at(store: Store, pair_id: str, rng: random.Random) -> Conflict:
    """Any pair as a lead sees it, to decide it anew. Raises ``UserError`` for an unknown one."""
    with store.reading() as db:
        if not next(db.query("SELECT 1 FROM pairs WHERE id = ?", [pair_id]), None):
            raise GoneError
        return _conflict(db, pair_id, rng)


_WAITING = """
FROM pairs AS p WHERE p.id IN (
    SELECT id FROM pairs INDEXED BY pairs_in_conflict
    WHERE votes > max(votes_a, votes_b, votes_tie, votes_both_bad)
    UNION
    SELECT a.pair_id FROM picks AS f JOIN assignments AS a ON a.id = f.assignment_id
    WHERE f.flagged = 1 AND f.uuid IN (SELECT uuid FROM current_picks WHERE uuid = f.uuid)
) AND (:batch IS NULL OR p.batch = :batch)
    AND NOT EXISTS (SELECT 1 FROM adjudications AS d WHERE d.pair_id = p.id)
"""


def adjudicate(
    store: Store,
    lead: str,
    pair_id: str,
    choice: str,
    left_candidate: str,
    *,
    note: str = "",
    gold: bool = False,
) -> Adjudication:
    """Records a lead's label, given as the side they saw; a later one counts instead.

    ``left_candidate`` says which response stood on the left. With ``gold`` the pair becomes gold
    with this answer. Raises ``UserError`` for an unknown pair, side or choice.
    """
    note = clean_text(note)
    if choice not in SIDES:
        raise UserError(f"Unknown choice '{choice}': use one of {', '.join(SIDES)}.")
    if len(note) > NOTE_LENGTH:
        raise UserError(f"The note has {len(note):,} characters: use at most {NOTE_LENGTH:,}.")
    with store.writing() as db:
        pair = next(db.query("SELECT * FROM pairs WHERE id = ?", [pair_id]), None)
        if pair is None or left_candidate not in (pair["candidate_a"], pair["candidate_b"]):
            raise GoneError
        side = _side_of(pair, left_candidate)
        row: dict[str, Any] = {
            "uuid": str(uuids.uuid4()),
            "pair_id": pair_id,
            "labeler_id": add_labeler(db, lead),
            "left_candidate": left_candidate,
            "outcome": {name: outcome for outcome, name in side.items()}.get(choice, choice),
            "note": note,
            "adjudicated_at": now(),
            "app_version": __version__,
        }
        names, slots = ", ".join(row), ", ".join(f":{name}" for name in row)
        db.execute(f"INSERT INTO adjudications ({names}) VALUES ({slots})", row)
        if gold:
            write_gold(db, pair_id, row["outcome"], note=note, source="adjudication")
    return Adjudication(row["uuid"], pair_id, lead, row["outcome"], note, row["adjudicated_at"])


def adjudications(store: Store, batch: str | None = None) -> list[Adjudication]:
    """The labels that count, oldest first, leads by pseudonym."""
    with store.reading() as db:
        rows = db.query(
            "SELECT d.uuid, d.pair_id, l.pseudonym AS lead, d.outcome, d.note, d.adjudicated_at"
            " FROM current_adjudications AS d JOIN labelers AS l ON l.id = d.labeler_id"
            " JOIN pairs AS p ON p.id = d.pair_id WHERE :batch IS NULL OR p.batch = :batch"
            " ORDER BY d.seq",
            {"batch": batch},
        )
        return [Adjudication(**row) for row in rows]


def decisions(store: Store, batch: str | None = None, limit: int = -1) -> list[Decision]:
    """The ``limit`` latest adjudications that count, newest first; by default all of them."""
    with store.reading() as db:
        rows = db.query(
            """
            SELECT d.uuid, d.pair_id, p.batch, r.dialogue, a.text AS text_a, b.text AS text_b,
                pa.name AS policy_a, pb.name AS policy_b,
                p.votes_a, p.votes_b, p.votes_tie, p.votes_both_bad, l.pseudonym AS lead,
                d.outcome, d.note, d.adjudicated_at, g.outcome IS d.outcome AS gold
            FROM current_adjudications AS d JOIN labelers AS l ON l.id = d.labeler_id
            JOIN pairs AS p ON p.id = d.pair_id JOIN prompts AS r ON r.id = p.prompt_id
            JOIN candidates AS a ON a.id = p.candidate_a
            JOIN candidates AS b ON b.id = p.candidate_b
            JOIN policies AS pa ON pa.id = a.policy_id JOIN policies AS pb ON pb.id = b.policy_id
            LEFT JOIN gold AS g ON g.pair_id = d.pair_id
            WHERE :batch IS NULL OR p.batch = :batch ORDER BY d.seq DESC LIMIT :limit
            """,
            {"batch": batch, "limit": limit},
        )
        return [Decision(**(row | {"gold": bool(row["gold"])})) for row in rows]


def _conflict(db: Database, pair_id: str, rng: random.Random) -> Conflict:
    pair = next(
        db.query(
            """
            SELECT p.*, r.dialogue, a.text AS text_a, b.text AS text_b FROM pairs AS p
            JOIN prompts AS r ON r.id = p.prompt_id
            JOIN candidates AS a ON a.id = p.candidate_a
            JOIN candidates AS b ON b.id = p.candidate_b WHERE p.id = ?
            """,
            [pair_id],
        )
    )
    first = rng.choice("ab")
    left = str(pair[f"candidate_{first}"])
    side = _side_of(pair, left)
    rows = db.query(
        "SELECT labeler, outcome, strength, note, flagged FROM preferences"
        " WHERE pair_id = ? AND kind <> 'repeat' AND labeler_kind = 'person' ORDER BY seq",
        [pair_id],
    )
    votes = tuple(
        Vote(
            row["labeler"],
            side.get(row["outcome"], row["outcome"]),
            row["strength"],
            row["note"],
            bool(row["flagged"]),
        )
        for row in rows
    )
    texts = {"a": pair["text_a"], "b": pair["text_b"]}
    return Conflict(
        pair_id,
        pair["batch"],
        dialogue=clean_text(pair["dialogue"]),
        left=clean_text(texts.pop(first)),
        right=clean_text(next(iter(texts.values()))),
        left_candidate=left,
        votes=votes,
        flags=sum(vote.flagged for vote in votes),
    )


def _side_of(pair: Mapping[str, Any], left_candidate: str) -> dict[str, str]:
    """The side on which ``a`` and ``b`` stand."""
    on_left = "a" if left_candidate == pair["candidate_a"] else "b"
    return {on_left: "left", {"a": "b", "b": "a"}[on_left]: "right"}
