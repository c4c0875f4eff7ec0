"""Is a run learning, and how many steps does it need? Small answers from its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scipy.stats import kendalltau

from detox.errors import UserError
from detox.runlog import read_metrics

FEWEST = 8
SURE = 0.05
# What a run logs, in plain words, and whether learning makes it rise.
WATCHED = {
    "env/reward_mean": ("mean reward", True),
    "loss": ("loss", False),
    "validation_loss": ("validation loss", False),
    "accuracy": ("accuracy", True),
    "validation_accuracy": ("validation accuracy", True),
    "held_out_accuracy": ("held-out accuracy", True),
}


def steps_of(examples: int, batch_size: int, epochs: int) -> int:
    """Optimizer steps of ``epochs`` passes over ``examples``, the last batch of a pass included.

    3000 examples in batches of 64 are 47 steps, so 30 epochs are 1410. Raises ``UserError`` for
    numbers below 1.
    """
    if min(examples, batch_size, epochs) < 1:
        raise UserError("examples, batch size and epochs must be at least 1.")
    return math.ceil(examples / batch_size) * epochs


def trend(values: Sequence[float], rising: bool = True) -> str:
    """Whether ``values``, one a step, go where learning takes them.

    ``learning``: they do, and still did in the second half; ``learned``: they did and then
    flattened; ``worse``: they go the other way; ``no trend``: chance explains them (Mann 1945,
    Kendall's tau against time, two-sided at 5 %); ``too short`` below ``FEWEST`` values.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < FEWEST:
        return "too short"
    way = _way(known) * (1 if rising else -1)
    if way == 0:
        return "no trend"
    if way < 0:
        return "worse"
    late = known[len(known) // 2 :]
    return "learning" if _way(late) * (1 if rising else -1) > 0 else "learned"


def _way(values: Sequence[float]) -> int:
    found = kendalltau(range(len(values)), values)
    if not found.pvalue < SURE:  # also where all values are equal and there is none
        return 0
    return 1 if found.statistic > 0 else -1


_MEANING = {
    "learning": "still improving: more steps may help.",
    "learned": "improved, then flattened: it has learned what these settings teach it.",
    "worse": "gets worse: lower the learning rate, and look at the reward's sign.",
    "no trend": "no trend, only noise: not learning. Try a higher learning rate or more steps.",
    "too short": f"too few steps to tell, {FEWEST} at least are needed.",
}


def verdicts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence for each number of ``rows`` (a run's steps) that shows learning."""
    found = []
    for key, (name, rising) in WATCHED.items():
        values = [row[key] for row in rows if row.get(key) is not None]
        if values:
            change = f"{values[0]:.3g} to {values[-1]:.3g} in {len(values)} values"
            found.append(f"{name} ({change}): {_MEANING[trend(values, rising)]}")
    return found


def is_learning(folder: Path) -> list[str]:
    """``verdicts`` of the run in ``folder``; ``UserError`` where none was logged."""
    rows = read_metrics(folder)
    if not rows:
        raise UserError(f"There is no run in {folder}: give the output folder of sft or ppo.")
    return verdicts(rows)
