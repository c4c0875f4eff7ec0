"""Generators that can be called off, as gradio calls them off."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from detox.ui.turns import breakable

WHO = ContextVar("who", default="nobody")


@breakable
def counting(most: int, *, fails: bool = False) -> Iterator[int]:
    """Counts."""
    yield from range(most)
    if fails:
        raise ValueError("that was all")


def finished(work: Coroutine[Any, Any, Any]) -> Any:
    """Its result; in a thread of its own, as a browser's tests leave a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def all_of(stream: Any) -> list[Any]:
    return [value async for value in stream]


def test_it_yields_what_the_generator_does() -> None:
    assert finished(all_of(counting(3))) == [0, 1, 2]
    assert finished(all_of(counting(0))) == []


def test_gradio_sees_the_same_arguments_and_a_generator() -> None:
    assert inspect.isasyncgenfunction(counting)
    assert list(inspect.signature(counting).parameters) == ["most", "fails"]
    assert counting.__doc__ == "Counts."


def test_errors_arrive() -> None:
    with pytest.raises(ValueError, match="that was all"):
        finished(all_of(counting(2, fails=True)))


def test_steps_run_in_the_context_of_whoever_asks() -> None:
    @breakable
    def asked() -> Iterator[str]:
        yield WHO.get()

    async def by_ada() -> list[str]:
        WHO.set("Ada")
        return await all_of(asked())

    assert finished(by_ada()) == ["Ada"]


def test_a_step_that_hangs_is_called_off_at_once_and_closed_after_it() -> None:
    waits, goes_on, closed = threading.Event(), threading.Event(), threading.Event()

    @breakable
    def hanging() -> Iterator[int]:
        try:
            yield 1
            waits.set()
            goes_on.wait(30)
            yield 2
        finally:
            closed.set()

    async def call_off() -> float:
        task = asyncio.create_task(all_of(hanging()))
        await asyncio.to_thread(waits.wait, 30)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    async def main() -> None:
        took = await call_off()
        assert took < 5 and not closed.is_set()
        goes_on.set()
        assert await asyncio.to_thread(closed.wait, 30)

    finished(main())


def test_one_that_is_left_between_two_steps_is_closed() -> None:
    closed = threading.Event()

    @breakable
    def left() -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            closed.set()

    async def main() -> None:
        stream = left()
        assert await anext(stream) == 0
        await stream.aclose()  # type: ignore[attr-defined]

    finished(main())
    assert closed.wait(30)
