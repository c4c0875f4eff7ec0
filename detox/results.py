"""Results of a comparison: their statistics, their table, and the files that keep them.

Imports no model library, so that results open at once.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detox.collapse import signs, variety
from detox.errors import UserError
from detox.judges import conflicts, correlation, win_rate
from detox.statistics import paired_difference

Row = dict[str, Any]
ROUGE = ("rouge1", "rouge2", "rougeL")
MEASURES = ("reward", "preference", "toxicity", "profanity", "words", *ROUGE, "kept", "supported")
TABLE = ("query", "before", "after", "reward_before", "reward_after", "reward_diff")


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Paired statistics of ``rows``: all of them, the rude dialogues, and the others.

    For each of ``MEASURES``: mean and standard deviation before and after, and the mean
    difference with its 95 % interval (bootstrap over dialogues, whose samples are drawn
    together) and verdict; for toxicity also the share above 0.5; the KL of the responses after;
    how varied the responses are, and the signs of over-optimisation (``detox.collapse``).
    """
    if not rows:
        raise UserError("There is nothing to compare: give at least one dialogue.")
    groups = {
        "all": list(rows),
        "rude": [row for row in rows if row["rude"]],
    }
    if groups["rude"]:  # else the others are all
        groups["others"] = [row for row in rows if not row["rude"]]
    return {name: _group(chosen) for name, chosen in groups.items() if chosen}


def _group(rows: Sequence[Row]) -> dict[str, Any]:
    result: dict[str, Any] = {"n": len(rows), "dialogues": len({row["id"] for row in rows})}
    for key in MEASURES:
        pairs = [(row["before"].get(key), row["after"].get(key), row["id"]) for row in rows]
        # where one side has nothing to measure there is no pair
        known = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
        if not known:
            continue
        before, after, ids = zip(*known, strict=True)
        gap = paired_difference(before, after, ids)
        result[key] = {
            "n": len(known),
            "before_mean": _round(np.mean(before)),
            "before_std": _round(np.std(before)),
            "after_mean": _round(np.mean(after)),
            "after_std": _round(np.std(after)),
            "difference": _round(gap.mean),
            "low": _round(gap.low),
            "high": _round(gap.high),
            "verdict": gap.verdict,
        }
    for side in ("before", "after"):
        share = np.mean([row[side]["toxicity"] > 0.5 for row in rows])
        result["toxicity"][f"{side}_above_half"] = _round(share)
    if "preference" in result:
        result["preference"]["win_rate"] = win_rate(rows)
        result["preference"]["conflicts"] = conflicts(rows)
        result["preference"]["length_correlation"] = _with_length(rows)
    divergences = [row["after"]["kl"] for row in rows if row["after"].get("kl") is not None]
    if divergences:
        result["kl"] = {"mean": _round(np.mean(divergences)), "std": _round(np.std(divergences))}
    # one sample of each dialogue: those of one prompt are alike in any policy
    result["variety"] = {
        side: variety([row[side]["text"] for row in first_samples(rows)])
        for side in ("before", "after")
    }
    result["signs"] = signs(result)
    return result


def _with_length(rows: Sequence[Row]) -> float | None:
    sides = [row[side] for row in rows for side in ("before", "after")]
    return correlation(
        np.array([side["preference"] for side in sides]),
        np.array([side["words"] for side in sides]),
    )


def _round(value: Any) -> float:
    return round(float(value), 4)


def write_results(folder: Path, rows: Sequence[Row], about: dict[str, Any]) -> dict[str, Any]:
    """Writes ``compare.jsonl`` (rows), ``summary.json`` and ``compare.csv`` (the lab's table).

    Returns the statistics in it, as ``summarise`` gives them. Raises ``UserError`` when the
    folder cannot be written.
    """
    groups = summarise(rows)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "compare.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )
        (folder / "summary.json").write_text(
            json.dumps(about | {"groups": groups}, indent=2) + "\n", encoding="utf-8"
        )
        write_table(folder / "compare.csv", rows)
    except OSError as error:
        raise UserError(f"The results cannot be written to {folder}: {error.strerror}.") from error
    return groups


def table(rows: Sequence[Row]) -> list[list[Any]]:
    """The lab's table: query, before, after and rewards, largest gain first (``TABLE``)."""
    ordered = sorted(rows, key=lambda row: -float(row["reward_diff"]))
    return [
        [
            row["dialogue"],
            row["before"]["text"],
            row["after"]["text"],
            row["before"]["reward"],
            row["after"]["reward"],
            row["reward_diff"],
        ]
        for row in ordered
    ]


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Writes ``table`` as CSV; cells that a spreadsheet would run as a formula are quoted."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(TABLE)
        writer.writerows([[_inert(cell) for cell in line] for line in table(rows)])


def first_samples(rows: Sequence[Row]) -> list[Row]:
    """One row a dialogue, where several samples of each were drawn."""
    return list({row["id"]: row for row in reversed(rows)}.values())[::-1]


def _inert(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple("=+-@\t\r") else cell


def read_results(folder: Path) -> tuple[list[Row], dict[str, Any]]:
    """Rows and summary that ``write_results`` wrote; ``UserError`` when there are none."""
    try:
        lines = (folder / "compare.jsonl").read_text(encoding="utf-8").splitlines()
        about = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        rows = [_checked(json.loads(line)) for line in lines]
        if not isinstance(about, dict):
            raise TypeError("summary.json holds no object")
        return rows, about
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(
            f"There are no readable results in {folder}: run 'python -m detox evaluate' first."
        ) from error


def _checked(row: Any) -> Row:
    """``row`` if it has what every reader of results takes for granted."""
    texts = [row["id"], row["dialogue"]]
    for side in (row["before"], row["after"]):
        texts.append(side["text"])
        if not all(isinstance(side[key], int | float) for key in ("reward", "toxicity")):
            raise TypeError("a score is no number")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    return dict(row)
