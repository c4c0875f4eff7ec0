"""Errors: one sentence for visitors, the rest for the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import gradio as gr
import pytest

from detox.errors import UserError
from detox.ui.manners import SORRY, lasting, polite


@polite
def refuse(sentence: str) -> str:
    """Says no."""
    raise UserError(sentence)


@polite
def stumble() -> None:
    raise KeyError("secret detail")


@polite
def count(to: int) -> Iterator[int]:
    yield from range(to)
    raise UserError("That is all.")


def test_expected_errors_are_shown_as_they_are() -> None:
    with pytest.raises(gr.Error) as caught:
        refuse("The dialogue is empty.")
    assert caught.value.message == "The dialogue is empty."


def test_unexpected_errors_are_logged_and_apologised_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "detox"), pytest.raises(gr.Error) as caught:
        stumble()
    assert caught.value.message == SORRY
    assert "secret detail" in caplog.text


def test_generators_keep_what_they_gave_before() -> None:
    given = count(2)
    assert [next(given), next(given)] == [0, 1]
    with pytest.raises(gr.Error, match="That is all"):
        next(given)


def test_errors_meant_for_gradio_pass() -> None:
    @polite
    def own() -> None:
        raise gr.Error("mine")

    with pytest.raises(gr.Error, match="mine"):
        own()


def test_handlers_keep_their_names_for_the_api() -> None:
    assert refuse.__name__ == "refuse" and refuse.__doc__ == "Says no."


def test_what_somebody_typed_cannot_become_markup() -> None:
    @polite
    def fail() -> None:
        raise UserError("Unknown policy '<img src=x onerror=alert(1)>': choose another.")

    with pytest.raises(gr.Error) as caught:
        fail()
    assert "&lt;img" in caught.value.message and "<" not in caught.value.message


@pytest.mark.parametrize(
    ("error", "said"), [(UserError("Too <b>long</b>."), "Too <b>long</b>."), (OSError("x"), SORRY)]
)
def test_what_breaks_off_leaves_the_reason_in_its_place(error: Exception, said: str) -> None:
    @lasting(lambda sentence: f"broken: {sentence}")
    @polite
    def write(begun: bool) -> Iterator[str]:
        if begun:
            yield "writing"
        raise error

    given = write(True)
    assert [next(given), next(given)] == ["writing", f"broken: {said}"]
    with pytest.raises(gr.Error):
        next(given)
    with pytest.raises(gr.Error):  # what stood there before stays
        next(write(False))
