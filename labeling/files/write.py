"""Rows into files, one at a time: JSONL, CSV and Parquet."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from labeling.formats import RAW_COLUMNS, Row, inert

Write = Callable[[Row], None]

_NUMBERS = {
    "left_reward",
    "right_reward",
    "left_toxicity",
    "right_toxicity",
    "seconds",
    "margin",
}
_TRUTHS = {"flagged", "informed"}
_LISTS = {"reasons"}
_PARQUET_ROWS = 2_000


@contextmanager
def jsonl_writer(path: Path) -> Iterator[Write]:
    """One JSON object a line, UTF-8, ``\\n`` line ends."""
    with path.open("w", encoding="utf-8", newline="\n") as file:

        def write(row: Row) -> None:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


@contextmanager
def csv_writer(path: Path) -> Iterator[Write]:
    """Raw picks with a header; cells that a spreadsheet would run are made inert."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, RAW_COLUMNS)
        writer.writeheader()

        def write(row: Row) -> None:
            writer.writerow({name: inert(_cell(value)) for name, value in row.items()})

        yield write


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value


@contextmanager
def parquet_writer(path: Path) -> Iterator[Write]:
    """Rows of texts, numbers, truths and lists of texts; every row has the columns of the first.

    The file is made when the first row comes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    held: list[Row] = []
    writer: Any = None

    def flush() -> None:
        nonlocal writer
        if not held:
            return
        if writer is None:
            # Declared, because a column that is empty in one split would get another type there.
            schema = pa.schema([(name, _type(pa, name)) for name in held[0]])
            writer = pq.ParquetWriter(path, schema)
        writer.write_table(pa.Table.from_pylist(held, schema=writer.schema))
        held.clear()

    def write(row: Row) -> None:
        held.append(row)
        if len(held) >= _PARQUET_ROWS:
            flush()

    try:
        yield write
        flush()
    finally:
        if writer is not None:
            writer.close()


def _type(pa: Any, name: str) -> Any:
    if name in _NUMBERS:
        return pa.float64()
    if name in _TRUTHS:
        return pa.bool_()
    return pa.list_(pa.string()) if name in _LISTS else pa.string()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
