"""Ideas for a faster or leaner PPO step, each measured against the same step without it.

    python -m benchmarks.ideas --output benchmarks/results/ideas.json

One idea at a time, on flan-t5-base's shape (LoRA r=32 on q and v) or on the embedded SmolLM2-135M
(LoRA r=16 on all linear layers), eight rows unless said otherwise, ways in turns. A ratio below 1
is time saved. Whether an idea is in the product, and why, is told in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.shapes import TOKENIZER, flan_t5_base, queries, smollm2_135m, start
from benchmarks.timing import kept_bytes, ratios
from detox.config import Lora, PpoConfig
from detox.data import load_dialogues, prompts
from detox.lean import row_adapters
from detox.models import load_base
from detox.ppo import rollout as rollouts
from detox.ppo.actor import assess, forward
from detox.ppo.math import token_logprobs
from detox.ppo.rollout import Rollout, draws, mini_batches, sample
from detox.ppo.step import State, learn

ROWS, PROMPT, RESPONSE = 8, 200, 48
Row = dict[str, Any]


class Bench:
    """Both policies at the start of a run, and a batch of rollouts of each."""

    def __init__(self) -> None:
        self.t5 = start(flan_t5_base(), Lora(r=32, alpha=32, targets="q,v"))
        decoder = Lora(r=32, alpha=32, targets="q,v", placement="decoder")
        self.t5_decoder = start(flan_t5_base(), decoder)
        self.causal = start(smollm2_135m(), Lora())
        self.ids = list(queries(ROWS, PROMPT, seed=0))
        self.chances = draws(0, ROWS, RESPONSE)
        self.scores = torch.randn(ROWS, generator=torch.Generator().manual_seed(0))
        self.config = PpoConfig(batch_size=ROWS, mini_batch_size=4)

    def write(self, state: State, rows: int = ROWS, tokens: int = RESPONSE) -> Rollout:
        """Rollouts of the first ``rows`` queries."""
        return sample(state.model, TOKENIZER, self.ids[:rows], self.chances[:rows, :tokens], 4)

    def learn(self, state: State, rollout: Rollout, **changes: Any) -> None:
        """One step's learning."""
        learn(state, rollout, self.scores, replace(self.config, **changes))

    def train(self, state: State, rollout: Rollout) -> torch.Tensor:
        """The forward pass of a mini-batch of four, with what the backward pass needs."""
        logprobs, values = state.actor(rollout.rows(torch.arange(4)))
        return logprobs.sum() + values.sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="benchmarks/results/ideas.json")
    parser.add_argument("--only", default="", help="parts of ideas' names, joined by commas")
    arguments = parser.parse_args()
    path = Path(arguments.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench()
    # each idea is measured against its own step without it, so that one can be measured alone
    found: dict[str, Row] = {}
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))["ideas"]
        found = {row["idea"]: row for row in known}
    for idea in IDEAS:
        name = idea.__name__.replace("_", " ")
        if any(part in name for part in arguments.only.split(",")):
            found[name] = {"idea": name} | idea(bench)
            print(json.dumps(found[name]), flush=True)
            content = {"threads": torch.get_num_threads(), "ideas": list(found.values())}
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def batched_generation(bench: Bench) -> Row:
    def singly() -> None:
        for ids, chances in zip(bench.ids[:4], bench.chances[:4, :16], strict=True):
            sample(bench.t5.model, TOKENIZER, [ids], chances[None])

    together = {"one by one": singly, "four at once": lambda: bench.write(bench.t5, 4, 16)}
    return {"flan-t5-base, 4 x 16 tokens": ratios(together)}


def weight_first_products_for_few_rows(bench: Bench) -> Row:
    def plain(state: State) -> None:
        with patch.object(rollouts, "_all_cores", lambda model, rows: nullcontext()):
            bench.write(state, tokens=16)

    return {
        name: ratios(
            {"plain": lambda s=state: plain(s), "lean": lambda s=state: bench.write(s, tokens=16)}
        )
        for name, state in (("flan-t5-base", bench.t5), ("SmolLM2", bench.causal))
    }


def encoder_read_once(bench: Bench) -> Row:
    row: Row = {}
    for name, state in (("everywhere", bench.t5), ("decoder only", bench.t5_decoder)):
        once = bench.write(state, tokens=16)
        again = replace(once, encoded=None)
        row[f"learning, adapter {name}"] = ratios(
            {
                "every pass reads": lambda s=state, r=again: bench.learn(s, r),
                "read once": lambda s=state, r=once: bench.learn(s, r),
            },
            rounds=2,
        )
    return row


