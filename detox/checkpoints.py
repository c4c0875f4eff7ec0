"""The checkpoints of a run that transformers trains, and what says whose they are.

A run goes on only where it left off: with its own settings, on its own data.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from detox.errors import UserError

CHECKPOINTS, SETTINGS = "checkpoints", "config.json"


def last_checkpoint(folder: Path, config: Any, data: str, free: Collection[str]) -> str:
    """The last whole checkpoint of the run in ``folder``.

    ``config`` is the run's dataclass, of which the fields ``free`` may have changed since; ``data``
    is a hash of what is learned from. Raises ``UserError`` when there is no checkpoint, and when
    it was made with other settings or data.
    """
    path = folder / CHECKPOINTS
    # transformers writes its state last: a checkpoint without it was cut off while being saved
    found = [state.parent for state in path.glob("checkpoint-*/trainer_state.json")]
    if not found:
        raise UserError(f"There is no checkpoint in {folder} to resume from: start without it.")
    try:
        then = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
        settings = dict(then["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / SETTINGS} is damaged: start anew.") from error
    now = asdict(config)
    changed = [key for key in now if now[key] != settings.get(key) and key not in free]
    if changed:
        raise UserError(
            f"The run in {folder} was started with other settings ({', '.join(changed)}): resume "
            "it with those, or start anew."
        )
    if then.get("data") != data:
        raise UserError(
            f"The run in {folder} was started with other preferences: resume it with those, or "
            "start anew."
        )
    return str(max(found, key=lambda checkpoint: int(checkpoint.name.rsplit("-", 1)[1])))


def begin(folder: Path, config: Any, data: str) -> None:
    """Clears what an earlier run left in ``folder``: a fresh one must never be resumed from it.

    ``config`` and ``data`` as in ``last_checkpoint``. Raises ``UserError`` for a folder that cannot
    be written.
    """
    path = folder / CHECKPOINTS
    with room(folder):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        settings = {"config": asdict(config), "data": data}
        (path / SETTINGS).write_text(json.dumps(settings), encoding="utf-8")


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """``UserError`` for what a full disk makes of the libraries that write to ``folder``."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(
            f"The checkpoint cannot be written to {folder}: free some disk and resume."
        ) from error
