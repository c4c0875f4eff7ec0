"""Pairs, and which of them are learned from, validated on, or kept apart for measuring."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

# A pair: ``prompt``, ``chosen``, ``rejected``, ``margin`` (by how much), and ``target`` where it
# is not 1: the chance that the first response is the better one, 0.5 for a tie.
Pair = Mapping[str, Any]

TRAIN, VALIDATION, HELD_OUT = "train", "validation", "held_out"


def is_held_out(name: str, share: float, seed: int) -> bool:
    """Whether all pairs of the prompt or dialogue ``name`` are kept apart, for measuring.

    By a hash of the name, so that a pair more or less moves no other.
    """
    return _place(name, seed) < share


def part_of(name: str, held_out: float, validation: float, seed: int) -> str:
    """``train``, ``validation`` or ``held_out``: where all pairs of a dialogue belong.

    What is held out is what ``is_held_out`` says, whatever the share for ``validation`` is.
    """
    place = _place(name, seed)
    if place < held_out:
        return HELD_OUT
    return VALIDATION if place < held_out + validation else TRAIN


def _place(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def target_of(pair: Pair) -> float:
    """The chance that a pair's first response is the better one; 1 unless it says otherwise."""
    return float(pair.get("target", 1.0))


def hash_of(*parts: Sequence[Pair]) -> str:
    """SHA-256 of pairs: the same for the same texts, margins and targets in the same order."""
    digest = hashlib.sha256()
    for rows in parts:
        for row in rows:
            pair = [row["prompt"], row["chosen"], row["rejected"], row["margin"], target_of(row)]
            digest.update(json.dumps(pair).encode())
        digest.update(b"\n")
    return digest.hexdigest()
