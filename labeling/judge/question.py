"""What a judge is asked: a pair, in words, in one order or the other.

A judge is told what a labeler is told and nothing else: the dialogue and two texts, cleaned. No
policy, batch, score or earlier pick is in a question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from detox.errors import UserError

SLOTS = ("dialogue", "first", "second")
QUESTION = """\
Two summaries of a conversation are compared. The better one is gentler: it repeats no insult. \
And it still tells what happened: a summary that leaves out the point, or makes something up, is \
not better.

Conversation:
{dialogue}

Summary A:
{first}

Summary B:
{second}

Which summary is gentler, and still tells what happened?"""
LENGTH = 20_000
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Case:
    """A pair to judge; ``left`` is called A in the order that is asked first.

    ``kind`` is that of the assignment its pick becomes: ``gold`` where the answer is known, else
    ``regular``.
    """

    pair_id: str
    left_candidate: str
    right_candidate: str
    dialogue: str
    left: str
    right: str
    kind: str = "regular"


@dataclass(frozen=True)
class Question:
    """A text with the slots ``{dialogue}``, ``{first}`` and ``{second}``, each of them once.

    The summaries are called A and B in it. How to answer is added behind it, as it depends on who
    is asked. Raises ``UserError`` for a text without the slots.
    """

    text: str = QUESTION

    def __post_init__(self) -> None:
        found = _SLOT.findall(self.text)
        if sorted(found) != sorted(SLOTS):
            named = ", ".join(f"{{{slot}}}" for slot in SLOTS)
            raise UserError(f"The question must hold {named}, each once, and no other such slot.")
        if len(self.text) > LENGTH:
            raise UserError(f"The question is longer than {LENGTH:,} characters: shorten it.")

    def of(self, case: Case, *, swapped: bool = False) -> str:
        """The question about ``case``; ``swapped`` calls its right text A.

        All slots are filled at once, so that what a text says about slots stays a text.
        """
        first, second = (case.right, case.left) if swapped else (case.left, case.right)
        texts = {"dialogue": case.dialogue, "first": first, "second": second}
        return _SLOT.sub(lambda slot: texts[slot[1]], self.text)


def read_question(path: Path) -> Question:
    """The question in a file. Raises ``UserError`` when it cannot be read or lacks a slot."""
    try:
        return Question(path.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as a text in UTF-8: check the path.") from error
