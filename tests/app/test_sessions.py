"""However many pages were opened, the app remembers so many of them and serves all."""

from __future__ import annotations

import gradio as gr
import pytest
from gradio_client import Client

import app


def test_pages_that_are_forgotten_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SESSIONS", 3)
    with gr.Blocks(analytics_enabled=False) as page:
        seen, shown = gr.State(0), gr.Number()
        gr.Button("x").click(lambda n: (n + 1, n + 1), seen, [seen, shown], api_name="count")
    url = app.launch(page, quiet=True)
    try:
        visitors = {name: Client(url, verbose=False) for name in "abcd"}
        said = [visitors[name].predict(api_name="/count") for name in "aabcda"]
    finally:
        page.close(verbose=False)
    assert said == [1, 2, 1, 1, 1, 1], "the page that was quiet longest began anew"
    assert len(page.state_holder.session_data) <= 3
