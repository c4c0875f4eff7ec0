"""Compose dialogues from the scenario cards in `dialogues/cards/`.

    python dialogues/generate.py            # print all of them in the text format
    python dialogues/generate.py --seed 7   # with other insults, turn plans and endings

A card file (`cards/*.txt`) holds areas (`# beekeeping`) with cases (`## smoker that went out`). A
case is written out line by line: what #Person1# says (`1`), what #Person2# answers (`2`), what is
asked (`ask`), the two ways it can end (`yes`, `no`), the facts of the summary (`sum` and then
problem, reason, wish, ending if yes, ending if no, with bars between) and at times the `name` of
#Person2#. Every case is used exactly once, so that no two dialogues tell the same story. What the
seed decides is the tone, the ending, the plan of the turns and the lines of that tone from
`cards/tones.bank`. The banks are dealt like cards: a line comes back only after all the others of
its bank were used.

Both summaries are made of the same facts: the verbatim one repeats the insults that fell, the
gentle one names the feeling in their place.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Run as a script, Python puts `dialogues/` on the path, not the folder that holds it.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from dialogues.build import RUDE_TONES  # noqa: E402

CARDS = ROOT / "dialogues" / "cards"
SEED = 2024
RUDE_SHARE = 0.62
FRIENDLY_SHARE = 0.15
SUMMARY_WORDS = (15, 40)

_FEELINGS = (
    "is angry that",
    "is furious that",
    "is upset that",
    "scolds $2 because",
    "complains bitterly that",
    "is annoyed that",
    "reproaches $2 because",
    "is very disappointed that",
    "speaks harshly to $2 because",
    "is cross with $2 because",
)
_MOCKING_FEELINGS = (
    "makes fun of $2 because",
    "teases $2 unkindly because",
    "is sarcastic with $2 because",
    "is scornful because",
    "ridicules $2 because",
)
_CALM_LEADS = ("tells $2 that", "complains that", "points out that", "is concerned that")
_FRIENDLY_LEADS = ("kindly tells $2 that", "is amused that", "tells $2 in good humour that")
_BACK_FEELINGS = ("answers angrily", "snaps back", "is offended", "resents the tone")


@dataclass(frozen=True)
class Case:
    """One written-out story of a card file."""

    area: str
    """The card it belongs to, such as `beekeeping`."""
    topic: str
    """What the dialogue is about."""
    complaint: tuple[str, str]
    """What #Person1# says first and second."""
    answer: tuple[str, str]
    """What #Person2# replies to each."""
    ask: str
    """What #Person1# asks for."""
    endings: tuple[str, str]
    """#Person2#'s last words: yes, no."""
    facts: tuple[str, str, str]
    """Problem and reason as clauses, the wish as an infinitive without `to`."""
    outcomes: tuple[str, str]
    """The two endings as verb phrases in the third person."""
    name: str
    """What the summary calls #Person2#."""


@dataclass(frozen=True)
class Line:
    """One line of a bank."""

    said: str
    """The words in the dialogue."""
    reported: str
    """How a summary reports them, or the reply to them where the bank holds pairs."""


class Deck:
    """Deals the lines of a bank in random order, all of them before any repeats."""

    def __init__(self, lines: Sequence[Line], rng: random.Random) -> None:
        self._lines = list(lines)
        self._rng = rng
        self._left: list[Line] = []

    def deal(self) -> Line:
        """Return the next line."""
        if not self._left:
            self._left = self._rng.sample(self._lines, len(self._lines))
        return self._left.pop()


