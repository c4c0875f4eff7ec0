"""Where a policy comes from: its base and the adapters on it, read from their folders."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftConfig

from detox.errors import UserError

EMBEDDED_FOLDER = Path(__file__).parent.parent / "embedded"
# Short names of the versions that ship; each stands for an adapter folder.
SHIPPED = {"before": EMBEDDED_FOLDER / "sft", "after": EMBEDDED_FOLDER / "ppo"}
LINEAGE = "detox.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Source:
    """Where a policy comes from: a base, and the adapters on it in the order they were trained."""

    base: str
    adapters: tuple[Path, ...] = ()


def find_source(spec: str) -> Source:
    """Resolves ``before``, ``after``, ``BASE``, ``BASE+ADAPTER`` or an adapter folder.

    Raises ``UserError`` when an adapter's folder or one of its parents is missing, or when
    the adapter was trained on another base than the one named.
    """
    if spec in SHIPPED:
        return _adapter_source(SHIPPED[spec])
    if "+" in spec and not Path(spec).exists():
        base, folder = spec.split("+", 1)
        source = _adapter_source(Path(folder))
        if not _same_base(source.base, base):
            raise UserError(
                f"The adapter {folder} was trained on '{source.base}', not on '{base}': "
                f"use it with '{source.base}'."
            )
        return source
    if (Path(spec) / ADAPTER_CONFIG).is_file():
        return _adapter_source(Path(spec))
    return Source(spec)


def _same_base(one: str, other: str) -> bool:
    here = Path(one).exists() and Path(other).exists()
    return one == other or (here and Path(one).samefile(other))


def _adapter_source(folder: Path, children: tuple[Path, ...] = ()) -> Source:
    pickled = folder / "adapter_model.bin"
    if pickled.is_file() and not (folder / ADAPTER_WEIGHTS).exists():
        raise UserError(
            f"{pickled} is pickled, and such a file can run programs when it is read: load it with "
            "peft where you trust it, and save it again as safetensors."
        )
    if not all((folder / file).is_file() for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)):
        raise UserError(f"There is no adapter in {folder}: train one or check the path.")
    if folder.resolve() in children:
        raise UserError(f"The adapter {folder} is among its own parents: mend {LINEAGE}.")
    lineage = read_lineage(folder)
    if lineage.get("parent"):
        parent = (folder / lineage["parent"]).resolve()
        above = _adapter_source(parent, (*children, folder.resolve()))
        return Source(above.base, (*above.adapters, folder))
    base = lineage.get("base") or named_base(folder)
    if not base:
        raise UserError(f"The adapter {folder} does not name its base: add one to {LINEAGE}.")
    return Source(str(base), (folder,))


def named_base(folder: Path) -> str | None:
    """The base that an adapter's own configuration names, if it does."""
    try:
        return PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"The adapter {folder} cannot be read: check its files.") from error


def read_lineage(folder: Path) -> dict[str, Any]:
    """What an adapter says of its origin (``detox.json``); empty for adapters from elsewhere."""
    path = folder / LINEAGE
    if not path.is_file():
        return {}
    damaged = UserError(f"{path} is damaged: restore it or train the adapter again.")
    try:
        lineage = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged from error
    if not isinstance(lineage, dict) or not isinstance(lineage.get("parent") or "", str):
        raise damaged
    return lineage


def fingerprint(source: Source) -> str:
    """A short hash that changes with the base's name or any adapter's weights.

    A base that was tuned here is known by its lineage: its weights take seconds to read.
    """
    digest = hashlib.sha256(source.base.encode())
    tuned = Path(source.base) / LINEAGE
    if tuned.is_file():
        digest.update(tuned.read_bytes())
    for folder in source.adapters:
        digest.update((folder / ADAPTER_WEIGHTS).read_bytes())
    return digest.hexdigest()[:12]
