"""Reads a labeling database into a ``Frame``: all of it once, then only what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from operator import eq
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlite_utils import Database

from labeling.analysis import saved
from labeling.analysis.frame import Bools, Frame, Pairs, Person
from labeling.analysis.pairs import (
    CHUNK,
    NO_PAIRS,
    Column,
    PairReader,
    chunks,
    no,
    read_texts,
    texts,
)
from labeling.store import Store

_PICKS = """
SELECT p.seq, a.pair_id, a.left_candidate, a.labeler_id,
    CASE p.choice
        WHEN 'left' THEN 0 WHEN 'right' THEN 1 WHEN 'tie' THEN 2 WHEN 'both_bad' THEN 3 ELSE 4
    END + CASE a.kind WHEN 'regular' THEN 0 WHEN 'repeat' THEN 8 ELSE 16 END
        + 32 * p.informed + 64 * p.flagged + 128 * p.retracted,
    p.seconds, p.picked_at, (SELECT old.seq FROM picks AS old WHERE old.uuid = p.supersedes)
FROM picks AS p CROSS JOIN assignments AS a ON a.id = p.assignment_id
WHERE p.seq > ? ORDER BY p.seq
"""
_PRACTICE = """
SELECT labeler_id, sum(correct), count(*) FROM practice AS p
WHERE NOT EXISTS (
    SELECT 1 FROM practice AS earlier WHERE earlier.labeler_id = p.labeler_id
        AND earlier.item = p.item AND earlier.seq < p.seq
) GROUP BY labeler_id
"""

# Picks from which on the arrays are saved beside the database, and after how much growth again.
SAVED_FROM = 50_000
SAVED_GROWTH = 0.1


class Reader:
    """What was read of one database so far; one thread at a time may use it."""

    def __init__(self) -> None:
        self._identity: object = None
        self._forget()

    def _forget(self) -> None:
        self._pairs = PairReader()
        self._frame = NO_FRAME
        self._last: tuple[int, str] | None = None
        self._saved = 0

    def read(self, store: Store) -> Frame:
        """The frame as the database stands. Raises ``StoreError`` by the database."""
        file = saved.beside(store.path)
        with store.reading() as db:
            salt = str(db.execute("SELECT value FROM meta WHERE key = 'salt'").fetchone()[0])
            # Another database may have come to the same path.
            identity = salt, store.path.stat().st_dev, store.path.stat().st_ino
            if identity != self._identity or not self._continues(db):
                self._forget()
                self._identity = identity
                self._restore(db, salt, saved.load(file))
            try:
                pairs = self._pairs.update(db, self._frame.pairs)
                self._frame = self._with_picks(db, self._frame, pairs, _people(db))
            except BaseException:
                # Half an update must not pass for a whole one.
                self._forget()
                raise
        frame = self._frame
        if len(frame) >= SAVED_FROM and len(frame) > (1 + SAVED_GROWTH) * self._saved:
            saved.save(file, self._arrays(salt))
            self._saved = len(frame)
        return frame

    def _continues(self, db: Database) -> bool:
        """Whether all that was read is still there: a restored backup may lack some."""
        if self._last is not None:
            seq, uuid = self._last
            if db.execute("SELECT uuid FROM picks WHERE seq = ?", [seq]).fetchone() != (uuid,):
                return False
        known = [person.id for person in self._frame.labelers]
        ids = [row[0] for row in db.execute("SELECT id FROM labelers ORDER BY id")]
        return ids[: len(known)] == known and self._pairs.continues(db)

    def _arrays(self, salt: str) -> dict[str, Column]:
        seq, uuid = self._last or (0, "")
        return {
            **{f"pick_{name}": getattr(self._frame, name) for name in _PICK_COLUMNS},
            **self._pairs.arrays(self._frame.pairs),
            "labelers": np.array([person.id for person in self._frame.labelers], dtype=np.int64),
            "last": np.array(seq, dtype=np.int64),
            "keys": texts([salt, uuid]),
        }

    def _restore(self, db: Database, salt: str, arrays: dict[str, Column] | None) -> None:
        """Goes on from a file that an earlier process wrote, if it is of this very database."""
        if arrays is None:
            return
        people = {person.id: person for person in _people(db)}
        try:
            told, uuid = read_texts(arrays["keys"])
            self._last = (int(arrays["last"]), uuid)
            self._frame = Frame(
                pairs=self._pairs.restored(arrays),
                labelers=tuple(people[number] for number in arrays["labelers"].tolist()),
                **{name: arrays[f"pick_{name}"] for name in _PICK_COLUMNS},
            )
            self._saved = len(self._frame)
        except (KeyError, ValueError):
            self._forget()
            return
        if told != salt or not self._continues(db):
            self._forget()

    def _with_picks(
        self, db: Database, before: Frame, pairs: Pairs, people: tuple[Person, ...]
    ) -> Frame:
        """``before`` with the rows added since, and without those that these superseded."""
        place_of = {person.id: place for place, person in enumerate(people)}
        parts: dict[str, list[Column]] = {name: [] for name in _PICK_COLUMNS}
        replaced: list[Column] = []
        retracted: list[Column] = []
        last = self._last[0] if self._last else 0
        for chunk in chunks(iter(db.execute(_PICKS, [last])), CHUNK):
            seqs, ids, lefts, labelers, packed, seconds, times, older = zip(*chunk, strict=True)
            places = list(map(self._pairs.places.__getitem__, ids))
            a_left = np.array(
                list(map(eq, lefts, map(self._pairs.firsts.__getitem__, places))), dtype=np.bool_
            )
            bits = np.array(packed, dtype=np.int64)
            columns: dict[str, Column] = {
                "seq": np.array(seqs, dtype=np.int64),
                "pair": np.array(places, dtype=np.int32),
                "labeler": np.array(list(map(place_of.__getitem__, labelers)), dtype=np.int32),
                "outcome": _outcomes(bits & 7, a_left),
                "a_left": a_left,
                "kind": (bits >> 3 & 3).astype(np.int8),
                "informed": (bits >> 5 & 1).astype(np.bool_),
                "flagged": (bits >> 6 & 1).astype(np.bool_),
                "seconds": np.array(seconds, dtype=np.float32),
                "picked_at": _microseconds(times),
            }
            for name, column in columns.items():
                parts[name].append(column)
            retracted.append((bits >> 7 & 1).astype(np.bool_))
            replaced.append(np.array([seq for seq in older if seq is not None], dtype=np.int64))
            last = seqs[-1]
        if not retracted:
            same = pairs is before.pairs and people == before.labelers
            return before if same else replace(before, pairs=pairs, labelers=people)
        uuid = db.execute("SELECT uuid FROM picks WHERE seq = ?", [last]).fetchone()[0]
        self._last = (last, uuid)
        arrays = {
            name: np.concatenate([getattr(before, name), *parts.pop(name)])
            for name in _PICK_COLUMNS
        }
        gone = np.concatenate([np.zeros(len(before), dtype=np.bool_), *retracted])
        old_rows = np.concatenate(replaced)
        places_gone = np.searchsorted(arrays["seq"], old_rows)
        found = places_gone < len(gone)
        found[found] = arrays["seq"][places_gone[found]] == old_rows[found]
        gone[places_gone[found]] = True
        if gone.any():
            arrays = {name: column[~gone] for name, column in arrays.items()}
        return Frame(pairs=pairs, labelers=people, **arrays)


def _people(db: Database) -> tuple[Person, ...]:
    practice = {row[0]: (row[1], row[2]) for row in db.execute(_PRACTICE)}
    rows = db.execute("SELECT id, name, pseudonym, kind FROM labelers ORDER BY id")
    return tuple(
        Person(number, name, pseudonym, kind, practice.get(number, (0, 0)))
        for number, name, pseudonym, kind in rows
    )


def _outcomes(choices: NDArray[np.int64], a_left: Bools) -> NDArray[np.int8]:
    """Choices (left, right, …) as outcomes (a, b, …): a right pick is of b if a stood left."""
    sides = (choices == 0) != a_left
    return np.where(choices < 2, sides, choices).astype(np.int8)


def _microseconds(times: Sequence[str]) -> NDArray[np.int64]:
    """ISO 8601 times as microseconds since 1970; 0 for one that cannot be read."""
    found = pd.to_datetime(pd.Series(times), format="ISO8601", utc=True, errors="coerce")
    stamps = found.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return np.where(np.isnat(stamps), 0, stamps.astype(np.int64))


_PICK_COLUMNS: dict[str, Any] = {
    "seq": np.int64,
    "pair": np.int32,
    "labeler": np.int32,
    "outcome": np.int8,
    "a_left": np.bool_,
    "kind": np.int8,
    "informed": np.bool_,
    "flagged": np.bool_,
    "seconds": np.float32,
    "picked_at": np.int64,
}
NO_FRAME = Frame(
    pairs=NO_PAIRS,
    labelers=(),
    **{name: no(dtype) for name, dtype in _PICK_COLUMNS.items()},
)
