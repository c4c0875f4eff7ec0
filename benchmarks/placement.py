"""What an adapter in the decoder only costs in learned reward and KL, on a small task.

    python -m benchmarks.placement --seeds 10

A tiny T5 (two layers, random weights) learns by PPO to use the letters of its query: the reward is
the share of a response's characters that occur in the query, so that the encoder matters. Same
seeds, steps and settings for both placements; differences are paired by seed, with a bootstrap
interval over the seeds. Writes ``benchmarks/results/placement.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from detox.config import PpoConfig
from detox.ppo.trainer import train_ppo
from detox.runlog import read_metrics
from detox.statistics import paired_difference
from tests import tiny

NAMES = ["aaron", "bella", "cecil", "donna", "elmer", "fanny", "gordon", "hilda", "igor", "laura"]
LAST = 5  # steps that count as the end of a run


class FromTheQuery:
    """Rewards the share of a response's characters that its query has too."""

    name = "from the query"

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Rewards [n], 0 to 1; an empty response gets 0."""
        return torch.tensor(
            [
                sum(character in words(prompt) for character in response) / max(1, len(response))
                for prompt, response in zip(prompts, responses, strict=True)
            ]
        )

    def describe(self) -> dict[str, Any]:
        """Its name."""
        return {"name": self.name}


def words(prompt: str) -> str:
    """What is said in the dialogue of ``prompt``."""
    return prompt.split("#Person1#: ", 1)[-1].split("\n", 1)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--output", default="benchmarks/results/placement.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = tiny.t5()
        model.lm_head.weight.data *= 5  # as it is drawn, its opinions are too faint to change
        base = tiny.save(model, folder / "base", "seq2seq")
        data = folder / "dialogues.jsonl"
        lines = [json.dumps({"dialogue": f"#Person1#: {' '.join([word] * 3)}"}) for word in NAMES]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        config = PpoConfig(
            policy=str(base),
            data=str(data),
            steps=arguments.steps,
            batch_size=32,
            mini_batch_size=16,
            lr=3e-3,
            lora_r=4,
            lora_alpha=8,
            lora_targets="q,v",
            min_response_tokens=4,
            max_response_tokens=4,
            min_dialogue_chars=1,
            save_every=arguments.steps,
        )
        runs = {
            placement: [
                run(
                    replace(
                        config,
                        lora_placement=placement,
                        seed=seed,
                        output=str(folder / f"{placement}{seed}"),
                    )
                )
                for seed in range(arguments.seeds)
            ]
            for placement in ("everywhere", "decoder")
        }
    report: dict[str, Any] = {"steps": arguments.steps, "seeds": arguments.seeds, "runs": runs}
    for key in ("first_reward", "reward", "kl"):
        both = [[found[key] for found in runs[placement]] for placement in runs]
        difference = paired_difference(*both)
        report[key] = {
            **{
                placement: round(statistics.mean(found[key] for found in runs[placement]), 4)
                for placement in runs
            },
            "difference": round(difference.mean, 4),
            "low": round(difference.low, 4),
            "high": round(difference.high, 4),
            "verdict": difference.verdict,
        }
        print(key, json.dumps(report[key]))
    path = Path(arguments.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def run(config: PpoConfig) -> dict[str, float]:
    """Mean reward of the first and last steps, and mean KL of the last ones."""
    train_ppo(config, source=FromTheQuery(), tell=lambda line: None)
    rows = read_metrics(Path(config.output))
    return {
        "first_reward": statistics.mean(row["env/reward_mean"] for row in rows[:LAST]),
        "reward": statistics.mean(row["env/reward_mean"] for row in rows[-LAST:]),
        "kl": statistics.mean(row["objective/kl"] for row in rows[-LAST:]),
    }


if __name__ == "__main__":
    main()
