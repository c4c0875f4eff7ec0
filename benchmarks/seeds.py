"""One training, several seeds: every figure of each seed, and of all of them together.

    python benchmarks/seeds.py runs/ppo-0 runs/ppo-1 runs/ppo-2 --output runs/seeds
    python benchmarks/seeds.py runs/ppo-0 runs/ppo-1 --data dialogsum.eval.jsonl --samples 1

Answers the dialogues of a split with the policy before and with each adapter, and writes what
`python -m detox evaluate` writes for each seed to a folder of its own. `seeds.json` and `seeds.md`
set them beside each other; in the line "all seeds" the bootstrap draws a dialogue with the
responses of all seeds, so that seeds do not count as independent dialogues.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from detox.config import Sampling
from detox.data import load_dialogues
from detox.evaluation import about, add_kl, pair_up, respond
from detox.models import load_policies
from detox.report import training_curves, write_report
from detox.results import summarise, write_results
from detox.rewards import load_classifier_reward

POOLED = "all seeds"
ROUGE = ("rouge1", "rouge2", "rougeL")
HEAD = (
    "dialogues",
    "seed",
    "pairs",
    "toxicity",
    "difference, 95 %",
    "above 0.5",
    "second judge, %",
    "words",
    "KL",
    "ROUGE-1",
    "ROUGE-2",
    "ROUGE-L",
    "names kept, %",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adapters", nargs="+", help="one adapter a seed, FOLDER or NAME=FOLDER")
    parser.add_argument("--before", default="before")
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--split", default="test")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/seeds"))
    arguments = parser.parse_args()
    dialogues = load_dialogues(arguments.data, arguments.split)
    judge, sampling = load_classifier_reward(), Sampling()
    named = [text.rpartition("=") for text in arguments.adapters]
    names = {name or Path(folder).name: folder for name, _, folder in named}
    policies = load_policies({"before": arguments.before} | names)

    def answers(name: str) -> list[dict[str, Any]]:
        def tell(finished: int, total: int) -> None:
            print(f"{name}: {finished}/{total} responses", flush=True)

        policy = policies[name]
        return respond(policy, dialogues, judge, sampling, tell, arguments.samples)

    before = answers("before")
    groups, pooled = {}, []
    for name, folder in names.items():
        rows = pair_up(dialogues, before, answers(name))
        add_kl(rows, policies["before"], policies[name])
        origin = about(
            policies["before"], policies[name], judge, sampling, arguments.data, arguments.split
        )
        origin |= {"task": "summarize", "samples": arguments.samples}
        where = arguments.output / name
        groups[name] = write_results(where, rows, origin)
        write_report(where, training_curves(folder))
        pooled += rows
    groups[POOLED] = summarise(pooled)
    table = as_markdown(groups)
    (arguments.output / "seeds.json").write_text(json.dumps(groups, indent=2) + "\n", "utf-8")
    (arguments.output / "seeds.md").write_text(table + "\n\n" + ten_pairs(pooled), "utf-8")
    print(table)


def as_markdown(groups: dict[str, dict[str, Any]]) -> str:
    """A line for each group of dialogues and each seed."""
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    kinds = list(groups[POOLED])
    for kind in kinds:
        for name, found in groups.items():
            lines.append(f"| {' | '.join(_cells(kind, name, found[kind]))} |")
    return "\n".join(lines)


def _cells(kind: str, name: str, group: dict[str, Any]) -> list[str]:
    toxicity = group["toxicity"]
    change = 100 * toxicity["difference"] / toxicity["before_mean"]
    shares = [f"{100 * toxicity[f'{side}_above_half']:.0f} %" for side in ("before", "after")]
    kl = group.get("kl")
    return [
        kind,
        name,
        f"{group['n']:,}",
        f"{toxicity['before_mean']:.3f} ± {toxicity['before_std']:.3f} → "
        f"{toxicity['after_mean']:.3f} ± {toxicity['after_std']:.3f}",
        f"{_gap(toxicity, 3)} ({change:+.0f} %)",
        " → ".join(shares),
        _gap(group["profanity"], 1, 100),
        f"{group['words']['before_mean']:.1f} → {group['words']['after_mean']:.1f}",
        f"{kl['mean']:.2f} ± {kl['std']:.2f}" if kl else "",
        *(_gap(group[key], 1) if key in group else "" for key in ROUGE),
        _gap(group["kept"], 1, 100) if "kept" in group else "",
    ]


def _gap(numbers: dict[str, Any], digits: int, scale: float = 1) -> str:
    mean, low, high = (scale * numbers[key] for key in ("difference", "low", "high"))
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}] {numbers['verdict']}"


def ten_pairs(rows: list[dict[str, Any]]) -> str:
    """Ten pairs drawn at random, as a table."""
    lines = ["| dialogue | before | after |", "|---|---|---|"]
    for row in random.Random(0).sample(rows, min(10, len(rows))):
        texts = [row[side]["text"].replace("|", "/") for side in ("before", "after")]
        lines.append(f"| {row['topic'] or row['id']} | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
