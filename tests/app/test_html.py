"""Texts as pages: readable, and inert whatever is in them."""

from __future__ import annotations

import pytest

from detox import wording
from detox.ui import html
from detox.workbench import Side, Status

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.mark.parametrize(
    ("value", "text"), [(1.234, "+1.23"), (-0.5, "\u22120.50"), (0.001, "+0.00"), (-0.001, "+0.00")]
)
def test_numbers_have_a_sign_and_two_decimals(value: float, text: str) -> None:
    assert wording.number(value) == text


@pytest.mark.parametrize(
    ("difference", "words"),
    [(3.2, "gentler"), (0.2, "about the same"), (-0.2, "about the same"), (-1, "ruder")],
)
def test_differences_in_plain_words(difference: float, words: str) -> None:
    assert wording.verdict(difference) == words


def test_a_conversation_is_read_turn_by_turn() -> None:
    text = "#Person1#: Hello.\nStill me.\n\nMs. O'Neil : At 10:30?\n"
    assert wording.turns(text) == [("#Person1#", "Hello.\nStill me."), ("Ms. O'Neil", "At 10:30?")]


def test_text_without_speakers_is_shown_as_it_is() -> None:
    assert wording.turns("just a note") == [("", "just a note")]
    assert "just a note" in html.conversation("just a note")


def test_speakers_are_called_as_people_write_them() -> None:
    page = html.conversation("#Person1#: Hi.\n#Person2#: Hi yourself.")
    assert "Person 1" in page and "#Person1#" not in page
    assert page.count("da-right") == 1


def test_an_empty_conversation_says_what_to_do() -> None:
    assert "Pick an example" in html.conversation(" \n")


def test_a_very_long_conversation_is_shown_in_part() -> None:
    page = html.conversation("A: word\n" * 20_000)
    assert page.count("da-turn") < 200
    assert "The rest is not shown" in page


def test_nothing_that_is_written_can_act() -> None:
    pages = [
        html.conversation(f"{HOSTILE}\nA{HOSTILE}: {HOSTILE}\n#Person1#: {HOSTILE}"),
        html.comparison([Side(HOSTILE, HOSTILE, 3, 1.0, 0.5)] * 2, HOSTILE),
        html.pill(Status(False, 0.5, HOSTILE)),
        html.failure(HOSTILE, HOSTILE),
        html.waiting(Status(False, 0.5, HOSTILE)),
    ]
    for page in pages:
        assert "<img" not in page
        assert "&lt;img" in page


def test_scores_appear_when_they_are_known() -> None:
    growing = html.comparison([Side("before", "They", 1), Side("after", "They", 1)])
    assert "Writing" in growing and "da-writing" in growing
    sides = [Side("before", "Bad.", 1, -1.0, 0.9), Side("after", "Kind.", 1, 2.0, 0.04)]
    done = html.comparison(sides)
    for text in ("Gentler", "+3.00", "\u22121.00", "90\u00a0%", "4\u00a0%", "1 word"):
        assert text in done


def test_a_version_keeps_its_colour_when_swapped() -> None:
    sides = [Side("after", "Kind.", 1, 2.0, 0.04), Side("before", "Bad.", 1, -1.0, 0.9)]
    page = html.comparison(sides)
    assert page.index("da-side da-after") < page.index("da-side da-before")
    assert "Ruder" in page


def test_a_version_that_wrote_nothing_is_said_to_have() -> None:
    assert "wrote nothing" in html.comparison([Side("a", "", 0, 0.1, 0.5)] * 2)


def test_the_pill_tells_loading_ready_and_failed_apart() -> None:
    said = [
        html.pill(status)
        for status in (
            Status(False, 0.42, "loading after"),
            Status(True, 1.0, "ready"),
            Status(False, 1.0, "loading failed", "No."),
        )
    ]
    assert "42\u00a0%" in said[0] and "ready" in said[1] and "did not load" in said[2]


def test_what_a_model_is_at_is_said_before_and_after_the_first_words() -> None:
    before, after = Side("before", "", 0), Side("after", "", 0)
    assert "Reading" in html.comparison([before, after])
    assert "Writing" in html.comparison([before, Side("after", "They", 1)])
