"""Policy versions that trainings have made: written down beside the runs, and known to the app."""

from __future__ import annotations

import json
import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from detox.errors import UserError
from detox.job import GUARD, write_whole

if TYPE_CHECKING:
    from detox.workbench import Workbench

REGISTRY = "versions.json"
# Seconds between two looks at the registry.
PACE = 2.0


@dataclass(frozen=True)
class Version:
    """A policy that a training made, as ``versions.json`` keeps it."""

    name: str
    """also of its folder, below that of the registry"""
    kind: str
    """how it was trained: ppo or dpo"""
    fingerprint: str
    parent: str
    """fingerprint of the policy that it was tuned from"""
    reward: dict[str, Any]
    """what its reward source says of itself"""
    steps: int
    seed: int
    made: str
    """ISO 8601, UTC"""


def read_versions(root: Path) -> list[Version]:
    """The versions below ``root``, oldest first; ``UserError`` when their list is damaged."""
    path = root / REGISTRY
    if not path.is_file():
        return []
    try:
        return [Version(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} is damaged: delete it, and name its versions in DETOX_POLICIES."
        ) from error


def enter_version(folder: Path) -> Version:
    """Enters the policy in ``folder`` into the registry beside it, in the place of one so called.

    Raises ``UserError`` when there is no policy in it or when it has learned nothing, and
    ``OSError`` when the registry cannot be written.
    """
    from detox.models import find_source, fingerprint, read_lineage

    lineage = read_lineage(folder)
    if lineage.get("steps") == 0:
        raise UserError(
            f"It stopped before it had learned anything "
            f"({lineage.get('stopped') or 'no step was taken'}), so that there is no new version."
        )
    source = find_source(str(folder))
    if not source.adapters and not lineage:
        raise UserError(f"The training left no policy in {folder}.")
    version = Version(
        folder.name,
        str(lineage.get("kind", "")),
        fingerprint(source),
        str(lineage.get("reference_fingerprint", "")),
        _mapping(lineage.get("reward")),
        int(lineage.get("steps") or 0),
        int(lineage.get("seed") or 0),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )
    root = folder.parent
    with FileLock(root / GUARD, timeout=60):
        others = [known for known in read_versions(root) if known.name != version.name]
        write_whole(root / REGISTRY, [asdict(each) for each in (*others, version)])
    return version


def _mapping(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def follow(bench: Workbench, root: Path, pace: float = PACE) -> Callable[[], None]:
    """Lets ``bench`` learn the versions below ``root``: those there are and those to come.

    In the background, for as long as there is the bench; the function returned ends it.
    """
    ended = threading.Event()
    known = weakref.ref(bench)

    def watch() -> None:
        seen: Any = None
        while (here := known()) is not None:
            mark = _mark(root / REGISTRY)
            if mark != seen:
                seen = mark
                _teach(here, root)
            del here  # or it would never be gone
            if ended.wait(pace):
                return

    threading.Thread(target=watch, daemon=True, name="version-watcher").start()
    return ended.set


def _teach(bench: Workbench, root: Path) -> None:
    try:
        for version in read_versions(root):
            bench.learn(version.name, str(root / version.name))
    except UserError as error:
        logging.getLogger("detox").warning("%s", error)


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
