"""Responses rated one by one, put together again as judgements of pairs.

Two rows that follow each other and have one prompt belong together, as our own export writes
them. What is left then is paired prompt by prompt: a good response with a bad one, then bad ones
with each other. Nothing is made of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlite_utils import Database

from labeling.imports.prompts import digest
from labeling.imports.rows import Comparison, Rated, paired
from labeling.text import clean_text

Numbered = tuple[int, Rated]


class Unpaired:
    """Rows that wait for their partner: the last one here, the others in a temporary table."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.last: Numbered | None = None
        self.alone = 0
        db.execute("DROP TABLE IF EXISTS temp.unpaired")
        db.execute(
            "CREATE TEMP TABLE unpaired"
            " (place INTEGER, prompt_hash BLOB, prompt TEXT, text TEXT, good INTEGER)"
        )

    def add(self, number: int, row: Rated) -> Comparison | None:
        """The judgement that a row makes with the one before it, if they belong together."""
        last, self.last = self.last, (number, row)
        if last is None:
            return None
        if digest(last[1].prompt) == digest(row.prompt) and _fit(last[1], row):
            self.last = None
            return paired(last[1], row)
        self._keep(last)
        return None

    def _keep(self, kept: Numbered) -> None:
        number, row = kept
        self.db.execute(
            "INSERT INTO unpaired VALUES (?, ?, ?, ?, ?)",
            [number, digest(row.prompt), row.prompt, row.text, int(row.good)],
        )

    def rest(self) -> Iterator[tuple[int, Comparison]]:
        """The judgements that the other rows make, with the number of the later row.

        ``alone`` counts the rows that found no partner. To be called once, at the end.
        """
        if self.last:
            self._keep(self.last)
        group: list[Numbered] = []
        key = None
        rows = self.db.query("SELECT * FROM unpaired ORDER BY prompt_hash, place")
        for row in rows:
            if row["prompt_hash"] != key:
                yield from self._matched(group)
                group, key = [], row["prompt_hash"]
            rated = Rated(row["prompt"], row["text"], bool(row["good"]))
            group.append((int(row["place"]), rated))
        yield from self._matched(group)

    def _matched(self, group: list[Numbered]) -> Iterator[tuple[int, Comparison]]:
        good = [one for one in group if one[1].good]
        bad = [one for one in group if not one[1].good]
        for first, others in ((good, bad), (bad, bad)):
            while first:
                one = first.pop(0)
                place = next((i for i, other in enumerate(others) if _fit(one[1], other[1])), None)
                if place is None:
                    self.alone += 1
                else:
                    other = others.pop(place)
                    yield max(one[0], other[0]), paired(one[1], other[1])


def _fit(first: Rated, second: Rated) -> bool:
    """Whether two rows say something about each other."""
    differ = clean_text(first.text) != clean_text(second.text)
    return differ and not (first.good and second.good)
