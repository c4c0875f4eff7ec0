"""What a labeler does, one function each: sign in, pick, take back. Nothing here knows gradio.

Each function returns a ``Turn``, all that the page may show next. Before their picks, nothing in
it tells which policy wrote which side of the pairs it holds.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from detox.errors import UserError
from labeling.picks import Earlier, Reveal, look_back, reveal, submit, undo
from labeling.practice import is_new
from labeling.queue import Progress, Task, progress, upcoming
from labeling.records import labeler_name
from labeling.store import GoneError, Store, StoreError
from labeling.ui.scope import OpenBatch, batch_named, open_batches, why_nothing

ALREADY = "You had judged that pair already: your first answer stays."
TAKEN_BACK = "Taken back: this is the pair you judged last."
TAKEN_BACK_ELSEWHERE = "Taken back: that pair waits for you in its own batch."
CLOSED = "The batch of that pick is closed, so the pick stays as it is."
NOTHING_TO_UNDO = "There is nothing to undo."


@dataclass(frozen=True)
class Scope:
    """Where a labeler's pairs come from: sides and order by ``rng``, from ``only`` that batch.

    ``chosen`` is the key of the batch the labeler chose on the page, empty for all of them; where
    there is an ``only`` there is nothing to choose.
    """

    rng: random.Random
    only: str | None = None
    chosen: str = ""


@dataclass(frozen=True)
class Answer:
    """What the page sends of a pick.

    ``seconds`` is the time taken. ``uuid`` is the page's own, so that an answer sent twice is kept
    once. ``change`` says that the labeler means to replace an earlier answer of theirs.
    """

    choice: str
    seconds: float | None = None
    strength: str | None = None
    reasons: Sequence[str] = ()
    note: str = ""
    flagged: bool = False
    uuid: str | None = None
    change: bool = False


@dataclass(frozen=True)
class Last:
    """The pair just judged: what was picked, and what was behind its sides."""

    choice: str
    reveal: Reveal | None
    change: bool = False


@dataclass(frozen=True)
class Turn:
    """What a labeler sees next; ``task`` is None when no pair is left for them.

    ``ahead`` is the pair after it, which the page fetches beforehand. Without a task ``rest`` says
    why: ``empty``, ``paused``, ``closed`` or ``finished``. ``undoable`` is whether there is a pick
    to take back, ``new`` whether the labeler may want to practise first.
    """

    labeler: str
    task: Task | None
    progress: Progress
    last: Last | None = None
    note: str = ""
    ahead: Task | None = None
    rest: str = ""
    batches: tuple[OpenBatch, ...] = ()
    chosen: str = ""
    undoable: bool = False
    new: bool = False

    def answer(self) -> dict[str, Any]:
        """The turn for programs, as JSON."""
        return {
            "labeler": self.labeler,
            "pair": asdict(self.task) if self.task else None,
            "next": asdict(self.ahead) if self.ahead else None,
            "progress": asdict(self.progress),
            "last": asdict(self.last) if self.last else None,
            "note": self.note,
            "rest": self.rest,
            "batches": [asdict(batch) for batch in self.batches],
        }


@dataclass(frozen=True)
class Change:
    """An earlier pick, on the page again; ``seen`` if its labeler has looked behind the pair."""

    earlier: Earlier
    seen: bool

    def answer(self) -> dict[str, Any]:
        """The pick and its pair for programs, as JSON."""
        return asdict(self.earlier) | {"seen": self.seen}


def sign_in(store: Store, name: str, scope: Scope) -> Turn:
    """The first pair for the labeler called ``name``.

    Raises ``UserError`` for an empty or overlong name, ``StoreError`` by the database.
    """
    return _turn(store, labeler_name(name or ""), scope)


def judge(store: Store, labeler: str, assignment_id: str, answer: Answer, scope: Scope) -> Turn:
    """Records a pick; returns the next pair, and what was behind the one just judged.

    The same answer sent twice is kept once. Another answer to a pair that is already judged (a
    page left open elsewhere) changes nothing unless it is meant as a ``change``, as its sides were
    revealed; neither does an answer to a pair that is gone. Both are said in the turn's note.

    Raises ``UserError`` for a bad answer, without a labeler and for the assignment of another;
    ``StoreError`` by the database.
    """
    labeler = signed_in(labeler)
    known = _known_choice(store, assignment_id)
    if known is not None and known != answer.choice and not answer.change:
        return _turn(store, labeler, scope, note=ALREADY)
    try:
        pick = submit(
            store,
            assignment_id,
            answer.choice,
            labeler=labeler,
            strength=answer.strength or None,
            reasons=answer.reasons,
            note=answer.note,
            seconds=answer.seconds,
            flagged=answer.flagged,
            uuid=answer.uuid or None,
        )
    except GoneError as error:
        # Of the pair alone. What keeps the database from storing a pick must reach the page as an
        # error, even where the next pair could still be read: only then it keeps the pick.
        return _turn(store, labeler, scope, note=str(error))
    try:
        behind = reveal(store, pick)
    except StoreError:  # taken back in another window meanwhile; this answer is stored all the same
        behind = None
    last = Last(pick.choice, behind, answer.change and known is not None)
    return _turn(store, labeler, scope, last=last)


def take_back(store: Store, labeler: str, scope: Scope) -> Turn:
    """Undoes the labeler's latest pick and returns its pair, sides as they were.

    Raises ``UserError`` without a labeler and when the pick's batch is closed, ``StoreError`` by
    the database.
    """
    labeler = signed_in(labeler)
    try:
        pick = undo(store, labeler)
    except StoreError:
        raise
    except UserError as error:  # it names the batch, which labelers do not read
        raise UserError(CLOSED) from error
    if pick is None:
        return _turn(store, labeler, scope, note=NOTHING_TO_UNDO)
    turn = _turn(store, labeler, scope, note=TAKEN_BACK)
    if turn.task is None or turn.task.assignment_id != pick.assignment_id:
        return _turn(store, labeler, scope, note=TAKEN_BACK_ELSEWHERE)
    return turn


def look_again(store: Store, labeler: str, scope: Scope) -> Turn:
    """The pair that waits for the labeler, or one that was added since they finished.

    Raises ``UserError`` without a labeler, ``StoreError`` by the database.
    """
    return _turn(store, signed_in(labeler), scope)


def change(store: Store, labeler: str, assignment_id: str) -> Change:
    """An earlier pick of the labeler's own, to be answered anew.

    Raises ``UserError`` without a labeler, for a pick of somebody else and in a closed batch;
    ``StoreError`` for one that is gone and by the database.
    """
    earlier = look_back(store, signed_in(labeler), assignment_id)
    if earlier.closed:
        raise UserError(CLOSED)
    with store.reading() as db:
        row: Mapping[str, Any] = next(
            db.query("SELECT revealed_at FROM assignments WHERE id = ?", [assignment_id])
        )
    return Change(earlier, row["revealed_at"] is not None)


def signed_in(labeler: str) -> str:
    """The labeler's name in its stored form; ``UserError`` when it is empty."""
    name = labeler_name(labeler or "")
    if not name:
        raise UserError("Sign in first: give the name your picks are kept under.")
    return name


