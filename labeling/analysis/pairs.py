"""Reads the pairs of a database into columns: all of them once, then only what is new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlite_utils import Database

from labeling.analysis.frame import NONE, Pairs
from labeling.schema import OUTCOMES, SPLITS

# Rows in memory as Python objects at a time.
CHUNK = 20_000
_NAMES = ("prompts", "batches", "splits", "topics", "tones", "policies")

_PAIRS = """
SELECT p.id, p.candidate_a, p.prompt_id, p.batch, r.split, r.topic, r.tone, pa.name, pb.name,
    a.text, b.text, a.reward, b.reward
FROM pairs AS p CROSS JOIN prompts AS r ON r.id = p.prompt_id
CROSS JOIN candidates AS a ON a.id = p.candidate_a
CROSS JOIN candidates AS b ON b.id = p.candidate_b
CROSS JOIN policies AS pa ON pa.id = a.policy_id
CROSS JOIN policies AS pb ON pb.id = b.policy_id
"""
_REWARDS = """
SELECT p.id, a.reward, b.reward FROM pairs AS p
CROSS JOIN candidates AS a ON a.id = p.candidate_a
CROSS JOIN candidates AS b ON b.id = p.candidate_b
"""

_T = TypeVar("_T")
Column = NDArray[Any]


class PairReader:
    """The pairs that were read so far, and what tells whether anything about them has changed.

    ``places`` has the place of each pair by its id, ``firsts`` the first candidate of each.
    """

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.firsts: list[str] = []
        self._names: dict[str, dict[str, int]] = {name: {} for name in _NAMES}
        self._names["splits"] = {split: place for place, split in enumerate(SPLITS)}
        self._scores: tuple[float, float, float] | None = None
        self._rulings: object = None

    def update(self, db: Database, known: Pairs) -> Pairs:
        """``known`` pairs as they are now; the same object if nothing has changed."""
        return self._ruled(db, self._scored(db, self._added(db, known)))

    def continues(self, db: Database) -> bool:
        """Whether all pairs that were read are still there: a restored backup may lack some."""
        count = db.execute("SELECT count(*) FROM pairs").fetchone()[0]
        if count < len(self.places):
            return False
        last = db.execute("SELECT id FROM pairs ORDER BY rowid DESC LIMIT 1").fetchone()
        return count > len(self.places) or count == 0 or last[0] in self.places

    def arrays(self, pairs: Pairs) -> dict[str, Column]:
        """All that ``restored`` needs, as arrays of numbers and bytes."""
        return {
            **{f"pair_{name}": getattr(pairs, name) for name in PAIR_COLUMNS},
            **{f"names_{name}": texts(list(self._names[name])) for name in _NAMES},
            "pairs": texts(list(self.places)),
            "firsts": texts(self.firsts),
            "scores": np.array(self._scores, dtype=np.float64),
        }

    def restored(self, arrays: dict[str, Column]) -> Pairs:
        """The pairs of ``arrays``, as if they had been read just now; ``KeyError`` if one lacks."""
        self.places = {pair: place for place, pair in enumerate(read_texts(arrays["pairs"]))}
        self.firsts = read_texts(arrays["firsts"])
        for name in _NAMES:
            values = read_texts(arrays[f"names_{name}"])
            self._names[name] = {value: place for place, value in enumerate(values)}
        count, total, pairs = arrays["scores"].tolist()
        self._scores = (count, total, pairs)
        return self._named({name: arrays[f"pair_{name}"] for name in PAIR_COLUMNS}, NO_PAIRS)

    def _added(self, db: Database, known: Pairs) -> Pairs:
        """The pairs read before and those added since; pairs are never taken out."""
        count = db.execute("SELECT count(*) FROM pairs").fetchone()[0]
        if count == len(known):
            return known
        if len(known) == 0:
            rows: Iterable[Sequence[Any]] = db.execute(f"{_PAIRS} ORDER BY p.rowid")
        else:
            ids = [row[0] for row in db.execute("SELECT id FROM pairs")]
            new = json.dumps([pair for pair in ids if pair not in self.places])
            # In the order in which they were added, so that a new process gives the same places.
            some = "WHERE p.id IN (SELECT value FROM json_each(?)) ORDER BY p.rowid"
            rows = db.execute(f"{_PAIRS} {some}", [new])
        return self._appended(known, rows)

    def _appended(self, known: Pairs, rows: Iterable[Sequence[Any]]) -> Pairs:
        parts: dict[str, list[Column]] = {name: [] for name in PAIR_COLUMNS}
        for chunk in chunks(iter(rows), CHUNK):
            (ids, firsts, prompts, batches, splits, topics, tones, names_a, names_b, *rest) = zip(
                *chunk, strict=True
            )
            texts_a, texts_b, rewards_a, rewards_b = rest
            for pair, first in zip(ids, firsts, strict=True):
                self.places[pair] = len(self.firsts)
                self.firsts.append(first)
            columns: dict[str, Column] = {
                "prompt": self._codes("prompts", prompts),
                "batch": self._codes("batches", batches),
                "split": self._codes("splits", splits),
                "topic": self._codes("topics", topics),
                "tone": self._codes("tones", tones),
                "policy_a": self._codes("policies", names_a),
                "policy_b": self._codes("policies", names_b),
                "words_a": word_counts(texts_a),
                "words_b": word_counts(texts_b),
                "reward_a": np.array(rewards_a, dtype=np.float32),
                "reward_b": np.array(rewards_b, dtype=np.float32),
                "gold": np.full(len(ids), NONE, dtype=np.int8),
                "adjudicated": np.full(len(ids), NONE, dtype=np.int8),
            }
            for name, column in columns.items():
                parts[name].append(column)
        return self._named(
            {name: np.concatenate([getattr(known, name), *parts[name]]) for name in PAIR_COLUMNS},
            known,
        )

    def _named(self, columns: dict[str, Any], pairs: Pairs) -> Pairs:
        """``pairs`` with other ``columns`` and the names that their codes stand for."""
        names: dict[str, Any] = {name: tuple(self._names[name]) for name in _NAMES}
        names["prompts"] = len(self._names["prompts"])
        return replace(pairs, **columns, **names)

    def _codes(self, name: str, values: Sequence[str | None]) -> NDArray[np.int32]:
        """``values`` as places among all values of that name seen so far; None is ``NONE``."""
        places = self._names[name]
        for value in values:
            if value is not None and value not in places:
                places[value] = len(places)
        return np.array(
            [NONE if value is None else places[value] for value in values], dtype=np.int32
        )

    def _scored(self, db: Database, pairs: Pairs) -> Pairs:
        """``pairs`` with their rewards as they are now: scores may be filled in later."""
        count, total = db.execute("SELECT count(reward), total(reward) FROM candidates").fetchone()
        seen = (float(count), float(total), float(len(pairs)))
        known, self._scores = self._scores, seen
        if known is None or known == seen:
            return pairs
        reward_a, reward_b = pairs.reward_a.copy(), pairs.reward_b.copy()
        for chunk in chunks(iter(db.execute(_REWARDS)), CHUNK):
            ids, first, second = zip(*chunk, strict=True)
            places = list(map(self.places.__getitem__, ids))
            reward_a[places] = np.array(first, dtype=np.float32)
            reward_b[places] = np.array(second, dtype=np.float32)
        same = np.array_equal(reward_a, pairs.reward_a, equal_nan=True) and np.array_equal(
            reward_b, pairs.reward_b, equal_nan=True
        )
        return pairs if same else replace(pairs, reward_a=reward_a, reward_b=reward_b)

    def _ruled(self, db: Database, pairs: Pairs) -> Pairs:
        """``pairs`` with gold and adjudicated outcomes, which are few and may be withdrawn."""
        gold = db.execute("SELECT pair_id, outcome FROM gold").fetchall()
        adjudicated = db.execute(
            "SELECT pair_id, outcome, max(seq) FROM adjudications GROUP BY pair_id"
        ).fetchall()
        seen = (gold, adjudicated, len(pairs))
        if seen == self._rulings:
            return pairs
        self._rulings = seen
        columns: dict[str, Any] = {}
        for name, rows in (("gold", gold), ("adjudicated", adjudicated)):
            columns[name] = np.full(len(pairs), NONE, dtype=np.int8)
            for pair, outcome, *_ in rows:
                columns[name][self.places[pair]] = OUTCOMES.index(outcome)
        return replace(pairs, **columns)


def word_counts(texts: Sequence[str]) -> NDArray[np.int32]:
    """The words of each text, cut at white space."""
    return np.array([len(text.split()) for text in texts], dtype=np.int32)


def chunks(rows: Iterator[_T], size: int) -> Iterator[list[_T]]:
    """``rows`` in lists of ``size``, the last one shorter."""
    while chunk := list(islice(rows, size)):
        yield chunk


def texts(values: Sequence[str]) -> Column:
    """Texts as an array of their bytes, each as long as the longest, which needs no pickle."""
    return np.array([value.encode() for value in values], dtype=np.bytes_)


def read_texts(values: Column) -> list[str]:
    """What ``texts`` made an array of."""
    return [value.decode() for value in values.tolist()]


def no(dtype: Any) -> Column:
    """An empty column."""
    return np.zeros(0, dtype=dtype)


PAIR_COLUMNS: dict[str, Any] = {
    "prompt": np.int32,
    "batch": np.int32,
    "split": np.int32,
    "topic": np.int32,
    "tone": np.int32,
    "policy_a": np.int32,
    "policy_b": np.int32,
    "words_a": np.int32,
    "words_b": np.int32,
    "reward_a": np.float32,
    "reward_b": np.float32,
    "gold": np.int8,
    "adjudicated": np.int8,
}
NO_PAIRS = Pairs(
    **{name: no(dtype) for name, dtype in PAIR_COLUMNS.items()},
    prompts=0,
    batches=(),
    splits=SPLITS,
    topics=(),
    tones=(),
    policies=(),
)
