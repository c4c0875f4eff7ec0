"""Preferences out of a file: checked, split by dialogue, and cut into the tokens to learn from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from detox.config import DpoConfig
from detox.errors import UserError
from detox.reward_model import is_held_out
from detox.tasks import TASKS

Row = dict[str, Any]
MANIFEST = ".manifest.json"  # what an export puts behind the name of its file


@dataclass(frozen=True)
class Pair:
    """A prompt and two responses, of which people preferred the first, by ``margin`` logits."""

    prompt: str
    chosen: str
    rejected: str
    margin: float = 0.0

    @property
    def dialogue(self) -> str:
        """What the prompt asks about: pairs that share it are never split."""
        return dialogue_of(self.prompt)


def read_pairs(path: str) -> list[Pair]:
    """The pairs of a JSONL file with ``prompt``, ``chosen``, ``rejected`` and maybe ``margin``.

    Raises ``UserError`` for a file that cannot be read or has no rows, and for the first line
    that is something else.
    """
    if not path:
        raise UserError("Name the preferences with --data: TRL explicit JSONL.")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: check the path.") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise UserError(f"{path} holds no preferences: give a file with one at least.")
    return [_pair(line, f"Line {number} of {Path(path).name}") for number, line in numbered]


def _pair(line: str, where: str) -> Pair:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where} is not JSON: give a JSONL file with one pair a line.") from error
    row = row if isinstance(row, dict) else {}
    prompt, chosen, rejected = (row.get(key) for key in ("prompt", "chosen", "rejected"))
    if not (isinstance(prompt, str) and isinstance(chosen, str) and isinstance(rejected, str)):
        raise UserError(
            f"{where} has no texts 'prompt', 'chosen' and 'rejected': export the picks as "
            "trl-explicit."
        )
    margin = row.get("margin") or 0.0
    if isinstance(margin, bool) or not isinstance(margin, int | float):
        raise UserError(f"{where} has a margin that is no number: leave it out or mend it.")
    if not (math.isfinite(margin) and margin >= 0):
        raise UserError(f"{where} has a margin of {margin}: it must be 0 or more.")
    return _rejoined(prompt, chosen, rejected, float(margin))


def _rejoined(prompt: str, chosen: str, rejected: str, margin: float) -> Pair:
    """The pair with the line break that both responses begin with back at the prompt's end.

    TRL wants white space between the two at the completion, but our policies are asked with it: a
    pair must be read in the tokens that a policy reads and writes. A blank stays where it is, as
    most tokenizers make it part of the word after it.
    """
    gap = _leading(chosen)
    if "\n" not in gap or gap != _leading(rejected):
        gap = ""
    return Pair(prompt + gap, chosen[len(gap) :].rstrip(), rejected[len(gap) :].rstrip(), margin)


def _leading(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def dialogue_of(prompt: str) -> str:
    """The text that a prompt of ``detox.tasks`` asks about, after solved examples or without.

    The prompt itself where none of its templates made it.
    """
    bare = prompt.strip()
    for task in TASKS.values():
        for wording in task.templates.values():
            before, _, after = (part.strip() for part in wording.partition("{text}"))
            inner = bare[len(before) : len(bare) - len(after)]
            if bare.startswith(before) and bare.endswith(after) and inner.strip():
                # examples begin as the question does
                return (inner.rpartition(before)[2] if before else inner).strip()
    return bare


def split(pairs: Sequence[Pair], config: DpoConfig) -> tuple[list[Pair], list[Pair]]:
    """The pairs to learn from and those to validate on, which share no dialogue.

    Raises ``UserError`` when one part is empty though something is to be held out.
    """
    held = {
        name
        for name in {pair.dialogue for pair in pairs}
        if is_held_out(name, config.hold_out, config.seed)
    }
    train = [pair for pair in pairs if pair.dialogue not in held]
    validation = [pair for pair in pairs if pair.dialogue in held]
    if not train:
        raise UserError("hold_out leaves no dialogue to learn from: lower it or label more.")
    if config.hold_out and not validation:
        raise UserError(
            "hold_out leaves no dialogue to validate on: raise it, label more, or set it to 0 to "
            "go without."
        )
    return train, validation


def encode(
    pairs: Sequence[Pair],
    tokenizer: PreTrainedTokenizerBase,
    config: DpoConfig,
    tell: Callable[[str], None],
) -> list[Row]:
    """``dialogue prompt_ids chosen_ids rejected_ids margin length`` of each pair.

    The tokens are those that a policy reads and writes: the prompt as its tokenizer frames it, the
    response and then the end. Pairs that are too long are left out and counted, and so are those
    whose responses are the same. Raises ``UserError`` when none is left.
    """
    rows, long, same = [], 0, 0
    for pair in pairs:
        prompt = list(tokenizer(pair.prompt).input_ids)
        chosen, rejected = (
            [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
            for text in (pair.chosen, pair.rejected)
        )
        longest = max(len(chosen), len(rejected))
        if len(prompt) > config.max_prompt_tokens or longest > config.max_response_tokens:
            long += 1
        elif chosen == rejected:
            same += 1
        else:
            rows.append(
                {
                    "dialogue": pair.dialogue,
                    "prompt_ids": prompt,
                    "chosen_ids": chosen,
                    "rejected_ids": rejected,
                    "margin": config.margin * pair.margin,
                    "length": len(prompt) + longest,
                }
            )
    tell(f"{len(rows)} pairs, {long} left out as too long, {same} as twice the same response")
    if not rows:
        raise UserError(
            "No pair fits max_prompt_tokens and max_response_tokens: raise them or give shorter "
            "texts."
        )
    if config.loss == "ipo" and any(row["margin"] for row in rows):
        raise UserError(
            "IPO aims at a margin of its own, 1 / (2 beta): set margin to 0 to ignore those of the "
            "pairs."
        )
    return rows


def origin(path: Path, rows: int, tell: Callable[[str], None]) -> Row:
    """Where the pairs come from: the file's name and SHA-256, and the picks of its manifest.

    ``snapshot`` is the hash of the picks behind it, None for a file without a manifest that
    describes it as it is.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found: Row = {"file": path.name, "sha256": digest, "rows": rows, "snapshot": None}
    beside = path.with_name(path.name + MANIFEST)
    if not beside.is_file():
        return found
    try:
        manifest = json.loads(beside.read_text(encoding="utf-8"))
        described = digest in manifest["files"].values()
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        described = False
    if not described:
        tell(f"{beside.name} does not describe this file: the picks behind it are not recorded.")
        return found
    told = ("snapshot", "picks", "labelers", "aggregation", "filters", "rows_by_split")
    return found | {key: manifest.get(key) for key in told}
