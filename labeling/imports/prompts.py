"""The prompts a record knows, and where the prompt ends in two texts that both begin with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from detox.errors import UserError
from detox.tasks import TASKS
from labeling.text import storable

# A line that says who speaks next, as in "Assistant:" or "TL;DR:".
_SPEAKER = re.compile(r"[^\n:]{1,40}:(?=\s)")
_WORD_END = re.compile(r"\S(?=\s)")


class Known:
    """The prompts of a record, by a hash: hundreds of thousands fit into little memory.

    Prompts that differ in outer white space only count as one here, as the formats of TRL do not
    keep it.
    """

    def __init__(self, prompts: Iterable[tuple[str, str]] = ()) -> None:
        self._ids: dict[bytes, list[str]] = {}
        for prompt_id, prompt in prompts:
            self.add(prompt_id, prompt)

    def add(self, prompt_id: str, prompt: str) -> None:
        """Remembers a prompt."""
        ids = self._ids.setdefault(digest(prompt), [])
        if prompt_id not in ids:
            ids.append(prompt_id)

    def ids(self, prompt: str) -> list[str]:
        """The ids of the prompts that read like ``prompt``."""
        return list(self._ids.get(digest(prompt), ()))

    def ends(self, text: str) -> Iterator[int]:
        """Where in ``text`` a known prompt ends that it begins with, the shortest first."""
        start = len(text) - len(text.lstrip())
        hashed, at = _hash(), start
        for found in _WORD_END.finditer(text, start):
            hashed.update(text[at : found.end()].encode())
            at = found.end()
            if hashed.digest() in self._ids:
                yield at


def _hash() -> Any:
    return hashlib.blake2b(digest_size=16)


def digest(prompt: str) -> bytes:
    """A hash of a prompt without its outer white space."""
    hashed = _hash()
    hashed.update(storable(prompt).strip().encode())
    value: bytes = hashed.digest()
    return value


def common_prompt(chosen: str, rejected: str, known: Known) -> tuple[str, str, str]:
    """Prompt, chosen and rejected completion of two texts with the same prompt in front.

    The prompt ends where one that is ``known`` does; else where a template of ours does; else
    before the line, or at last the word, in which the texts begin to differ, behind a speaker's
    name in front of that line. The white space behind it belongs to the completions.

    Raises ``UserError`` where the texts share no beginning.
    """
    chosen, rejected = storable(chosen), storable(rejected)
    shared = _shared(chosen, rejected)

    def fits(end: int) -> bool:
        return end > 0 and all(
            text[end : end + 1].isspace() and text[end:].strip() for text in (chosen, rejected)
        )

    # One further, for a prompt that is followed by different white space in both.
    known_ends = known.ends(chosen[: len(shared) + 1])
    end = (
        max(filter(fits, known_ends), default=0)
        or max(filter(fits, _template_ends(shared)), default=0)
        or next(filter(fits, _line_ends(shared)), 0)
    )
    if not end:
        raise UserError(
            "`chosen` and `rejected` have no common prompt in front: give it as `prompt`."
        )
    return chosen[:end], chosen[end:], rejected[end:]


def _shared(first: str, second: str) -> str:
    """What both texts begin with."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return first[:place]
    return min(first, second, key=len)


def _template_ends(shared: str) -> Iterator[int]:
    """Behind the last words of each template, as in "Summary:"."""
    for task in TASKS.values():
        for wording in task.templates.values():
            tail = wording.partition("{text}")[2].strip()
            at = shared.rfind(f"\n{tail}")
            if at >= 0:
                yield at + 1 + len(tail)


def _line_ends(shared: str) -> Iterator[int]:
    """Behind a speaker in front of the last line, before that line, and before its last word."""
    line = shared.rfind("\n") + 1
    speaker = _SPEAKER.match(shared, line) if line else None
    if speaker:
        yield speaker.end()
    yield len(shared[:line].rstrip())
    words = [found.end() for found in _WORD_END.finditer(shared)]
    yield from reversed(words)
    # The last word may be whole, where only the white space behind it differs.
    yield len(shared.rstrip())
