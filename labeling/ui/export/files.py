"""What the tab does with files, one function each. Nothing here knows gradio."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from detox.errors import UserError
from labeling.export import SUFFIXES, Filters, Manifest, export
from labeling.imports import LABELER, ImportReport, import_file
from labeling.store import Store


@dataclass(frozen=True)
class Exported:
    """A written export: the file to download, its manifest as a file, and the manifest itself."""

    path: Path
    manifest_path: Path
    manifest: Manifest

    def answer(self) -> dict[str, Any]:
        """The manifest for programs, as JSON; gradio would take a ``path`` for a file to fetch."""
        told = asdict(self.manifest)
        return {"file": told.pop("path"), **told}


def write_export(store: Store, folder: Path, format: str, filters: Filters = Filters()) -> Exported:
    """Writes what ``filters`` take into ``folder``, where it replaces an earlier one.

    A dataset folder is packed as a ZIP. Raises ``UserError`` as ``export`` does, ``StoreError`` by
    the database.
    """
    name = f"detox-arena-{format}" + (f"-{filters.split}" if filters.split else "")
    out = folder / f"{name}{SUFFIXES.get(format, '')}"
    manifest = export(store, format, out, filters)
    if not out.is_dir():
        return Exported(out, out.with_name(f"{out.name}.manifest.json"), manifest)
    path = folder / f"{name}.zip"
    # Whole or not at all, for those who are downloading the one before.
    Path(shutil.make_archive(str(folder / f"{name}.new"), "zip", root_dir=out)).replace(path)
    beside = folder / f"{path.name}.manifest.json"
    packed = Manifest(**(asdict(manifest) | {"path": path.name}))
    beside.write_text(json.dumps(asdict(packed), indent=2) + "\n", encoding="utf-8")
    return Exported(path, beside, packed)


def last_day(text: str | None) -> str | None:
    """The day after ``text``, as ``Filters`` takes times before which; None for no day.

    Raises ``UserError`` for what is no day.
    """
    if not text or not text.strip():
        return None
    try:
        return (date.fromisoformat(text.strip()[:10]) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError) as error:
        raise UserError(f"'{text}' is not a day: write it like 2026-01-31.") from error


@dataclass(frozen=True)
class Imported:
    """What an import added, or would add, from a file of this name."""

    name: str
    report: ImportReport
    done: bool

    @property
    def adds(self) -> bool:
        """Whether anything in it is new."""
        found = self.report
        return bool(found.pairs or found.picks or found.edits or found.prompts or found.candidates)

    def answer(self) -> dict[str, Any]:
        """The report for programs, as JSON."""
        return {"file": self.name, "done": self.done, **asdict(self.report)}


def check_import(store: Store, file: str | None, **options: str | None) -> Imported:
    """What importing ``file`` would add. ``options`` are those of ``do_import``.

    Raises ``UserError`` that names the line which cannot be used.
    """
    return do_import(store, file, dry_run=True, **options)


def do_import(
    store: Store,
    file: str | None,
    *,
    format: str | None = None,
    batch: str | None = None,
    labeler: str | None = None,
    policy: str | None = None,
    dry_run: bool = False,
) -> Imported:
    """Imports an uploaded ``file``, all or nothing; empty options mean the usual ones.

    Sentences name the file as its owner does, not where on the server it lies. Raises
    ``UserError`` that names the line which cannot be used, ``StoreError`` by the database.
    """
    if not file:
        raise UserError("Choose a file first.")
    path = Path(file)
    try:
        report = import_file(
            store,
            path,
            (format or "").strip() or None,
            batch=(batch or "").strip() or None,
            labeler=(labeler or "").strip() or LABELER,
            policy=(policy or "").strip() or None,
            dry_run=dry_run,
        )
    except UserError as error:
        sentence = str(error).replace(str(path), path.name)
        raise type(error)(sentence.replace("--policy", "“Whose responses”")) from error
    return Imported(path.name, report, not dry_run)
