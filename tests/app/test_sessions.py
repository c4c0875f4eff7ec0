"""The app starts on a busy machine, and serves however many pages were opened."""

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


def test_a_machine_too_busy_to_answer_at_once_is_no_reason_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button("x").click(lambda: None, api_name="poke")
    url = app.launch(page, quiet=True)
    try:
        Client(url, verbose=False).predict(api_name="/poke")
    finally:
        page.close(verbose=False)
