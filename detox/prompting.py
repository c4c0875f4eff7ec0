"""Prompts in many shapes: zero-, one- and few-shot, in each wording that a task has."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detox.config import Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.tasks import Task

if TYPE_CHECKING:
    from detox.models import Policy

MOST_SHOTS = 8


@dataclass(frozen=True)
class Setup:
    """One way to ask: which policy, in which wording, after how many solved examples."""

    policy: str
    template: str = "default"
    shots: int = 0
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not 0 <= self.shots <= MOST_SHOTS:
            raise UserError(f"shots must lie between 0 and {MOST_SHOTS}.")

    @property
    def title(self) -> str:
        """The setup in a few words."""
        kind = {0: "zero-shot", 1: "one-shot"}.get(self.shots, f"{self.shots}-shot")
        return f"{self.policy}, {kind}, {self.template}"


def solved(task: Task, shots: int, text: str = "", seed: int = 0) -> list[tuple[str, str]]:
    """``shots`` embedded training examples (text, answer), never ``text`` itself.

    The shorter half is drawn from, so that more examples fit; labels take turns where the task
    has labels, since an example of one label only would suggest it.
    """
    if shots == 0:
        return []
    pool = [
        (row["dialogue"], row["references"][0])
        for row in load_dialogues(split="train", task=task)
        if row["dialogue"] != text.strip()
    ]
    pool = sorted(pool, key=lambda pair: len(pair[0]))[: max(shots, len(pool) // 2)]
    random.Random(seed).shuffle(pool)
    if not task.labels:
        return pool[:shots]
    by_label = [[pair for pair in pool if pair[1] == label] for label in task.labels]
    turns = [pair for row in zip(*by_label, strict=False) for pair in row]
    return turns[:shots]


def build_prompt(task: Task, text: str, setup: Setup) -> str:
    """The prompt for ``text`` as ``setup`` asks it; ``UserError`` for an unknown template."""
    return task.prompt(text, setup.template, solved(task, setup.shots, text))


def too_long(policy: Policy, prompt: str, sampling: Sampling) -> str:
    """A sentence with the count when ``prompt`` does not fit ``policy``, and empty when it does."""
    from detox.generation import check_fits

    try:
        check_fits(policy, prompt, sampling)
    except UserError as error:
        return str(error)
    return ""


def setups(
    policies: Sequence[str], templates: Sequence[str], shots: Sequence[int], sampling: Sampling
) -> list[Setup]:
    """Every combination, in the order of the arguments."""
    return [
        Setup(policy, template, count, sampling)
        for policy in policies
        for template in templates
        for count in shots
    ]
