"""How a training stands, in words: read from the end of its log."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

RUNNING, STOPPING, DONE = "running", "stopping", "finished"
STOPPED, FAILED, CUT = "stopped", "failed", "cut off"
# Bytes below which a disk is as good as full.
FULL = 1_000_000
_NO_MEMORY = ("MemoryError", "can't allocate memory", "out of memory")
_CRASH = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b")


def last_lines(log: Path, size: int = 8000) -> list[str]:
    """The lines that say something among the last ``size`` bytes of ``log``."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def progress(lines: Sequence[str]) -> tuple[int, int]:
    """(step, steps) of the last line that tells them, as in ``step 3/40``; (0, 0) without one."""
    for line in reversed(lines):
        if found := re.match(r"step (\d+)/(\d+)\b", line):
            return int(found[1]), int(found[2])
    return 0, 0


def sentence(state: str, lines: Sequence[str], folder: Path, has_checkpoint: bool) -> str:
    """What became of a training in ``state`` whose log ends with ``lines``, for people.

    Where it fits, that is what the command said last.
    """
    last = re.sub(r"^(detox|labeling): ", "", lines[-1]) if lines else ""
    if state == STOPPING:
        return "It was asked to stop, and does so after what it is at."
    if state == STOPPED:
        return (
            "It was stopped." if has_checkpoint else "It was stopped, with nothing to go on from."
        )
    if state == CUT:
        return f"It ended without a word: {_silence(folder)}."
    if state != FAILED:
        return last
    if any(sign in last for sign in _NO_MEMORY):
        return "The memory ran out: close other programs, then go on."
    if _CRASH.match(last):
        return f"It crashed with '{last}'."
    return last or "It failed and did not say why."


def _silence(folder: Path) -> str:
    try:
        full = shutil.disk_usage(folder).free < FULL
    except OSError:
        full = False
    if full:
        return "the disk is full, so free some first"
    return "it was killed, the memory ran out, or the machine went off"
