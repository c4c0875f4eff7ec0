"""How pages, cards and commands put numbers, verdicts and speakers."""

from __future__ import annotations

import re

# Reward differences below this, in logits, are too small to be called gentler or ruder.
SAME = 0.5
# Chances of being preferred nearer to one half than this are no preference.
UNSURE = 0.05

_TURN = re.compile(r"\s*(#?[^\W\d_][\w.' -]{0,30}#?)\s*:\s*(.*)")
_PERSON = re.compile(r"#Person(\d+)#")


def number(value: float) -> str:
    """A signed number with two decimals and a real minus sign."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "\u2212")


def percent(share: float) -> str:
    """A share from 0 to 1 as a whole percentage."""
    return f"{100 * share:.0f}\u00a0%"


def percent1(share: float) -> str:
    """A share from 0 to 1 as a percentage with one decimal."""
    return f"{100 * share:.1f}\u00a0%"


def points(share: float) -> str:
    """A difference of shares in percentage points, signed, with a real minus sign."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "\u2212")


def verdict(difference: float) -> str:
    """A reward difference in plain words: gentler, ruder or about the same."""
    if abs(difference) < SAME:
        return "about the same"
    return "gentler" if difference > 0 else "ruder"


def opinion(difference: float, chance: float) -> str:
    """How the two judges stand to each other: ``agree``, ``conflict`` or ``undecided``.

    The classifier by a reward ``difference``, people by their ``chance`` of preferring the second
    side. Where one of them sees next to no difference, there is nothing to agree on.
    """
    if abs(difference) < SAME or abs(chance - 0.5) < UNSURE:
        return "undecided"
    return "agree" if (difference > 0) == (chance > 0.5) else "conflict"


def capital(text: str) -> str:
    """``text`` with its first letter raised and the others as they are."""
    return text[:1].upper() + text[1:]


def turns(text: str) -> list[tuple[str, str]]:
    """``text`` as (speaker, words); the speaker is empty where a text names none."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        match = _TURN.fullmatch(line)
        if match:
            found.append((match[1].strip(), match[2].strip()))
        elif found and line.strip():
            speaker, words = found[-1]
            found[-1] = speaker, f"{words}\n{line.strip()}".strip()
        elif line.strip():
            found.append(("", line.strip()))
    return found


def readable(text: str) -> str:
    """DialogSum's ``#Person1#`` as people write it."""
    return _PERSON.sub(r"Person \1", text)


def words(count: int) -> str:
    """A length in words."""
    return f"{count} word" if count == 1 else f"{count:,} words"
