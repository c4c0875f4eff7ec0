"""Three rounds of generate → label → reward model → PPO, each from the last one's policy.

Every stage is kept in the run's folder and skipped when it is there, so a cut run goes on.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.loop.careless import flags
from benchmarks.loop.crowd import crowd, label
from benchmarks.loop.outcomes import against, answers
from benchmarks.loop.pool import TEMPERATURE, open_batch, pool
from benchmarks.loop.world import World, bench, command, once, tell
from detox.config import Sampling
from detox.data import load_dialogues
from labeling.generate import generate_batch
from labeling.plans import Plan
from labeling.store import Store, open_store

PREFERENCE = "preference:{model}"
# ROUGE against the gentle references keeps a policy from pleasing both by saying little.
MIXED = "mixed:classifier=1,preference:{model}=1,rouge=1"


def rounds(
    world: World, noise: float, reward: str, folder: Path, lr: float = 1e-3
) -> dict[str, Any]:
    """The whole loop, rewarded by ``reward`` with the round's model; the figures of each round.

    ``lr`` is PPO's learning rate.
    """
    store = _begun(world, folder)
    policies = {"after": world.after, "before": world.before}
    first = answers(world, {"first": world.before}, world.folder / "first-answers.json")["first"]
    found = []
    for number in range(1, world.rounds + 1):
        place = folder / f"round-{number}"
        tell(f"noise {noise}, {reward}, round {number}")
        picks = once(
            place / "labelled.json", partial(_label, store, world, noise, number, policies)
        )
        model = _reward_model(store, world, place / "reward")
        champion = list(policies.values())[-1]
        rewarded = reward.format(model=place / "reward")
        policy = _ppo(world, place / "ppo", champion, rewarded, lr)
        policies[f"round {number}"] = policy
        now = answers(world, {"now": policy}, place / "answers.json")["now"]
        found.append({"round": number, **picks, "reward_model": model, **against(first, now)})
        tell(json.dumps(found[-1]))
    untuned = against(first, first)
    return {
        "noise": noise,
        "reward": reward.format(model="MODEL"),
        "lr": lr,
        "first": untuned,
        "rounds": found,
    }


def _begun(world: World, folder: Path) -> Store:
    """The database of a loop, with pairs out of the pool for the first round."""
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(folder / "labels.db")
    rows = pool(world)[: -(-world.start_picks // world.votes)]
    open_batch(store, _plan(world, 1), rows)
    return store


def _plan(world: World, number: int) -> Plan:
    return Plan(f"round {number}", votes_wanted=world.votes, repeat_share=0.05, seed=world.seed)


def _write(store: Store, world: World, number: int, policies: Mapping[str, str]) -> None:
    """Pairs of the last two policies for training dialogues."""
    dialogues = load_dialogues(split="train").shuffle(seed=world.seed + number)
    dialogues = dialogues.select(range(min(world.round_dialogues, len(dialogues))))
    names = list(policies)[-2:]
    sampling = Sampling(temperature=TEMPERATURE, seed=world.seed + number)
    models = bench(world, {name: policies[name] for name in names})
    plan = _plan(world, number)
    for state in generate_batch(store, plan, models, names, dialogues, sampling):
        tell(f"  {state.done} of {state.total} dialogues")


def _label(
    store: Store, world: World, noise: float, number: int, policies: Mapping[str, str]
) -> dict[str, Any]:
    """Picks on the round's pairs: how many, and who is flagged."""
    wanted = world.start_picks
    if number > 1:
        wanted = world.round_picks
        _write(store, world, number, policies)
    rng = random.Random(f"{world.seed}:{number}")
    made = label(store, crowd(noise, world.people), f"round {number}", wanted, rng)
    return {"picks": made, "flagged": flags(store)}


def _reward_model(store: Store, world: World, folder: Path) -> dict[str, Any]:
    """Trained on the picks of all rounds so far, without the labelers that are flagged."""
    learn(world, store, folder)
    told = json.loads((folder / "detox.json").read_text(encoding="utf-8"))
    figures = told["figures"]
    return {
        "picks": told["picks"],
        "accuracy": figures["accuracy"],
        "ceiling": figures["ceiling"],
        "length_correlation": figures.get("length"),
    }


def learn(world: World, store: Store, folder: Path, *more: str) -> None:
    """``labeling reward``, unless it is done."""
    if (folder / "report.html").is_file():
        return
    argv = ["reward", "--db", str(store.path), "--output", str(folder), "--without-flagged"]
    base = ("--base", world.base) if world.base else ()
    command("labeling", *argv, "--seed", str(world.seed), *base, *world.reward, *more)


def _ppo(world: World, folder: Path, champion: str, reward: str, lr: float) -> str:
    def work() -> str:
        argv = ["ppo", "--policy", champion, "--reward", reward, "--output", str(folder)]
        argv += [
            "--lr",
            str(lr),
            "--steps",
            str(world.steps),
            "--seed",
            str(world.seed),
            *world.ppo,
        ]
        resumed = ("--resume",) if (folder / "checkpoint.pt").is_file() else ()
        command("detox", *argv, *resumed)
        return str(folder)

    return str(once(folder.with_name("ppo.json"), work))
