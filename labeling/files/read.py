"""Rows out of files of unknown origin, one at a time, with the line that each stands on.

What a file is is told by its content, not its name. Nothing is ever unpickled or evaluated.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from detox.errors import UserError
from labeling.files.text import (
    CELL_LIMIT,
    LINE_LIMIT,
    checked,
    first_bytes,
    lines,
    not_text,
    open_text,
    reading,
    refuse_size,
)

Row = dict[str, Any]
Numbered = tuple[int, Row]
Rows = Generator[Numbered, None, None]

_CHUNK = 1 << 16
# So many rows of a Parquet file are in memory at a time.
_PARQUET_ROWS = 256
_DELIMITERS = (",", ";", "\t")
_JSON_NAMES = (".json", ".jsonl", ".ndjson")
_SPACE = " \t\r\n"

# The csv module has one limit for the whole process, and its own is too small for a dialogue.
csv.field_size_limit(max(csv.field_size_limit(), CELL_LIMIT))


@dataclass(frozen=True)
class Table:
    """A file of rows: what it is (``jsonl json csv parquet``), and how to read it.

    ``rows`` takes the columns that are wanted (None: all) and yields each row's number with it:
    its first line, or in a Parquet file its place from 1. ``unit`` says which, for sentences.
    """

    path: Path
    kind: str
    rows: Callable[[Collection[str] | None], Rows]
    # Of CSV and Parquet, which name them; None where every row has its own.
    columns: tuple[str, ...] | None = None

    @property
    def unit(self) -> str:
        """``Line`` or ``Row``."""
        return "Row" if self.kind == "parquet" else "Line"


def open_table(path: str | Path) -> Table:
    """The rows of a JSONL, JSON, CSV or Parquet file; which it is, its content tells.

    Raises ``UserError`` for a file that cannot be read, is too large, empty or none of these.
    """
    path = Path(path)
    start = first_bytes(path)
    if start.startswith(b"PAR1"):
        return Table(path, "parquet", lambda wanted: _parquet(path, wanted), _parquet_names(path))
    if start.startswith((b"\x1f\x8b", b"PK\x03\x04")):
        raise UserError(f"'{path}' is compressed: unpack it and give the file inside.")
    mark = _first_mark(path)
    if mark == "[":
        return Table(path, "json", lambda _: _json_list(path))
    if mark != "{":
        delimiter, names = _csv_header(path)
    if mark == "{" or (len(names) == 1 and path.suffix.lower() in _JSON_NAMES):
        return Table(path, "jsonl", lambda _: read_jsonl(path))
    return Table(path, "csv", lambda _: _csv(path, delimiter), names)


def _first_mark(path: Path) -> str:
    """The first character that is not white space; ``UserError`` if there is none."""
    number = 1
    with open_text(path) as file:
        # One by one: a longer text could reach what cannot be decoded, whose line is told later.
        try:
            while mark := file.read(1):
                if mark not in _SPACE:
                    return checked(path, number, mark)
                number += mark == "\n"
        except UnicodeDecodeError as error:
            raise not_text(path, number) from error
    raise UserError(f"'{path}' is empty: give a file with one row at least.")


def read_jsonl(path: str | Path) -> Rows:
    """Line numbers from 1 and the JSON objects on them; a BOM, CRLF and blank lines are fine.

    Raises ``UserError`` naming file and line for anything else, and for a file without any row.
    """
    path = Path(path)
    found = False
    for number, line in lines(path):
        if line.strip():
            found = True
            yield number, _object(path, number, line)
    if not found:
        raise UserError(f"'{path}' is empty: give a JSONL file with one object a line.")


def _object(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"Line {number} of '{path}' is not JSON: give a JSONL file with one object a line."
        ) from error
    return _as_object(path, number, row)


def _as_object(path: Path, number: int, row: object) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"Line {number} of '{path}' is not a JSON object: one object a line.")
    return row


class _Scanner:
    """A JSON list read element by element, with the number of the line it is at."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path, self.file = path, file
        self.text, self.at, self.line, self.ended = "", 0, 1, False
        self.decoder = json.JSONDecoder()

    def mark(self) -> str:
        """The next character that is not white space, or nothing at the end."""
        while True:
            rest = self.text[self.at : self.at + _CHUNK]
            self._move(self.at + len(rest) - len(rest.lstrip(_SPACE)))
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._more(_CHUNK):
                return ""

    def skip(self) -> None:
        """Passes the mark."""
        self._move(self.at + 1)

    def value(self) -> Any:
        """The element that begins here. Raises ``UserError`` naming its line if it is not JSON."""
        size = _CHUNK
        while True:
            try:
                found, stop = self.decoder.raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                # The rest of the element may not have been read yet.
                held = len(self.text) - self.at
                if isinstance(error, ValueError) and held <= LINE_LIMIT and self._more(size):
                    size *= 2
                    continue
                raise self.refused(f"is not JSON, or longer than {LINE_LIMIT:,} characters") from (
                    error
                )
            self._move(stop)
            return found

    def refused(self, what: str) -> UserError:
        """The sentence about the line the scanner is at."""
        return UserError(
            f"Line {self.line} of '{self.path}' {what}: give a list of objects, or one a line."
        )

    def _more(self, size: int) -> bool:
        try:
            new = self.file.read(size)
        except UnicodeDecodeError as error:
            raise not_text(self.path, self.line) from error
        rest = self.text[self.at :]
        checked(self.path, self.line + rest.count("\n"), new)
        self.text, self.at = rest + new, 0
        return bool(new)

    def _move(self, at: int) -> None:
        self.line += self.text.count("\n", self.at, at)
        self.at = at


