"""Our PPO step on flan-t5-base's shape, timed as ``reference/lab.py`` times the lab's.

    python benchmarks/ours.py --placement decoder --steps 2
    python benchmarks/ours.py --evaluate 32

Random weights, LoRA r=32 on q and v, batch 16, mini-batch 4, prompts of 200 tokens, responses of
60 forced tokens, random scores. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

from benchmarks.shapes import TOKENIZER, flan_t5_base, queries, roberta_base, start
from detox.config import Lora, PpoConfig
from detox.models import parameter_counts
from detox.ppo.rollout import draws, sample
from detox.ppo.step import learn
from detox.runlog import peak_memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--placement", choices=["everywhere", "decoder"], default="everywhere")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--logprobs", choices=["pass", "generation"], default="pass")
    parser.add_argument("--scope", choices=["response", "pair"], default="response")
    parser.add_argument("--evaluate", type=int, default=0, help="responses instead of PPO steps")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--micro", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    lora = Lora(r=32, alpha=32, targets="q,v", placement=arguments.placement)
    state = start(flan_t5_base(), lora)
    trained = parameter_counts(state.model)[1]
    assert trained == (3_538_944 if arguments.placement == "everywhere" else 2_359_296), trained
    config = PpoConfig(
        batch_size=arguments.prompts,
        mini_batch_size=min(4, arguments.prompts),
        micro_batch_size=arguments.micro,
        logprobs=arguments.logprobs,
    )
    generating = learning = scoring = 0.0
    judge = roberta_base() if arguments.evaluate else None
    worked = time.process_time()
    rounds = arguments.evaluate // arguments.prompts if arguments.evaluate else arguments.steps
    for number in range(rounds):
        seed = arguments.seed + number
        ids = list(queries(arguments.prompts, arguments.prompt_tokens, seed))
        chances = draws(seed, arguments.prompts, arguments.tokens)
        started = time.perf_counter()
        rollout = sample(state.model, TOKENIZER, ids, chances, config.mini_batch_size)
        generated = time.perf_counter()
        assert rollout.response.shape == (arguments.prompts, arguments.tokens)
        generating += generated - started
        if judge is not None:
            query = torch.stack(ids) if arguments.scope == "pair" else rollout.response[:, :0]
            score(judge, torch.cat([query, rollout.response], 1))
            scoring += time.perf_counter() - generated
        else:
            scores = torch.randn(arguments.prompts, generator=torch.Generator().manual_seed(seed))
            learn(state, rollout, scores, config)
            learning += time.perf_counter() - generated
    print(
        json.dumps(
            {
                "generate": round(generating, 2),
                "step": round(learning, 2),
                "score": round(scoring, 2),
                "total": round(generating + learning + scoring, 2),
                "processor": round(time.process_time() - worked, 2),
                "peak_memory": peak_memory(),
                "threads": torch.get_num_threads(),
            }
        )
    )


@torch.inference_mode()
def score(judge: Any, ids: torch.Tensor) -> None:
    """What a classifier of RoBERTa-base's shape takes for all rows at once."""
    assert judge(input_ids=ids).logits.shape == (len(ids), 2)


if __name__ == "__main__":
    main()
