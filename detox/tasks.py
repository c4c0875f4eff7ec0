"""Prompt templates: what a policy is asked to do with a text."""

from __future__ import annotations

from dataclasses import dataclass

from detox.errors import UserError


@dataclass(frozen=True)
class Task:
    """A prompt template with one ``{text}`` slot, and the label that opens a solved example."""

    name: str
    template: str

    def prompt(self, text: str) -> str:
        """The zero-shot prompt for ``text``."""
        return self.template.replace("{text}", text.strip())


# The wording of the FLAN-T5 detox lab, so that its results and ours start from the same question.
SUMMARIZE = Task("summarize", "\nSummarize the following conversation.\n\n{text}\n\nSummary:\n")
SENTIMENT = Task(
    "sentiment", "\nIs the following review positive or negative?\n\n{text}\n\nSentiment:\n"
)

TASKS = {task.name: task for task in (SUMMARIZE, SENTIMENT)}


def find_task(name: str) -> Task:
    """The task called ``name``; ``UserError`` that lists the known ones otherwise."""
    if name not in TASKS:
        raise UserError(f"Unknown task '{name}': choose one of {', '.join(TASKS)}.")
    return TASKS[name]
