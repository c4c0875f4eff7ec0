"""Simulated labelers: noisy, a little biased to the left, and one who does not look."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from benchmarks.loop.taste import utility
from labeling.picks import submit
from labeling.queue import Task, upcoming
from labeling.store import Store

# Seconds a word, at 240 words a minute.
PACE = 0.25
TIE = 0.15
CLEAR = 1.0
BOTH_BAD = -2.0


@dataclass(frozen=True)
class Labeler:
    """One of the crowd; shares of their picks, 0 to 1."""

    name: str
    noise: float
    """How often they pick the other side than their taste."""
    left_bias: float = 0.0
    """How often they pick the left one whatever it is."""
    careless: bool = False
    """Picks at random, at once."""


def crowd(noise: float, people: int = 7) -> list[Labeler]:
    """``people`` labelers of this noise, two of them biased to the left, and a careless one."""
    honest = [
        Labeler(f"labeler {i}", noise, left_bias=0.15 if i < 2 else 0.0) for i in range(people)
    ]
    return [*honest, Labeler("careless", noise, careless=True)]


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
    if labeler.careless:
        return rng.choice(("left", "right")), None, 0.5 + rng.random()
    words = sum(len(text.split()) for text in (task.dialogue, task.left, task.right))
    seconds = words * PACE * math.exp(rng.gauss(0, 0.3))
    left, right = (utility(task.dialogue, text) for text in (task.left, task.right))
    if rng.random() < labeler.left_bias:
        return "left", None, seconds
    if max(left, right) < BOTH_BAD:
        return "both_bad", None, seconds
    if abs(left - right) < TIE:
        return "tie", None, seconds
    better, other = ("left", "right") if left > right else ("right", "left")
    strength = "clearly" if abs(left - right) > CLEAR else "slightly"
    return (other if rng.random() < labeler.noise else better), strength, seconds
