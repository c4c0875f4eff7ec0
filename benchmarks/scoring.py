"""How many texts a second the hate classifier scores, against a pipeline fed one by one.

    python -m benchmarks.scoring --texts 200

The lab scores with ``pipeline`` on one text at a time; here texts are sorted by length and share
batches. Same model, same texts (references and dialogues of the shipped data), same process, in
turns. Writes ``benchmarks/results/scoring.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import pipeline

from benchmarks.shapes import roberta_base
from detox.data import load_dialogues
from detox.rewards import HateClassifier, load_reward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", default="benchmarks/results/scoring.json")
    arguments = parser.parse_args()
    embedded: Any = load_reward("classifier")
    # RoBERTa-base's shape behind the embedded tokenizer: random weights cost what trained ones do
    model = roberta_base()
    model.config.id2label = {0: "nothate", 1: "hate"}
    large = HateClassifier(model, embedded.tokenizer, "roberta-base, random weights")
    dialogues = load_dialogues(split="train")
    kinds = {
        "summaries": [references[0] for references in dialogues["references"]],
        "dialogues": list(dialogues["dialogue"]),
    }
    found = []
    for judge, name in ((embedded, "embedded (MiniLM)"), (large, "RoBERTa-base's shape")):
        for kind, texts in kinds.items():
            texts = texts[: arguments.texts]
            row = {"classifier": name, "texts": kind, "n": len(texts)}
            row |= compare(judge, texts, arguments.rounds)
            found.append(row)
            print(json.dumps(row), flush=True)
    path = Path(arguments.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"threads": torch.get_num_threads(), "rows": found}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def compare(judge: HateClassifier, texts: Sequence[str], rounds: int) -> dict[str, float]:
    """Texts a second of both ways, medians over ``rounds`` in turns, and how far they differ."""
    one_by_one = pipeline(
        "text-classification", model=judge.model, tokenizer=judge.tokenizer, top_k=None
    )
    label = judge.labels[judge.gentle]

    def by_pipeline() -> list[float]:
        # the label by its name, whatever place its score has in the sorted output
        told = [one_by_one(text, function_to_apply="none", truncation=True) for text in texts]
        flat = [rows[0] if isinstance(rows[0], list) else rows for rows in told]
        return [next(row["score"] for row in rows if row["label"] == label) for rows in flat]

    def batched() -> list[float]:
        return [float(reward) for reward in judge.rate(texts).reward]

    batched()
    pairs = [(_timed(by_pipeline), _timed(batched)) for _ in range(rounds)]
    differences = [abs(a - b) for a, b in zip(pairs[0][0][1], pairs[0][1][1], strict=True)]
    slow, fast = ([pair[side][0] for pair in pairs] for side in (0, 1))
    return {
        "pipeline_per_second": round(len(texts) / statistics.median(slow), 1),
        "batched_per_second": round(len(texts) / statistics.median(fast), 1),
        "ratio": round(statistics.median(a / b for a, b in zip(slow, fast, strict=True)), 2),
        "largest_difference": max(differences),
    }


def _timed(work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
