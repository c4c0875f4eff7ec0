"""Our PPO step and evaluation against the lab's, side by side in one run.

    benchmarks/reference/environment.sh          # once: trl 0.11.4 in an environment of its own
    python -m benchmarks.against_lab --rounds 2

Same shape (flan-t5-base, random weights), same LoRA, batch, prompts and forced lengths on both
sides; each measurement is a process of its own, and the sides take turns. Writes
``benchmarks/results/against_lab.json`` and prints the table; a run that was cut off goes on with
``--resume``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LAB = [str(ROOT / ".reference/bin/python"), "benchmarks/reference/lab.py"]
OURS = [sys.executable, "-m", "benchmarks.ours"]
EVALUATED = 32

PPO = [*OURS, "--steps", "1"]
EVALUATION = [*OURS, "--evaluate", str(EVALUATED), "--prompts", str(EVALUATED)]
HEARD = ["--logprobs", "generation"]

SIDES = {
    "PPO step": {
        "lab": [*LAB, "--steps", "1"],
        "same placement": PPO,
        "same placement, log-probabilities from generation": [*PPO, *HEARD],
        "adapter in the decoder only": [*PPO, "--placement", "decoder"],
        "decoder only, log-probabilities from generation": [
            *PPO,
            *HEARD,
            "--placement",
            "decoder",
        ],
    },
    f"evaluation of {EVALUATED}": {
        "lab": [*LAB, "--evaluate", str(EVALUATED)],
        "query and response scored, as in the lab": [*EVALUATION, "--scope", "pair"],
        "response scored, the default": EVALUATION,
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds already")
    parser.add_argument("--output", default="benchmarks/results/against_lab.json")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        task: {side: [] for side in sides} for task, sides in SIDES.items()
    }
    path = ROOT / arguments.output
    path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.resume:
        found = json.loads(path.read_text(encoding="utf-8"))
    for number in range(arguments.rounds):
        for task, sides in SIDES.items():
            for side, command in sides.items():
                if len(found[task][side]) > number:
                    continue
                numbers = _measure([*command, "--seed", str(number)])
                found[task][side].append(numbers)
                print(f"round {number + 1}, {task}, {side}: {json.dumps(numbers)}", flush=True)
                # after each, so that a run cut off keeps what it measured
                path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(table(found))


def _measure(command: list[str]) -> dict[str, Any]:
    # threads that share a core wait for each other at every product, on either side
    pinned = os.environ | {"OMP_PROC_BIND": "true"}
    ended = subprocess.run(
        command, cwd=ROOT, env=pinned, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stderr[-2000:]}")
    numbers: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return numbers


def table(found: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """Markdown: medians over the rounds, and the range of the ratios within a round."""
    lines = [
        "| task | side | generating, s | learning, s | scoring, s | total, s | of the lab's time |"
        " peak memory, GB | of the lab's memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task, sides in found.items():
        for side, rounds in sides.items():
            cells = [task, side]
            for key in ("generate", "step", "score", "total"):
                cells.append(f"{_median(rounds, key):.1f}")
            cells.append(_ratio(rounds, sides["lab"], "total"))
            cells.append(f"{_median(rounds, 'peak_memory') / 1e9:.2f}")
            cells.append(_ratio(rounds, sides["lab"], "peak_memory"))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(rounds: list[dict[str, Any]], key: str) -> float:
    return statistics.median(float(numbers.get(key, 0)) for numbers in rounds)


def _ratio(rounds: list[dict[str, Any]], lab: list[dict[str, Any]], key: str) -> str:
    ratios = [mine[key] / theirs[key] for mine, theirs in zip(rounds, lab, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
