"""What a visitor hears when something goes wrong: one sentence, never a traceback."""

from __future__ import annotations

import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import gradio as gr

from detox.errors import UserError

SORRY = "Something went wrong on our side and was written to the log: please try again."
_log = logging.getLogger("detox")
_Handler = TypeVar("_Handler", bound=Callable[..., Any])


def polite(handler: _Handler) -> _Handler:
    """Makes ``handler``, a function or a generator, fit to answer the events of the app.

    ``UserError`` is shown as it is; anything unexpected becomes ``SORRY`` and a log entry.
    """

    @functools.wraps(handler)
    def answer(*args: Any, **kwargs: Any) -> Any:
        with _spoken(handler.__name__):
            return handler(*args, **kwargs)

    @functools.wraps(handler)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with _spoken(handler.__name__):
            yield from handler(*args, **kwargs)

    return stream if inspect.isgeneratorfunction(handler) else answer  # type: ignore[return-value]


def lasting(show: Callable[[str], Any]) -> Callable[[_Handler], _Handler]:
    """For a polite generator that may break off after it showed something unfinished.

    ``show`` makes of the sentence what stays on the page in its place; the error follows.
    """

    def decorate(handler: _Handler) -> _Handler:
        @functools.wraps(handler)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            begun = False
            try:
                for view in handler(*args, **kwargs):
                    yield view
                    begun = True
            except gr.Error as error:
                if begun:
                    said = error.__cause__ if isinstance(error.__cause__, UserError) else SORRY
                    yield show(str(said))
                raise

        return stream  # type: ignore[return-value]

    return decorate


@contextmanager
def _spoken(name: str) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except UserError as error:
        # the page renders the sentence as HTML, and it may quote what somebody typed
        sentence = html.escape(str(error), quote=False)
        raise gr.Error(sentence, title="That did not work", print_exception=False) from error
    except Exception as error:
        _log.exception("%s failed", name)
        raise gr.Error(SORRY, title="That did not work", print_exception=False) from error
