"""What a stage depends on, as one hash, and what it left behind the last time."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detox.errors import UserError
from detox.models import find_source, fingerprint

RECORD = "stage.json"
Record = dict[str, Any]


def digest(content: bytes) -> str:
    """SHA-256 of ``content``."""
    return hashlib.sha256(content).hexdigest()


def key_of(inputs: Mapping[str, Any]) -> str:
    """The hash of all that a stage depends on."""
    return digest(json.dumps(inputs, sort_keys=True).encode())


def model_digest(spec: str) -> str:
    """Changes with a model: its name and adapters, and its files where it lies in a folder.

    Raises ``UserError`` when an adapter is missing.
    """
    source = find_source(spec)
    found = hashlib.sha256(fingerprint(source).encode())
    folder = Path(source.base)
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.is_file():
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def read_record(folder: Path) -> Record | None:
    """What a stage wrote of itself into its folder; None where there is nothing readable."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def is_finished(record: Record, key: str, folder: Path) -> bool:
    """Whether ``record`` is of a stage that ended, with this ``key``, and its files are there."""
    if record.get("key") != key or not record.get("finished"):
        return False
    outputs: dict[str, str] = record.get("outputs", {})
    try:
        return outputs_of(folder, list(outputs)) == outputs
    except OSError:
        return False


def outputs_of(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """The files ``names`` in ``folder`` with their hashes; ``OSError`` when one is missing."""
    return {name: digest((folder / name).read_bytes()) for name in names}


def begin(folder: Path, record: Record, go_on: bool) -> None:
    """Makes ``folder`` ready for a stage: empty, or as it was cut off when it is to ``go_on``.

    Raises ``UserError`` when the folder holds something that no stage has written.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
            raise UserError(f"{folder} is not a pipeline's folder: choose another output.")
        if not go_on:
            shutil.rmtree(folder, ignore_errors=True)
        write_record(folder, record)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from error


def write_record(folder: Path, record: Record) -> None:
    """Writes a stage's record, whole or not at all."""
    write_json(folder / RECORD, record)


def write_json(path: Path, content: Any) -> None:
    """Writes ``content``, whole or not at all; ``UserError`` when the disk does not take it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".partial")
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
