"""Check every dialogue and write `detox/embedded/dialogues.jsonl`.

    python dialogues/build.py            # report what breaks a rule, leave it out, write the rest
    python dialogues/build.py --strict   # the same, but exit 1 when anything was left out

The rules are listed in `dialogues/README.md`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, Python puts `dialogues/` on the path, not the folder that holds it.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from dialogues.insults import insult_words  # noqa: E402

HAND = ROOT / "dialogues" / "hand"
OUT = ROOT / "detox" / "embedded" / "dialogues.jsonl"

RUDE_TONES = ("rude", "mocking", "insulting")
TONES = (*RUDE_TONES, "neutral", "friendly")
MIN_WORDS, MAX_WORDS = 60, 220
MIN_TURNS = 4
MAX_OVERLAP = 0.6
MIN_RUDE_SHARE = 0.5
TEST_SHARE, VALIDATION_SHARE = 0.28, 0.08
SPLIT_SEED = "detox-arena-1"

_HEADER = re.compile(r"^===(?P<head>.*)$")
_TURN = re.compile(r"^#Person[12]#:\s*\S")
_SPEAKER = re.compile(r"#\s*Person\s*\d\s*#\s*:?", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9']+")
_SUMMARY = re.compile(r"^(verbatim|gentle|both):\s*(.*)$")


@dataclass(frozen=True)
class Dialogue:
    """One dialogue with its two summaries."""

    file: str
    """Stem of the file it came from, `generated` for the generator's."""
    topic: str
    """What it is about, as its header says."""
    tone: str
    """One of TONES."""
    turns: tuple[str, ...]
    """Lines that start with `#Person1#:` or `#Person2#:`."""
    verbatim: str
    """Summary that repeats the rude words."""
    gentle: str
    """Summary of the same facts without them."""
    problems: tuple[str, ...] = ()
    """What the parser could not make sense of."""

    @property
    def text(self) -> str:
        """The turns, one a line."""
        return "\n".join(self.turns)

    @property
    def rude(self) -> bool:
        """Whether the tone is one of the rude ones."""
        return self.tone in RUDE_TONES

    @property
    def id(self) -> str:
        """File name and a hash of the turns, so that moving or resummarizing keeps the id.

        A generated dialogue is known by its case: another seed words it differently, but it must
        not wander from the training into the test split.
        """
        basis = self.topic if self.file == "generated" else self.text
        return f"{self.file}-{hashlib.sha256(basis.encode()).hexdigest()[:6]}"


def words(text: str) -> set[str]:
    """Return the distinct lower-cased words of `text`, speaker markers left out."""
    return set(_WORD.findall(_plain(text)))


def count_words(text: str) -> int:
    """Return how many words `text` has, speaker markers left out."""
    return len(_WORD.findall(_plain(text)))


def overlap(a: str | set[str], b: str | set[str]) -> float:
    """Return the share of distinct words that two texts (or word sets) have in common.

    Counted against the smaller set: 1.0 where one contains the other, 0.0 where one is empty.
    """
    left = words(a) if isinstance(a, str) else a
    right = words(b) if isinstance(b, str) else b
    smaller = min(len(left), len(right))
    return len(left & right) / smaller if smaller else 0.0


def parse(text: str, file: str = "text") -> list[Dialogue]:
    """Read dialogues in the text format; faults of form are kept in `problems`, never raised."""
    blocks: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        stripped = line.strip()
        if header := _HEADER.match(stripped):
            blocks.append((header["head"].strip(), []))
        elif blocks and stripped:
            blocks[-1][1].append(stripped)
    return [_parse_block(head, lines, file) for head, lines in blocks]


def faults(dialogue: Dialogue) -> list[str]:
    """Return every rule of form that one dialogue breaks, in words."""
    found = list(dialogue.problems)
    if dialogue.tone not in TONES:
        found.append(f"unknown tone {dialogue.tone!r}")
    length = count_words(dialogue.text)
    if not MIN_WORDS <= length <= MAX_WORDS:
        found.append(f"{length} words, not {MIN_WORDS}-{MAX_WORDS}")
    if len(dialogue.turns) < MIN_TURNS:
        found.append(f"{len(dialogue.turns)} turns, fewer than {MIN_TURNS}")
    if {turn[:9] for turn in dialogue.turns} != {"#Person1#", "#Person2#"}:
        found.append("both speakers must speak")
    if not dialogue.verbatim or not dialogue.gentle:
        found.append("a summary is missing")
    if insults := insult_words(dialogue.gentle, rude=dialogue.rude):
        found.append(f"insult in the gentle summary: {', '.join(sorted(insults))}")
    if dialogue.rude and dialogue.verbatim and dialogue.verbatim == dialogue.gentle:
        found.append("a rude dialogue needs two different summaries")
    return found


def without_overlaps(dialogues: Iterable[Dialogue]) -> tuple[list[Dialogue], list[str]]:
    """Keep dialogues in order, leaving out the later of any pair over MAX_OVERLAP.

    Returns the kept ones and a line about each that was left out.
    """
    kept: list[tuple[Dialogue, set[str]]] = []
    dropped: list[str] = []
    for dialogue in dialogues:
        mine = words(dialogue.text)
        for other, theirs in kept:
            share = overlap(mine, theirs)
            if share > MAX_OVERLAP:
                dropped.append(
                    f"{dialogue.file}: {dialogue.topic}: shares {share:.0%} of its words with "
                    f"{other.file}: {other.topic}"
                )
                break
        else:
            kept.append((dialogue, mine))
    return [dialogue for dialogue, _ in kept], dropped


