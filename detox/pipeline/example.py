"""The pipeline's three data sets, made from the embedded dialogues."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from detox.data import is_rude, load_dialogues, prompts
from detox.pipeline.formats import Preference, jsonl, preference_rows, prompt_rows, write_bytes

FILES = ("preferences.jsonl", "prompts.jsonl", "eval_prompts.jsonl")


def write_example(folder: Path, seed: int = 0, tell: Callable[[str], None] = print) -> None:
    """Writes ``preferences.jsonl``, ``prompts.jsonl`` and ``eval_prompts.jsonl`` to ``folder``.

    A preference is a rude dialogue of the training split with its two reference summaries: the
    gentle one is chosen, the one that repeats the insults rejected, in slots drawn by ``seed``.
    Nobody picked them: they were written to be so. Prompts are the training split, evaluation
    prompts the validation split. Raises ``UserError`` when the folder cannot be written.
    """
    train, validation = (load_dialogues(split=split) for split in ("train", "validation"))
    preferences = [
        Preference(prompt, row["gentle"], row["verbatim"])
        for prompt, row in zip(prompts(train), train, strict=True)
        if is_rude(row) and row["gentle"] != row["verbatim"]
    ]
    rng = random.Random(seed)
    slots = [rng.randrange(2) for _ in preferences]
    contents = (
        preference_rows(preferences, slots),
        prompt_rows(prompts(train)),
        prompt_rows(prompts(validation)),
    )
    for name, rows in zip(FILES, contents, strict=True):
        write_bytes(str(folder / name), jsonl(rows))
        tell(f"{folder / name}: {len(rows)} rows")
