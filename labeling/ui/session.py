"""What a labeler does, one function each: sign in, pick, take back. Nothing here knows gradio.

Each function returns a ``Turn``, all that the page may show next. Before its pick, nothing in it
tells which policy wrote which side of the pair it asks about.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from detox.errors import UserError
from labeling.picks import Reveal, reveal, submit, undo
from labeling.queue import Progress, Task, next_pair, progress
from labeling.records import labeler_name
from labeling.store import Store, StoreError

ALREADY = "You had judged that pair already: your first answer stays."
TAKEN_BACK = "Taken back: this is the pair you judged last."
NOTHING_TO_UNDO = "There is nothing to undo."


@dataclass(frozen=True)
class Last:
    """The pair just judged: what was picked, and what was behind its sides."""

    choice: str
    reveal: Reveal | None


@dataclass(frozen=True)
class Turn:
    """What a labeler sees next; ``task`` is None when no pair is left for them."""

    labeler: str
    task: Task | None
    progress: Progress
    last: Last | None = None
    note: str = ""

    def answer(self) -> dict[str, Any]:
        """The turn for programs, as JSON."""
        return {
            "labeler": self.labeler,
            "pair": asdict(self.task) if self.task else None,
            "progress": asdict(self.progress),
            "last": asdict(self.last) if self.last else None,
            "note": self.note,
        }


def sign_in(store: Store, name: str, rng: random.Random, batch: str | None = None) -> Turn:
    """The first pair for the labeler called ``name``.

    Raises ``UserError`` for an empty or overlong name, ``StoreError`` by the database.
    """
    return _turn(store, labeler_name(name or ""), rng, batch)


def judge(
    store: Store,
    labeler: str,
    assignment_id: str,
    choice: str,
    seconds: float | None,
    rng: random.Random,
    batch: str | None = None,
) -> Turn:
    """Records a pick; returns the next pair, and what was behind the one just judged.

    The same answer sent twice is kept once. Another answer to a pair that is already judged (a
    page left open elsewhere) changes nothing, as its sides were revealed; neither does an answer
    to a pair that is gone. Both are said in the turn's note.

    Raises ``UserError`` for an unknown choice, without a labeler and for the assignment of
    another; ``StoreError`` by the database.
    """
    labeler = _signed_in(labeler)
    known = _known_choice(store, assignment_id)
    if known is not None and known != choice:
        return _turn(store, labeler, rng, batch, note=ALREADY)
    try:
        pick = submit(store, assignment_id, choice, labeler=labeler, seconds=seconds)
        last = Last(pick.choice, reveal(store, pick))
    except StoreError as error:
        # Of a pair that is gone, or of the whole database: then the next pair fails as well.
        return _turn(store, labeler, rng, batch, note=str(error))
    return _turn(store, labeler, rng, batch, last=last)


def take_back(store: Store, labeler: str, rng: random.Random, batch: str | None = None) -> Turn:
    """Undoes the labeler's latest pick and returns its pair, sides as they were.

    Raises ``UserError`` without a labeler, ``StoreError`` by the database.
    """
    labeler = _signed_in(labeler)
    note = TAKEN_BACK if undo(store, labeler) else NOTHING_TO_UNDO
    return _turn(store, labeler, rng, batch, note=note)


def look_again(store: Store, labeler: str, rng: random.Random, batch: str | None = None) -> Turn:
    """The pair that waits for the labeler, or one that was added since they finished.

    Raises ``UserError`` without a labeler, ``StoreError`` by the database.
    """
    return _turn(store, _signed_in(labeler), rng, batch)


def _signed_in(labeler: str) -> str:
    name = labeler_name(labeler or "")
    if not name:
        raise UserError("Sign in first: give the name your picks are kept under.")
    return name


def _turn(
    store: Store,
    labeler: str,
    rng: random.Random,
    batch: str | None,
    *,
    last: Last | None = None,
    note: str = "",
) -> Turn:
    task = next_pair(store, labeler, rng, batch)
    done = task.progress if task else progress(store, labeler, batch)
    return Turn(labeler, task, done, last, note)


def _known_choice(store: Store, assignment_id: str) -> str | None:
    with store.reading() as db:
        rows = db.query("SELECT choice FROM current_picks WHERE assignment_id = ?", [assignment_id])
        return next((str(row["choice"]) for row in rows), None)
