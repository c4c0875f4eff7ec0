"""Imports a file: what it is, what it adds, all of it or nothing.

Importing twice changes nothing.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.batches import understand
from labeling.export.write import FORMATS
from labeling.files import Table, open_source
from labeling.imports.adder import Adder
from labeling.imports.pairs import Pairs
from labeling.imports.raw import read_raw, revived, with_scores
from labeling.imports.recognition import PAIRS, PICKS, SHAPES, recognise
from labeling.imports.rows import (
    LABELER,
    READERS,
    Row,
    read_prediction,
    read_unpaired,
    read_vertex_prompt,
)
from labeling.imports.unpaired import Unpaired
from labeling.store import Store

IMPORT_FORMATS = (*FORMATS, PAIRS)
# Formats that hold raw picks are named after their files; a folder holds those or preferences.
_RAW: dict[str, str | None] = {"csv": PICKS, "parquet": PICKS, "folder": None}
_IGNORED_SHOWN = 20
# Ids are hashes: rows go to all parts of their tables, which should be at hand.
_CACHE_KIB = 16 * 1024


@dataclass(frozen=True)
class ImportReport:
    """What an import changed, or in a dry run would change."""

    format: str
    pairs: int
    picks: int
    # Rows that were in the record already.
    known: int
    # Rows whose two texts are the same to a reader.
    identical: int
    rows: int = 0
    # Picks that replaced an earlier answer of the same labeler.
    edits: int = 0
    # Added by formats without judgements.
    prompts: int = 0
    candidates: int = 0
    # Rows of `trl-unpaired` without a partner.
    alone: int = 0
    # Columns that the format does not have.
    ignored: tuple[str, ...] = ()


def import_file(
    store: Store,
    path: str | Path,
    format: str | None = None,
    *,
    batch: str | None = None,
    labeler: str = LABELER,
    policy: str | None = None,
    dry_run: bool = False,
) -> ImportReport:
    """Adds the preferences, prompts, responses or pairs of a file, all or none of them.

    The file is JSONL, a JSON list, CSV or Parquet, an exported folder or its ZIP. ``format`` is
    one of ``IMPORT_FORMATS``; None finds it from the first row. ``batch`` names the pairs of rows
    that name none, by default after the file. Rows that name no worker count as picks of
    ``labeler`` (of ``labeler 2``, … where a file judges a pair several times). ``policy`` is whose
    responses ``vertex-bulk-inference`` holds. With ``dry_run`` a copy of the record is changed
    and thrown away.

    Raises ``UserError`` naming the file and line that cannot be used, ``StoreError`` by the
    database.
    """
    if format is not None and format not in IMPORT_FORMATS:
        raise UserError(f"Unknown format '{format}': use one of {', '.join(IMPORT_FORMATS)}.")
    path = Path(path)
    with tempfile.TemporaryDirectory(prefix="import-") as folder:
        scratch = Path(folder)
        try:
            tables = open_source(path, scratch)
            if dry_run:
                store = _copy(store, scratch / "copy.db")
            with store.writing() as db:
                db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                pairs = Pairs(db, batch or path.stem, policy)
                adder = Adder(db, pairs, labeler)
                parts = [_add(db, adder, table, format) for table in tables]
        except UserError as error:
            # Of what was unpacked, people know only the file it was in.
            sentence = str(error).replace(str(scratch), str(path))
            raise type(error)(sentence) from error
    counts = sum((part.counts for part in parts), Counter[str]())
    names = dict.fromkeys(name for part in parts for name in part.ignored)
    return ImportReport(
        format=parts[0].format,
        pairs=counts["pairs"],
        picks=counts["picks"],
        known=counts["known"],
        identical=counts["identical"],
        rows=counts["rows"],
        edits=counts["edits"],
        prompts=counts["prompts"],
        candidates=counts["candidates"],
        alone=counts["alone"],
        ignored=tuple(names)[:_IGNORED_SHOWN],
    )


def _copy(store: Store, path: Path) -> Store:
    """A copy of the database as it is; labelers go on meanwhile."""
    with closing(sqlite3.connect(path)) as copy, store.reading() as db:
        source: Any = db.conn
        source.backup(copy)
    return Store(path)


@dataclass(frozen=True)
class _Part:
    """What became of one table."""

    format: str
    counts: Counter[str]
    ignored: list[str]


def _add(db: Database, adder: Adder, table: Table, format: str | None) -> _Part:
    wanted = _RAW.get(format, format) if format else None
    with closing(table.rows(None)) as rows:
        first = next(rows, None)
    if first is None:
        raise UserError(f"'{table.path}' is empty: give a file with one row at least.")
    # A row of CSV may be shorter than the columns that the first line names.
    named = dict.fromkeys(table.columns or ()) | first[1]
    place = f"{table.unit} {first[0] if table.columns is None else 1}"
    wanted = wanted or recognise(table.path, place, named)
    shape = SHAPES[wanted]
    if table.columns is not None and (missing := shape.missing(table.columns)):
        raise UserError(f"'{table.path}' has no column `{missing}`, which {wanted} needs: add it.")
    ignored = dict.fromkeys(name for name in table.columns or () if name not in shape.known)
    counts: Counter[str] = Counter()
    unpaired = Unpaired(db) if wanted == "trl-unpaired" else None
    understood = _reader(adder, wanted, unpaired, revive=table.kind == "csv")
    with closing(table.rows(shape.known)) as rows:
        for number, row in rows:
            counts["rows"] += 1
            if table.columns is None and len(ignored) < _IGNORED_SHOWN:
                ignored |= dict.fromkeys(name for name in row if name not in shape.known)
            with _at(table, number):
                if missing := shape.missing(row):
                    raise UserError(f"`{missing}` is missing.")
                counts.update(understood(number, row))
    if unpaired:
        for number, comparison in unpaired.rest():
            with _at(table, number):
                counts.update(adder.compare(comparison))
        counts["alone"] = unpaired.alone
    return _Part(wanted, counts, list(ignored))


@contextmanager
def _at(table: Table, number: int) -> Iterator[None]:
    """Says where in the file it is that something is wrong."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{table.unit} {number} of '{table.path}': {error}") from error


def _reader(
    adder: Adder, format: str, unpaired: Unpaired | None, *, revive: bool
) -> Callable[[int, Row], Counter[str]]:
    """What to do with each numbered row of a format."""
    if unpaired:

        def rate(number: int, row: Row) -> Counter[str]:
            comparison = unpaired.add(number, read_unpaired(row))
            return adder.compare(comparison) if comparison else Counter()

        return rate
    if format == PICKS:
        return lambda _, row: adder.compare(read_raw(revived(row) if revive else row))
    if format == PAIRS:
        return lambda _, row: adder.pairs.pair(understand(with_scores(row) if revive else row))
    if format == "vertex-prompts":
        return lambda _, row: adder.pairs.prompt(read_vertex_prompt(row))
    if format == "vertex-bulk-inference":
        return lambda _, row: adder.pairs.candidate(*read_prediction(row))
    return lambda _, row: adder.compare(READERS[format](row, adder.pairs.known))
