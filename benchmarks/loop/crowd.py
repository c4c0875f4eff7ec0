"""Simulated labelers: noisy, a little biased to the left, and one who does not look."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from benchmarks.loop.taste import utility
from labeling.picks import submit
from labeling.queue import Task, upcoming
from labeling.store import Store

# Seconds a word, at 240 words a minute; and of one who does not read.
PACE, HASTE = 0.25, 0.01
TIE = 0.15
CLEAR = 1.0
BOTH_BAD = -2.0
CARELESS = "careless"


@dataclass(frozen=True)
class Labeler:
    """One of the crowd; shares of their picks, 0 to 1."""

    name: str
    noise: float
    """How often they pick the other side than their taste."""
    left_bias: float = 0.0
    """How often they pick the left one whatever it is."""
    careless: bool = False
    """Picks at random, without reading."""
    pace: float = PACE
    """Seconds a word."""


def crowd(noise: float, people: int = 7, haste: bool = True) -> list[Labeler]:
    """``people`` labelers of this noise, two of them biased to the left, and a careless one.

    Without ``haste`` the careless one takes as long as the others, and is harder to tell.
    """
    honest = [
        Labeler(f"labeler {i}", noise, left_bias=0.15 if i < 2 else 0.0) for i in range(people)
    ]
    pace = HASTE if haste else PACE
    return [*honest, Labeler(CARELESS, noise, careless=True, pace=pace)]


def label(store: Store, labelers: list[Labeler], batch: str, picks: int, rng: random.Random) -> int:
    """``picks`` picks in turns, or as many as the batch wants; returns how many were made."""
    made, waiting = 0, list(labelers)
    while made < picks and waiting:
        for labeler in list(waiting):
            if made == picks:
                break
            task = next(iter(upcoming(store, labeler.name, rng, batch, count=1)), None)
            if task is None:
                waiting.remove(labeler)
                continue
            choice, strength, seconds = judge(labeler, task, rng)
            submit(
                store,
                task.assignment_id,
                choice,
                labeler=labeler.name,
                strength=strength,
                seconds=seconds,
            )
            made += 1
    return made


def judge(labeler: Labeler, task: Task, rng: random.Random) -> tuple[str, str | None, float]:
    """Choice, strength and seconds of one labeler's answer."""
    return judge_texts(labeler, task.dialogue, task.left, task.right, rng)


def judge_texts(
    labeler: Labeler, dialogue: str, left: str, right: str, rng: random.Random
) -> tuple[str, str | None, float]:
    """As ``judge``, of two texts."""
    words = sum(len(text.split()) for text in (dialogue, left, right))
    seconds = words * labeler.pace * math.exp(rng.gauss(0, 0.3))
    if labeler.careless:
        return rng.choice(("left", "right")), None, seconds
    worth = [utility(dialogue, text) for text in (left, right)]
    if rng.random() < labeler.left_bias:
        return "left", None, seconds
    if max(worth) < BOTH_BAD:
        return "both_bad", None, seconds
    gap = worth[0] - worth[1]
    if abs(gap) < TIE:
        return "tie", None, seconds
    better, other = ("left", "right") if gap > 0 else ("right", "left")
    strength = "clearly" if abs(gap) > CLEAR else "slightly"
    return (other if rng.random() < labeler.noise else better), strength, seconds
