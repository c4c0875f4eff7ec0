"""The pipeline's JSONL files, in and out, from a folder or any place that fsspec reaches."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.registry import known_implementations

from detox.errors import UserError
from detox.pipeline.config import is_url

SHOWN = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Preference:
    """Two responses to a prompt, and which of them was preferred."""

    prompt: str
    chosen: str
    rejected: str


def read_bytes(where: str) -> bytes:
    """The content of a file, local or at any URL that fsspec has a driver for.

    Raises ``UserError`` when there is none, and when the driver's package is not installed.
    """
    try:
        with _open(where, "rb") as file:
            content: bytes = file.read()
    except UserError:
        raise
    except Exception as error:  # every driver has classes of its own
        raise UserError(f"{where} cannot be read ({_reason(error)}): check the place.") from error
    return content


def write_bytes(where: str, content: bytes) -> None:
    """Writes a file, local or at any URL that fsspec has a driver for, folders included.

    Raises ``UserError`` when that is not possible.
    """
    try:
        if not is_url(where):
            Path(where).parent.mkdir(parents=True, exist_ok=True)
        with _open(where, "wb") as file:
            file.write(content)
    except UserError:
        raise
    except Exception as error:  # every driver has classes of its own
        raise UserError(f"{where} cannot be written ({_reason(error)}).") from error


def _open(where: str, mode: str) -> Any:
    if not is_url(where):
        return Path(where).open(mode)
    protocol = where.split("://")[0].split("::")[-1]
    try:
        return fsspec.open(where, mode)
    except ImportError as error:
        driver = str(known_implementations.get(protocol, {}).get("class", protocol)).split(".")[0]
        if driver == "fsspec":  # its own driver, which wants another's package
            driver = getattr(error.__cause__, "name", None) or protocol
        raise UserError(
            f"Reading {protocol}:// needs the package {driver}: run 'pip install {driver}'."
        ) from error
    except ValueError as error:
        raise UserError(
            f"{where} begins with '{protocol}://', which nothing here can read: use a path, "
            "gs://, s3://, hf:// or https://."
        ) from error


def _reason(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error).split("\n")[0]
    return str(said).rstrip(".") or type(error).__name__


def parse_preferences(content: bytes, where: str) -> list[Preference]:
    """Preferences of the rows ``{"input_text", "candidate_0", "candidate_1", "choice": 0|1}``.

    Raises ``UserError`` with the numbers of the lines that are something else.
    """
    return _parse(content, where, _preference)


def parse_prompts(content: bytes, where: str) -> list[str]:
    """The texts of the rows ``{"input_text"}``; ``UserError`` names the lines that are wrong."""
    return _parse(content, where, lambda row: _text(row, "input_text"))


def parse_predictions(content: bytes, where: str) -> list[tuple[str, str]]:
    """(prompt, response) of the rows ``{"inputs": {"inputs_pretokenized"}, "prediction"}``.

    Raises ``UserError`` with the numbers of the lines that are something else.
    """
    return _parse(content, where, _prediction)


def preference_rows(preferences: Iterable[Preference], slots: Sequence[int]) -> list[Any]:
    """Rows that ``parse_preferences`` reads; ``slots`` says which candidate each chosen one is."""
    rows = []
    for preference, slot in zip(preferences, slots, strict=True):
        pair = (preference.chosen, preference.rejected)
        rows.append(
            {
                "input_text": preference.prompt,
                "candidate_0": pair[slot],
                "candidate_1": pair[1 - slot],
                "choice": slot,
            }
        )
    return rows


def prompt_rows(prompts: Iterable[str]) -> list[Any]:
    """Rows that ``parse_prompts`` reads."""
    return [{"input_text": prompt} for prompt in prompts]


def prediction_rows(prompts: Sequence[str], responses: Sequence[str]) -> list[Any]:
    """Rows that ``parse_predictions`` reads: a bulk inference."""
    return [
        {"inputs": {"inputs_pretokenized": prompt}, "prediction": response}
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def jsonl(rows: Iterable[Any]) -> bytes:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _preference(row: dict[str, Any]) -> Preference:
    prompt = _text(row, "input_text")
    pair = [_text(row, f"candidate_{slot}").strip() for slot in (0, 1)]
    choice = row.get("choice")
    if choice not in (0, 1) or not isinstance(choice, int) or isinstance(choice, bool):
        raise UserError("'choice' must be 0 or 1")
    return Preference(prompt, pair[choice], pair[1 - choice])


def _prediction(row: dict[str, Any]) -> tuple[str, str]:
    inputs, response = row.get("inputs"), row.get("prediction")
    if not isinstance(inputs, dict) or not isinstance(response, str):
        raise UserError("'inputs' must be an object and 'prediction' a text")
    return _text(inputs, "inputs_pretokenized"), response


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"'{key}' must be a text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half a surrogate pair, which no tokenizer takes
        raise UserError(f"'{key}' is not valid Unicode") from error
    return value


def _parse(content: bytes, where: str, read: Callable[[dict[str, Any]], T]) -> list[T]:
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not text in UTF-8: save it as JSONL.") from error
    found, wrong, first = [], [], ""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise UserError("it must hold one JSON object")
            found.append(read(row))
        except ValueError:
            wrong.append(number)
            first = first or "it is not JSON"
        except UserError as error:
            wrong.append(number)
            first = first or str(error)
    if wrong:
        others = ", ".join(map(str, wrong[1 : SHOWN + 1])) + (
            ", …" if len(wrong) > SHOWN + 1 else ""
        )
        more = f"; {len(wrong) - 1} more lines are wrong ({others})" if wrong[1:] else ""
        raise UserError(f"Line {wrong[0]} of {where}: {first}{more}.")
    if not found:
        raise UserError(f"{where} holds no rows.")
    return found
