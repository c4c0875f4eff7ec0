"""Which format a file is in, told by the columns of its first row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detox.errors import UserError
from labeling.formats import RAW_COLUMNS

PICKS, PAIRS = "picks", "pairs"


@dataclass(frozen=True)
class Shape:
    """The columns that a format must have, and those that are read besides."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[str]:
        """All columns that are read."""
        return frozenset((*self.required, *self.optional))

    def missing(self, names: Collection[str]) -> str | None:
        """The first required column that is not among ``names``."""
        return next((name for name in self.required if name not in names), None)


_SCORES = ("policy", "reward", "toxicity", "sampling")
_PAIR = ("dialogue", "prompt", "topic", "tone", "split", "source", "id")
# Where the columns of one are among those of another, the one that says more comes first.
SHAPES = {
    PICKS: Shape(("prompt", "left_text", "right_text", "choice"), RAW_COLUMNS),
    "vertex-preference": Shape(("input_text", "candidate_0", "candidate_1", "choice")),
    "openai-comparisons": Shape(
        ("info", "summaries", "choice"), ("worker", "batch", "split", "extra")
    ),
    "trl-unpaired": Shape(("prompt", "completion", "label")),
    "trl-explicit": Shape(("prompt", "chosen", "rejected")),
    "trl-conversational": Shape(("prompt", "chosen", "rejected")),
    "trl-implicit": Shape(("chosen", "rejected")),
    "vertex-bulk-inference": Shape(("inputs", "prediction")),
    "vertex-prompts": Shape(("input_text",)),
    PAIRS: Shape(
        (),
        (*_PAIR, "before", "after", "a", "b", *(f"{n}_{side}" for n in _SCORES for side in "ab")),
    ),
}


def recognise(path: Path, place: str, row: Mapping[str, Any]) -> str:
    """The format of a file, by its first row.

    Raises ``UserError`` that says what is missing there; ``place`` is where that is.
    """
    for format, shape in SHAPES.items():
        if shape.required and row.keys() >= set(shape.required):
            talks = format == "trl-explicit" and isinstance(row["prompt"], list)
            return "trl-conversational" if talks else format
    if {"a", "b"} <= row.keys() or {"before", "after"} <= row.keys():
        return PAIRS
    near = _nearest(row.keys())
    if near is not None:
        missing = " and ".join(f"`{name}`" for name in near[1])
        raise UserError(
            f"{place} of '{path}' looks like {near[0]}, but {missing} is missing: add it."
        )
    raise UserError(
        f"The format of '{path}' is not known: give TRL rows with `prompt`, `chosen` and "
        "`rejected`, Vertex AI preferences, OpenAI comparisons, raw picks, or pairs with `a` and "
        "`b`."
    )


def _nearest(names: Collection[str]) -> tuple[str, list[str]] | None:
    """The format of which one column is missing, and that column."""
    for format, shape in SHAPES.items():
        missing = [name for name in shape.required if name not in names]
        if len(missing) == 1 and len(shape.required) > 2:
            return format, missing
    return None