def assign_splits(dialogues: Sequence[Dialogue]) -> dict[str, str]:
    """Map each id to train, validation or test.

    Only a hash of the id decides, so that a dialogue never changes its split when others are added
    or left out: a model trained before stays one that has not seen the test split.
    """
    splits = {}
    for dialogue in dialogues:
        digest = hashlib.sha256(f"{SPLIT_SEED}:{dialogue.id}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64
        splits[dialogue.id] = (
            "test"
            if place < TEST_SHARE
            else "validation"
            if place < TEST_SHARE + VALIDATION_SHARE
            else "train"
        )
    return splits


def rows(dialogues: Sequence[Dialogue]) -> list[dict[str, object]]:
    """Return the JSON objects that are written, one per dialogue."""
    splits = assign_splits(dialogues)
    if len(splits) != len(dialogues):
        raise ValueError("two dialogues have the same id; lengthen the hash in Dialogue.id")
    return [
        {
            "id": dialogue.id,
            "dialogue": dialogue.text,
            "topic": dialogue.topic,
            "tone": dialogue.tone,
            "rude": dialogue.rude,
            "source": "generated" if dialogue.file == "generated" else "hand",
            "summary_verbatim": dialogue.verbatim,
            "summary_gentle": dialogue.gentle,
            "split": splits[dialogue.id],
        }
        for dialogue in dialogues
    ]


def read_all() -> list[Dialogue]:
    """Read the hand-written files in name order, then the generator's dialogues."""
    # Imported here because the generator itself parses with this module.
    from dialogues.generate import generate

    found: list[Dialogue] = []
    for path in sorted(HAND.glob("*.txt")):
        found += parse(path.read_text(encoding="utf-8"), path.stem)
    return found + parse(generate(), "generated")


def select(dialogues: Iterable[Dialogue]) -> tuple[list[Dialogue], list[str]]:
    """Return the dialogues that obey every rule, and a line about each that does not."""
    good: list[Dialogue] = []
    messages: list[str] = []
    for dialogue in dialogues:
        if found := faults(dialogue):
            messages.append(f"{dialogue.file}: {dialogue.topic}: {'; '.join(found)}")
        else:
            good.append(dialogue)
    kept, dropped = without_overlaps(good)
    return kept, messages + dropped


def main(argv: Sequence[str] | None = None) -> int:
    """Build the file and print what is in it; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--strict", action="store_true", help="exit 1 when a dialogue is left out")
    parser.add_argument("--out", type=Path, default=OUT, help="where to write the JSONL")
    args = parser.parse_args(argv)

    kept, messages = select(read_all())
    for message in messages:
        print(f"left out: {message}", file=sys.stderr)
    if not kept:
        print("no valid dialogue found", file=sys.stderr)
        return 1
    objects = rows(kept)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in objects)

    rude = sum(dialogue.rude for dialogue in kept)
    print(f"{len(kept)} dialogues in {args.out}, {len(messages)} left out")
    _print_counts("file", Counter(dialogue.file for dialogue in kept))
    _print_counts("tone", Counter(dialogue.tone for dialogue in kept))
    for split in ("train", "validation", "test"):
        chosen = [bool(row["rude"]) for row in objects if row["split"] == split]
        print(f"split {split}: {len(chosen)}, {sum(chosen)} of them rude")
    print(f"rude share: {rude / len(kept):.1%}")
    if rude < MIN_RUDE_SHARE * len(kept):
        print(f"fewer than {MIN_RUDE_SHARE:.0%} are rude", file=sys.stderr)
        return 1
    return 1 if args.strict and messages else 0


def _print_counts(what: str, counts: Counter[str]) -> None:
    for name, count in sorted(counts.items()):
        print(f"{what} {name}: {count}")


def _plain(text: str) -> str:
    return _SPEAKER.sub(" ", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _parse_block(head: str, lines: Sequence[str], file: str) -> Dialogue:
    topic, bar, tone = head.rpartition("|")
    problems: list[str] = [] if bar else ["the header has no tone"]
    turns: list[str] = []
    summaries: dict[str, str] = {}
    for line in lines:
        if summary := _SUMMARY.match(line):
            if summary[1] in summaries:
                problems.append(f"two `{summary[1]}:` lines")
            summaries[summary[1]] = summary[2].strip()
        elif _TURN.match(line):
            turns.append(line)
        else:
            problems.append(f"not a turn or a summary: {line[:40]!r}")
    if "both" in summaries and len(summaries) > 1:
        problems.append("`both:` beside another summary")
    both = summaries.get("both", "")
    dialogue = Dialogue(
        file=file,
        topic=topic.strip() if bar else tone.strip(),
        tone=tone.strip().lower() if bar else "",
        turns=tuple(turns),
        verbatim=summaries.get("verbatim", both),
        gentle=summaries.get("gentle", both),
    )
    return replace(dialogue, problems=tuple(problems))


if __name__ == "__main__":
    sys.exit(main())
