"""However many pages were opened, the app remembers so many of them and serves all."""

from __future__ import annotations

import asyncio

import gradio as gr
import httpx
import pytest

import app
from benchmarks.labelers import Browser, Log, known_events


def test_pages_that_are_forgotten_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SESSIONS", 3)
    with gr.Blocks(analytics_enabled=False) as page:
        seen, shown = gr.State(0), gr.Number()

        def count(before: int) -> tuple[int, int]:
            return before + 1, before + 1

        gr.Button("x").click(count, seen, [seen, shown], api_name="count")
    url = app.launch(page, quiet=True)
    log = Log()

    async def visits() -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            events = await known_events(client)
            said = []
            for name in ("a", "a", "b", "c", "d", "a"):
                answer = await Browser(client, events, name, log).call("count", {})
                said.append(answer)
            return said

    try:
        said = asyncio.run(visits())
    finally:
        page.close(verbose=False)
    assert not log.errors
    assert said == [1, 2, 1, 1, 1, 1], "the page that was quiet longest began anew"
    assert len(page.state_holder.session_data) <= 3
