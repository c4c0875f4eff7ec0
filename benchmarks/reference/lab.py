"""The lab's own PPO loop on trl 0.11.4, timed: generate one by one, then ``PPOTrainer.step``.

    benchmarks/reference/environment.sh
    .reference/bin/python benchmarks/reference/lab.py [--steps 1] [--seed 0]
    .reference/bin/python benchmarks/reference/lab.py --evaluate 16    # its evaluation loop instead

flan-t5-base's architecture with random weights in float32 (bfloat16, the lab's, takes forever on
CPUs without such units), LoRA as in the lab, batches of 16, mini-batches of 4, and the reference a
deep copy. Responses have exactly 60 tokens (``--tokens``), since random weights have no notion of
an end; scores are random, since no reward model is timed in a PPO step. Every step has the same
prompts of 200 token ids; whoever wants to compare gets the same ones from

    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 32000, (16, 200), generator=generator)
    ids[:, -1] = 1

Prints one line of JSON: seconds (making the policy is not in them), seconds of work of all cores
(with two threads well below twice the total: the machine was busy with something else), the largest
resident memory of the process in bytes, threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
import warnings
from typing import Any

import torch
from padding import EOS, PAD, padder
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import (
    GenerationConfig,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    logging,
)
from trl import (
    AutoModelForSeq2SeqLMWithValueHead,
    PPOConfig,
    PPOTrainer,
    create_reference_model,
)

PROMPT_TOKENS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1, help="PPO steps")
    parser.add_argument("--evaluate", type=int, metavar="N", help="generate for N prompts, no PPO")
    parser.add_argument("--prompts", type=int, default=16, help="batch size, a multiple of 4")
    parser.add_argument("--tokens", type=int, default=60, help="tokens of every response")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, prompts and scores")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    torch.manual_seed(arguments.seed)
    model = policy()
    worked = time.process_time()
    if arguments.evaluate:
        seconds = evaluate(model, prompts(arguments.evaluate, arguments.seed), arguments.tokens)
    else:
        ids = prompts(arguments.prompts, arguments.seed)
        seconds = tune(model, ids, arguments.tokens, arguments.steps)
    # kilobytes on Linux, bytes on macOS
    unit = 1 if sys.platform == "darwin" else 1024
    told = {
        "prompts": arguments.evaluate or arguments.prompts,
        "tokens": arguments.tokens,
        "steps": 0 if arguments.evaluate else arguments.steps,
        **{name: round(number, 2) for name, number in seconds.items()},
        "processor": round(time.process_time() - worked, 2),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(told))


def policy() -> Any:
    """flan-t5-base with random weights, the lab's adapter and trl's value head."""
    config = T5Config(
        vocab_size=32128,
        d_model=768,
        d_kv=64,
        d_ff=2048,
        num_layers=12,
        num_heads=12,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
    # evaluation mode, as a loaded model would be in
    base = T5ForConditionalGeneration(config).eval()
    assert sum(p.numel() for p in base.parameters()) == 247_577_856
    lora = LoraConfig(
        r=32,
        lora_alpha=32,
        target_modules=["q", "v"],
        lora_dropout=0.05,
        bias="none",
        task_type="SEQ_2_SEQ_LM",
    )
    adapted = get_peft_model(base, lora)
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == 3_538_944
    return AutoModelForSeq2SeqLMWithValueHead.from_pretrained(adapted, is_trainable=True)


def prompts(rows: int, seed: int) -> list[Tensor]:
    """Random token ids, int64 [200] each, that end with the end mark; see the top."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 32000, (rows, PROMPT_TOKENS), generator=generator)
    ids[:, -1] = EOS
    return list(ids)


def tune(model: Any, queries: list[Tensor], tokens: int, steps: int) -> dict[str, float]:
    """The lab's training loop; seconds by what they were spent on."""
    config = PPOConfig(
        learning_rate=1.41e-5, ppo_epochs=1, mini_batch_size=4, batch_size=len(queries)
    )
    trainer = PPOTrainer(config, model, create_reference_model(model), tokenizer=padder())
    sampling: dict[str, Any] = {"min_new_tokens": tokens, "max_new_tokens": tokens}
    sampling |= {"top_k": 0, "top_p": 1.0, "do_sample": True}
    generating = stepping = 0.0
    for _ in range(steps):
        started = time.perf_counter()
        # the lab cuts the last tokens out, so that a response of full length loses its start token
        responses = [trainer.generate(query, **sampling).squeeze()[-tokens:] for query in queries]
        generated = time.perf_counter()
        trainer.step(queries, responses, list(torch.randn(len(queries))))
        generating += generated - started
        stepping += time.perf_counter() - generated
    return {"generate": generating, "step": stepping, "total": generating + stepping}


def evaluate(model: Any, queries: list[Tensor], tokens: int) -> dict[str, float]:
    """The lab's evaluation loop; its classifier, of RoBERTa-base's shape, reads ids; seconds."""
    torch.manual_seed(0)
    shape = RobertaConfig(vocab_size=50265, max_position_embeddings=514, num_labels=2)
    judge = RobertaForSequenceClassification(shape).eval()
    sampling = GenerationConfig(
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        top_k=0,
        top_p=1.0,
        do_sample=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
    generating = scoring = 0.0
    for query in queries:
        started = time.perf_counter()
        response = model.generate(input_ids=query[None], generation_config=sampling)
        generated = time.perf_counter()
        assert response.shape == (1, tokens + 1)
        # the lab scores query and response together
        with torch.inference_mode():
            judge(input_ids=torch.cat([query[None], response[:, 1:]], 1))
        generating += generated - started
        scoring += time.perf_counter() - generated
    return {"generate": generating, "score": scoring, "total": generating + scoring}


if __name__ == "__main__":
    main()