def length_bucketing(bench: Bench) -> Row:
    _, tokenizer = load_base("embedded")
    texts = prompts(load_dialogues(split="train"))[:320]
    lengths = [len(tokenizer(text).input_ids) for text in texts]

    def padded(order: Callable[[list[int]], list[int]]) -> int:
        total = 0
        for first in range(0, len(lengths), 16):
            batch = order(lengths[first : first + 16])
            total += sum(8 * max(batch[half : half + 8]) for half in (0, 8))
        return total

    mixed, by_length = padded(list), padded(sorted)
    own = [tokenizer(text, return_tensors="pt").input_ids[0] for text in texts[:16]]
    ordered = sorted(own, key=len)

    def passes(ids: list[torch.Tensor]) -> Callable[[], Any]:
        rollout = sample(bench.causal.model, TOKENIZER, ids, draws(0, 16, 8))
        return lambda: assess(bench.causal.actor, rollout, 8)

    return {
        "prompt tokens, padding included, sorted / mixed": round(by_length / mixed, 3),
        "two passes over 16 dialogues": ratios({"mixed": passes(own), "sorted": passes(ordered)}),
    }


def logits_only_where_scored(bench: Bench) -> Row:
    rollout = bench.write(bench.causal, tokens=16).rows(torch.arange(4))
    model = bench.causal.model
    joined = torch.cat([rollout.query, rollout.response], 1)

    def everywhere() -> None:
        logits = model(input_ids=joined, use_cache=False).logits[:, -17:-1]
        token_logprobs(logits, rollout.response)

    def scored() -> None:
        token_logprobs(forward(model, rollout)[0], rollout.response)

    with torch.no_grad():
        return {"one pass": ratios({"everywhere": everywhere, "scored": scored})}


def policy_and_reference_in_one_pass(bench: Bench) -> Row:
    rollout = bench.write(bench.causal, tokens=16).rows(torch.arange(4))
    doubled = Rollout(
        *(torch.cat([getattr(rollout, name)] * 2) for name in list(vars(rollout))[:4])
    )
    actor = bench.causal.actor

    def one() -> None:
        with row_adapters(actor.model, ["default"] * 4 + [None] * 4):
            forward(actor.model, doubled)

    def two() -> None:
        actor(rollout)
        actor(rollout, reference=True)

    with torch.no_grad():
        return {"both passes": ratios({"two": two, "one": one})}


def log_probabilities_from_generation(bench: Bench) -> Row:
    row: Row = {}
    states = {
        "flan-t5-base": bench.t5,
        "flan-t5-base, decoder only": bench.t5_decoder,
        "SmolLM2": bench.causal,
    }
    for name, state in states.items():
        rollout = bench.write(state)
        passed = assess(state.actor, rollout, 4)
        drawn = assess(state.actor, rollout, 4, as_drawn=True)
        row[name] = ratios(
            {
                source: lambda s=state, o=source: bench.learn(s, bench.write(s), logprobs=o)
                for source in ("pass", "generation")
            },
            rounds=2,
        )
        differences = [float((a - b).abs().max()) for a, b in zip(passed, drawn, strict=True)]
        row[name]["largest difference, nats"] = differences[0]
    return row


def reference_once_for_all_epochs(bench: Bench) -> Row:
    rollout = bench.write(bench.causal)

    def once() -> None:
        bench.learn(bench.causal, rollout, ppo_epochs=4)

    def each() -> None:
        once()
        with torch.no_grad():
            for _ in range(3):
                for index in mini_batches(ROWS, 4):
                    bench.causal.actor(rollout.rows(index), reference=True)

    return {"SmolLM2, 4 epochs": ratios({"every epoch": each, "once": once}, rounds=2)}


def gradient_checkpointing(bench: Bench) -> Row:
    rollout = bench.write(bench.causal)

    @contextmanager
    def recomputing() -> Iterator[None]:
        model = bench.causal.model
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()  # transformers recomputes in training mode only; there is no dropout here
        try:
            yield
        finally:
            model.gradient_checkpointing_disable()
            model.eval()

    def recomputed() -> torch.Tensor:
        with recomputing():
            loss = bench.train(bench.causal, rollout)
            loss.backward()
        return loss

    def kept() -> torch.Tensor:
        with recomputing():
            return bench.train(bench.causal, rollout)

    plain = kept_bytes(lambda: bench.train(bench.causal, rollout))
    return {
        "SmolLM2, forward and backward": ratios(
            {
                "kept": lambda: bench.train(bench.causal, rollout).backward(),
                "recomputed": recomputed,
            }
        ),
        "activations": round(kept_bytes(kept) / plain, 3),
    }


