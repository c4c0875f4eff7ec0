"""Ideas for showing before and after sooner, each against what Compare did before them.

    python -m benchmarks.serving --dialogues 6

Greedy, the embedded policies, validation dialogues, ways in turns: seconds of reading the prompt
and of one more token for both versions, as ratios to peft's own mixing of adapters, and how many
tokens are still those of peft. Writes ``benchmarks/results/serving.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from detox.data import load_dialogues
from detox.lean import row_adapters
from detox.models import ROOT_ADAPTER, load_policies, load_policy
from detox.tasks import SUMMARIZE

TOKENS = 16
Parts = tuple[float, float, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, default=6)
    parser.add_argument("--output", default="benchmarks/results/serving.json")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    ways = make_ways()
    found: dict[str, list[Parts]] = {name: [] for name in ways}
    dialogues = load_dialogues(split="validation")["dialogue"][: arguments.dialogues + 1]
    for number, dialogue in enumerate(dialogues):
        for name in list(ways) if number % 2 else list(ways)[::-1]:
            parts = ways[name](SUMMARIZE.prompt(dialogue))
            if number:  # the first dialogue warms up
                found[name].append(parts)
    first = next(iter(ways))
    rows = []
    for name, runs in found.items():
        pairs = list(zip(runs, found[first], strict=True))
        row = {
            "way": name,
            "reading": round(statistics.median(a[0] / b[0] for a, b in pairs), 2),
            "a token": round(statistics.median(a[1] / b[1] for a, b in pairs), 2),
            "same tokens": f"{sum(int((a[2] == b[2]).sum()) for a, b in pairs)}"
            f" of {sum(a[2].numel() for a in runs)}",
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    path = Path(arguments.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"threads": torch.get_num_threads(), "ways": rows}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def make_ways() -> dict[str, Callable[[str], Parts]]:
    """Each way of writing both versions' first tokens, by name; the first is what was before."""
    both = load_policies({"before": "before", "after": "after"})
    model, tokenizer = both["before"].model, both["before"].tokenizer
    adapters = [both[name].adapter for name in ("before", "after")]
    mixing = {"adapter_names": [name or ROOT_ADAPTER for name in adapters]}
    alone = [load_policy(name).model for name in ("before", "after")]
    merged = [m.merge_and_unload() if hasattr(m, "peft_config") else m for m in alone]
    eight_bits = [
        torch.ao.quantization.quantize_dynamic(
            copy.deepcopy(one), {torch.nn.Linear}, dtype=torch.qint8
        )
        for one in merged
    ]
    every = torch.get_num_threads()

    def ids(prompt: str) -> torch.Tensor:
        return torch.tensor([tokenizer(prompt).input_ids])

    def mixed(prompt: str, context: Callable[[], Any], **more: Any) -> Parts:
        with context():
            return write(model, ids(prompt).repeat(2, 1), **more)

    def in_turns(prompt: str, models: list[Any], lean: bool = False) -> Parts:
        parts = []
        for one in models:
            with row_adapters(one, [None]) if lean else nullcontext():
                parts.append(write(one, ids(prompt)))
        return sum(p[0] for p in parts), sum(p[1] for p in parts), torch.cat([p[2] for p in parts])

    def in_threads(prompt: str, models: list[Any]) -> Parts:
        def work(one: Any) -> Parts:
            torch.set_num_threads(1)
            return write(one, ids(prompt))

        with ThreadPoolExecutor(2) as pool:
            parts = list(pool.map(work, models))
        torch.set_num_threads(every)
        return max(p[0] for p in parts), max(p[1] for p in parts), torch.cat([p[2] for p in parts])

    @contextmanager
    def one_thread() -> Iterator[None]:
        torch.set_num_threads(1)
        with row_adapters(model, adapters):
            yield
        torch.set_num_threads(every)

    return {
        "peft mixes adapters": lambda p: mixed(p, nullcontext, **mixing),
        "lean: rows through their adapters, weight first": lambda p: mixed(
            p, lambda: row_adapters(model, adapters)
        ),
        "lean, one thread": lambda p: mixed(p, one_thread),
        "two merged models in turns": lambda p: in_turns(p, merged),
        "two merged models in turns, weight first": lambda p: in_turns(p, merged, lean=True),
        "two merged models, a thread each": lambda p: in_threads(p, merged),
        "two merged int8 models in turns": lambda p: in_turns(p, eight_bits),
        "two merged int8 models, a thread each": lambda p: in_threads(p, eight_bits),
    }


@torch.inference_mode()
def write(model: Any, prompt: torch.Tensor, **more: Any) -> Parts:
    """Seconds to read ``prompt`` [B, Q], seconds a token after it, and the tokens [B, T]."""
    cache = DynamicCache()
    started = time.perf_counter()
    token = _next(model(input_ids=prompt, past_key_values=cache, logits_to_keep=1, **more))
    read = time.perf_counter()
    tokens = [token]
    for _ in range(TOKENS):
        token = _next(model(input_ids=token, past_key_values=cache, **more))
        tokens.append(token)
    return read - started, (time.perf_counter() - read) / TOKENS, torch.cat(tokens, 1)


def _next(output: Any) -> torch.Tensor:
    token: torch.Tensor = output.logits[:, -1].argmax(-1, keepdim=True)
    return token


if __name__ == "__main__":
    main()
