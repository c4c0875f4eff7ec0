"""What is written to the labeling database, row by row; nothing else writes to it.

These functions run inside ``store.writing()`` and take its ``Database``. Rows are identified by
the hash of their content, so adding one twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid as uuids
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from detox import __version__
from detox.errors import UserError
from labeling.schema import SPLITS
from labeling.store import Store
from labeling.text import clean_text, content_id, storable

NAME_LENGTH = 100
_SPLIT_NAMES = {"valid": "validation", "val": "validation", "dev": "validation"}


def now() -> str:
    """The time in UTC as ISO 8601 with microseconds, which sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _insert(db: Database, table: str, row: Mapping[str, Any], *, known_ok: bool = False) -> None:
    # Not `Table.insert`: that creates a table which is missing.
    names = ", ".join(row)
    slots = ", ".join(f":{name}" for name in row)
    verb = "INSERT OR IGNORE" if known_ok else "INSERT"
    db.execute(f"{verb} INTO {table} ({names}) VALUES ({slots})", dict(row))


def add_known(db: Database, table: str, row: Mapping[str, Any]) -> None:
    """Adds a whole row that another copy of this database wrote, unless it is here already."""
    _insert(db, table, row, known_ok=True)


def add_prompt(
    db: Database,
    dialogue: str,
    prompt: str = "",
    *,
    topic: str | None = None,
    tone: str | None = None,
    source: str | None = None,
    split: str | None = None,
) -> str:
    """The id of this dialogue and prompt, adding them if they are new.

    All prompts of one dialogue share a split: that of its first one, else ``split``, else one
    drawn from the dialogue's hash (80 % train, 10 % validation, 10 % test).

    Raises ``UserError`` for an empty dialogue and an unknown split.
    """
    dialogue = storable(dialogue).strip()
    prompt = storable(prompt)
    if not dialogue:
        raise UserError("The dialogue is empty: give one with at least one turn.")
    prompt = prompt if prompt.strip() else dialogue
    dialogue_id, prompt_id = content_id(dialogue), content_id(dialogue, prompt)
    known = list(db.query("SELECT split FROM prompts WHERE dialogue_id = ?", [dialogue_id]))
    split = known[0]["split"] if known else _split(split, dialogue_id)
    row = {
        "id": prompt_id,
        "dialogue_id": dialogue_id,
        "dialogue": dialogue,
        "prompt": prompt,
        "topic": _optional(topic),
        "tone": _optional(tone),
        "source": _optional(source),
        "split": split,
    }
    _insert(db, "prompts", row, known_ok=True)
    return prompt_id


def _split(name: str | None, dialogue_id: str) -> str:
    if name:
        split = _SPLIT_NAMES.get(name.strip().lower(), name.strip().lower())
        if split not in SPLITS:
            raise UserError(f"Unknown split '{name}': use one of {', '.join(SPLITS)}.")
        return split
    share = int(dialogue_id[:8], 16) / 2**32
    return "train" if share < 0.8 else "validation" if share < 0.9 else "test"


def _optional(text: object) -> str | None:
    return storable(str(text)) or None if text is not None else None


def add_policy(db: Database, policy: str | Mapping[str, Any]) -> str:
    """The id of a policy, given its name or ``{"name", "base", "adapter", "fingerprint"}``.

    Raises ``UserError`` when it has no name.
    """
    fields = {"name": policy} if isinstance(policy, str) else dict(policy)
    row: dict[str, Any] = {
        key: _optional(fields.get(key)) for key in ("name", "base", "adapter", "fingerprint")
    }
    if not row["name"]:
        raise UserError("A policy needs a name, such as 'before' or 'after'.")
    row["id"] = content_id(*(value or "" for value in row.values()))
    _insert(db, "policies", row | {"created": now()}, known_ok=True)
    return str(row["id"])


def add_candidate(
    db: Database,
    prompt_id: str,
    policy_id: str,
    text: str,
    *,
    sampling: Mapping[str, Any] | None = None,
    reward: float | None = None,
    toxicity: float | None = None,
) -> str:
    """The id of a response, adding it if new; scores fill what was unknown, never overwrite.

    The text is stored as labelers see it (``clean_text``). Raises ``UserError`` if it is empty.
    """
    text = clean_text(text)
    if not text:
        raise UserError("A summary is empty: every candidate needs a text.")
    settings = json.dumps(dict(sampling or {}), sort_keys=True)
    candidate_id = content_id(prompt_id, policy_id, text, settings)
    row = {
        "id": candidate_id,
        "prompt_id": prompt_id,
        "policy_id": policy_id,
        "text": text,
        "sampling": settings,
    }
    _insert(db, "candidates", row, known_ok=True)
    scores = [_finite(reward), _finite(toxicity)]
    if scores != [None, None]:
        db.execute(
            "UPDATE candidates SET reward = coalesce(reward, ?), toxicity = coalesce(toxicity, ?)"
            " WHERE id = ?",
            [*scores, candidate_id],
        )
    return candidate_id


