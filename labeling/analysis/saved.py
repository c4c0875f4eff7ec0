"""Arrays in a file beside the database, so that a new process need not read every pick again.

The file is a copy of what the database holds and may be deleted at any time. One that is damaged,
of another version or cannot be written is passed over. It holds no names and no texts.
"""

from __future__ import annotations

import contextlib
import os
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Grows when what is in the file changes its meaning.
VERSION = 1

Arrays = dict[str, NDArray[Any]]


def beside(database: Path) -> Path:
    """Where the arrays of a database are kept."""
    return database.with_name(f"{database.name}.frame.npz")


def load(path: Path) -> Arrays | None:
    """What was saved at ``path``; None if there is nothing that can be used."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    version = arrays.pop("version", None)
    return arrays if version is not None and version.tolist() == VERSION else None


def save(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes ``arrays`` to ``path``, whole or not at all; without effect where it cannot."""
    unfinished = path.with_name(f"{path.name}.part-{os.getpid()}-{threading.get_ident()}")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, version=np.array(VERSION), **arrays)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
