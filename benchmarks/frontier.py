"""How far should a run go? Toxicity, length and ROUGE of policies between reference and adapter.

    python benchmarks/frontier.py runs/ppo --shares 0.25,0.5,0.75,1

Interpolates the adapter, answers the *validation* dialogues with each policy and prints one JSON
line a share, to choose one by. The test split is not touched.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from detox.config import Sampling
from detox.data import load_dialogues
from detox.evaluation import compare_policies
from detox.interpolate import interpolate
from detox.models import load_policies
from detox.results import summarise
from detox.rewards import load_classifier_reward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--before", default="before")
    parser.add_argument("--shares", default="0.25,0.5,0.75,1")
    arguments = parser.parse_args()
    dialogues = load_dialogues(split="validation")
    judge = load_classifier_reward()
    for share in map(float, arguments.shares.split(",")):
        with TemporaryDirectory() as folder:
            interpolate(arguments.adapter, share, Path(folder))
            policies = load_policies({"before": arguments.before, "after": folder})
            rows = compare_policies(
                policies["before"], policies["after"], dialogues, judge, Sampling()
            )
        groups = summarise(rows)
        line: dict[str, object] = {"share": share}
        for name in ("rude", "others"):
            for key in ("toxicity", "words", "rouge1"):
                numbers = groups[name][key]
                line[f"{name} {key}"] = [numbers["before_mean"], numbers["after_mean"]]
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