def _json_list(path: Path) -> Rows:
    with open_text(path) as file:
        scanner, found = _Scanner(path, file), False
        scanner.mark()
        scanner.skip()
        while (mark := scanner.mark()) != "]":
            if found and mark != ",":
                raise scanner.refused("is where a comma or the end of the list is missing")
            if found:
                scanner.skip()
                scanner.mark()
            number = scanner.line
            yield number, _as_object(path, number, scanner.value())
            found = True
        scanner.skip()
        if scanner.mark():
            raise scanner.refused("goes on after the end of the list")
    if not found:
        raise UserError(f"'{path}' is empty: give a file with one row at least.")


def _csv_header(path: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the names of the columns, as the first line has them."""
    filled = ((number, line) for number, line in lines(path, newline="") if line.strip())
    # there is a mark, but it may be one of the spaces that JSON does not know
    number, line = next(filled, (1, ""))
    if not line:
        raise UserError(f"'{path}' is empty: give a file with one row at least.")
    parts = {mark: _cells(path, number, line, mark) for mark in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda mark: len(parts[mark]))
    names = tuple(name.strip() for name in parts[delimiter])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"Line {number} of '{path}' names the column '{twice}' twice: rename one.")
    return delimiter, names


def _cells(path: Path, number: int, line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter))
    except csv.Error as error:
        raise _csv_refused(path, number, error) from error


def _csv(path: Path, delimiter: str) -> Rows:
    texts = (line for _, line in lines(path, newline=""))
    reader = csv.reader(texts, delimiter=delimiter, strict=True)
    names: tuple[str, ...] | None = None
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _csv_refused(path, number, error) from error
        if not any(cell.strip() for cell in cells):
            continue
        if names is None:
            names = tuple(name.strip() for name in cells)
        elif len(cells) > len(names):
            raise UserError(
                f"Line {number} of '{path}' has {len(cells)} cells where the first line names "
                f"{len(names)} columns: put quotation marks around cells with '{delimiter}'."
            )
        else:
            yield number, dict(zip(names, cells, strict=False))


def _csv_refused(path: Path, number: int, error: csv.Error) -> UserError:
    if "field larger" in str(error) or "unexpected end" in str(error):
        return UserError(
            f"The row on line {number} of '{path}' has a cell without an end, or with more than "
            f"{CELL_LIMIT:,} characters: close its quotation mark or shorten it."
        )
    return UserError(
        f"The row on line {number} of '{path}' is not CSV: put quotation marks around whole cells "
        "and double those inside."
    )


def _parquet_names(path: Path) -> tuple[str, ...]:
    with _parquet_file(path) as file:
        meta = file.metadata
        groups = (meta.row_group(index).total_byte_size for index in range(meta.num_row_groups))
        refuse_size(path, sum(groups))
        if meta.num_rows == 0:
            raise UserError(f"'{path}' is empty: give a file with one row at least.")
        return tuple(file.schema_arrow.names)


def _parquet(path: Path, wanted: Collection[str] | None) -> Rows:
    number = 0
    with _parquet_file(path) as file:
        names = [name for name in file.schema_arrow.names if wanted is None or name in wanted]
        batches = file.iter_batches(batch_size=_PARQUET_ROWS, columns=names)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, ValueError, NotImplementedError) as error:
                raise _not_parquet(path) from error
            if batch is None:
                return
            for row in batch.to_pylist():
                number += 1
                for name, value in row.items():
                    if isinstance(value, str) and len(value) > CELL_LIMIT:
                        raise UserError(
                            f"Row {number} of '{path}' has more than {CELL_LIMIT:,} characters in "
                            f"`{name}`: shorten it."
                        )
                yield number, row


def _parquet_file(path: Path) -> Any:
    import pyarrow.parquet as pq

    with reading(path), path.open("rb"):
        pass
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError, NotImplementedError) as error:
        raise _not_parquet(path) from error


def _not_parquet(path: Path) -> UserError:
    return UserError(f"'{path}' is not a whole Parquet file: export or download it again.")
