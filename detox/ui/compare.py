"""One dialogue, two versions: what the Compare tab does, apart from how gradio wires it."""

from __future__ import annotations

import math
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from detox import wording
from detox.config import Sampling
from detox.data import check_dialogue
from detox.errors import UserError
from detox.ui import html
from detox.ui.shipped import Shipped, as_side
from detox.workbench import Side, Workbench

# Seconds between two updates of a growing text.
FRAME = 0.12
FEATURED_TONES = ("rude", "mocking", "insulting", "friendly")
PRESS = html.empty(
    "Two summaries, side by side",
    "Press <b>Compare</b>, and both versions summarize this conversation.",
)
BEFOREHAND = "computed beforehand"

Data = dict[str, Any] | None
View = tuple[str, Data]


@dataclass(frozen=True)
class Example:
    """A dialogue to try."""

    id: str
    dialogue: str
    topic: str
    tone: str

    def label(self, joint: str = " \u00b7 ") -> str:
        """Topic and tone, as the list of examples shows them."""
        return wording.capital(self.topic or self.id) + (f"{joint}{self.tone}" if self.tone else "")


def featured(examples: Sequence[Example], apart: Container[str] = ()) -> list[Example]:
    """One example of each tone, for those who do not want to read a list.

    It is the first whose id is in ``apart`` (dialogues that the versions are known to summarize
    differently, for better or worse), or else the first.
    """
    chosen = []
    for tone in FEATURED_TONES:
        same = [example for example in examples if example.tone == tone]
        chosen += [e for e in same if e.id in apart][:1] or same[:1]
    return chosen or list(examples[: len(FEATURED_TONES)])


def sampling_of(
    temperature: float | None,
    top_p: float | None,
    max_new_tokens: float | None,
    seed: float | None,
) -> Sampling:
    """The settings of the form; ``UserError`` for those that are empty or out of range."""
    numbers = (temperature, top_p, max_new_tokens, seed)
    if any(value is None or not math.isfinite(value) for value in numbers):
        raise UserError("Give a number for every sampling setting.")
    first, second, third, fourth = (float(value or 0) for value in numbers)
    return Sampling(first, second, max_new_tokens=int(third), seed=int(fourth))


@dataclass(frozen=True)
class Comparison:
    """The models, the results computed beforehand and the examples behind the Compare tab."""

    bench: Workbench
    shipped: Shipped
    examples: Sequence[Example]

    def example(self, id: str | None) -> Example:
        """The example called ``id``; ``UserError`` when there is none."""
        for example in self.examples:
            if example.id == id:
                return example
        raise UserError(f"There is no example '{id}': pick one from the list.")

    def featured(self) -> list[Example]:
        """The examples on the cards."""
        rows = self.shipped.rows
        return featured(
            self.examples, {row["id"] for row in rows if abs(row["reward_diff"]) >= wording.SAME}
        )

    def opening(self, wanted: str | None) -> Example:
        """The example that a link asks for, or the one that everybody sees first."""
        known = [example for example in self.examples if example.id == wanted]
        return (known or self.featured())[0]

    def known(self, dialogue: str | None) -> Example | None:
        """The example whose text this is."""
        text = (dialogue or "").strip()
        return next((example for example in self.examples if example.dialogue == text), None)

    def recall(self, dialogue: str, names: Sequence[str], sampling: Sampling) -> View:
        """What is there without computing.

        That is the result computed beforehand by exactly these weights, or why there can be
        none, or the invitation to compute one.
        """
        marks = [self.bench.fingerprints.get(name, "") for name in names]
        found = self.shipped.find(dialogue or "", marks, sampling) if all(marks) else None
        if found is None:
            error = self.bench.status().error
            return (html.failure("The models could not be loaded", error) if error else PRESS), None
        sides = tuple(as_side(name, response) for name, response in zip(names, found, strict=True))
        return self._finished(self.bench.preferring(dialogue, sides), sampling, beforehand=True)

    def write(self, dialogue: str, names: Sequence[str], sampling: Sampling) -> Iterator[View]:
        """Both summaries as they are written, then with their scores.

        Waits for the models where they are still loading. Raises ``UserError`` for unusable
        dialogues, unknown policies and models that could not be loaded.
        """
        check_dialogue(dialogue)
        self.bench.check_names(names)
        for status in self.bench.loading():
            yield html.waiting(status), {"status": status.text}
        # shown while another visitor's summaries are being written
        yield html.comparison([Side(name, "", 0) for name in names]), {"status": "writing"}
        shown = time.monotonic()
        for sides in self.bench.compare(names, dialogue, sampling):
            if sides[0].reward is not None:
                yield self._finished(sides, sampling, beforehand=False)
            elif time.monotonic() - shown >= FRAME:
                shown = time.monotonic()
                yield html.comparison(sides), {"status": "writing"}

    def lacks_preference(self, data: Data) -> bool:
        """Whether a finished comparison was made before the reward model was there to judge it."""
        known = data or {}
        waited = known.get("status") == "done" and "preference" not in known
        return waited and self.bench.preference is not None

    def _finished(self, sides: Sequence[Side], sampling: Sampling, beforehand: bool) -> View:
        chance = self.bench.chance(sides)
        page = html.comparison(sides, BEFOREHAND if beforehand else "", chance)
        return page, as_data(sides, sampling, beforehand, chance)


def as_data(
    sides: Sequence[Side], sampling: Sampling, beforehand: bool, chance: float | None = None
) -> dict[str, Any]:
    """A finished comparison for programs: what the page shows, unrounded.

    ``chance`` is that of people preferring the second side, None without a reward model.
    """
    first, second = sides
    assert first.reward is not None and second.reward is not None
    difference = second.reward - first.reward
    people = (
        {}
        if chance is None
        else {"preference": {"chance": chance, "opinion": wording.opinion(difference, chance)}}
    )
    return people | {
        "status": "done",
        "sides": [asdict(side) for side in sides],
        "reward_diff": difference,
        "verdict": wording.verdict(difference),
        "sampling": asdict(sampling),
        "beforehand": beforehand,
    }
