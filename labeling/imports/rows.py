"""One row of each tool's own format, understood; pure functions that know no database.

Each reader raises ``UserError`` that says what is wrong with its row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from detox.errors import UserError
from labeling.imports.prompts import Known, common_prompt
from labeling.schema import STRENGTHS
from labeling.text import clean_text, content_id

Row = Mapping[str, Any]

UNKNOWN_POLICY = "unknown"
LABELER = "import"


@dataclass(frozen=True)
class Side:
    """One response. A ``policy`` of None may be any; ``sampling`` of None is not told.

    ``policy`` is ``{"name"}``, and ``base``, ``adapter`` and ``fingerprint`` where they are known.
    """

    text: str
    policy: Mapping[str, Any] | None = None
    sampling: Mapping[str, Any] | None = None
    reward: float | None = None
    toxicity: float | None = None


@dataclass(frozen=True)
class Origin:
    """Where a raw pick comes from: the ids and times it had there, as far as they are told."""

    pick: str | None
    assignment_id: str | None
    assigned_at: str | None
    revealed_at: str | None
    picked_at: str | None
    app_version: str | None


@dataclass(frozen=True)
class Comparison:
    """One judged pair of a file. ``left`` and ``right`` are as the file orders them."""

    prompt: str
    left: Side
    right: Side
    choice: str
    dialogue: str | None = None
    worker: str | None = None
    # `person` or `model`, where the file tells.
    worker_kind: str | None = None
    batch: str | None = None
    split: str | None = None
    topic: str | None = None
    tone: str | None = None
    source: str | None = None
    kind: str = "regular"
    strength: str | None = None
    reasons: tuple[str, ...] = ()
    note: str = ""
    seconds: float | None = None
    flagged: bool = False
    informed: bool = False
    origin: Origin | None = None


@dataclass(frozen=True)
class Rated:
    """One response that was called good or bad by itself."""

    prompt: str
    text: str
    good: bool


def read_trl(row: Row, known: Known) -> Comparison:
    """TRL's explicit prompt, standard or conversational.

    Where both lists of messages begin with the prompt all the same, as in some data sets, that
    part is no completion.
    """
    shared, chosen, rejected = _parted(row.get("chosen"), row.get("rejected"))
    prompt = row.get("prompt")
    if shared and isinstance(prompt, list) and prompt != shared:
        prompt = [*prompt, *shared]
    return _preferred(
        _content(prompt, "prompt"), _content(chosen, "chosen"), _content(rejected, "rejected")
    )


def read_implicit(row: Row, known: Known) -> Comparison:
    """TRL's implicit prompt, which both texts (or lists of messages) begin with."""
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) and isinstance(rejected, list):
        shared, chosen, rejected = _parted(chosen, rejected)
        return read_trl({"prompt": shared, "chosen": chosen, "rejected": rejected}, known)
    return _preferred(*common_prompt(_text(chosen, "chosen"), _text(rejected, "rejected"), known))


def _parted(chosen: Any, rejected: Any) -> tuple[list[Any], Any, Any]:
    """The messages that both lists begin with, and what is left of them: one message at least."""
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        return [], chosen, rejected
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _preferred(prompt: str, chosen: str, rejected: str) -> Comparison:
    """The order of such rows says nothing about sides: a hash of the texts draws them."""
    gaps = [text[: len(text) - len(text.lstrip())] for text in (chosen, rejected)]
    if gaps[0] == gaps[1]:
        prompt += gaps[0]
    sides = [Side(chosen), Side(rejected)]
    first_is_chosen = content_id(clean_text(chosen)) < content_id(clean_text(rejected))
    left, right = sides if first_is_chosen else sides[::-1]
    return Comparison(prompt, left, right, "left" if first_is_chosen else "right")


def _content(value: Any, key: str) -> str:
    """A text, or the text of a list of messages; of several, each with its role in front."""
    if not isinstance(value, list) or not value:
        return _text(value, key)
    said = []
    for message in value:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            parts = [part.get("text") for part in content if isinstance(part, Mapping)]
            whole = len(parts) == len(content) and all(isinstance(part, str) for part in parts)
            content = "\n".join(map(str, parts)) if whole else None
        if not isinstance(content, str):
            raise UserError(f"`{key}` must be a list of messages with a text as `content`.")
        said.append((str(message.get("role") or "user").capitalize(), content))
    text = said[0][1] if len(said) == 1 else "\n".join(f"{role}: {text}" for role, text in said)
    return _text(text, key)


