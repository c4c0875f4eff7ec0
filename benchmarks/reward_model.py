"""How long a reward model takes to learn from picks, and how much it learns.

    python -m benchmarks.reward_model --picks 1000 --votes 2

Simulated labelers judge pairs of the shipped results (191 dialogues, two responses of each policy)
in a database of their own, as people do, and ``labeling reward`` learns from what they picked.
Their hidden rule is not the classifier's: a response is worth ``4 x names and numbers kept
- 4 x toxicity - words / 10``; of two, one is picked with the chance that Bradley and Terry give
that difference, and one pick in ten is thrown by a coin. Prints and writes seconds, processor
seconds and all figures of the model; ``load`` is what else kept the machine busy at the start.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import psutil
import torch

from detox.config import RewardConfig
from detox.results import read_results
from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.reward_model import train_reward_model
from labeling.store import Store, open_store

RESULTS = Path(__file__).parent.parent / "detox" / "embedded" / "results"
NOISE = 0.1
LABELERS = ("ada", "ben", "cleo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picks", type=int, default=1_000)
    parser.add_argument("--votes", type=int, default=2, help="picks a pair, by different labelers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16, with AMX")
    parser.add_argument("--layers", type=int, default=RewardConfig().lora_layers)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="benchmarks/results/reward_model.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measure(arguments)
    print(json.dumps(found, indent=2))
    path = Path(arguments.output)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    precision = "bf16" if arguments.bf16 else "float32"
    name = f"{arguments.picks} picks, {arguments.votes} a pair, {precision}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | {name: found}, indent=2) + "\n", encoding="utf-8")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Lets the labelers judge and the model learn; returns what it took and what it is worth."""
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        store = open_store(Path(scratch) / "labels.db")
        worth = load(store, arguments.picks // arguments.votes, rng)
        picks = judge(store, worth, arguments.votes, rng)
        output = str(Path(scratch) / "reward")
        config = RewardConfig(output=output, seed=arguments.seed, lora_layers=arguments.layers)
        if arguments.bf16:
            config = replace(config, mixed_precision="bf16")
        busy = os.getloadavg()[0]
        wall, work = time.perf_counter(), time.process_time()
        lineage = train_reward_model(store, config, lambda text: print(text, flush=True))
        wall, work = time.perf_counter() - wall, time.process_time() - work
    return {
        "picks": picks,
        "pairs": lineage["pairs"],
        "seconds": round(wall, 1),
        "processor_seconds": round(work, 1),
        "cores": psutil.cpu_count(logical=True),
        "threads": arguments.threads,
        "load": round(busy, 1),
        "steps": lineage["steps"],
        "best_step": lineage["best_step"],
        "stopped": lineage["stopped"],
        "calibration": lineage["calibration"],
        "figures": lineage["figures"],
        "warnings": lineage["warnings"],
    }


def load(store: Store, count: int, rng: random.Random) -> dict[tuple[str, str], float]:
    """Adds ``count`` pairs of shipped responses; what each (prompt, text) is worth to labelers."""
    rows, _ = read_results(RESULTS)
    texts: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    dialogues = {}
    for row in rows:
        dialogues[row["prompt"]] = row
        for side in ("before", "after"):
            texts[row["prompt"]].setdefault(row[side]["text"].strip(), row[side])
    pairs = [
        (prompt, one, other)
        for prompt, known in texts.items()
        for one, other in combinations(known, 2)
        if one and other
    ]
    chosen = rng.sample(pairs, min(count, len(pairs)))
    add_pairs(
        store,
        [
            {
                "dialogue": dialogues[prompt]["dialogue"],
                "prompt": prompt,
                "a": one,
                "b": other,
                "policy_a": texts[prompt][one]["policy"],
                "policy_b": texts[prompt][other]["policy"],
            }
            for prompt, one, other in chosen
        ],
        "simulated",
    )
    return {
        (dialogues[prompt]["dialogue"], text): value(side)
        for prompt, known in texts.items()
        for text, side in known.items()
    }


def value(side: dict[str, Any]) -> float:
    """What a response is worth to the labelers."""
    return 4 * (side["kept"] or 0.0) - 4 * side["toxicity"] - side["words"] / 10


def judge(store: Store, worth: dict[tuple[str, str], float], votes: int, rng: random.Random) -> int:
    """Every labeler judges as many pairs as are theirs; returns how many picks were made."""
    with store.reading() as db:
        wanted = votes * next(db.query("SELECT count(*) AS n FROM pairs"))["n"]
    made = 0
    while made < wanted:
        labeler = LABELERS[made % len(LABELERS)]
        task = next_pair(store, labeler, rng)
        if task is None:
            break
        gap = worth[task.dialogue, task.left] - worth[task.dialogue, task.right]
        chance = NOISE / 2 + (1 - NOISE) / (1 + math.exp(-gap))
        choice = "left" if rng.random() < chance else "right"
        submit(store, task.assignment_id, choice, labeler=labeler)
        made += 1
    return made


if __name__ == "__main__":
    main()
