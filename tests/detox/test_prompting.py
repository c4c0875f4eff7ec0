"""Zero-, one- and few-shot prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from detox.config import Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.models import load_policy
from detox.prompting import Setup, build_prompt, setups, solved, too_long
from detox.tasks import SENTIMENT, SUMMARIZE, TASKS, Task


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@pytest.mark.parametrize("shots", [0, 1, 3])
def test_examples_come_from_the_training_split(task: Task, shots: int) -> None:
    shown = solved(task, shots)
    rows = load_dialogues(split="train", task=task)
    answers = {row["dialogue"]: row["references"] for row in rows}
    assert len(shown) == shots
    assert all(answer in answers[text] for text, answer in shown)
    assert shown == solved(task, shots) and shown != solved(task, 3, seed=1)


def test_every_label_is_shown_before_any_comes_again() -> None:
    assert {answer for _, answer in solved(SENTIMENT, 3)} == set(SENTIMENT.labels)


def test_the_text_in_question_is_never_an_example() -> None:
    for text, _ in solved(SUMMARIZE, 8):
        assert text not in [shown for shown, _ in solved(SUMMARIZE, 8, text)]


def test_a_prompt_as_asked() -> None:
    prompt = build_prompt(SENTIMENT, "Good.", Setup("before", "bare", 1))
    ((text, answer),) = solved(SENTIMENT, 1)
    assert prompt == f"{text}\n\nSentiment:\n{answer}\n\nGood.\n\nSentiment:\n"


def test_a_prompt_that_is_too_long_is_counted(tiny_t5: Path) -> None:
    policy = load_policy(str(tiny_t5))
    long = SUMMARIZE.prompt("word " * 900)
    count = len(policy.tokenizer(long).input_ids)
    said = too_long(policy, long, Sampling())
    assert said.startswith(f"The prompt has {count:,} tokens and ") and "reads at most 512" in said
    assert too_long(policy, "short", Sampling()) == ""


def test_every_combination() -> None:
    found = setups(["a", "b"], ["default"], [0, 2], Sampling())
    assert [setup.title for setup in found] == [
        "a, zero-shot, default",
        "a, 2-shot, default",
        "b, zero-shot, default",
        "b, 2-shot, default",
    ]


@pytest.mark.parametrize("shots", [-1, 9])
def test_how_many_examples(shots: int) -> None:
    with pytest.raises(UserError, match=r"^shots must lie between 0 and 8\.$"):
        Setup("before", shots=shots)
