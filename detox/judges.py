"""Two judges of one policy: which of them it was tuned to please, and what the other one says.

A policy tuned against the hate classifier is judged by the preference model, and the other way
round: pleasing whom one was trained to please proves nothing. Imports no model library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detox.statistics import paired_difference

if TYPE_CHECKING:
    from detox.rewards import RewardSource

Row = dict[str, Any]
CLASSIFIER, PREFERENCE, ROUGE = "classifier", "preference", "rouge"
SIDES = ("before", "after")
# Beside a reward model: hashes of the prompts it learned from.
LEARNED = "learned.json"


def kinds_of(reward: Mapping[str, Any]) -> set[str]:
    """The kinds of sources in what a reward says of itself (``RewardSource.describe``)."""
    if "sources" in reward:
        parts = zip(reward["sources"], reward.get("weights", ()), strict=False)
        return set().union(*(kinds_of(source) for source, weight in parts if weight))
    if reward.get("name") == ROUGE and "prompts" in reward:
        return {ROUGE}
    # only a classifier has a label to reward
    return {CLASSIFIER} if "label" in reward else {PREFERENCE}


def tuned_on(lineages: Sequence[Mapping[str, Any]]) -> set[str]:
    """The kinds of sources that a policy was tuned to please, given the lineages of its adapters.

    A policy that was tuned in several rounds pleases the sources of all of them.
    """
    found = (kinds_of(lineage["reward"]) for lineage in lineages if lineage.get("reward"))
    return set().union(*found)


def held_out_judges(pleased: set[str], judges: Sequence[str]) -> list[str]:
    """Those of ``judges`` that a policy was not tuned to please, in their order."""
    return [judge for judge in judges if judge not in pleased]


def preferred(rows: Sequence[Row], judge: RewardSource) -> dict[str, Any]:
    """How often ``judge`` prefers the response after; its scores go to each side of the rows.

    Ties count half; the 95 % interval is from a bootstrap over prompts.
    """
    add_preference(rows, judge)
    scores = np.array([[row[side]["preference"] for row in rows] for side in SIDES])
    words = np.array([[row[side]["words"] for row in rows] for side in SIDES])
    return {
        "win_rate": win_rate(rows),
        "length_correlation": correlation(scores.ravel(), words.ravel()),
    }


def add_preference(rows: Sequence[Row], judge: RewardSource) -> None:
    """Writes ``preference``, the score of ``judge``, to each side of the rows."""
    prompts = [row["prompt"] for row in rows]
    for side in SIDES:
        found = judge.score(prompts, [row[side]["text"] for row in rows]).tolist()
        for row, score in zip(rows, found, strict=True):
            row[side]["preference"] = round(float(score), 4)


def win_rate(rows: Sequence[Row]) -> dict[str, Any]:
    """How often the response after scores higher: mean, 95 % interval and verdict.

    Ties count half; responses to one dialogue are drawn together. The verdict compares with one
    half: ``higher``, ``lower`` or ``inconclusive``.
    """
    gaps = np.array([row["after"]["preference"] - row["before"]["preference"] for row in rows])
    wins = (0.5 + 0.5 * np.sign(gaps)).tolist()
    gap = paired_difference([0.5] * len(wins), wins, [row["id"] for row in rows])
    return {
        "mean": round(0.5 + gap.mean, 4),
        "low": round(0.5 + gap.low, 4),
        "high": round(0.5 + gap.high, 4),
        "verdict": gap.verdict,
    }


def conflicts(rows: Sequence[Row]) -> float:
    """Share of rows of which the classifier prefers one response and the preference the other."""
    signs = [
        np.sign(row["after"]["reward"] - row["before"]["reward"])
        * np.sign(row["after"]["preference"] - row["before"]["preference"])
        for row in rows
    ]
    return round(float(np.mean([sign < 0 for sign in signs])), 4)


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson's r; None where one of the two does not vary."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return round(float(np.corrcoef(one, other)[0, 1]), 4)


def write_learned(folder: Path, prompts: Sequence[str]) -> None:
    """Notes beside a reward model which prompts it learned from, by their hashes."""
    marks = sorted({_mark(prompt) for prompt in prompts})
    (folder / LEARNED).write_text(json.dumps(marks) + "\n", encoding="utf-8")


def learned_from(folder: Path, prompts: Sequence[str]) -> int | None:
    """How many of the different ``prompts`` the reward model in ``folder`` learned from.

    None where it does not say.
    """
    try:
        known = set(json.loads((folder / LEARNED).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    return sum(_mark(prompt) in known for prompt in set(prompts))


def _mark(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]
