"""How good a reward model gets with more picks, against the best anybody could do."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.loop.crowd import Labeler, crowd, label
from benchmarks.loop.pool import exam, graded, open_batch, pool
from benchmarks.loop.rounds import learn
from benchmarks.loop.world import World, once, tell
from labeling.plans import Plan
from labeling.store import Store, back_up, open_store


def curve(world: World, noise: float, folder: Path) -> dict[str, Any]:
    """A reward model from each number of picks, the smaller ones within the larger ones."""
    folder.mkdir(parents=True, exist_ok=True)
    people = crowd(noise, world.people)
    found = []
    for place, size in enumerate(world.sizes):
        store = _labelled(world, noise, folder, place)
        model = folder / f"reward-{size}"
        learn(world, store, model)
        grade = once(folder / f"{size}.json", partial(_graded, world, people, model))
        told = json.loads((model / "detox.json").read_text(encoding="utf-8"))
        figures = told["figures"]
        found.append(
            {
                "picks": size,
                "used": told["picks"],
                "pairs": told["pairs"],
                "votes": grade["votes"],
                "taste": grade["taste"],
                "ceiling": grade["ceiling"],
                "own_held_out": figures["accuracy"],
                "own_ceiling": figures["ceiling"],
                "seconds": told["seconds"],
            }
        )
        tell(json.dumps(found[-1]))
    return {"noise": noise, "sizes": found}


def _graded(world: World, people: Sequence[Labeler], model: Path) -> Any:
    return graded(exam(world, people), str(model))


def _labelled(world: World, noise: float, folder: Path, place: int) -> Store:
    """The database with the first ``world.sizes[place]`` picks, made from the one before."""
    size = world.sizes[place]
    path = folder / f"picks-{size}.db"
    if path.is_file():
        return open_store(path)
    before = world.sizes[place - 1] if place else 0
    partial = folder / f"picks-{size}.partial.db"
    partial.unlink(missing_ok=True)
    if before:
        back_up(open_store(folder / f"picks-{before}.db"), partial)
    store = open_store(partial)
    rows = pool(world)
    first, last = (-(-picks // world.votes) for picks in (before, size))
    plan = Plan(f"up to {size}", votes_wanted=world.votes, repeat_share=0.03, seed=world.seed)
    open_batch(store, plan, rows[first:last])
    rng = random.Random(f"{world.seed}:{size}")
    made = label(store, crowd(noise, world.people), plan.name, size - before, rng)
    tell(f"  {made} picks more, {size} wanted")
    back_up(store, path)
    return open_store(path)
