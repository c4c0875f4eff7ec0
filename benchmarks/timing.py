"""Ways of doing the same thing, timed in turns: what slows one slows the others. And waits told."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

Way = Callable[[], Any]


def ratios(ways: dict[str, Way], rounds: int = 2) -> dict[str, float]:
    """Median over ``rounds`` of each way's seconds divided by those of the first way.

    A round before the first is not counted; every other round runs the ways backwards.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways) if number % 2 else list(ways)[::-1]:
            started = time.perf_counter()
            ways[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
    first = seconds[next(iter(ways))]
    return {
        name: round(statistics.median(a / b for a, b in zip(mine, first, strict=True)), 2)
        for name, mine in seconds.items()
    }


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """How many waits, their median, 95th percentile (nearest rank) and extremes, in seconds."""
    ordered = sorted(seconds)
    return {
        "n": len(ordered),
        "p50": round(statistics.median(ordered), 2),
        "p95": round(ordered[math.ceil(0.95 * len(ordered)) - 1], 2),
        "min": round(ordered[0], 2),
        "max": round(ordered[-1], 2),
    }


def kept_bytes(work: Way) -> int:
    """Bytes of the activations that ``work`` keeps for its backward pass, weights left out."""
    seen: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()  # held on to, so that no address is used twice
    del result
    return sum(seen.values())
