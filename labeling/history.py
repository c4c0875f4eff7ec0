"""Everything that ever happened to a pair, in the order it happened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.store import Store


def pair_history(store: Store, pair_id: str) -> dict[str, Any]:
    """A pair with its two responses and its events, as JSON.

    ``candidates`` holds for ``a`` and ``b`` the text, its id (a hash of prompt, policy, text and
    sampling), and the policy's name, base, adapter and fingerprint. ``events`` are ``assigned``,
    ``picked`` (and ``changed``, ``undone``, by what the row supersedes) and ``adjudicated``, each
    with its time, labeler (a pseudonym), sides and app version. A prefix of an id is enough.

    Raises ``UserError`` for an unknown or ambiguous pair.
    """
    with store.reading() as db:
        pair = _pair(db, pair_id)
        candidates = {side: _candidate(db, pair[f"candidate_{side}"]) for side in "ab"}
        prompt = next(db.query("SELECT * FROM prompts WHERE id = ?", [pair["prompt_id"]]))
        gold = next(db.query("SELECT * FROM gold WHERE pair_id = ?", [pair["id"]]), None)
        events = [*_assigned(db, pair), *_picked(db, pair), *_adjudicated(db, pair)]
    return {
        "pair": pair["id"],
        "batch": pair["batch"],
        "created": pair["created"],
        "prompt": {key: prompt[key] for key in ("id", "dialogue_id", "dialogue", "split")},
        "candidates": candidates,
        "gold": gold and {key: gold[key] for key in ("outcome", "source", "created")},
        "events": sorted(events, key=lambda event: str(event["at"])),
    }


def find_pair(store: Store, pair_id: str) -> str:
    """The whole id of a pair given the beginning of it. Raises ``UserError`` as above."""
    with store.reading() as db:
        return str(_pair(db, pair_id)["id"])


def pick_history(store: Store, assignment_id: str) -> list[dict[str, Any]]:
    """The rows of one assignment, oldest first, the current one last."""
    with store.reading() as db:
        return list(
            db.query("SELECT * FROM picks WHERE assignment_id = ? ORDER BY seq", [assignment_id])
        )


def _pair(db: Database, pair_id: str) -> Mapping[str, Any]:
    # A hash holds neither of GLOB's signs; whatever else is asked for is simply not there.
    rows = list(
        db.query("SELECT * FROM pairs WHERE substr(id, 1, ?) = ? LIMIT 2", [len(pair_id), pair_id])
    )
    if not pair_id or not rows:
        raise UserError(f"There is no pair '{pair_id}': exports and results name them by id.")
    if len(rows) > 1:
        raise UserError(f"Several pairs begin with '{pair_id}': give more of the id.")
    return rows[0]


def _candidate(db: Database, candidate_id: str) -> dict[str, Any]:
    return next(
        db.query(
            "SELECT c.id, c.text, c.sampling, c.reward, c.toxicity, p.name AS policy, p.base,"
            " p.adapter, p.fingerprint FROM candidates AS c"
            " JOIN policies AS p ON p.id = c.policy_id WHERE c.id = ?",
            [candidate_id],
        )
    )


def _assigned(db: Database, pair: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = db.query(
        "SELECT a.*, l.pseudonym FROM assignments AS a JOIN labelers AS l ON l.id = a.labeler_id"
        " WHERE a.pair_id = ?",
        [pair["id"]],
    )
    return [
        {
            "event": "assigned",
            "at": row["assigned_at"],
            "labeler": row["pseudonym"],
            "kind": row["kind"],
            "left": _letter(pair, row["left_candidate"]),
            "app_version": row["app_version"],
        }
        for row in rows
    ]


_VERBS = {True: "changed", False: "picked"}


def _picked(db: Database, pair: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = db.query(
        """
        SELECT c.*, before.retracted = 0 AS changes, a.left_candidate, a.kind, l.pseudonym
        FROM picks AS c JOIN assignments AS a ON a.id = c.assignment_id
        LEFT JOIN picks AS before ON before.uuid = c.supersedes
        JOIN labelers AS l ON l.id = a.labeler_id WHERE a.pair_id = ?
        """,
        [pair["id"]],
    )
    events = []
    for row in rows:
        left = _letter(pair, row["left_candidate"])
        on = {"left": left, "right": {"a": "b", "b": "a"}[left]}
        events.append(
            {
                "event": "undone" if row["retracted"] else _VERBS[bool(row["changes"])],
                "at": row["picked_at"],
                "labeler": row["pseudonym"],
                "kind": row["kind"],
                "left": left,
                "choice": row["choice"],
                "outcome": on.get(row["choice"], row["choice"]),
                "strength": row["strength"],
                "reasons": json.loads(row["reasons"]),
                "note": row["note"],
                "flagged": bool(row["flagged"]),
                "informed": bool(row["informed"]),
                "seconds": row["seconds"],
                "uuid": row["uuid"],
                "supersedes": row["supersedes"],
                "app_version": row["app_version"],
            }
        )
    return events


def _adjudicated(db: Database, pair: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = db.query(
        "SELECT d.*, l.pseudonym FROM adjudications AS d JOIN labelers AS l"
        " ON l.id = d.labeler_id WHERE d.pair_id = ?",
        [pair["id"]],
    )
    return [
        {
            "event": "adjudicated",
            "at": row["adjudicated_at"],
            "labeler": row["pseudonym"],
            "left": _letter(pair, row["left_candidate"]),
            "outcome": row["outcome"],
            "note": row["note"],
            "uuid": row["uuid"],
            "app_version": row["app_version"],
        }
        for row in rows
    ]


def _letter(pair: Mapping[str, Any], candidate: str) -> str:
    return "a" if candidate == pair["candidate_a"] else "b"
