"""Dialogues in, whatever their file or hub format; filtered, templated splits out."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset, concatenate_datasets

from detox.config import EMBEDDED
from detox.errors import UserError
from detox.tasks import SUMMARIZE, Task

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
MAX_DIALOGUE_CHARS = 40_000
SPLITS = ("train", "validation", "test")
# control characters, halves of surrogate pairs, and what undecodable bytes are read as
_BINARY = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffd]")
COLUMNS = ("id", "dialogue", "topic", "tone", "split", "references", "verbatim", "gentle")


def check_dialogue(text: str) -> str:
    """``text`` stripped and with plain line ends, or a ``UserError`` that says what is wrong."""
    if not isinstance(text, str) or not text.strip():
        raise UserError("The dialogue is empty: paste a conversation with at least one turn.")
    if _BINARY.search(text):
        raise UserError("This is not plain text: paste the conversation as UTF-8 text.")
    if len(text) > MAX_DIALOGUE_CHARS:
        raise UserError(
            f"The dialogue has {len(text):,} characters, at most {MAX_DIALOGUE_CHARS:,} are read: "
            "cut it into parts and summarize each."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def load_dialogues(
    source: str = EMBEDDED,
    split: str | None = None,
    task: Task = SUMMARIZE,
    hold_out: float = 0.0,
) -> Dataset:
    """Texts of ``source``: ``embedded``, a JSONL/CSV/Parquet file or a hub name.

    Several sources may be joined by commas. Text and references are read from the fields that
    ``task`` names (for summaries those of DialogSum: ``dialogue``, ``summary`` or
    ``summary1..3``, ``topic``, ``fname`` or ``id``).

    Returns a ``datasets.Dataset`` with the columns of ``COLUMNS``; ``references`` is a list of
    human summaries, ``verbatim`` and ``gentle`` are empty where the source has none. Rows
    without a ``split`` count as every split, unless the share ``hold_out`` of them, chosen by a
    hash of their ids, is to be the validation split and the rest the training split.

    Raises ``UserError`` for an unknown split, a missing, unreadable or empty source.
    """
    if split is not None and split not in SPLITS:
        raise UserError(f"Unknown split '{split}': choose one of {', '.join(SPLITS)}.")
    names = [name.strip() for name in source.split(",") if name.strip()]
    parts = [_load_one(name, split, task, hold_out) for name in names]
    if not parts:
        raise UserError("No dialogues were named: give 'embedded', a file or a hub name.")
    return concatenate_datasets(parts) if len(parts) > 1 else parts[0]


def _load_one(source: str, split: str | None, task: Task, hold_out: float) -> Dataset:
    path = EMBEDDED_FOLDER / task.embedded if source == EMBEDDED else Path(source)
    if path.is_file():
        rows = _read_file(path)
    elif path.suffix in (".jsonl", ".json", ".csv", ".parquet"):
        raise UserError(f"There is no file {source}: check the path.")
    else:
        rows = _read_hub(source, split)
    normal = [_normal(row, index, path.stem, task) for index, row in enumerate(rows)]
    if hold_out:
        for row in normal:
            row["split"] = row["split"] or _drawn_split(row["id"], hold_out)
    chosen = [row for row in normal if split is None or row["split"] in ("", split)]
    if not chosen:
        raise UserError(f"{source} holds no dialogues for the split '{split or 'all'}'.")
    return Dataset.from_list(chosen)


def _read_file(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix in (".jsonl", ".json"):
            with path.open(encoding="utf-8-sig") as lines:
                rows = [json.loads(line) for line in lines if line.strip()]
        elif path.suffix == ".csv":
            rows = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")
        elif path.suffix == ".parquet":
            rows = pd.read_parquet(path).fillna("").to_dict("records")
        else:
            raise UserError(f"{path.name} is not a JSONL, CSV or Parquet file.")
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path.name} cannot be read as {path.suffix[1:].upper()}: save it as UTF-8 text with "
            "one dialogue a row."
        ) from error
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path.name} must hold one JSON object a line.")
    return rows


def _read_hub(name: str, split: str | None) -> list[dict[str, Any]]:
    from datasets import load_dataset

    try:
        if split is not None:
            return [dict(row, split=split) for row in load_dataset(name, split=split)]
        whole = load_dataset(name)
        return [dict(row, split=part) for part in whole for row in whole[part]]
    except Exception as error:  # the hub client raises a dozen unrelated classes when offline
        raise UserError(
            f"The dialogues '{name}' are neither a file nor reachable on the Hugging Face hub: "
            "check the name and the connection, or give a local JSONL, CSV or Parquet file."
        ) from error


def _drawn_split(id: str, hold_out: float) -> str:
    # by the id alone, so that a row more or less moves no other
    number = int.from_bytes(sha256(id.encode()).digest()[:8], "big") / 2**64
    return "validation" if number < hold_out else "train"


def _normal(row: dict[str, Any], index: int, stem: str, task: Task) -> dict[str, Any]:
    dialogue = row.get(task.text_field)
    if not isinstance(dialogue, str) or not dialogue.strip():
        raise UserError(f"Row {index + 1} has no text in the field '{task.text_field}': add it.")
    try:
        dialogue = check_dialogue(dialogue)
    except UserError as error:
        raise UserError(f"Row {index + 1}: {error}") from error
    given = row.get("references")
    listed = list(given) if isinstance(given, list | tuple | np.ndarray) else []
    answers = (*listed, *map(row.get, task.answer_fields))
    references = [text for text in map(_text, answers) if text]
    gentle = _text(row.get("summary_gentle"))
    if not references and gentle:
        references = [gentle]
    return {
        "id": _text(row.get("id")) or _text(row.get("fname")) or f"{stem}-{index:05d}",
        "dialogue": dialogue,
        "topic": _text(row.get("topic")) or _text(row.get("topic1")),
        "tone": _text(row.get("tone")),
        "split": _text(row.get("split")),
        "references": references,
        "verbatim": _text(row.get("summary_verbatim")),
        "gentle": gentle,
    }


def _text(value: Any) -> str:
    return "" if value is None else str(value).encode("utf-8", "replace").decode()


def filter_by_length(dialogues: Dataset, min_chars: int, max_chars: int) -> Dataset:
    """Dialogues of ``min_chars`` to ``max_chars`` characters (the lab keeps 200 to 1000)."""
    kept = [
        i for i, text in enumerate(dialogues["dialogue"]) if min_chars <= len(text) <= max_chars
    ]
    if not kept:
        raise UserError(f"No dialogue has between {min_chars} and {max_chars} characters.")
    return dialogues.select(kept)


def is_rude(row: dict[str, Any]) -> bool:
    """Whether a speaker of the dialogue is rude, mocking or insulting."""
    return row["tone"] in ("rude", "mocking", "insulting")


def prompts(dialogues: Dataset, task: Task = SUMMARIZE) -> list[str]:
    """One prompt a dialogue, in order."""
    return [task.prompt(text) for text in dialogues["dialogue"]]


def targets(
    dialogues: Dataset, style: str, rng: random.Random, references: str = "one"
) -> list[list[str]]:
    """The answers to learn for each dialogue: ``style`` where there is one, else its references.

    ``references`` is "one" for a random one of them, or "all". Raises ``UserError`` when a
    dialogue has no answer at all.
    """
    chosen = []
    for row in dialogues:
        known = [row[style]] if row[style] else list(row["references"])
        if not known:
            raise UserError(f"The dialogue {row['id']} has no summary to learn from: add one.")
        chosen.append([rng.choice(known)] if references == "one" else known)
    return chosen


class LengthSampler:
    """Draws response limits of ``low`` to ``high`` tokens, both included, from ``rng``."""

    def __init__(self, low: int, high: int, rng: random.Random) -> None:
        if not 1 <= low <= high:
            raise ValueError(f"need 1 <= low <= high, got {low} and {high}")
        self.choices: Sequence[int] = range(low, high + 1)
        self.rng = rng

    def __call__(self) -> int:
        """The next limit, in tokens."""
        return self.rng.choice(self.choices)
