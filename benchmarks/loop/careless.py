"""Is the careless labeler caught, and is anybody else? No model is needed for this."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.loop.crowd import CARELESS, crowd, label
from benchmarks.loop.pool import open_batch, pool
from benchmarks.loop.world import World, once, tell
from labeling.analysis.suspects import suspects
from labeling.plans import Plan
from labeling.store import Store, open_store


def flags(store: Store) -> dict[str, list[str]]:
    """Who is flagged in ``store``, by name, and the sentences that say why."""
    with store.reading() as db:
        names = {row["pseudonym"]: row["name"] for row in db.query("SELECT * FROM labelers")}
    return {names[row.labeler]: list(row.flags) for row in suspects(store)}


def caught(world: World, noise: float, folder: Path) -> dict[str, Any]:
    """Over several crowds: how often the careless one is flagged, in a hurry or not, and others."""
    found: dict[str, Any] = {"noise": noise, "picks": world.crowd_picks}
    for haste in (True, False):
        name = "hasty" if haste else "slow"
        crowds = [
            once(
                folder / f"{name}-{number}.json",
                partial(_one, world, noise, haste, number, folder),
            )
            for number in range(world.crowds)
        ]
        honest = [person for each in crowds for person in each["honest"]]
        found[name] = {
            "crowds": len(crowds),
            "caught": sum(each["caught"] for each in crowds),
            "honest": world.people * len(crowds),
            "honest_flagged": len(honest),
            "reasons": sorted({reason for each in crowds for reason in each["reasons"]}),
            "others_flagged_for": sorted({reason for _, reason in honest}),
        }
    return found


def _one(world: World, noise: float, haste: bool, number: int, folder: Path) -> dict[str, Any]:
    tell(f"  crowd {number}, {'hasty' if haste else 'slow'}, noise {noise}")
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder / f"{'hasty' if haste else 'slow'}-{number}.db")
    rows = pool(world)
    random.Random(number).shuffle(rows)
    wanted = -(-world.crowd_picks // world.votes)
    plan = Plan("crowd", votes_wanted=world.votes, repeat_share=0.05, seed=number)
    open_batch(store, plan, rows[:wanted])
    rng = random.Random(f"{world.seed}:{number}")
    label(store, crowd(noise, world.people, haste), plan.name, world.crowd_picks, rng)
    found = flags(store)
    return {
        "caught": CARELESS in found,
        "reasons": [_sort(said) for said in found.get(CARELESS, [])],
        "honest": [
            (name, _sort(said))
            for name, all_said in found.items()
            if name != CARELESS
            for said in all_said[:1]
        ],
    }


_SORTS = {
    "faster than": "speed",
    "Agrees with": "agreement with the others",
    "Said the same": "consistency on repeats",
    "side in": "favours a side",
    "times in a row": "a long run of one side",
    "known answer": "gold",
}


def _sort(sentence: str) -> str:
    return next((sort for part, sort in _SORTS.items() if part in sentence), sentence)
