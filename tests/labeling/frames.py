"""Frames out of plain lists, for tests of what is computed on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labeling.analysis.frame import NONE, OUTCOME_NAMES, Frame, Pairs, Person
from labeling.schema import SPLITS


def make_pairs(n: int, **known: Any) -> Pairs:
    """`n` pairs of "before" (first) and "after", each of a prompt of its own, unless told."""
    columns: dict[str, Any] = {
        "prompt": np.arange(n),
        "batch": np.zeros(n),
        "split": np.zeros(n),
        "topic": np.full(n, NONE),
        "tone": np.full(n, NONE),
        "policy_a": np.zeros(n),
        "policy_b": np.ones(n),
        "words_a": np.full(n, 10),
        "words_b": np.full(n, 10),
    } | {name: value for name, value in known.items() if not isinstance(value, tuple)}
    columns.setdefault("reward_a", np.full(n, np.nan))
    columns.setdefault("reward_b", np.full(n, np.nan))
    for name in ("gold", "adjudicated"):
        columns.setdefault(name, np.full(n, NONE))
    names = {
        "batches": ("first",),
        "splits": SPLITS,
        "topics": (),
        "tones": (),
        "policies": ("before", "after"),
    } | {name: value for name, value in known.items() if isinstance(value, tuple)}
    types = {
        "reward_a": np.float32,
        "reward_b": np.float32,
        "gold": np.int8,
        "adjudicated": np.int8,
    }
    arrays = {
        name: np.asarray(value).astype(types.get(name, np.int32)) for name, value in columns.items()
    }
    return Pairs(**arrays, prompts=int(arrays["prompt"].max(initial=-1)) + 1, **names)


def make_frame(
    pair: Sequence[int] | np.ndarray,
    labeler: Sequence[int] | np.ndarray,
    outcome: Sequence[str] | np.ndarray,
    pairs: Pairs | None = None,
    people: Sequence[Person] | None = None,
    **known: Any,
) -> Frame:
    """A frame of picks; outcomes are names or codes, b stands left in every other pick."""
    n = len(pair)
    codes = [OUTCOME_NAMES.index(o) if isinstance(o, str) else int(o) for o in outcome]
    pairs = make_pairs(int(np.max(pair, initial=-1)) + 1) if pairs is None else pairs
    k = int(np.max(labeler, initial=-1)) + 1
    people = people or [Person(i + 1, f"name{i}", f"labeler-{i}", "person") for i in range(k)]
    columns: dict[str, Any] = {
        "seq": np.arange(1, n + 1),
        "pair": np.asarray(pair),
        "labeler": np.asarray(labeler),
        "outcome": np.array(codes),
        "a_left": np.arange(n) % 2 == 0,
        "kind": np.zeros(n),
        "informed": np.zeros(n, bool),
        "flagged": np.zeros(n, bool),
        "seconds": np.full(n, np.nan),
        "picked_at": np.arange(n) * 1_000_000,
    } | known
    types = {
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
    arrays = {name: np.asarray(value).astype(types[name]) for name, value in columns.items()}
    return Frame(pairs=pairs, labelers=tuple(people), **arrays)
