"""Tables of rows in files: JSONL in and out, CSV and Parquet out."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detox.errors import UserError
from labeling.formats import RAW_COLUMNS, Row, inert

_NUMBERS = {
    "left_reward",
    "right_reward",
    "left_toxicity",
    "right_toxicity",
    "seconds",
    "margin",
}


def write_jsonl(path: Path, rows: Sequence[Row]) -> None:
    """One JSON object a line, UTF-8, ``\\n`` line ends."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Raw picks with a header; cells that a spreadsheet would run are made inert."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, RAW_COLUMNS)
        writer.writeheader()
        writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """Rows of strings and numbers; every row has the columns of the first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Declared, because a column that is empty in one split would get another type there.
    schema = pa.schema(
        [(name, pa.float64() if name in _NUMBERS else pa.string()) for name in rows[0]]
    )
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers from 1 and the JSON objects on them; a BOM, CRLF and blank lines are fine.

    Raises ``UserError`` naming file and line for anything else, and for a file without any row.
    """
    path = Path(path)
    found = False
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                found = True
                yield number, _object(path, number, line)
    except UnicodeDecodeError as error:
        raise UserError(f"'{path}' is not a text file in UTF-8: give a JSONL file.") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}): check the path.") from error
    if not found:
        raise UserError(f"'{path}' is empty: give a JSONL file with one object a line.")


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"Line {number} of '{path}' is not JSON: give a JSONL file with one object a line."
        ) from error
    if not isinstance(row, dict):
        raise UserError(f"Line {number} of '{path}' is not a JSON object: one object a line.")
    return row
