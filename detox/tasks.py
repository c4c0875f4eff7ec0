"""What a policy is asked to do with a text: prompt templates, and where texts and answers lie.

A third task is one more ``Task`` in ``TASKS``; everything else finds it by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from detox.errors import UserError


@dataclass(frozen=True)
class Task:
    """Prompt templates with one ``{text}`` slot each, and the fields of a row of data.

    ``labels`` are the only right answers of a classification, and empty for free text.
    """

    name: str
    template: str
    text_field: str
    answer_fields: tuple[str, ...]
    embedded: str  # file of the project's own examples
    labels: tuple[str, ...] = ()
    # other wordings of the same question, by name, as instruction collections vary theirs
    variants: dict[str, str] = field(default_factory=dict)

    @property
    def templates(self) -> dict[str, str]:
        """All wordings by name, the one that policies are tuned with first, as "default"."""
        return {"default": self.template} | self.variants

    def prompt(
        self, text: str, template: str = "default", examples: Sequence[tuple[str, str]] = ()
    ) -> str:
        """The prompt for ``text`` after solved ``examples`` (text, answer): zero-, one-, few-shot.

        Raises ``UserError`` that lists the templates when ``template`` is none of them.
        """
        if template not in self.templates:
            known = ", ".join(self.templates)
            raise UserError(f"Unknown template '{template}': choose one of {known}.")
        wording = self.templates[template]
        solved = [
            wording.replace("{text}", shown.strip()) + answer.strip() + "\n\n"
            for shown, answer in examples
        ]
        return "".join(solved) + wording.replace("{text}", text.strip())

    def label_of(self, answer: str) -> str:
        """The label that ``answer`` begins with, in any case; empty when it is none."""
        said = answer.strip().lower()
        return next((label for label in self.labels if said.startswith(label.lower())), "")


SUMMARIZE = Task(
    "summarize",
    # The wording of the FLAN-T5 detox lab, so that its results and ours start from one question.
    "\nSummarize the following conversation.\n\n{text}\n\nSummary:\n",
    text_field="dialogue",
    answer_fields=("summary", "summary1", "summary2", "summary3"),
    embedded="dialogues.jsonl",
    variants={
        "question": "{text}\n\nWhat happened in this conversation?\n",
        "topic": "Here is a conversation:\n\n{text}\n\nIn one or two sentences, it is about:\n",
        "gist": "Read what was said and give the gist of it.\n\n{text}\n\nGist:\n",
        "minutes": "{text}\n\nWrite minutes of the conversation above for someone who missed it.\n",
        "bare": "{text}\n\nSummary:\n",
    },
)
SENTIMENT = Task(
    "sentiment",
    "\nIs the sentiment of the following tweet positive, negative or neutral?\n\n{text}\n\n"
    "Sentiment:\n",
    text_field="text",
    answer_fields=("label_text",),
    embedded="tweets.jsonl",
    labels=("positive", "negative", "neutral"),
    variants={
        "feeling": "{text}\n\nHow does the writer feel: positive, negative or neutral?\n",
        "choice": "Tweet: {text}\nOptions: positive, negative, neutral\nAnswer:\n",
        "bare": "{text}\n\nSentiment:\n",
    },
)

TASKS = {task.name: task for task in (SUMMARIZE, SENTIMENT)}


def find_task(name: str) -> Task:
    """The task called ``name``; ``UserError`` that lists the known ones otherwise."""
    if name not in TASKS:
        raise UserError(f"Unknown task '{name}': choose one of {', '.join(TASKS)}.")
    return TASKS[name]
