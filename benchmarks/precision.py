"""What products in bfloat16 save, and what they cost in exactness.

    python -m benchmarks.precision --output benchmarks/results

For SmolLM2-135M (adapter r=16 on all linear layers) and flan-t5-base's shape (r=32 on q and v): the
learning part of a PPO step (policy and reference pass, forward, backward) and a supervised step, in
float32 and in bfloat16 in turns, and how far the log-probabilities of the same tokens lie apart.
Writes ``precision.json``. Needs a processor that computes in bfloat16 (AMX).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.shapes import TOKENIZER, flan_t5_base, queries, start
from benchmarks.timing import ratios
from detox.config import Lora, PpoConfig
from detox.models import check_bfloat16, load_base
from detox.ppo.actor import ActorCritic, assess
from detox.ppo.rollout import draws, sample
from detox.ppo.step import learn

ROWS, PROMPT, RESPONSE, MINI = 16, 256, 48, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    check_bfloat16()
    found = {
        "rows": ROWS,
        "prompt": PROMPT,
        "response": RESPONSE,
        "threads": torch.get_num_threads(),
        "smollm2-135m": measure(load_base("embedded")[0], Lora(), arguments.rounds),
        "flan-t5-base": measure(
            flan_t5_base(), Lora(r=32, alpha=32, targets="q,v"), arguments.rounds
        ),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "precision.json"
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


def measure(base: Any, lora: Lora, rounds: int) -> dict[str, Any]:
    """Times bfloat16 takes of float32's, and the gaps between their log-probabilities in nats."""
    state = start(base, lora)
    ids = list(queries(ROWS, PROMPT, seed=0))
    rollout = sample(state.model, TOKENIZER, ids, draws(0, ROWS, RESPONSE), MINI)
    config = PpoConfig(batch_size=ROWS, mini_batch_size=MINI)
    scores = torch.linspace(-1, 1, ROWS)
    exact, mixed = (ActorCritic(state.model, state.head, kind) for kind in (False, True))
    mask = rollout.mask.bool()
    one, other = (assess(actor, rollout, MINI)[0][mask] for actor in (exact, mixed))
    gaps = (one - other).abs()

    def step(actor: ActorCritic) -> Callable[[], Any]:
        def run() -> None:
            state.actor = actor
            learn(state, rollout, scores, config)

        return run

    return {
        "ppo step without rollouts": ratios(
            {"float32": step(exact), "bfloat16": step(mixed)}, rounds
        ),
        "supervised step": ratios(
            {"float32": supervised(state, False), "bfloat16": supervised(state, True)}, rounds
        ),
        "log-probability gap, mean": round(float(gaps.mean()), 5),
        "log-probability gap, largest": round(float(gaps.max()), 5),
    }


def supervised(state: Any, mixed: bool) -> Callable[[], Any]:
    """Forward and backward of eight rows, as transformers' Trainer runs them."""
    prompt, answer = queries(MINI, PROMPT, seed=1), queries(MINI, RESPONSE, seed=2)
    if state.model.config.is_encoder_decoder:
        inputs: dict[str, Any] = {"input_ids": prompt, "labels": answer}
    else:
        inputs = {
            "input_ids": torch.cat([prompt, answer], 1),
            "labels": torch.cat([prompt[:, -1:], answer], 1),
            "logits_to_keep": RESPONSE + 1,
        }

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = state.model(**inputs).loss
        loss.backward()
        state.optimizer.zero_grad()

    return run


if __name__ == "__main__":
    main()
