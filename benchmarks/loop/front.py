"""What mixing the classifier and the picks buys: the Pareto front of their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.loop.world import World, command


def front(world: World, rounds: Path, folder: Path) -> dict[str, Any]:
    """The sweep of ``detox pareto`` on the reward model of the first round in ``rounds``.

    Judged on validation dialogues by the classifier and by that same reward model. Its shares go
    on where they were cut off.
    """
    argv = ["pareto", "--policy", world.before, "--output", str(folder), "--split", "validation"]
    argv += ["--reward", f"preference:{rounds / 'round-1' / 'reward'}"]
    argv += ["--shares", world.front_shares, "--steps", str(world.front_steps)]
    argv += ["--limit", str(world.front_dialogues), "--seed", str(world.seed)]
    argv += [*("--classifier", world.classifier)] if world.classifier else []
    command("detox", *argv, *world.front, *world.ppo)
    found = json.loads((folder / "pareto.json").read_text(encoding="utf-8"))
    points = [{k: v for k, v in point.items() if k != "reward"} for point in found["points"]]
    return {"steps": world.front_steps, "points": points}
