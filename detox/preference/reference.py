"""What the policy that a run starts from thinks of the pairs, asked once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from detox.checkpoints import CHECKPOINTS, room
from detox.preference.pairs import Row
from detox.preference.trainers import PairTrainer

REFERENCE = "reference.json"


def ask_reference(
    trainer: PairTrainer, rows: Sequence[Row], folder: Path, tell: Callable[[str], None]
) -> None:
    """Adds ``ref_chosen_logps`` and ``ref_rejected_logps`` to each row, in nats.

    They are read from the run's ``folder`` where an earlier start left them: to work them out takes
    as long as a third of a pass of training. Raises ``UserError`` when they cannot be written.
    """
    path = folder / CHECKPOINTS / REFERENCE
    found = _read(path, len(rows))
    if found is None:
        found = trainer.think(rows, _every_tenth(len(rows), tell))
        with room(folder):
            path.write_text(json.dumps(found), encoding="utf-8")
    for row, (chosen, rejected) in zip(rows, found, strict=True):
        row |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}


def _read(path: Path, rows: int) -> list[list[float]] | None:
    try:
        known: list[list[float]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # it was not written, or cut off there
    return known if len(known) == rows else None


def _every_tenth(rows: int, tell: Callable[[str], None]) -> Callable[[int], None]:
    told = 0

    def hear(done: int) -> None:
        nonlocal told
        if 10 * done // rows > told:
            told = 10 * done // rows
            tell(f"what the reference thinks: {done}/{rows} pairs")

    return hear
