"""What PPO costs on larger models, counted on torch's meta device without running them.

    python -m benchmarks.scaling

FLOPs (torch's FlopCounterMode) of one training pass and its backward pass, a response token at a
time while writing, and bytes, for shapes published on the hub. Writes
``benchmarks/results/scaling.json`` and prints a table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shapes import flan_t5_base, flan_t5_xl, llama_7b
from detox.config import Lora
from detox.models import add_adapter, parameter_counts

PROMPT, RESPONSE = 300, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="benchmarks/results/scaling.json")
    arguments = parser.parse_args()
    found = {name: cost(*shape) for name, shape in SHAPES.items()}
    path = Path(arguments.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    keys = list(next(iter(found.values())))
    print("| |" + "|".join(f" {name} " for name in found) + "|")
    print("|---|" + "---|" * len(found))
    for key in keys:
        print(f"| {key} |" + "|".join(f" {found[name][key]:,.4g} " for name in found) + "|")


Shape = Callable[[], Any]
FLAN = Lora(r=32, alpha=32, targets="q,v")
SHAPES: dict[str, tuple[Shape, Lora]] = {
    "flan-t5-base": (lambda: flan_t5_base(fused=False), FLAN),
    "flan-t5-xl": (flan_t5_xl, FLAN),
    "7B causal": (llama_7b, Lora()),
}


def cost(shape: Shape, lora: Lora) -> dict[str, float]:
    """FLOPs and bytes of one rollout of 300 + 60 tokens, by what they are spent on."""
    with torch.device("meta"):
        base = shape()
        # other attention looks into its mask, and meta tensors hold nothing
        base.set_attn_implementation("eager")
        seq2seq = bool(base.config.is_encoder_decoder)
        model: Any = add_adapter(base, lora, "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM", 0)
        total, trained = parameter_counts(model)
        query = torch.zeros(1, PROMPT, dtype=torch.long)
        response = torch.zeros(1, RESPONSE, dtype=torch.long)
        if seq2seq:
            inputs: dict[str, Any] = {"input_ids": query, "decoder_input_ids": response}
        else:
            joined = torch.cat([query, response], 1)
            inputs = {
                "input_ids": joined,
                "attention_mask": torch.ones_like(joined),
                "logits_to_keep": RESPONSE,
            }
        with FlopCounterMode(display=False) as forward:
            loss = model(**inputs, use_cache=False).logits.float().sum()
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    config = base.config
    layers = config.num_decoder_layers if seq2seq else config.num_hidden_layers
    width = config.num_heads * config.d_kv if seq2seq else config.hidden_size
    # keys and values of what was written, and for encoder-decoders those of the query too
    cached = 2 * layers * width * (PROMPT + RESPONSE) * 2
    forward_flops, backward_flops = forward.get_total_flops(), backward.get_total_flops()
    return {
        "parameters, with adapter": total,
        "trained parameters": trained,
        "weights in bf16, GB": 2 * (total - trained) / 1e9,
        "adapter, gradients and Adam in fp32, MB": 4 * 4 * trained / 1e6,
        "gradient message per optimizer step, MB": 4 * trained / 1e6,
        "forward pass, GFLOP": forward_flops / 1e9,
        "backward pass, GFLOP": backward_flops / 1e9,
        # written once, policy and reference pass, training pass and its backward pass
        "one rollout in all, GFLOP": (4 * forward_flops + backward_flops) / 1e9,
        "keys and values of a rollout in bf16, MB": cached / 1e6,
        "gathered per rollout, bytes": 5 * 4 * RESPONSE,
    }


if __name__ == "__main__":
    main()