def read_cases(folder: Path = CARDS) -> list[Case]:
    """Read every case of the card files, in name order."""
    cases: list[Case] = []
    for path in sorted(folder.glob("*.txt")):
        area = ""
        for block in re.split(r"^(?=#)", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            head, _, body = block.strip().partition("\n")
            if head.startswith("## "):
                cases.append(_read_case(area, head[3:].strip(), body))
            elif head.startswith("# "):
                area = head[2:].strip()
    return cases


def read_banks(path: Path = CARDS / "tones.bank") -> dict[str, list[Line]]:
    """Read the lines for each tone."""
    banks: dict[str, list[Line]] = {}
    name = ""
    for row in path.read_text(encoding="utf-8").splitlines():
        if row.startswith("["):
            name = row.strip("[] ")
            banks[name] = []
        elif row.strip():
            said, _, reported = row.partition("|")
            banks[name].append(Line(said.strip(), reported.strip()))
    return banks


def tones_for(cases: Sequence[Case], rng: random.Random) -> list[str]:
    """Choose a tone for each case so that the shares come out exactly."""
    order = list(range(len(cases)))
    rng.shuffle(order)
    tones = ["neutral"] * len(cases)
    # A shouted complaint does not turn friendly by adding kind words to it.
    mild = [i for i in order if "!" not in "".join(cases[i].complaint)]
    for i in mild[: round(FRIENDLY_SHARE * len(cases))]:
        tones[i] = "friendly"
    rest = [i for i in order if tones[i] == "neutral"]
    for place, i in enumerate(rest[: round(RUDE_SHARE * len(cases))]):
        tones[i] = RUDE_TONES[place % len(RUDE_TONES)]
    return tones


def generate(seed: int = SEED) -> str:
    """Return one dialogue for each case, in the text format that `build.parse` reads."""
    rng = random.Random(seed)
    cases = read_cases()
    decks = {name: Deck(lines, rng) for name, lines in read_banks().items()}
    blocks: list[str] = []
    for case, tone in zip(cases, tones_for(cases, rng), strict=True):
        if tone in RUDE_TONES:
            body = _rude(case, tone, decks, rng)
        else:
            body = _civil(case, tone, decks, rng)
        blocks.append(f"=== {case.area}: {case.topic} | {tone}\n{body}\n")
    return "\n".join(blocks)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the generated dialogues."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    args = parser.parse_args(argv)
    print(generate(args.seed))
    return 0


def _read_case(area: str, topic: str, body: str) -> Case:
    fields: dict[str, list[str]] = {}
    for row in body.splitlines():
        key, _, value = row.strip().partition(" ")
        if key:
            fields.setdefault(key, []).append(value.strip())
    try:
        first, *more_complaint = fields["1"]
        reply, *more_reply = fields["2"]
        problem, reason, wish, if_yes, if_no = (
            part.strip() for part in fields["sum"][0].split("|")
        )
        return Case(
            area=area,
            topic=topic,
            complaint=(first, " ".join(more_complaint)),
            answer=(reply, " ".join(more_reply)),
            ask=fields["ask"][0],
            endings=(fields["yes"][0], fields["no"][0]),
            facts=(problem, reason, wish),
            outcomes=(if_yes, if_no),
            name=fields.get("name", ["#Person2#"])[0],
        )
    except (KeyError, ValueError) as error:
        raise ValueError(f"{area}: {topic}: incomplete case: {error}") from error


def _rude(case: Case, tone: str, decks: dict[str, Deck], rng: random.Random) -> str:
    (one, two), (reply, more) = case.complaint, case.answer
    hit, second = decks[tone].deal(), decks[tone].deal()
    # Scorn for an answer cannot come before the answer.
    if _is_reaction(hit) and not _is_reaction(second):
        hit, second = second, hit
    strikes_back = rng.random() < 0.45
    back = decks["back" if strikes_back else "object"].deal()
    bye = decks["bye-rude"].deal().said
    good_end = rng.random() < 0.5
    last = case.endings[0 if good_end else 1]
    plans = (
        [f"{one} {hit.said}", reply, f"{second.said} {two}", f"{back.said} {more}", case.ask, last],
        [f"{hit.said} {one}", f"{back.said} {reply}", two, more, f"{second.said} {case.ask}", last],
        [one, reply, hit.said, back.said, two, more, f"{case.ask} {second.said}", last],
        [
            f"{one} {hit.said} {two}",
            f"{reply} {more}",
            f"{second.said} {case.ask}",
            f"{back.said} {last}",
            bye,
        ],
        [one, reply, f"{hit.said} {two}", more, f"{second.said} {case.ask}", f"{back.said} {last}"],
        [
            one,
            f"{reply} {more}",
            f"{hit.said} {two} {case.ask}",
            f"{back.said} {last}",
            second.said,
        ],
    )
    turns = rng.choice([plans[2], plans[4], plans[5]] if _is_reaction(hit) else plans)

    problem, reason, wish = case.facts
    outcome = case.outcomes[0 if good_end else 1]
    return_fire = f"$2 {back.reported}, says that {reason} and {outcome}."
    calm_end = [f"$2 says that {reason} and {outcome}.", f"Asked to {wish}, $2 {outcome}."]
    rng.shuffle(calm_end)
    feeling = rng.choice(_MOCKING_FEELINGS if tone == "mocking" else _FEELINGS)
    names_person = hit.reported.startswith(("calls $2", "mocks $2"))
    opening = (
        f"$1 {hit.reported} because {problem}."
        if names_person and "because" not in problem
        else f"$1 is angry that {problem}, and {hit.reported}."
    )
    also = second.reported
    if hit.reported.startswith("calls $2"):
        also = also.removeprefix("calls $2 ")
    longer = f"$1 {hit.reported} and {also} because {problem}."
    verbatim = [f"{opening} {end}" for end in calm_end]
    verbatim.append(f"{opening} $2 {outcome}.")
    if strikes_back:
        verbatim[:0] = [f"{opening} {return_fire}", f"{opening} $2 {back.reported} and {outcome}."]
    elif names_person and "because" not in problem and rng.random() < 0.5:
        verbatim = [f"{longer} {end}" for end in calm_end] + verbatim
    gentle_ends = calm_end
    if strikes_back:
        reaction = rng.choice(_BACK_FEELINGS)
        gentle_ends = [f"$2 {reaction}, says that {reason} and {outcome}.", *calm_end]
    if "because" in problem:
        feeling = "is angry that"
    gentle = [f"$1 {feeling} {problem}. {end}" for end in [*gentle_ends, f"$2 {outcome}."]]
    return "\n".join(
        (
            _spoken(turns),
            f"verbatim: {_fitting(verbatim, case)}",
            f"gentle: {_fitting(gentle, case)}",
        )
    )


def _civil(case: Case, tone: str, decks: dict[str, Deck], rng: random.Random) -> str:
    (one, two), (reply, more) = case.complaint, case.answer
    friendly = tone == "friendly"
    kind = decks["warm" if friendly else "calm"].deal().said
    answer = decks["thank" if friendly else "own"].deal().said
    hello = decks[f"open-{tone}"].deal()
    greeting = (hello.said, hello.reported)
    bye = decks[f"bye-{tone}"].deal().said
    good_end = friendly or rng.random() < 0.6
    last = case.endings[0 if good_end else 1]
    turns = rng.choice(
        (
            [*greeting, one, f"{answer} {reply}", f"{two} {kind}", more, case.ask, last],
            [f"{one} {kind}", f"{answer} {reply}", two, more, case.ask, last, bye],
            [*greeting, f"{one} {two}", f"{answer} {reply} {more}", f"{kind} {case.ask}", last],
            [one, reply, f"{two} {kind}", f"{answer} {more}", case.ask, last, bye],
        )
    )
    problem, reason, wish = case.facts
    outcome = case.outcomes[0 if good_end else 1]
    lead = rng.choice(_FRIENDLY_LEADS if friendly else _CALM_LEADS)
    ends = [
        f"$2 explains that {reason} and {outcome}.",
        f"$1 asks $2 to {wish}, and $2 {outcome}.",
        f"Asked to {wish}, $2 {outcome}.",
    ]
    rng.shuffle(ends)
    ends.append(f"$2 {outcome}.")
    summary = _fitting([f"$1 {lead} {problem}. {end}" for end in ends], case)
    return f"{_spoken(turns)}\nboth: {summary}"


def _is_reaction(line: Line) -> bool:
    return re.search(r"answer|excuse|stories|dismisses", line.reported) is not None


def _spoken(turns: Sequence[str]) -> str:
    return "\n".join(f"#Person{1 + place % 2}#: {turn}" for place, turn in enumerate(turns))


def _fitting(candidates: Sequence[str], case: Case) -> str:
    shortest, longest = SUMMARY_WORDS
    for candidate in candidates:
        if shortest <= len(candidate.split()) <= longest:
            return candidate.replace("$1", "#Person1#").replace("$2", case.name)
    raise ValueError(f"{case.area}: {case.topic}: no summary of {shortest}-{longest} words")


if __name__ == "__main__":
    sys.exit(main())
