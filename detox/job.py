"""What is known of one training: its record in ``job.json``, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from detox.errors import UserError

RECORD, LOG = "job.json", "job.log"
# Beside the folders of the trainings: which of them runs, and who is about to begin one.
LOCK, GUARD = "training.lock", ".training.guard"
# What a training leaves behind.
POLICY, REWARD = "policy", "reward"
# The exit code of a command that was interrupted.
INTERRUPTED = 130


@dataclass(frozen=True)
class Job:
    """A training that was asked for, as ``job.json`` keeps it."""

    name: str
    """of its folder, and of the policy version that it makes"""
    kind: str
    title: str
    argv: tuple[str, ...]
    """the module that is run, and its arguments"""
    makes: str = POLICY
    facts: tuple[tuple[str, str], ...] = ()
    """what was chosen, in words: (what, which)"""
    mix: tuple[tuple[str, float], ...] = ()
    """what is rewarded, and its weight"""
    checkpoint: str = ""
    """pattern of the files in its folder that it can go on from; empty if it never can"""
    steps: str = ""
    """its option for the number of steps, if it has one that may change when it goes on"""
    started: str = ""
    ended: str = ""
    code: int | None = None


def read_job(folder: Path) -> Job:
    """The job of ``folder``; ``UserError`` when its record cannot be read."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        facts = tuple((str(what), str(which)) for what, which in found.pop("facts", ()))
        mix = tuple((str(what), float(weight)) for what, weight in found.pop("mix", ()))
        return Job(**found | {"argv": tuple(found["argv"]), "facts": facts, "mix": mix})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder / RECORD} is damaged: delete the folder.") from error


def end_job(folder: Path, code: int) -> None:
    """Notes how the job of ``folder`` ended, and lets the next one begin.

    Raises ``OSError`` when the disk is full; then the process alone tells that it has ended.
    """
    write_whole(folder / RECORD, asdict(replace(read_job(folder), ended=now_utc(), code=code)))
    (folder.parent / LOCK).unlink(missing_ok=True)


def write_whole(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Writes ``content`` as JSON, so that no reader ever finds half of it; raises ``OSError``."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def told(folder: Path) -> Iterator[None]:
    """Makes an ``OSError`` inside a ``UserError`` about ``folder``."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}.") from error


def now_utc() -> str:
    """The time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
