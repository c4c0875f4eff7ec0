"""Floods are answered with 429, and nobody else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from starlette.middleware import Middleware

from app import guards, launch
from hosting.pace import Pace
from hosting.settings import Settings
from labeling import allowance
from labeling.allowance import MINUTE


async def nobody(scope: object, receive: object, send: object) -> None:
    raise AssertionError("not asked")


def test_a_minute_has_so_many_and_the_next_one_as_many_again() -> None:
    now = [0.0]
    guard = Pace(nobody, events=3, clock=lambda: now[0])
    for second in (0.0, 10.0, 20.0):
        now[0] = second
        assert guard.ask("a", "events") == 0
    assert guard.ask("a", "events") == MINUTE - 20
    assert guard.ask("b", "events") == guard.ask("a", "uploads") == 0
    now[0] = MINUTE  # the first of the three is a minute old
    assert guard.ask("a", "events") == 0
    assert guard.ask("a", "events") == 10


def test_the_quietest_address_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "REMEMBERED", 2)
    guard = Pace(nobody, events=1, clock=lambda: 0.0)
    for address in ("a", "b", "a", "c"):
        guard.ask(address, "events")
    assert guard.ask("a", "events") > 0, "it asked after b"
    assert guard.ask("b", "events") == 0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A page that takes three events, one upload and two sign-ins a minute."""
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button("x").click(lambda: None, api_name="x")
    guard = Middleware(Pace, events=3, uploads=1, sign_ins=2)  # type: ignore[arg-type]
    yield launch(page, [guard], quiet=True)
    page.close(verbose=False)


def test_a_flood_from_one_address_is_stopped_with_a_sentence(url: str) -> None:
    def post(path: str, address: str) -> httpx.Response:
        headers = {"x-forwarded-for": f"1.1.1.1, {address}"}
        return httpx.post(url + path, json={"data": []}, headers=headers)

    answers = [post("gradio_api/call/x", "10.0.0.1") for _ in range(5)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429, 429]
    said = answers[-1].json()["detail"]
    assert said.startswith("Too many events at once: try again in ")
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert post("gradio_api/call/x", "10.0.0.2").status_code == 200
    logins = [post("login", "10.0.0.1").status_code for _ in range(3)]
    assert logins[:2] != [429, 429] and logins[2] == 429
    assert [httpx.get(url).status_code for _ in range(5)] == [200] * 5, "looking is free"


def test_only_a_page_that_others_reach_is_guarded(tmp_path: Path) -> None:
    assert guards(Settings(tmp_path / "picks.db")) == []
    for settings in (
        Settings(tmp_path / "picks.db", public=True),
        Settings(tmp_path / "picks.db", sign_in="accounts"),
    ):
        (guard,) = guards(settings)
        assert guard.cls is Pace
