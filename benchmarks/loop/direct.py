"""The same picks twice: PPO against a reward model from them, and direct tuning on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.loop.outcomes import against, answers
from benchmarks.loop.world import World, command, once


def direct(world: World, rounds: Path, folder: Path) -> dict[str, Any]:
    """The policy of ``rounds``' first round beside one tuned by DPO on that round's picks."""
    policy = folder / "dpo"

    def work() -> str:
        argv = ["tune", "--db", str(rounds / "labels.db"), "--batch", "round 1"]
        argv += ["--without-flagged", "--policy", world.before, "--output", str(policy)]
        argv += ["--steps", str(world.tune_steps), "--seed", str(world.seed), *world.tune]
        resumed = ("--resume",) if (policy / "checkpoints").is_dir() else ()
        command("labeling", *argv, *resumed)
        return str(policy)

    once(folder / "dpo.json", work)
    said = {
        "first": answers(world, {"first": world.before}, world.folder / "first-answers.json"),
        "ppo": answers(world, {"now": world.before}, rounds / "round-1" / "answers.json"),
        "dpo": answers(world, {"now": str(policy)}, folder / "answers.json"),
    }
    first, ppo, dpo = (next(iter(found.values())) for found in said.values())
    return {
        "ppo": against(first, ppo),
        "dpo": against(first, dpo),
        "dpo_against_ppo": against(ppo, dpo),
        "first": against(first, first),
    }
