"""Weights that can be nothing but numbers: safetensors, unless whoever starts a program insists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from detox.errors import UserError

INSIST = "DETOX_PICKLED_WEIGHTS"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def safe_weights(name: str) -> dict[str, Any]:
    """Options of ``from_pretrained`` with which the folder ``name`` gives safetensors or nothing.

    Hub names are left to transformers, which prefers safetensors and unpickles numbers only.
    Raises ``UserError`` for a folder with pickled weights alone.
    """
    folder = Path(name)
    if not folder.is_dir() or pickles_allowed():
        return {}
    files = sorted(path.name for path in folder.iterdir())
    safe = any(file.startswith("model") and ".safetensors" in file for file in files)
    pickled = [file for file in files if file.endswith(_PICKLED) and "model" in file]
    if pickled and not safe:
        raise refusal(folder / pickled[0])
    return {"use_safetensors": True}


def pickles_allowed() -> bool:
    """Whether ``DETOX_PICKLED_WEIGHTS=1`` says that the folders named here can be trusted."""
    return os.environ.get(INSIST, "").strip() == "1"


def refusal(file: Path) -> UserError:
    """The sentence about ``file``."""
    return UserError(
        f"{file} is pickled, and such a file can run programs when it is read: save the model as "
        f"safetensors, or set {INSIST}=1 if you trust where it came from."
    )