def _finite(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def add_pair(
    db: Database, prompt_id: str, candidate_a: str, candidate_b: str, batch: str
) -> tuple[str, bool]:
    """The id of the pair of two candidates, whichever comes first, and whether it is new."""
    pair_id = content_id(*sorted((candidate_a, candidate_b)))
    row = {
        "id": pair_id,
        "prompt_id": prompt_id,
        "candidate_a": candidate_a,
        "candidate_b": candidate_b,
        "batch": batch,
        "created": now(),
    }
    if next(db.query("SELECT 1 FROM pairs WHERE id = ?", [pair_id]), None):
        return pair_id, False
    _insert(db, "pairs", row)
    return pair_id, True


def add_labeler(db: Database, name: str, kind: str = "person") -> int:
    """The id of the labeler called ``name``, adding them if new.

    Their pseudonym is a hash of the name with the database's own salt, so that exports of one
    project agree on who is who and nobody outside can find a name by trying.

    Raises ``UserError`` for an empty or overlong name, and for one that belongs to a labeler of
    the other kind.
    """
    name = labeler_name(name)
    if not name or len(name) > NAME_LENGTH:
        raise UserError(f"Give a labeler name of 1 to {NAME_LENGTH} characters.")
    known = next(db.query("SELECT id, kind FROM labelers WHERE name = ?", [name]), None)
    if known and known["kind"] != kind:
        raise UserError(f"'{name}' is the name of a {known['kind']} here: choose another name.")
    if known:
        return int(known["id"])
    salt = next(db.query("SELECT value FROM meta WHERE key = 'salt'"))["value"]
    digest = hashlib.sha256(f"{salt}\n{name}".encode()).hexdigest()
    row = {"name": name, "pseudonym": f"labeler-{digest[:12]}", "kind": kind}
    cursor = db.execute(
        "INSERT INTO labelers (name, pseudonym, kind) VALUES (:name, :pseudonym, :kind)", row
    )
    return int(cursor.lastrowid or 0)


def labeler_name(name: str) -> str:
    """The form in which a labeler's name is stored and looked up: cleaned, single spaces."""
    return " ".join(clean_text(name).split())


def add_assignment(
    db: Database,
    pair_id: str,
    labeler_id: int,
    left: str,
    right: str,
    *,
    kind: str = "regular",
    held_until: str | None = None,
    assignment_id: str | None = None,
    app_version: str = __version__,
) -> str:
    """The id of a new assignment: ``labeler_id`` sees candidate ``left`` on the left.

    It holds the pair until ``held_until``, by default not at all.
    """
    assigned_at = now()
    row = {
        "id": assignment_id or uuids.uuid4().hex,
        "pair_id": pair_id,
        "labeler_id": labeler_id,
        "left_candidate": left,
        "right_candidate": right,
        "assigned_at": assigned_at,
        "app_version": app_version,
        "kind": kind,
        "held_until": held_until or assigned_at,
    }
    _insert(db, "assignments", row)
    return str(row["id"])


def add_pick(db: Database, row: Mapping[str, Any]) -> None:
    """Appends one row to ``picks``; the caller has checked it."""
    known = {"picked_at": now(), "app_version": __version__}
    _insert(db, "picks", known | {key: value for key, value in row.items() if value is not None})


def add_practice(db: Database, labeler_id: int, item: str, choice: str, *, correct: bool) -> None:
    """Appends an answer to a practice pair, which is no pick."""
    row = {
        "labeler_id": labeler_id,
        "item": item,
        "choice": choice,
        "correct": int(correct),
        "practised_at": now(),
    }
    _insert(db, "practice", row)


def add_reward_model(
    store: Store,
    name: str,
    path: str | Path,
    *,
    base: str,
    snapshot: str,
    picks: int,
    metrics: Mapping[str, Any],
) -> str:
    """Records a reward model trained on ``picks`` picks of ``snapshot``; returns its id."""
    row = {
        "id": uuids.uuid4().hex,
        "name": name,
        "path": str(path),
        "base": base,
        "snapshot": snapshot,
        "picks": picks,
        "metrics": json.dumps(dict(metrics)),
        "created": now(),
    }
    with store.writing() as db:
        _insert(db, "reward_models", row)
    return str(row["id"])


def add_export(db: Database, row: Mapping[str, Any]) -> None:
    """Records an export: what was written where, from which snapshot, and what was left out."""
    _insert(db, "exports", row)
