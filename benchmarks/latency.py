"""How long a person waits in Compare: from click to first words, and to both scored summaries.

    python benchmarks/latency.py --dialogues 20

Uses the models and the code path of the app, warm, one request at a time, on test dialogues.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from detox.config import Sampling
from detox.data import load_dialogues
from detox.workbench import Workbench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", type=int, default=20)
    parser.add_argument("--before", default="before")
    parser.add_argument("--after", default="after")
    arguments = parser.parse_args()
    started = time.perf_counter()
    bench = Workbench({"before": arguments.before, "after": arguments.after})
    bench.wait()
    loading = time.perf_counter() - started
    dialogues = load_dialogues(split="test")["dialogue"][: arguments.dialogues + 1]
    first, whole = [], []
    for number, dialogue in enumerate(dialogues):
        clicked = time.perf_counter()
        shown = 0.0
        for sides in bench.compare(("before", "after"), dialogue, Sampling()):
            if not shown and any(side.text for side in sides):
                shown = time.perf_counter() - clicked
        if number:  # the first request warms the caches up
            first.append(shown)
            whole.append(time.perf_counter() - clicked)
    print(
        json.dumps(
            {
                "cores": torch.get_num_threads(),
                "dialogues": len(whole),
                "loading_seconds": round(loading, 1),
                "first_words_seconds": _spread(first),
                "both_scored_seconds": _spread(whole),
            },
            indent=2,
        )
    )


def _spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "median": round(statistics.median(ordered), 2),
        "min": round(ordered[0], 2),
        "max": round(ordered[-1], 2),
    }


if __name__ == "__main__":
    main()
