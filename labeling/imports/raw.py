"""Raw picks with all that was known of them, and what the cells of a CSV file stand for."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from detox.errors import UserError
from labeling.export.filters import as_utc
from labeling.formats import alive
from labeling.imports.rows import UNKNOWN_POLICY, Comparison, Origin, Row, Side, truth
from labeling.schema import CHOICES, KINDS, STRENGTHS
from labeling.text import clean_text, dialogue_of

_ID = re.compile(r"[\w-]{1,64}")


def revived(row: Row) -> Row:
    """A row of a CSV file of ours, whose cells were made inert, as it was."""
    return {name: alive(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def with_scores(row: Row) -> Row:
    """A pair to judge out of a CSV file, with its scores as numbers.

    Raises ``UserError`` for a score that is none.
    """
    names = [f"{score}_{side}" for score in ("reward", "toxicity") for side in "ab"]
    return {**row, **{name: _number(row, name) for name in names if name in row}}


def read_raw(row: Row) -> Comparison:
    """One pick as it was made. Only prompt, both texts and the choice must be there.

    Raises ``UserError`` for a value that cannot be.
    """
    prompt = _text(row, "prompt")
    if not prompt:
        raise UserError("`prompt` must be a text that is not empty.")
    return Comparison(
        prompt=prompt,
        dialogue=_text(row, "dialogue") or dialogue_of(prompt),
        left=_side(row, "left"),
        right=_side(row, "right"),
        choice=_one_of(row, "choice", CHOICES) or "",
        worker=_text(row, "labeler"),
        worker_kind=_one_of(row, "labeler_kind", ("person", "model")),
        batch=_text(row, "batch"),
        split=_text(row, "split"),
        topic=_text(row, "topic"),
        tone=_text(row, "tone"),
        source=_text(row, "source"),
        kind=_one_of(row, "kind", KINDS) or "regular",
        strength=_one_of(row, "strength", STRENGTHS),
        reasons=_reasons(row.get("reasons")),
        note=clean_text(_text(row, "note") or ""),
        seconds=_number(row, "seconds", least=0.0),
        flagged=_truth(row, "flagged"),
        informed=_truth(row, "informed"),
        origin=Origin(
            pick=_id(row, "pick"),
            assignment_id=_id(row, "assignment_id"),
            assigned_at=_time(row, "assigned_at"),
            revealed_at=_time(row, "revealed_at"),
            picked_at=_time(row, "picked_at"),
            app_version=_text(row, "app_version"),
        ),
    )


def _side(row: Row, side: str) -> Side:
    text = _text(row, f"{side}_text")
    if not text:
        raise UserError(f"`{side}_text` must be a text that is not empty.")
    sampling = row.get(f"{side}_sampling")
    if isinstance(sampling, str):
        sampling = _json(sampling, f"{side}_sampling") if sampling else None
    if sampling is not None and not isinstance(sampling, Mapping):
        raise UserError(f"`{side}_sampling` must be an object of settings.")
    version = {name: _text(row, f"{side}_{name}") for name in ("base", "adapter", "fingerprint")}
    name = _text(row, f"{side}_policy")
    return Side(
        text=text,
        policy={"name": name or UNKNOWN_POLICY, **version}
        if name or sampling is not None
        else None,
        sampling=sampling,
        reward=_number(row, f"{side}_reward"),
        toxicity=_number(row, f"{side}_toxicity"),
    )


def _text(row: Row, key: str) -> str | None:
    value = row.get(key)
    if value is None or _missing(value):
        return None
    if not isinstance(value, str | int):
        raise UserError(f"`{key}` must be a text.")
    return str(value) or None


def _missing(value: object) -> bool:
    # As pandas writes what is not there.
    return isinstance(value, float) and math.isnan(value)


def _id(row: Row, key: str) -> str | None:
    value = _text(row, key)
    if value is not None and not _ID.fullmatch(value):
        raise UserError(f"`{key}` must be an id of at most 64 letters, digits and hyphens.")
    return value


def _one_of(row: Row, key: str, known: tuple[str, ...]) -> str | None:
    value = _text(row, key)
    if value not in known and (value or key == "choice"):
        raise UserError(f"`{key}` must be one of {', '.join(known)}.")
    return value


def _number(row: Row, key: str, least: float = -math.inf) -> float | None:
    value = row.get(key)
    if value is None or value == "" or _missing(value):
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < least:
        raise UserError(f"`{key}` must be a number{', zero or more' if least == 0 else ''}.")
    return number


def _truth(row: Row, key: str) -> bool:
    value = row.get(key)
    if value is None or value == "" or _missing(value):
        return False
    if (said := truth(value)) is None:
        raise UserError(f"`{key}` must be true or false.")
    return said


def _time(row: Row, key: str) -> str | None:
    value = row.get(key)
    if value is None or _missing(value):
        return None
    try:
        # A Parquet file may hold times instead of texts.
        return as_utc(value if isinstance(value, str) else value.isoformat())
    except (AttributeError, UserError) as error:
        raise UserError(f"`{key}` must be a time like 2026-01-31T18:30.") from error


def _reasons(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        listed = value.lstrip().startswith("[")
        value = _json(value, "reasons") if listed else [part for part in value.split("; ") if part]
    if value is None or _missing(value):
        return ()
    if not isinstance(value, list) or not all(isinstance(reason, str) for reason in value):
        raise UserError("`reasons` must be a list of texts.")
    return tuple(value)


def _json(text: str, key: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"`{key}` must be JSON.") from error
