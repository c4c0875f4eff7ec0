import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.errors import UserError
from detox.tasks import SENTIMENT, SUMMARIZE, TASKS, find_task


def test_the_wording_of_the_lab() -> None:
    dialogue = "#Person1#: Hi.\n#Person2#: Ho."
    assert SUMMARIZE.prompt(dialogue) == (
        "\nSummarize the following conversation.\n\n#Person1#: Hi.\n#Person2#: Ho.\n\nSummary:\n"
    )


def test_sentiment() -> None:
    assert SENTIMENT.prompt("Good.") == (
        "\nIs the following review positive or negative?\n\nGood.\n\nSentiment:\n"
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
