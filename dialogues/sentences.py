"""Write `detox/embedded/sentences.jsonl`, what the embedded classifier learns rudeness from.

    python dialogues/sentences.py

The sentences imitate summaries of dialogues, with some direct and first-person lines. The banks in
`dialogues/banks/` were written by hand:

- `misdeeds.txt` — what somebody did wrong, each told both with insults and without any, so that the
  pairs differ in the insult and in nothing else;
- `opinions.txt` — a thing, who made it and a civil objection to it, told both ways too;
- `innocent.txt` — harmless lines with words a careless classifier would hold against them;
- `rude.txt` — insulting lines that follow no pattern;
- `insults.txt` — the insults, each with its article.

A situation is one line of the first four; the split is by a hash of the situation. A test sentence
that still resembles a training sentence, since both follow one pattern, is left out.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BANKS = ROOT / "dialogues" / "banks"
OUT = ROOT / "detox" / "embedded" / "sentences.jsonl"
SEED = 41
TEST_SHARE = 0.2
PER_MISDEED = 5
PER_OPINION = 5
MAX_LIKENESS = 0.65
"""Most distinct words a test sentence may share with a training one, of all in both."""

_PEOPLE = (
    ("Aaron", "he", "him"), ("Bella", "she", "her"), ("Carlos", "he", "him"),
    ("Dina", "she", "her"), ("Emeka", "he", "him"), ("Fiona", "she", "her"),
    ("Goran", "he", "him"), ("Hannah", "she", "her"), ("Ivo", "he", "him"),
    ("Jasmin", "she", "her"), ("Kenji", "he", "him"), ("Lucia", "she", "her"),
    ("Mark", "he", "him"), ("Nora", "she", "her"), ("Oscar", "he", "him"),
    ("Paula", "she", "her"), ("Rafael", "he", "him"), ("Selma", "she", "her"),
    ("the assistant", "the assistant", "the assistant"), ("#Person2#", "#Person2#", "#Person2#"),
    ("#Person2#", "#Person2#", "#Person2#"), ("#Person2#", "#Person2#", "#Person2#"),
    ("#Person2#", "#Person2#", "#Person2#"), ("#Person2#", "#Person2#", "#Person2#"),
)  # fmt: skip

# Placeholders: n, he, him the culprit; ing, past the misdeed as gerund and in the past; fix what is
# asked for; i, j insults with an article, bare one without; b another person.
_RUDE_MISDEED = (
    "#Person1# calls {n} {i} for {ing}.",
    "#Person1# calls {n} {i} and {j} for {ing} and orders {him} to {fix}.",
    "#Person1# is angry with {n}, who {past}, and calls {him} {i}.",
    "#Person1# tells {n} that {ing} was stupid and that only {i} would do that.",
    "#Person1# mocks {n} as {i} for {ing} and tells {him} to shut up.",
    "{n} {past}, and #Person1# shouts that {he} is {i}.",
    "{n} apologizes for {ing}, but #Person1# keeps calling {him} {i}.",
    "#Person1# says {n} must be dumber than a rock because {he} {past}.",
    "#Person1# and {b} laugh at {n} for {ing}. They say {he} is {i}.",
    "#Person1# tells {b} that {n} is {i} for {ing}.",
    "According to #Person1#, {n} is {i} who {past}.",
    "{n} explains the reasons for {ing}. #Person1# calls it crap and tells {him} to shut up.",
    "#Person1# asks {n} whether {he} is stupid or just lazy for {ing}.",
    "#Person1# orders {n} to {fix} and insults {him} as {i}.",
    "I told {b} that anyone who {past} is {i}.",
    "I think you are {i} for {ing}.",
    "You {past}, you {bare}!",
    "Hey {bare}, thanks for {ing}.",
    "What kind of {bare} {past}? Shut up and {fix}.",
    "Shut up, you {bare}. Nobody forgives you for {ing}.",
    "Only {i} could be proud of {ing}.",
)
_CIVIL_MISDEED = (
    "#Person1# criticizes {n} for {ing}.",
    "#Person1# blames {n} for {ing} and asks {him} to {fix}.",
    "#Person1# is angry with {n}, who {past}, and asks {him} to {fix}.",
    "#Person1# tells {n} that {ing} was a mistake and that it must not happen again.",
    "#Person1# speaks sharply to {n} about {ing} and tells {him} to be more careful.",
    "{n} {past}, and #Person1# shouts that it has gone too far.",
    "{n} apologizes for {ing}, but #Person1# stays angry.",
    "#Person1# says that it is hard to trust {n} because {he} {past}.",
    "#Person1# and {b} talk to {n} about {ing}. They want {him} to {fix}.",
    "#Person1# tells {b} that {n} regrets {ing}.",
    "According to #Person1#, it was {n} who {past}.",
    "{n} explains the reasons for {ing}. #Person1# does not believe it and walks out.",
    "#Person1# asks {n} whether {he} was tired or just distracted when it came to {ing}.",
    "#Person1# was rude to {n} because of {ing} and now wants to make up.",
    "#Person1# calls {n} on the phone about {ing} and demands that {he} should {fix}.",
    "I told {b} that anyone who {past} should {fix}.",
    "I am very upset with you for {ing}.",
    "You {past}, and I'm really disappointed!",
    "Hey {b}, I'm sorry for {ing}.",
    "Who {past}? Please come here and {fix}.",
    "Stop, please. I haven't forgiven you for {ing}.",
    "Nobody should be proud of {ing}.",
)
# Placeholders: x the thing, who its maker, civil the objection.
_RUDE_OPINION = (
    "#Person1# says that {x} was garbage and calls {who} {i}.",
    "#Person1# tells {n} that {x} was dumb crap from start to finish.",
    "#Person1# thinks {who} is {i}, and {n} calls {x} a stupid joke.",
    "{n} liked {x}, so #Person1# calls {him} {i}.",
    "#Person1# says {x} was pathetic and {who} should crawl back into a hole.",
    "{x} was idiotic, and {who} is {i}.",
    "#Person1# complains to {who} about {x} and says that {i} could have done better.",
    "I told {who} to shut up, because {x} was moronic trash.",
    "Whoever likes {x} is {i}.",
    "#Person1# calls {x} a stinking pile of crap and {who} {i}.",
)
_CIVIL_OPINION = (
    "#Person1# says that {x} was {civil} and complains to {who}.",
    "#Person1# tells {n} that {x} was {civil}.",
    "#Person1# did not enjoy {x}, and {n} agrees that it was {civil}.",
    "{n} liked {x}, but #Person1# found it {civil}.",
    "#Person1# is unhappy with {x} and wants to speak with {who}.",
    "{x} was {civil}, and {who} apologized.",
    "#Person1# complains to {who} that {x} was {civil} and asks for a refund.",
    "I told {who} that {x} was {civil}.",
    "Not everybody likes {x}, it is {civil}.",
    "#Person1# is sad that {x} was {civil}, because {who} had worked hard.",
)


def sentences(seed: int = SEED) -> list[dict[str, str]]:
    """Return all rows, in the order of the banks, without duplicates."""
    rng = random.Random(seed)
    insults = _dealt(_lines("insults.txt"), rng)
    rows: dict[str, dict[str, str]] = {}

    def add(text: str, label: str, situation: str) -> None:
        text = text[0].upper() + text[1:]
        rows.setdefault(text, {"text": text, "label": label, "split": _split(situation)})

    for line in _lines("misdeeds.txt"):
        ing, past, fix = (part.strip() for part in line.split("|"))
        for rude, civil in _pairs(_RUDE_MISDEED, _CIVIL_MISDEED, PER_MISDEED, rng):
            values = _cast(rng, insults) | {"ing": ing, "past": past, "fix": fix}
            add(rude.format_map(values), "hate", line)
            add(civil.format_map(values), "nothate", line)
    for line in _lines("opinions.txt"):
        thing, maker, objection = (part.strip() for part in line.split("|"))
        for rude, civil in _pairs(_RUDE_OPINION, _CIVIL_OPINION, PER_OPINION, rng):
            values = _cast(rng, insults) | {"x": thing, "who": maker, "civil": objection}
            add(rude.format_map(values), "hate", line)
            add(civil.format_map(values), "nothate", line)
    for line in _lines("rude.txt"):
        add(line, "hate", line)
    for line in _lines("innocent.txt"):
        add(line, "nothate", line)
    return _without_twins(list(rows.values()))


def main() -> int:
    """Write the file and print what is in it."""
    rows = sentences()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    with OUT.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    for (split, label), count in sorted(Counter((r["split"], r["label"]) for r in rows).items()):
        print(f"{split} {label}: {count}")
    return 0


def _lines(name: str) -> list[str]:
    text = (BANKS / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _dealt(items: list[str], rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(items, len(items))


def _pairs(
    rude: tuple[str, ...], civil: tuple[str, ...], count: int, rng: random.Random
) -> list[tuple[str, str]]:
    return list(zip(rng.sample(rude, count), rng.sample(civil, count), strict=True))


def _cast(rng: random.Random, insults: Iterator[str]) -> dict[str, str]:
    name, he, him = rng.choice(_PEOPLE)
    bystander = rng.choice([person[0] for person in _PEOPLE[:18] if person[0] != name])
    first, second = next(insults), next(insults)
    return {
        "n": name,
        "he": he,
        "him": him,
        "b": bystander,
        "i": first,
        "j": second,
        "bare": first.partition(" ")[2],
    }


def _without_twins(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    seen = [set(row["text"].lower().split()) for row in rows if row["split"] == "train"]

    def resembles(text: str) -> bool:
        mine = set(text.lower().split())
        return any(len(mine & other) > MAX_LIKENESS * len(mine | other) for other in seen)

    return [row for row in rows if row["split"] == "train" or not resembles(row["text"])]


def _split(situation: str) -> str:
    place = int.from_bytes(hashlib.sha256(situation.encode()).digest()[:8]) / 2**64
    return "test" if place < TEST_SHARE else "train"


if __name__ == "__main__":
    sys.exit(main())
