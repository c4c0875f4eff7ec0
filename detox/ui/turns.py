"""Answers that are called off, so that what was asked for last is what is seen at the end."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from anyio import to_thread

_END = object()


def overtakes(triggers: Sequence[Callable[..., Any]], *events: Any) -> None:
    """Makes ``triggers`` call off what ``events`` have not answered yet.

    For events that show their answers in the same place: what was asked first would otherwise
    replace what was asked last whenever its answer comes later. ``events`` have to be queued, and
    those that stream ``breakable``. Call this before the other listeners of ``triggers`` are
    made: gradio 6.31 takes those of one trigger in turn and waits for each.
    """
    for trigger in triggers:
        trigger(None, None, None, cancels=list(events), api_visibility="private")


def breakable(handler: Callable[..., Iterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    """Makes of a generator one that can be called off at any moment, also between two steps.

    gradio 6.31 cannot call off a step of a plain generator: it waits for it, up to a minute and
    with a lock of the whole app. Here a step that nobody waits for any more goes on in its thread,
    and the generator is closed after it.
    """

    @functools.wraps(handler)
    async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        steps, taken = handler(*args, **kwargs), threading.Lock()

        def step() -> Any:
            with taken:
                return next(steps, _END)

        def close() -> None:
            with taken:
                steps.close()  # type: ignore[attr-defined]  # a generator is more than an iterator

        ended = False
        try:
            while (view := await to_thread.run_sync(step, abandon_on_cancel=True)) is not _END:
                yield view
            ended = True
        finally:
            if not ended:
                threading.Thread(target=close, daemon=True, name="calling-off").start()

    return stream
