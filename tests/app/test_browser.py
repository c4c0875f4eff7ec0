"""Visits in a real browser."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import detox.models
from app import build_app, launch
from detox.workbench import Workbench
from hosting.settings import Settings
from tests.app.conftest import Visit

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

PHONE = {"width": 390, "height": 844}
HOSTILE = '#Person1#: <img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Models do not load before the event is set."""
    event = threading.Event()
    load = detox.models.load_policies

    def late(*arguments: Any) -> Any:
        event.wait(300)
        return load(*arguments)

    monkeypatch.setattr(detox.models, "load_policies", late)
    yield event
    event.set()


def test_the_page_is_there_before_the_models(
    gate: threading.Event, tiny_settings: Settings, tmp_path: Path, visitor: Any
) -> None:
    settings = replace(tiny_settings, database=tmp_path / "picks.db", results=tmp_path / "none")
    page = build_app(settings, Workbench(settings.policies, settings.classifier))
    visitor.goto(launch(page, quiet=True))
    try:
        expect(visitor.locator("#talk .da-turn").first).to_be_visible()
        expect(visitor.locator("#model-status")).to_contain_text("loading")
        visitor.click("#compare")
        expect(visitor.locator("#result")).to_contain_text("One moment")
        gate.set()
        expect(visitor.locator("#model-status")).to_contain_text("models ready")
        expect(visitor.locator("#result .da-side:not(.da-writing)")).to_have_count(2)
        # nothing was computed beforehand here, and the page says how to do that
        visitor.get_by_role("tab", name="Twenty at once").click()
        expect(visitor.locator("#batch-summary")).to_contain_text("python -m detox evaluate")
    finally:
        page.close(verbose=False)


def test_pick_an_example_compare_and_read_the_scores(arena: Visit, visitor: Any) -> None:
    visitor.goto(arena.url)
    expect(visitor.locator("#model-status")).to_contain_text("models ready")
    first = visitor.locator("#talk").inner_text()
    visitor.locator("#featured label").nth(2).click()
    expect(visitor.locator("#talk")).not_to_have_text(first)
    visitor.click("#compare")
    sides = visitor.locator("#result .da-side:not(.da-writing)")
    expect(sides).to_have_count(2)
    for side in sides.all():
        expect(side).to_contain_text("Reward")
        expect(side.get_by_role("meter")).to_be_visible()
    expect(visitor.locator("#result .da-verdict")).to_contain_text("reward difference")
    expect(visitor.locator("#result")).not_to_contain_text("computed beforehand")


def test_results_of_the_shipped_models_are_there_at_once(
    arena: Visit, visitor: Any, result_rows: Any
) -> None:
    arena.bench.wait(120)
    row = result_rows[3]
    visitor.goto(f"{arena.url}?dialogue={row['id']}")
    expect(visitor.locator("#result")).to_contain_text("computed beforehand")
    visitor.click("#swap")
    expect(visitor.locator("#result .da-side h3").first).to_have_text("After")


def test_bad_input_is_answered_by_a_sentence(arena: Visit, visitor: Any) -> None:
    visitor.goto(arena.url)
    visitor.get_by_text("Paste your own, or edit this one").click()
    visitor.click("#clear")
    expect(visitor.locator("#talk")).to_contain_text("No conversation yet")
    visitor.click("#compare")
    toast = visitor.get_by_test_id("toast-body")
    expect(toast).to_contain_text("The dialogue is empty: paste a conversation")


def test_what_visitors_paste_cannot_act(arena: Visit, visitor: Any) -> None:
    arena.bench.wait(120)
    visitor.goto(arena.url)
    expect(visitor.locator("#model-status")).to_contain_text("models ready")
    visitor.get_by_text("Paste your own, or edit this one").click()
    visitor.locator("#dialogue textarea").fill(HOSTILE)
    expect(visitor.locator("#talk")).to_contain_text("<img src=x")
    name = visitor.locator("#before input")
    name.fill("<img src=x onerror=window.hacked=1>")
    name.press("Tab")
    visitor.click("#compare")
    expect(visitor.get_by_test_id("toast-body")).to_contain_text("Unknown policy")
    assert visitor.evaluate("window.hacked") is None


