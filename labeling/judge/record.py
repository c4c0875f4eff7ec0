"""A judge in the labeling database: what it has still to judge, and its verdicts as picks.

A verdict becomes one assignment and one pick of a labeler of kind ``model``, with what was said
to either order beside it. It holds no place, counts as nobody's vote and needs no undo.
"""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Mapping
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.judge.question import Case
from labeling.judge.verdict import Answer, Verdict, version_of
from labeling.picks import NOTE_LENGTH
from labeling.records import add_assignment, add_labeler, add_pick, labeler_name, now
from labeling.store import Store
from labeling.text import clean_text, content_id

_WAITING = """
SELECT p.id, p.candidate_a, p.candidate_b, r.dialogue, a.text AS text_a, b.text AS text_b,
    EXISTS (SELECT 1 FROM gold AS g WHERE g.pair_id = p.id) AS gold
FROM pairs AS p JOIN prompts AS r ON r.id = p.prompt_id
JOIN candidates AS a ON a.id = p.candidate_a JOIN candidates AS b ON b.id = p.candidate_b
WHERE (:batch IS NULL OR p.batch = :batch)
    AND (NOT :voted OR p.votes > 0 OR EXISTS (SELECT 1 FROM gold AS g WHERE g.pair_id = p.id))
    AND NOT EXISTS (
        SELECT 1 FROM assignments AS s JOIN labelers AS l ON l.id = s.labeler_id
        WHERE s.pair_id = p.id AND l.name = :name AND s.kind <> 'repeat'
    )
ORDER BY p.id LIMIT :limit
"""


def waiting(
    store: Store,
    name: str,
    settings: Mapping[str, Any],
    batch: str | None = None,
    *,
    limit: int | None = None,
    voted: bool = False,
) -> list[Case]:
    """The pairs that the judge ``name`` has not judged, at most ``limit``, in an order of hashes.

    With ``voted`` only those that people have judged, and gold. Which text comes first is drawn by
    a hash of the pair and the judge. Raises ``UserError`` for an unknown batch, and where the name
    is a person's or that of a judge with other ``settings``.
    """
    name = labeler_name(name)
    with store.reading() as db:
        _refuse_other(db, name, settings)
        if batch is not None and not next(
            db.query("SELECT 1 FROM batches WHERE name = ?", [batch]), None
        ):
            raise UserError(f"There is no batch '{batch}': load one with `labeling pairs`.")
        rows = list(
            db.query(
                _WAITING,
                {
                    "name": name,
                    "batch": batch,
                    "voted": voted,
                    "limit": -1 if limit is None else limit,
                },
            )
        )
    return [_case(row, name) for row in rows]


def _refuse_other(db: Database, name: str, settings: Mapping[str, Any]) -> None:
    row = next(
        db.query(
            "SELECT l.kind, j.version FROM labelers AS l LEFT JOIN judges AS j"
            " ON j.labeler_id = l.id WHERE l.name = ?",
            [name],
        ),
        None,
    )
    if row is None or (row["kind"] == "model" and row["version"] == version_of(settings)):
        return
    if row["kind"] == "model":
        raise UserError(
            f"'{name}' has judged with another model or prompt: give this judge another name."
        )
    raise UserError(f"'{name}' is the name of a {row['kind']} here: choose another name.")


def _case(row: Mapping[str, Any], name: str) -> Case:
    sides = ["a", "b"]
    if int(content_id(row["id"], name)[:8], 16) % 2:
        sides.reverse()
    left, right = sides
    return Case(
        pair_id=row["id"],
        left_candidate=row[f"candidate_{left}"],
        right_candidate=row[f"candidate_{right}"],
        dialogue=clean_text(row["dialogue"]),
        left=clean_text(row[f"text_{left}"]),
        right=clean_text(row[f"text_{right}"]),
        kind="gold" if row["gold"] else "regular",
    )


def record(
    store: Store, name: str, settings: Mapping[str, Any], case: Case, verdict: Verdict
) -> bool:
    """Writes a verdict in one transaction, on disk when this returns.

    False where the judge has judged the pair meanwhile, in another program. Raises ``UserError``
    as ``waiting`` does, ``StoreError`` by the database.
    """
    name = labeler_name(name)
    with store.writing() as db:
        _refuse_other(db, name, settings)
        labeler_id = add_labeler(db, name, kind="model")
        db.execute(
            "INSERT INTO judges (labeler_id, version, settings, created)"
            " SELECT :id, :version, :settings, :created"
            " WHERE NOT EXISTS (SELECT 1 FROM judges WHERE labeler_id = :id)",
            {
                "id": labeler_id,
                "version": version_of(settings),
                "settings": json.dumps(dict(settings), sort_keys=True),
                "created": now(),
            },
        )
        known = db.query(
            "SELECT 1 FROM assignments WHERE labeler_id = ? AND pair_id = ? AND kind <> 'repeat'",
            [labeler_id, case.pair_id],
        )
        if next(known, None):
            return False
        assignment_id = add_assignment(
            db,
            case.pair_id,
            labeler_id,
            case.left_candidate,
            case.right_candidate,
            kind=case.kind,
        )
        pick = str(uuids.uuid4())
        add_pick(
            db,
            {
                "uuid": pick,
                "assignment_id": assignment_id,
                "choice": verdict.choice,
                "note": bounded(verdict.explanation),
                "seconds": verdict.seconds,
            },
        )
        _add_answer(db, pick, case.left_candidate, verdict.forward)
        _add_answer(db, pick, case.right_candidate, verdict.backward)
    return True


def _add_answer(db: Database, pick: str, first: str, answer: Answer) -> None:
    db.execute(
        "INSERT INTO judge_answers (pick, first_candidate, answer, log_odds, explanation)"
        " VALUES (?, ?, ?, ?, ?)",
        [pick, first, answer.answer, answer.log_odds, bounded(answer.explanation)],
    )


def bounded(text: str) -> str:
    """An explanation as a note: clean, and not longer than a labeler's may be."""
    text = clean_text(text)
    return text if len(text) <= NOTE_LENGTH else text[: NOTE_LENGTH - 1].rstrip() + "…"
