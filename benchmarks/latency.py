"""How long a person waits in Compare: from click to first words, and to both scored summaries.

    python -m benchmarks.latency --dialogues 40 --way both

Uses the models and the code path of the app, warm, one request at a time, on test dialogues.
``--way peft`` leaves mixing the versions to peft; ``both`` asks for every dialogue both ways in
turn, so that whatever else the machine does meanwhile slows both. Writes
``benchmarks/results/latency.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import spread
from detox import generation
from detox.config import Sampling
from detox.data import load_dialogues
from detox.lean import row_adapters
from detox.models import ROOT_ADAPTER
from detox.workbench import Workbench


@contextmanager
def _peft_mixes(model: Any, adapters: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    """In the place of ``row_adapters``: nothing is made faster."""
    yield {"adapter_names": [name or ROOT_ADAPTER for name in adapters]}


WAYS = {"lean": row_adapters, "peft": _peft_mixes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, default=40)
    parser.add_argument("--before", default="before")
    parser.add_argument("--after", default="after")
    parser.add_argument("--way", choices=[*WAYS, "both"], default="lean")
    parser.add_argument("--output", default="benchmarks/results/latency.json")
    arguments = parser.parse_args()
    ways = list(WAYS) if arguments.way == "both" else [arguments.way]
    started = time.perf_counter()
    bench = Workbench({"before": arguments.before, "after": arguments.after})
    bench.wait()
    loading = time.perf_counter() - started
    dialogues = load_dialogues(split="test")["dialogue"][: arguments.dialogues + 1]
    waits: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for number, dialogue in enumerate(dialogues):
        # neither way is always the one that comes second
        for way in ways if number % 2 else ways[::-1]:
            waited = _click(bench, dialogue, way)
            if number:  # the first request warms the caches up
                waits[way].append(waited)
    report: dict[str, Any] = {
        "cores": torch.get_num_threads(),
        "dialogues": len(dialogues) - 1,
        "loading_seconds": round(loading, 1),
    }
    for way in ways:
        first, whole = zip(*waits[way], strict=True)
        report[way] = {"first_words_seconds": spread(first), "both_scored_seconds": spread(whole)}
    if len(ways) == 2:
        pairs = list(zip(waits["lean"], waits["peft"], strict=True))
        report["lean_to_peft_median_ratio"] = {
            "first_words": _ratio([(lean[0], peft[0]) for lean, peft in pairs]),
            "both_scored": _ratio([(lean[1], peft[1]) for lean, peft in pairs]),
        }
    print(json.dumps(report, indent=2))
    Path(arguments.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _click(bench: Workbench, dialogue: str, way: str) -> tuple[float, float]:
    """Seconds to the first words of both summaries, and to both with their scores."""
    generation.row_adapters = WAYS[way]
    clicked = time.perf_counter()
    shown = 0.0
    for sides in bench.compare(("before", "after"), dialogue, Sampling()):
        if not shown and any(side.text for side in sides):
            shown = time.perf_counter() - clicked
    return shown, time.perf_counter() - clicked


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    return round(statistics.median(one / other for one, other in pairs), 3)


if __name__ == "__main__":
    main()
