import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.data import load_dialogues
from detox.errors import UserError
from detox.tasks import SENTIMENT, SUMMARIZE, TASKS, Task, find_task


def test_the_wording_of_the_lab() -> None:
    dialogue = "#Person1#: Hi.\n#Person2#: Ho."
    assert SUMMARIZE.prompt(dialogue) == (
        "\nSummarize the following conversation.\n\n#Person1#: Hi.\n#Person2#: Ho.\n\nSummary:\n"
    )


def test_sentiment() -> None:
    assert SENTIMENT.prompt("Good.") == (
        "\nIs the sentiment of the following tweet positive, negative or neutral?\n\nGood.\n\n"
        "Sentiment:\n"
    )


@given(st.text())
def test_a_text_stands_in_its_prompt_as_it_is(text: str) -> None:
    # braces too: "{text}" or "{0}" in a dialogue are words like any other
    before, after = SUMMARIZE.template.split("{text}")
    assert SUMMARIZE.prompt(text) == before + text.strip() + after


def test_a_text_that_looks_like_the_template() -> None:
    assert SUMMARIZE.prompt("{text} {0} {").count("{text} {0} {") == 1


@pytest.mark.parametrize("name", ["summarize", "sentiment"])
def test_tasks_are_found_by_name(name: str) -> None:
    assert find_task(name).name == name
    assert TASKS[name] is find_task(name)


def test_an_unknown_task() -> None:
    with pytest.raises(
        UserError, match=r"^Unknown task 'rhyme': choose one of summarize, sentiment\.$"
    ):
        find_task("rhyme")


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_wording_has_one_slot(task: Task) -> None:
    for template in task.templates.values():
        assert template.count("{text}") == 1
        assert "{" not in template.replace("{text}", "")
    assert len(set(task.templates.values())) == len(task.templates) >= 4


def test_examples_come_solved_before_the_question() -> None:
    prompt = SENTIMENT.prompt("Now?", "bare", [("Yes!", "positive"), ("No.", " negative ")])
    assert prompt == (
        "Yes!\n\nSentiment:\npositive\n\nNo.\n\nSentiment:\nnegative\n\nNow?\n\nSentiment:\n"
    )


def test_an_unknown_template() -> None:
    with pytest.raises(UserError, match=r"^Unknown template 'haiku': choose one of default, feel"):
        SENTIMENT.prompt("Now?", "haiku")


@pytest.mark.parametrize(
    ("answer", "label"),
    [("Positive", "positive"), (" negative.\n", "negative"), ("very good", ""), ("", "")],
)
def test_the_label_of_an_answer(answer: str, label: str) -> None:
    assert SENTIMENT.label_of(answer) == label
    assert SUMMARIZE.label_of(answer) == ""


def test_a_third_task_is_one_entry() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (entry,) = re.findall(r"```python\n(TOPIC = .*?)```", readme, re.DOTALL)
    names: dict[str, Any] = {"Task": Task, "SUMMARIZE": SUMMARIZE, "SENTIMENT": SENTIMENT}
    exec(entry, names)
    topic = names["TASKS"]["topic"]
    row = load_dialogues(split="test", task=topic)[0]
    assert row["references"] == [row["topic"]] and row["topic"]
    assert topic.prompt(row["dialogue"]).endswith("Topic:\n")
