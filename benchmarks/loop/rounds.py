"""Three rounds of generate → label → reward model → PPO, each from the last one's policy.

Every stage is kept in the run's folder and skipped when it is there, so a cut run goes on.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loop.crowd import crowd, label
from benchmarks.loop.taste import win
from detox.config import Sampling
from detox.data import load_dialogues
from detox.workbench import Workbench
from labeling.generate import generate_batch
from labeling.plans import Plan
from labeling.store import Store, open_store

RESAMPLES = 10_000


@dataclass(frozen=True)
class Loop:
    """What a loop is made of; ``start`` and ``rival`` are the policies of the first round."""

    folder: Path
    noise: float
    rounds: int = 3
    dialogues: int = 200
    picks: int = 500
    votes: int = 3
    steps: int = 12
    start: str = "before"
    rival: str = "after"
    reward: str = "preference:{model}"
    """The reward of PPO; ``{model}`` is the round's reward model."""
    base: str = ""
    """Of the reward model; empty for the command's own."""
    classifier: str = ""
    test: int = 191
    seed: int = 0
    ppo: tuple[str, ...] = ()
    """More options of ``detox ppo``."""


def run(loop: Loop) -> dict[str, Any]:
    """The whole loop; returns the figures of each round."""
    loop.folder.mkdir(parents=True, exist_ok=True)
    store = open_store(loop.folder / "labels.db")
    champion, rival = loop.start, loop.rival
    found = []
    for number in range(1, loop.rounds + 1):
        folder = loop.folder / f"round-{number}"
        tell(f"noise {loop.noise}, round {number}: {champion} against {rival}")
        picks = _label(store, loop, number, champion, rival)
        model = _reward_model(store, loop, folder / "reward")
        tuned = _ppo(loop, folder / "ppo", champion, folder / "reward")
        result = _judged(loop, folder, tuned)
        found.append({"round": number, "picks": picks, "reward_model": model, **result})
        tell(json.dumps(found[-1]))
        champion, rival = tuned, champion
    return {"noise": loop.noise, "reward": loop.reward, "rounds": found}


def tell(text: str) -> None:
    """Progress, for who watches."""
    print(text, file=sys.stderr, flush=True)


def _label(store: Store, loop: Loop, number: int, champion: str, rival: str) -> int:
    """Picks on pairs of the two policies for training dialogues; how many there are by now."""
    batch = f"round {number}"
    done = loop.folder / f"round-{number}" / "labelled.json"
    if not done.is_file():
        dialogues = load_dialogues(split="train").shuffle(seed=loop.seed + number)
        dialogues = dialogues.select(range(min(loop.dialogues, len(dialogues))))
        names = {"champion": champion, "rival": rival}
        bench = Workbench(names, loop.classifier)
        plan = Plan(batch, votes_wanted=loop.votes, repeat_share=0.05, seed=loop.seed)
        sampling = Sampling(temperature=0.7, seed=loop.seed + number)
        for state in generate_batch(store, plan, bench, list(names), dialogues, sampling):
            tell(f"  {state.done} of {state.total} dialogues")
        rng = random.Random(loop.seed * 100 + number)
        made = label(store, crowd(loop.noise), batch, loop.picks, rng)
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text(json.dumps({"picks": made}), encoding="utf-8")
    with store.reading() as db:
        return int(next(db.query("SELECT count(*) AS n FROM current_picks"))["n"])


def _reward_model(store: Store, loop: Loop, folder: Path) -> dict[str, Any]:
    """Trained on every pick so far, the careless labeler found and left out."""
    lineage = folder / "detox.json"
    if not lineage.is_file():
        command = ["labeling", "reward", "--db", str(store.path), "--output", str(folder)]
        _command(*command, *(("--base", loop.base) if loop.base else ()))
    told = json.loads(lineage.read_text(encoding="utf-8"))
    return {key: told[key] for key in ("picks", "accuracy") if key in told}


def _ppo(loop: Loop, folder: Path, champion: str, model: Path) -> str:
    done = folder / "done"
    if not done.is_file():
        command = ["detox", "ppo", "--policy", champion, "--output", str(folder)]
        command += ["--reward", loop.reward.format(model=model), "--steps", str(loop.steps)]
        resumed = ("--resume",) if (folder / "checkpoint.pt").is_file() else ()
        _command(*command, "--seed", str(loop.seed), *loop.ppo, *resumed)
        done.touch()
    return str(folder)


def _command(module: str, *argv: str) -> None:
    subprocess.run([sys.executable, "-m", module, *argv], check=True, stdout=sys.stderr)


def _judged(loop: Loop, folder: Path, tuned: str) -> dict[str, Any]:
    """The round's policy against the first one on unseen dialogues, under the taste itself."""
    path = folder / "judged.json"
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    dialogues = load_dialogues(split="test")
    dialogues = dialogues.select(range(min(loop.test, len(dialogues))))
    bench = Workbench({"first": loop.start, "now": tuned}, loop.classifier)
    wins, toxicity, words = [], [], []
    for part, rows in bench.respond(["first", "now"], dialogues, Sampling(seed=loop.seed)):
        for item, one, two in zip(part, rows["first"], rows["now"], strict=True):
            wins.append(win(item["dialogue"], two["text"], one["text"]))
            toxicity.append((one["toxicity"], two["toxicity"]))
            words.append((one["words"], two["words"]))
    found = {
        "dialogues": len(wins),
        "win_rate": round(float(np.mean(wins)), 4),
        "interval": interval(wins, loop.seed),
        "toxicity": [round(float(value), 4) for value in np.mean(toxicity, axis=0)],
        "words": [round(float(value), 1) for value in np.mean(words, axis=0)],
    }
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def interval(values: Sequence[float], seed: int) -> list[float]:
    """95 % percentile interval of the mean, dialogues resampled."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means = np.asarray(values)[drawn].mean(axis=1)
    return [round(float(value), 4) for value in np.percentile(means, [2.5, 97.5])]
