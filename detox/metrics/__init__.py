"""Measures as local modules of the ``evaluate`` library: ``load`` needs no hub.

``evaluate.load("rouge")`` and ``("toxicity")`` fetch a script; these lie beside this file, and use
the same functions as everything else here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import evaluate

from detox.errors import UserError

FOLDER = Path(__file__).parent
NAMES = ("rouge", "toxicity")


def load(name: str) -> Any:
    """The module called ``name``, with the ``compute`` that ``evaluate`` gives every module.

    Raises ``UserError`` that lists the modules when it is none of them.
    """
    if name not in NAMES:
        raise UserError(f"Unknown measure '{name}': choose one of {', '.join(NAMES)}.")
    return evaluate.load(str(FOLDER / name / f"{name}.py"))
