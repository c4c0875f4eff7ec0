"""Do pairs that the reward model is unsure of teach more than pairs at random?"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loop.crowd import crowd, label
from benchmarks.loop.pool import Exam, exam, graded, open_batch, pool
from benchmarks.loop.rounds import learn
from benchmarks.loop.world import World, once, rounded, tell
from detox.statistics import RESAMPLES
from labeling.active import prioritise
from labeling.plans import Plan
from labeling.store import Store, back_up, open_store

WAYS = {"random": "balanced", "active": "uncertainty"}


def selection(world: World, noise: float, folder: Path) -> dict[str, Any]:
    """Accuracy after the same number of picks, selected in either way, and its difference."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = exam(world, crowd(noise, world.people))
    grades: dict[str, list[Any]] = {name: [] for name in ("first", *WAYS)}
    for number in range(world.repetitions):
        place = folder / f"repetition-{number}"
        small = replace(world, seed=world.seed + number)
        start = _first(small, noise, place)
        learn(small, start, place / "first")
        grades["first"].append(_grade(seen, place, "first"))
        for way in WAYS:
            store = _more(small, noise, place, start, way)
            learn(small, store, place / way)
            grades[way].append(_grade(seen, place, way))
        tell(
            f"  {number}: " + ", ".join(f"{n} {g[-1]['taste']['mean']}" for n, g in grades.items())
        )
    return {
        "noise": noise,
        "picks": {"first": world.first, "more": world.more},
        "repetitions": world.repetitions,
        "accuracy": {name: _pooled(seen, found) for name, found in grades.items()},
        "by_repetition": {
            name: [grade["taste"]["mean"] for grade in found] for name, found in grades.items()
        },
        "active_less_random": _difference(seen, grades["random"], grades["active"]),
    }


def _grade(seen: Exam, place: Path, name: str) -> Any:
    return once(place / f"{name}.json", lambda: graded(seen, str(place / name)))


def _first(world: World, noise: float, place: Path) -> Store:
    store = open_store(place / "first.db")
    rows = _rows(world)[: world.first]

    def work() -> int:
        open_batch(store, Plan("first", votes_wanted=1, seed=world.seed), rows)
        return _label(store, world, noise, "first", world.first)

    once(place / "first-labelled.json", work)
    return store


def _more(world: World, noise: float, place: Path, start: Store, way: str) -> Store:
    path = place / f"{way}.db"

    def work() -> int:
        path.unlink(missing_ok=True)
        back_up(start, path)
        store = open_store(path)
        plan = Plan("more", votes_wanted=1, strategy=WAYS[way], seed=world.seed)
        open_batch(store, plan, _rows(world)[world.first : world.first + world.selected_from])
        if plan.strategy != "balanced":
            from detox.rewards import load_preference_reward

            prioritise(store, plan.name, load_preference_reward(str(place / "first")))
        return _label(store, world, noise, plan.name, world.more)

    once(place / f"{way}-labelled.json", work)
    return open_store(path)


def _rows(world: World) -> list[dict[str, Any]]:
    rows = pool(replace(world, seed=0))
    random.Random(f"selection:{world.seed}").shuffle(rows)
    return rows


def _label(store: Store, world: World, noise: float, batch: str, picks: int) -> int:
    rng = random.Random(f"{world.seed}:{batch}")
    return label(store, crowd(noise, world.people), batch, picks, rng)


def _pooled(seen: Exam, grades: list[Any]) -> dict[str, float]:
    """Mean over the repetitions of each answer, dialogues drawn."""
    return _mean(seen, [grade["right"] for grade in grades])


def _difference(seen: Exam, one: list[Any], two: list[Any]) -> dict[str, float]:
    gaps = [
        [None if a is None else b - a for a, b in zip(x["right"], y["right"], strict=True)]
        for x, y in zip(one, two, strict=True)
    ]
    return _mean(seen, gaps)


def _mean(seen: Exam, found: list[list[float | None]]) -> dict[str, float]:
    """Mean and 95 % interval; dialogues and repetitions are drawn, both with replacement."""
    places = [i for i, value in enumerate(found[0]) if value is not None]
    table = np.array([[row[i] for i in places] for row in found], float)
    ids = [seen.rows[i]["id"] for i in places]
    member = np.unique(ids, return_inverse=True)[1]
    sizes = np.bincount(member)
    sums = np.array([np.bincount(member, weights=row) for row in table])
    rng = np.random.default_rng(0)
    runs, dialogues = (rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) for n in sums.shape)
    drawn = ((runs @ sums) * dialogues).sum(axis=1) / (len(found) * (dialogues @ sizes))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return rounded(float(table.mean()), float(low), float(high))