def test_the_batch_opens_at_once_and_downloads(arena: Visit, visitor: Any) -> None:
    visitor.goto(arena.url)
    visitor.get_by_role("tab", name="Twenty at once").click()
    expect(visitor.locator("#batch-plot .da-track")).to_have_count(20)
    expect(visitor.locator("#batch-table tbody tr")).to_have_count(20)
    expect(visitor.locator("#batch-summary")).to_contain_text("95 % interval")
    with visitor.expect_download() as download:
        visitor.click("#batch-csv")
    assert Path(download.value.path()).read_text(encoding="utf-8").startswith("query,before,after")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_fits_on_a_phone(arena: Visit, visitor: Any, theme: str) -> None:
    visitor.set_viewport_size(PHONE)
    visitor.goto(f"{arena.url}?__theme={theme}")
    for tab in ("One dialogue", "Twenty at once"):
        visitor.get_by_role("tab", name=tab).click()
        page = "document.documentElement"
        assert visitor.evaluate(f"{page}.scrollWidth - {page}.clientWidth") <= 0


def tab(visitor: Any, name: str) -> None:
    visitor.get_by_role("tab", name=name, exact=True).click()


def test_three_setups_answer_side_by_side(arena: Visit, visitor: Any) -> None:
    arena.bench.wait(120)
    visitor.goto(arena.url)
    tab(visitor, "Playground")
    visitor.get_by_label("Sentiment").check()
    expect(visitor.locator("#play-text textarea")).not_to_have_value(re.compile("#Person1#"))
    visitor.locator("#play-text textarea").fill(HOSTILE)
    visitor.click("#play-go")
    answers = visitor.locator("#play-answers")
    expect(answers.locator(".da-scores")).to_have_count(3)
    expect(answers).to_contain_text("zero-shot, default")
    expect(answers).to_contain_text("one-shot, default")
    answers.locator("summary").first.click()
    expect(answers.locator("pre").first).to_contain_text("<img src=x")
    assert visitor.evaluate("window.hacked") is None


def test_the_report_opens_at_once_and_another_can_be_made(arena: Visit, visitor: Any) -> None:
    arena.bench.wait(120)
    visitor.goto(arena.url)
    tab(visitor, "Evaluate")
    report = visitor.locator("#report")
    expect(report).to_contain_text("24 paired responses to 24 dialogues")
    expect(report.locator("svg")).to_have_count(4)
    visitor.locator("#evaluate-now button").first.click()
    count = visitor.get_by_label("number input for Test dialogues, drawn at random")
    slider = visitor.get_by_label("range slider for Test dialogues, drawn at random")
    expect(slider).to_be_visible()
    # On a busy machine the number may be set back while the section is still being opened.
    for _ in range(20):
        count.fill("5")
        count.press("Tab")
        visitor.wait_for_timeout(200)
        if (count.input_value(), slider.input_value()) == ("5", "5"):
            break
    expect(slider).to_have_value("5")
    visitor.click("#evaluate-go")
    expect(report).to_contain_text("5 paired responses to 5 dialogues")
    with visitor.expect_download() as started:
        visitor.locator("#report-files a", has_text=re.compile("KB|B")).first.click()
    page = Path(started.value.path()).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "5 paired responses" in page


def test_a_training_can_be_watched_from_the_phone(arena: Visit, visitor: Any) -> None:
    folder = arena.settings.runs / "watched"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "metrics.jsonl"
    log.write_text('{"step": 1, "loss": 3.0, "seconds": 60}\n{"step": 2, "loss": 2.0}\n')
    visitor.goto(arena.url)
    tab(visitor, "Evaluate")
    visitor.set_viewport_size(PHONE)
    visitor.get_by_role("button", name="Look again").click()
    visitor.locator("#evaluate-runs input").click()
    visitor.get_by_role("option", name="watched · training").click()
    report = visitor.locator("#report")
    expect(report).to_contain_text("2 steps so far")
    expect(report.locator("svg")).to_have_count(1)
    with log.open("a") as lines:
        lines.write('{"step": 3, "loss": 1.5}\n')
    visitor.get_by_role("button", name="Look again").click()
    expect(report).to_contain_text("3 steps so far")
    assert visitor.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
