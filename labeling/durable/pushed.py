"""What is known to be in the dataset: up to which pick, and in which files."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from labeling.store import Store

PUSHED = "pushed.json"


@dataclass(frozen=True)
class Pushed:
    """How far a database is in the dataset."""

    seq: int = 0
    """The number of the last pick that is there."""
    journals: dict[str, int] = field(default_factory=dict)
    """Files of picks that the database holds all of: the first copy that has them, or 0."""


def read_pushed(store: Store, path: Path) -> Pushed:
    """What ``path`` notes about ``store``; nothing if it is about another database or damaged.

    Then all picks go to the dataset again, which doubles none of them.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        seq, pick = int(found["seq"]), str(found["pick"])
        journals = {str(name): int(copy) for name, copy in found.get("journals", {}).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Pushed()
    return Pushed(seq, journals) if pick and _pick(store, seq) == pick else Pushed()


def write_pushed(store: Store, path: Path, known: Pushed) -> None:
    """Notes ``known`` about ``store`` in ``path``, whose folder is made if it is missing.

    Raises ``OSError`` when the disk is full or read-only; what ``path`` held then stays.
    """
    told = {"seq": known.seq, "pick": _pick(store, known.seq), "journals": known.journals}
    path.parent.mkdir(parents=True, exist_ok=True)
    # another process may keep the same database
    partial = path.with_name(f"{path.name}.part-{os.getpid()}-{threading.get_ident()}")
    partial.write_text(json.dumps(told), encoding="utf-8")
    partial.replace(path)


def _pick(store: Store, seq: int) -> str:
    with store.reading() as db:
        row = next(db.query("SELECT uuid FROM picks WHERE seq = ?", [seq]), None)
    return row["uuid"] if row else ""
