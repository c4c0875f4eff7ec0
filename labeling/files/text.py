"""Text files of unknown origin, read piece by piece: their encoding, their size, their lines."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from detox.errors import UserError

# A file may have so many bytes, a line (or JSON object) and a cell so many characters: far more
# than any collection of dialogues needs, and little enough to be held in memory.
FILE_LIMIT = 1_000_000_000
LINE_LIMIT = 8_000_000
CELL_LIMIT = 1_000_000

# What a text cannot hold: bytes that are not UTF-8 (decoded as lone surrogates), and NUL, which
# UTF-16 and UTF-32 without a byte order mark are full of.
_BROKEN = re.compile("[\x00\ud800-\udfff]")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Refuses a file that is too large and turns the system's errors into ``UserError``."""
    try:
        refuse_size(path, path.stat().st_size)
        yield
    except OSError as error:
        raise UserError(f"'{path}' cannot be read ({error.strerror}): check the path.") from error


def refuse_size(path: Path, size: int) -> None:
    """Raises ``UserError`` for more than ``FILE_LIMIT`` bytes."""
    if size > FILE_LIMIT:
        raise UserError(
            f"'{path}' has {size / 1e9:.1f} GB: give files of at most {FILE_LIMIT / 1e9:.0f} GB."
        )


def first_bytes(path: Path, count: int = 16) -> bytes:
    """The first ``count`` bytes of a file. Raises ``UserError`` when it cannot be read."""
    with reading(path), path.open("rb") as file:
        return file.read(count)


@contextmanager
def open_text(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """``path`` as text: UTF-8 with or without a byte order mark, or UTF-16 with one.

    What cannot be decoded comes as lone surrogates, which ``checked`` finds. Raises ``UserError``
    when the file cannot be read.
    """
    wide = first_bytes(path).startswith(_UTF16)
    encoding, errors = ("utf-16", "surrogatepass") if wide else ("utf-8-sig", "surrogateescape")
    with reading(path), path.open(encoding=encoding, errors=errors, newline=newline) as file:
        yield file


def lines(path: Path, *, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """Numbers from 1 and the lines of a text file, one in memory at a time.

    Raises ``UserError`` naming the first line that is too long or not text.
    """
    number = 0
    with open_text(path, newline=newline) as file:
        try:
            while line := file.readline(LINE_LIMIT + 1):
                number += 1
                if len(line) > LINE_LIMIT:
                    raise UserError(
                        f"Line {number} of '{path}' has more than {LINE_LIMIT:,} characters: give "
                        "a file with one row a line."
                    )
                yield number, checked(path, number, line)
        except UnicodeDecodeError as error:
            raise not_text(path, number + 1) from error


def checked(path: Path, number: int, text: str) -> str:
    """``text``, which begins on line ``number``; ``UserError`` names the first broken line."""
    found = None if text.isascii() and "\0" not in text else _BROKEN.search(text)
    if found:
        raise not_text(path, number + text.count("\n", 0, found.start()))
    return text


def not_text(path: Path, number: int) -> UserError:
    """The sentence about line ``number``, which cannot be decoded."""
    return UserError(f"Line {number} of '{path}' is not UTF-8: save the file as UTF-8.")
