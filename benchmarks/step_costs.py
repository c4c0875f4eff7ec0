"""Where a PPO step of the embedded policy spends its time, and how that grows.

    python -m benchmarks.step_costs --output benchmarks/results

Seconds of each phase of a step on SmolLM2-135M (adapter r=16 on all linear layers) with forced
lengths, the share of the machine's measured matrix-multiply peak that each phase reaches, and the
growth with batch, prompt and response. FLOPs are counted by torch's FlopCounterMode on the very
calls that are timed; attention inside fused kernels is not in them. Writes ``step_costs.json`` and
``step_costs.png``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.shapes import TOKENIZER, queries, start
from detox.config import Lora, PpoConfig
from detox.models import load_base
from detox.ppo.actor import assess
from detox.ppo.rollout import draws, sample, texts
from detox.ppo.step import learn, rows_at_once
from detox.rewards import load_reward

BASE = {"batch": 16, "prompt": 256, "response": 64}
GROWTH = {
    "batch": [4, 8, 16, 32],
    "prompt": [64, 128, 256, 512],
    "response": [16, 32, 64, 128],
}
PHASES = ["generate", "score", "assess", "forward", "backward"]
COLOURS = dict(zip(PHASES, ["#2a6f97", "#e9c46a", "#61a5c2", "#f4a261", "#bc4749"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default="benchmarks/results")
    parser.add_argument("--batch", type=int, default=8, help="batch while the others grow")
    arguments = parser.parse_args()
    base, tokenizer = load_base("embedded")
    state = start(base, Lora())
    reward = load_reward("classifier")
    peak = matmul_peak()
    print(f"matrix-multiply peak {peak / 1e9:.0f} GFLOPS, {torch.get_num_threads()} threads")
    measure(state, tokenizer, reward, 4, 64, 16)  # warms up
    whole = measure(state, tokenizer, reward, **BASE, counted=True)
    for phase in PHASES:
        part = whole[phase]
        share = part["flops"] / part["seconds"] / peak
        print(f"{phase:10} {part['seconds']:6.1f} s  {share:6.1%} of the peak", flush=True)
    growth: dict[str, list[dict[str, Any]]] = {}
    for name, values in GROWTH.items():
        growth[name] = []
        for value in values:
            sizes = BASE | {"batch": arguments.batch} | {name: value}
            found = measure(state, tokenizer, reward, **sizes)
            growth[name].append({name: value} | found)
            total = sum(found[phase]["seconds"] for phase in PHASES)
            print(f"{sizes}: {total:.1f} s", flush=True)
    folder = Path(arguments.output)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "threads": torch.get_num_threads(),
        "matmul_peak_flops": peak,
        "sizes": BASE,
        "step": whole,
        "growth_batch": arguments.batch,
        "growth": growth,
    }
    path = folder / "step_costs.json"
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    plot(content).savefig(folder / "step_costs.png", dpi=120)
    print(f"wrote {path} and step_costs.png")


def matmul_peak() -> float:
    """FLOP/s of the fastest of several large float32 matrix products."""
    best = 0.0
    for size in (1024, 2048, 3072):
        one, other = torch.randn(size, size), torch.randn(size, size)
        for _ in range(4):
            started = time.perf_counter()
            one @ other
            best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def measure(
    state: Any,
    tokenizer: Any,
    reward: Any,
    batch: int,
    prompt: int,
    response: int,
    counted: bool = False,
) -> dict[str, dict[str, float]]:
    """Seconds of each phase of one step, and its FLOPs where they are to be counted."""
    ids = list(queries(batch, prompt, seed=batch + prompt + response))
    chances = draws(0, batch, response)
    config = PpoConfig(batch_size=batch, mini_batch_size=min(8, batch))
    size = rows_at_once(config)
    started = time.perf_counter()
    rollout = sample(state.model, TOKENIZER, ids, chances, size)
    generated = time.perf_counter()
    responses = texts(tokenizer, rollout)
    scores = reward.score([""] * batch, responses)
    scored = time.perf_counter()
    stats = learn(state, rollout, scores, config)
    seconds = {
        "generate": generated - started,
        "score": scored - generated,
        "assess": stats["time/assess"],
        "forward": stats["time/forward"],
        "backward": stats["time/optimize"] - stats["time/forward"],
    }
    found = {phase: {"seconds": round(seconds[phase], 3)} for phase in PHASES}
    if counted:
        assessing = flops(lambda: assess(state.actor, rollout, size))
        # the policy's pass and the reference's, of which each costs what a training pass costs
        forward = assessing / 2
        learning = flops(lambda: learn(state, rollout, scores, config))
        found["generate"]["flops"] = flops(
            lambda: sample(state.model, TOKENIZER, ids, chances, size)
        )
        found["score"]["flops"] = flops(lambda: reward.score([""] * batch, responses))
        found["assess"]["flops"] = assessing
        found["forward"]["flops"] = forward
        found["backward"]["flops"] = learning - assessing - forward
    return found


def flops(work: Callable[[], Any]) -> float:
    """Floating-point operations of the matrix products in ``work``."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def plot(content: dict[str, Any]) -> Figure:
    """Seconds of a step by phase, stacked, against batch, prompt and response."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for panel, (name, points) in zip(panels, content["growth"].items(), strict=True):
        places = range(len(points))
        below = [0.0] * len(points)
        for phase in PHASES:
            heights = [point[phase]["seconds"] for point in points]
            panel.bar(places, heights, bottom=below, color=COLOURS[phase], label=phase, width=0.7)
            below = [a + b for a, b in zip(below, heights, strict=True)]
        panel.set_xticks(places, [str(point[name]) for point in points])
        panel.set_xlabel({"batch": "batch, responses"}.get(name, f"{name}, tokens"))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("seconds a PPO step")
    panels[0].legend(frameon=False)
    fixed = f"batch {content['growth_batch']}, prompt {BASE['prompt']}, response {BASE['response']}"
    figure.suptitle(f"SmolLM2-135M on {content['threads']} threads; elsewhere {fixed}", fontsize=10)
    return figure


if __name__ == "__main__":
    main()
