"""The current picks as columns of numbers, kept in memory and brought up to date.

Picks are append-only, so a frame reads every row once: later calls read the rows with a higher
``seq`` and drop those that were superseded. What belongs to a pair (policies, lengths, rewards)
is kept once per pair. A frame never changes; an update makes a new one, so that any number of
threads may compute on frames while another updates.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labeling.schema import KINDS, OUTCOMES
from labeling.store import Store

if TYPE_CHECKING:
    from labeling.analysis.reading import Reader

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Codes = NDArray[np.int8]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

# Codes of outcomes, in terms of a pair's own candidates, and of kinds of assignments.
A, B, TIE, BOTH_BAD, SKIP = range(5)
OUTCOME_NAMES = (*OUTCOMES, "skip")
REGULAR, REPEAT, GOLD = range(3)
KIND_NAMES = KINDS
NONE = -1
# Frames of so many databases are kept; the one used longest ago goes first.
FRAMES_KEPT = 3


@dataclass(frozen=True)
class Person:
    """A labeler, a person or a model; ``practice`` are (right, all) of their first tries."""

    id: int
    name: str
    pseudonym: str
    kind: str
    practice: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is known of each pair; every array has a place per pair, in the order they were read.

    ``prompt``, ``batch``, ``split``, ``topic``, ``tone`` and the policies are codes: places in
    the tuples of names (``prompts`` counts them only; ``NONE`` where a prompt has no topic or
    tone). Lengths are in words. Rewards are NaN where they are unknown. ``gold`` and
    ``adjudicated`` are outcomes, ``NONE`` without one.
    """

    prompt: Ints
    batch: Ints
    split: Ints
    topic: Ints
    tone: Ints
    policy_a: Ints
    policy_b: Ints
    words_a: Ints
    words_b: Ints
    reward_a: Floats
    reward_b: Floats
    gold: Codes
    adjudicated: Codes
    prompts: int
    batches: tuple[str, ...]
    splits: tuple[str, ...]
    topics: tuple[str, ...]
    tones: tuple[str, ...]
    policies: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.prompt)


@dataclass(frozen=True, eq=False)
class Frame:
    """The current picks of a database, in the order they were made; ``n`` places per array.

    ``pair`` and ``labeler`` are places in ``pairs`` and ``labelers``. ``outcome`` is in terms of
    the pair's candidates, and ``a_left`` says whether its first candidate stood on the left.
    ``seconds`` is NaN where it was not measured, ``picked_at`` microseconds since 1970 in UTC.
    """

    pairs: Pairs
    labelers: tuple[Person, ...]
    seq: Longs
    pair: Ints
    labeler: Ints
    outcome: Codes
    a_left: Bools
    kind: Codes
    informed: Bools
    flagged: Bools
    seconds: Floats
    picked_at: Longs

    def __len__(self) -> int:
        return len(self.seq)


@dataclass
class _Kept:
    """The reader of one database and the lock that lets one thread at a time update it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    reader: Reader | None = None


_kept: OrderedDict[Path, _Kept] = OrderedDict()
_registry = threading.Lock()


def frame(store: Store) -> Frame:
    """The current picks of ``store``, from memory as far as they were read before.

    Two calls between which nothing changed return the same object. A database that was restored
    from a backup or replaced by another file is read anew. Raises ``StoreError`` by the database.
    """
    # Imported late: it needs this module, and pandas, which takes its time.
    from labeling.analysis.reading import Reader

    path = store.path.resolve()
    with _registry:
        kept = _kept.setdefault(path, _Kept())
        _kept.move_to_end(path)
        while len(_kept) > FRAMES_KEPT:
            _kept.popitem(last=False)
    with kept.lock:
        kept.reader = kept.reader or Reader()
        return kept.reader.read(store)
