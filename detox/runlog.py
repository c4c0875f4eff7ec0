"""The record of a run: one JSON object a step, and the same numbers for TensorBoard."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from detox.errors import UserError


class RunLog:
    """Appends the numbers of each step to ``metrics.jsonl`` and to TensorBoard files.

    A resumed run drops the lines after the checkpoint it continues from, so that a step
    appears once.
    """

    def __init__(self, folder: Path, resume_from: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = folder / "metrics.jsonl"
            kept = [row for row in read_metrics(folder) if row["step"] <= resume_from]
            self.path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_from + 1)
        except OSError as error:
            raise _unlogged(folder, error) from error

    def write(self, step: int, numbers: dict[str, Any]) -> None:
        """Records ``numbers`` of ``step``; values that are not finite become null."""
        row = {"step": step} | {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in numbers.items()
        }
        try:
            with self.path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            for key, value in row.items():
                if key != "step" and isinstance(value, int | float):
                    self.board.add_scalar(key, value, step)
            self.board.flush()
        except OSError as error:
            raise _unlogged(self.path.parent, error) from error

    def close(self) -> None:
        """Ends the TensorBoard file."""
        self.board.close()


def _unlogged(folder: Path, error: OSError) -> UserError:
    return UserError(f"The run cannot be logged in {folder}: {error.strerror}.")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The recorded steps of a run, in order; empty when there are none.

    A last line without its end is left out: it is being written, or its run was cut off there.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def peak_memory() -> int:
    """Most memory that this process has held so far, in bytes: of its GPU where it has one."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource  # which Windows lacks

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
