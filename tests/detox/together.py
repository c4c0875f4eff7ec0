"""What each of several processes runs: PPO, supervised training and generation on tiny models.

    torchrun --nproc-per-node 2 -m tests.detox.together JOB.json

The job names the runs; what this process saw of them is written to JOB.json.RANK.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from detox import processes
from detox.config import PpoConfig, Sampling, SftConfig
from detox.generation import generate
from detox.models import load_policy
from detox.ppo import trainer
from detox.sft import train_sft


class Letters:
    """Rewards the share of letters in a response."""

    name = "letters"

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Rewards [n] of ``responses``."""
        return torch.tensor([sum(map(str.isalpha, r)) / max(1, len(r)) for r in responses])

    def describe(self) -> dict[str, Any]:
        """Its name."""
        return {"name": self.name}


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Does the job's runs; returns what is worth comparing beyond their files."""
    seen: dict[str, Any] = {"rank": processes.rank(), "count": processes.count(), "told": []}
    for settings in job["ppo"]:
        trainer.train_ppo(PpoConfig(**settings), source=Letters(), tell=seen["told"].append)
    for settings in job["sft"]:
        train_sft(SftConfig(**settings), tell=seen["told"].append)
    for name in job["generate"]:
        prompts = [f"#Person1#: {word} " * (i + 1) for i, word in enumerate("abcdefg")]
        sampling = Sampling(temperature=0, max_new_tokens=4)
        seen[name] = generate(load_policy(name), prompts, sampling, batch_size=2)
    if job["ppo"]:
        state, _ = trainer._start(PpoConfig(**job["ppo"][0]), seen["told"].append)
        parameters = list(state.model.parameters())
        seen["dealt_out"] = sum(isinstance(parameter, DTensor) for parameter in parameters)
        seen["held"] = sum(
            (p.to_local() if isinstance(p, DTensor) else p).numel() for p in parameters
        )
    return seen


if __name__ == "__main__":
    path = Path(sys.argv[1])
    found = run(json.loads(path.read_text()))
    path.with_name(f"{path.name}.{found['rank']}").write_text(json.dumps(found))