def _turn(
    store: Store, labeler: str, scope: Scope, *, last: Last | None = None, note: str = ""
) -> Turn:
    batch = scope.only or batch_named(store, scope.chosen)
    tasks = upcoming(store, labeler, scope.rng, batch)
    return Turn(
        labeler=labeler,
        task=tasks[0] if tasks else None,
        progress=tasks[0].progress if tasks else progress(store, labeler, batch),
        last=last,
        note=note,
        ahead=tasks[1] if tasks[1:] else None,
        rest="" if tasks else why_nothing(store, batch),
        batches=open_batches(store, labeler, scope.only),
        chosen=scope.chosen,
        undoable=_has_picked(store, labeler),
        new=is_new(store, labeler),
    )


def _has_picked(store: Store, labeler: str) -> bool:
    with store.reading() as db:
        rows = db.query(
            "SELECT 1 FROM tallies WHERE done > 0"
            " AND labeler_id = (SELECT id FROM labelers WHERE name = ?)",
            [labeler],
        )
        return next(rows, None) is not None


def _known_choice(store: Store, assignment_id: str) -> str | None:
    with store.reading() as db:
        rows = db.query("SELECT choice FROM current_picks WHERE assignment_id = ?", [assignment_id])
        return next((str(row["choice"]) for row in rows), None)
