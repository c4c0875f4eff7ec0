"""How well policies do their task, against what people wrote: the table of a fine-tuning."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from sklearn.metrics import f1_score

from detox.config import Sampling
from detox.data import prompts
from detox.errors import UserError
from detox.generation import generate
from detox.models import find_source, load_policy, parameter_counts, read_lineage
from detox.results import ROUGE, Row
from detox.rouge import rouge
from detox.statistics import paired_difference
from detox.tasks import Task


def measure_quality(
    specs: Sequence[str],
    dialogues: Dataset,
    task: Task,
    sampling: Sampling,
    tell: Callable[[str], None] = print,
) -> list[Row]:
    """One row a policy of ``specs``, one after the other, so that memory holds one.

    ``scores`` are means over the texts (ROUGE 0 to 100, mean over the references; for tasks with
    labels also accuracy and macro-F1, 0 to 100, where an answer that is no label is wrong);
    ``gains`` their paired differences to the first policy in points, with 95 % intervals;
    ``training`` what its lineage tells of parameters, seconds and peak memory; ``bytes`` the size
    of what was trained. Raises ``UserError`` for texts without references.
    """
    if not all(dialogues["references"]):
        raise UserError("Every text needs a reference to be measured against: add the missing.")
    queries = prompts(dialogues, task)
    found: list[Row] = []
    first: dict[str, list[float]] = {}
    for spec in specs:
        policy = load_policy(spec)
        started = time.perf_counter()
        texts = generate(policy, queries, sampling)
        seconds = time.perf_counter() - started
        each = _each(texts, dialogues["references"], task)
        first = first or each
        row: Row = {
            "policy": spec,
            "fingerprint": policy.fingerprint,
            "n": len(texts),
            "parameters": parameter_counts(policy.model)[0],
            "scores": {key: round(float(np.mean(values)), 2) for key, values in each.items()},
            "gains": {key: _gain(first[key], values) for key, values in each.items()},
            "words": round(float(np.mean([len(text.split()) for text in texts])), 1),
            "seconds": round(seconds, 1),
            "training": _training(spec),
            "bytes": _bytes(spec),
            "texts": texts,
        }
        if task.labels:
            right = [known[0] for known in dialogues["references"]]
            said = [task.label_of(text) for text in texts]
            labels = list(task.labels)
            score = f1_score(right, said, labels=labels, average="macro", zero_division=0)
            row["scores"]["macro_f1"] = round(100 * float(score), 2)
        found.append(row)
        tell(f"{spec}: " + ", ".join(f"{key} {value}" for key, value in row["scores"].items()))
        del policy
    return found


def _each(
    texts: Sequence[str], references: Sequence[Sequence[str]], task: Task
) -> dict[str, list[float]]:
    rows = [rouge(text, known) for text, known in zip(texts, references, strict=True)]
    each = {key: [float(row[key] or 0) for row in rows] for key in ROUGE}
    if task.labels:
        each["accuracy"] = [
            100.0 * (task.label_of(text) == known[0])
            for text, known in zip(texts, references, strict=True)
        ]
    return each


def _gain(first: Sequence[float], values: Sequence[float]) -> Row:
    gap = paired_difference(first, values)
    numbers = {"difference": gap.mean, "low": gap.low, "high": gap.high}
    return {key: round(value, 2) for key, value in numbers.items()} | {"verdict": gap.verdict}


def _own_folder(spec: str) -> Path | None:
    source = find_source(spec)
    folder = source.adapters[-1] if source.adapters else Path(source.base)
    return folder if folder.is_dir() else None


def _training(spec: str) -> Row:
    folder = _own_folder(spec)
    lineage = read_lineage(folder) if folder else {}
    keys = ("kind", "parameters", "examples", "seconds", "peak_memory", "train_loss")
    return {key: lineage[key] for key in keys if key in lineage}


def _bytes(spec: str) -> int | None:
    folder = _own_folder(spec)
    return sum(f.stat().st_size for f in folder.glob("*.safetensors")) if folder else None


def write_quality(folder: Path, rows: Sequence[Row], about: Row) -> None:
    """Writes ``quality.json`` (all but the texts), ``quality.md`` and ``quality.csv``, and the
    texts of each policy to ``texts.jsonl``.

    Raises ``UserError`` when the folder cannot be written.
    """
    numbers = [{key: value for key, value in row.items() if key != "texts"} for row in rows]
    flat = pd.json_normalize(numbers, sep="_")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(about | {"policies": numbers}, indent=2) + "\n"
        (folder / "quality.json").write_text(content, encoding="utf-8")
        (folder / "quality.md").write_text(as_markdown(rows) + "\n", encoding="utf-8")
        flat.to_csv(folder / "quality.csv", index=False)
        lines = [json.dumps({"policy": row["policy"], "texts": row["texts"]}) for row in rows]
        (folder / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"The table cannot be written to {folder}: {error.strerror}.") from error


def as_markdown(rows: Sequence[Row]) -> str:
    """The rows as a table: scores, gains over the first policy, and what training them took."""
    keys = list(rows[0]["scores"])
    head = ["policy", *keys, "gain in " + keys[0] + ", points", "words", "trained", "s", "GB", "MB"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for number, row in enumerate(rows):
        training, gain = row["training"], row["gains"][keys[0]]
        trained = training.get("parameters", {}).get("trainable")
        memory, size = training.get("peak_memory"), row["bytes"]
        interval = f"{gain['difference']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}]"
        cells = [
            row["policy"],
            *(f"{row['scores'][key]:.1f}" for key in keys),
            interval if number else "",
            f"{row['words']:.1f}",
            f"{trained:,}" if trained else "",
            f"{training['seconds']:,}" if "seconds" in training else "",
            f"{memory / 1e9:.1f}" if memory else "",
            f"{size / 1e6:.1f}" if size else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