def micro_batches(bench: Bench) -> Row:
    rollout = bench.write(bench.causal)
    whole = kept_bytes(lambda: bench.train(bench.causal, rollout))
    one = kept_bytes(lambda: bench.causal.actor(rollout.rows(torch.arange(1)))[0].sum())
    return {
        "SmolLM2, learning": ratios(
            {
                f"{size or 4} at once": lambda n=size: bench.learn(
                    bench.causal, rollout, micro_batch_size=n
                )
                for size in (0, 2, 1)
            },
            rounds=2,
        ),
        "activations, 1 of 4": round(one / whole, 3),
    }


def fused_norms_and_activations(bench: Bench) -> Row:
    row: Row = {}
    pieces = {
        "flan-t5-base": (bench.t5, flan_t5_base, Lora(r=32, alpha=32, targets="q,v")),
        "SmolLM2": (bench.causal, smollm2_135m, Lora()),
    }
    for name, (fused, shape, lora) in pieces.items():
        plain = start(shape(fused=False), lora)
        rollout = bench.write(fused)
        row[name] = ratios(
            {
                "composed": lambda s=plain, r=rollout: bench.train(s, r).backward(),
                "fused": lambda s=fused, r=rollout: bench.train(s, r).backward(),
            }
        )
        kept = [kept_bytes(lambda s=s, r=rollout: bench.train(s, r)) for s in (plain, fused)]
        row[name]["activations"] = round(kept[1] / kept[0], 3)
    return row


def finished_rows_leave(bench: Bench) -> Row:
    def tokens(rows: int) -> Callable[[], Any]:
        return lambda: bench.write(bench.causal, rows, 24)

    found = ratios({"8 rows": tokens(8), "4 rows": tokens(4), "2 rows": tokens(2)})
    return {"SmolLM2, prompts included": found}


def static_cache(bench: Bench) -> Row:
    ids = torch.stack(bench.ids)

    def write(**more: Any) -> Callable[[], Any]:
        settings = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 0, **more}
        return lambda: bench.causal.model.generate(input_ids=ids, **settings)

    ways = {"growing": write(), "static": write(cache_implementation="static")}
    with torch.no_grad():
        return {"SmolLM2, 16 tokens": ratios(ways, rounds=2)}


def threads(bench: Bench) -> Row:
    rollout = bench.write(bench.causal, tokens=16)
    every = torch.get_num_threads()

    def on(count: int) -> Callable[[], Any]:
        def work() -> None:
            torch.set_num_threads(count)
            bench.learn(bench.causal, rollout)
            torch.set_num_threads(every)

        return work

    ways = {f"{every} threads": on(every), "1 thread": on(1)}
    return {"SmolLM2, learning": ratios(ways, rounds=2)}


def compiled(bench: Bench) -> Row:
    rollout = bench.write(bench.causal, tokens=16).rows(torch.arange(4))
    model = smollm2_135m()
    faster: Any = torch.compile(model, dynamic=True)
    joined = torch.cat([rollout.query, rollout.response], 1)
    try:
        with torch.no_grad():
            found = ratios(
                {
                    "eager": lambda: model(input_ids=joined, use_cache=False, logits_to_keep=17),
                    "compiled": lambda: faster(
                        input_ids=joined, use_cache=False, logits_to_keep=17
                    ),
                }
            )
    except Exception as error:  # a machine without a C++ compiler cannot
        return {"failed": str(error).splitlines()[0]}
    return {"SmolLM2, one pass without adapter": found}


IDEAS = [
    weight_first_products_for_few_rows,
    log_probabilities_from_generation,
    fused_norms_and_activations,
    gradient_checkpointing,
    micro_batches,
    policy_and_reference_in_one_pass,
    logits_only_where_scored,
    encoder_read_once,
    length_bucketing,
    static_cache,
    finished_rows_leave,
    batched_generation,
    threads,
    reference_once_for_all_epochs,
    compiled,
]


if __name__ == "__main__":
    main()
