"""Does a summary still say what happened? Names and numbers, looked up in what was said."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PERSON = re.compile(r"#person(\d+)#", re.IGNORECASE)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"[^\W\d_][\w'’-]*")
_SENTENCE = re.compile(r"[.!?:\n\"“]+\s*")
_POSSESSIVE = re.compile(r"['’]s?$")
# "one" is a pronoun more often than a number
_VALUES = {
    **{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9},
    **{"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15},
    **{"sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20},
    **{"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80},
    **{"ninety": 90, "hundred": 100, "thousand": 1000, "million": 1_000_000},
}
# Capitalised wherever they stand, and the name of nothing.
_NO_NAMES = {"i", "i'm", "i'll", "i've", "i'd", "ok", "mr", "mrs", "ms", "dr"}


def entities(text: str) -> set[str]:
    """Names and numbers in ``text``: lower-case words, digits, and ``#person1#`` for speakers.

    A name is a word with a capital letter that does not open a sentence; months and days are
    names too. Numbers written out, from two, count as their digits. No model is asked: what is
    missed in one text is missed in the other.
    """
    found = {f"#person{number}#" for number in _PERSON.findall(text)}
    bare = _PERSON.sub(" x ", text)
    found |= {number.rstrip(".,:") for number in _NUMBER.findall(bare)}
    for sentence in _SENTENCE.split(bare):
        for place, word in enumerate(_NAME.findall(sentence)):
            plain = _POSSESSIVE.sub("", word).lower()
            if plain in _VALUES:
                found.add(str(_VALUES[plain]))
            elif place and word[0].isupper() and plain not in _NO_NAMES:
                found.add(plain)
    return found


def supported(summary: str, dialogue: str) -> float | None:
    """Share of the names and numbers of ``summary`` that the dialogue mentions, 0 to 1.

    None where the summary holds none: nothing is invented, and nothing told either.
    """
    said = entities(summary)
    if not said:
        return None
    known = entities(dialogue) | {word.lower() for word in _NAME.findall(dialogue)}
    return len(said & known) / len(said)


def kept(summary: str, references: Sequence[str]) -> float | None:
    """Share of the names and numbers of the references that ``summary`` holds, 0 to 1.

    The mean over the references that hold any, or None.
    """
    said = entities(summary) | {word.lower() for word in _NAME.findall(summary)}
    shares = [len(wanted & said) / len(wanted) for wanted in map(entities, references) if wanted]
    return sum(shares) / len(shares) if shares else None
