"""What a path stands for: one table, or the tables of an exported dataset folder or its ZIP."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from detox.errors import UserError
from labeling.files.read import Table, open_table
from labeling.files.text import first_bytes, reading, refuse_size

# The configurations of an exported folder, the one that loses nothing first.
_CONFIGS = ("picks", "preferences")


def open_source(path: str | Path, scratch: Path) -> list[Table]:
    """The tables of ``path``: a file, a folder that ``export`` wrote, or that folder as a ZIP.

    Of a folder the raw picks are read, or the preferences where it has none. ``scratch`` is an
    empty folder for what is unpacked; it must last as long as the tables are read. Raises
    ``UserError`` for anything else.
    """
    path = Path(path)
    if path.is_dir():
        return _tables(path, path)
    if first_bytes(path).startswith(b"PK\x03\x04"):
        _unpack(path, scratch)
        return _tables(scratch, path)
    return [open_table(path)]


def _tables(folder: Path, named: Path) -> list[Table]:
    for config in _CONFIGS:
        if found := sorted((folder / config).glob("*.parquet")):
            return [open_table(part) for part in found]
    raise UserError(
        f"'{named}' has no folder `picks` or `preferences` with Parquet files in it: give a "
        "dataset folder written by the export, or a JSONL, JSON, CSV or Parquet file."
    )


def _unpack(path: Path, scratch: Path) -> None:
    """The Parquet files of a dataset folder's ZIP, and nothing else of it."""
    try:
        with reading(path), zipfile.ZipFile(path) as archive:
            parts = [part for part in archive.infolist() if _wanted(part.filename)]
            refuse_size(path, sum(part.file_size for part in parts))
            for part in parts:
                # Only the last two names, so that nothing is written outside of ``scratch``.
                target = scratch.joinpath(*PurePosixPath(part.filename).parts[-2:])
                target.parent.mkdir(exist_ok=True)
                with archive.open(part) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"'{path}' is not a whole ZIP file: export or download it again.") from (
            error
        )


def _wanted(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".parquet" and path.parent.name in _CONFIGS and "\\" not in name
