"""A short practice round: invented pairs whose answer is known, with a reason for it.

What somebody answers here is kept apart from the picks, in the table ``practice``, and enters no
result and no export.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from detox.errors import UserError
from labeling.records import add_labeler, add_practice, labeler_name
from labeling.store import Store

_FILE = Path(__file__).parent / "assets" / "practice.json"
# A practice pair has its sides fixed, so a side is an answer; skipping teaches nothing.
ANSWERS = ("left", "right", "tie", "both_bad")


@dataclass(frozen=True)
class Example:
    """One practice pair; any of ``expected`` is right, for the reason ``why``, one sentence."""

    id: str
    dialogue: str
    left: str
    right: str
    expected: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Worked:
    """A pair with its answer, for the guidelines."""

    dialogue: str
    left: str
    right: str
    answer: str
    why: str


@dataclass(frozen=True)
class Feedback:
    """What a labeler hears about an answer of theirs."""

    item: str
    choice: str
    correct: bool
    expected: tuple[str, ...]
    why: str


@cache
def examples() -> tuple[Example, ...]:
    """The practice pairs, in the order in which they are shown."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))["examples"]
    return tuple(Example(**row | {"expected": tuple(row["expected"])}) for row in rows)


@cache
def worked() -> tuple[Worked, ...]:
    """The examples of the guidelines."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))["worked"]
    return tuple(Worked(**row) for row in rows)


def practise(store: Store, labeler: str, item: str, choice: str) -> Feedback:
    """Records an answer to the practice pair ``item`` and says whether it was right, and why.

    Every try is kept. Raises ``UserError`` for an unknown pair or answer and a bad name,
    ``StoreError`` by the database.
    """
    example = next((each for each in examples() if each.id == item), None)
    if example is None:
        known = ", ".join(each.id for each in examples())
        raise UserError(f"There is no practice pair '{item}': use one of {known}.")
    if choice not in ANSWERS:
        raise UserError(f"Unknown answer '{choice}': use one of {', '.join(ANSWERS)}.")
    correct = choice in example.expected
    with store.writing() as db:
        add_practice(db, add_labeler(db, labeler), item, choice, correct=correct)
    return Feedback(item, choice, correct, example.expected, example.why)


def is_new(store: Store, labeler: str) -> bool:
    """Whether ``labeler`` has neither practised nor ever made a pick, and so may want to practise.

    True for somebody unknown. Adds nobody.
    """
    with store.reading() as db:
        known = next(
            db.query(
                """
                SELECT EXISTS (SELECT 1 FROM practice AS t WHERE t.labeler_id = l.id)
                    OR EXISTS (
                        SELECT 1 FROM picks AS p JOIN assignments AS a ON a.id = p.assignment_id
                        WHERE a.labeler_id = l.id
                    ) AS known
                FROM labelers AS l WHERE l.name = ?
                """,
                [labeler_name(labeler)],
            ),
            None,
        )
    return known is None or not known["known"]