def read_unpaired(row: Row) -> Rated:
    """TRL's unpaired rows, ``{"prompt", "completion", "label"}``, texts or lists of messages."""
    prompt, completion = (_content(row.get(key), key) for key in ("prompt", "completion"))
    label = truth(row.get("label"))
    if label is None:
        raise UserError("`label` must be true or false.")
    gap = completion[: len(completion) - len(completion.lstrip())]
    return Rated(prompt + gap, completion, label)


def paired(first: Rated, second: Rated) -> Comparison:
    """Two ratings for one prompt as one judgement: one better, or both bad.

    ``ValueError`` for two good ones, which say nothing about each other.
    """
    if first.good and second.good:
        raise ValueError("Two good responses are no preference.")
    choice = "left" if first.good else "right" if second.good else "both_bad"
    return Comparison(first.prompt, Side(first.text), Side(second.text), choice)


def read_vertex(row: Row, known: Known) -> Comparison:
    """Vertex AI preferences: candidate 0 counts as the left one."""
    left, right = (Side(_text_of(row, f"candidate_{slot}")) for slot in (0, 1))
    return Comparison(_text_of(row, "input_text"), left, right, _side(row))


def read_vertex_prompt(row: Row) -> str:
    """The prompt of a row ``{"input_text"}``."""
    return _text_of(row, "input_text")


def read_prediction(row: Row) -> tuple[str, str]:
    """Prompt and response of a row ``{"inputs": {"inputs_pretokenized"}, "prediction"}``."""
    inputs = row.get("inputs")
    if not isinstance(inputs, Mapping):
        raise UserError("`inputs` must be an object with `inputs_pretokenized`.")
    return _text_of(inputs, "inputs_pretokenized"), _text_of(row, "prediction")


def read_openai(row: Row, known: Known) -> Comparison:
    """OpenAI's summarize-from-feedback comparisons (``info.post`` or ``info.article``)."""
    info, summaries, extra = row.get("info"), row.get("summaries"), row.get("extra") or {}
    if not isinstance(info, Mapping) or not isinstance(extra, Mapping):
        raise UserError("`info` and `extra` must be objects.")
    if (
        not isinstance(summaries, list)
        or len(summaries) != 2
        or not all(isinstance(summary, Mapping) for summary in summaries)
    ):
        raise UserError("`summaries` must be a list of two objects.")
    dialogue = _text(info.get("post") or info.get("article") or info.get("dialogue"), "info.post")
    left, right = (
        Side(
            _text(summary.get("text"), "summaries.text"),
            {"name": str(summary.get("policy") or UNKNOWN_POLICY)},
        )
        for summary in summaries
    )
    strength = extra.get("strength")
    return Comparison(
        prompt=_text(info.get("prompt") or dialogue, "info.prompt"),
        left=left,
        right=right,
        choice=_side(row),
        dialogue=dialogue,
        worker=str(row["worker"]) if row.get("worker") else None,
        batch=str(row["batch"]) if row.get("batch") else None,
        # Their validation splits are `valid1` and `valid2`.
        split=str(row["split"]).rstrip("012") if row.get("split") else None,
        topic=str(info["topic"]) if info.get("topic") else None,
        strength=strength if strength in STRENGTHS else None,
        note=clean_text(str(extra.get("note") or "")),
    )


def _side(row: Row) -> str:
    choice = row.get("choice")
    slots: dict[object, str] = {0: "left", 1: "right", "0": "left", "1": "right"}
    # As a float where a table had gaps.
    if isinstance(choice, bool) or not isinstance(choice, int | float | str) or choice not in slots:
        raise UserError("`choice` must be 0 or 1.")
    return slots[choice]


def _text_of(row: Row, key: str) -> str:
    return _text(row.get(key), key)


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"`{key}` must be a text that is not empty.")
    return value


def truth(value: object) -> bool | None:
    """True or False as JSON, CSV and spreadsheets write them; None for anything else."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


READERS: dict[str, Callable[[Row, Known], Comparison]] = {
    "trl-explicit": read_trl,
    "trl-implicit": read_implicit,
    "trl-conversational": read_trl,
    "vertex-preference": read_vertex,
    "openai-comparisons": read_openai,
}
