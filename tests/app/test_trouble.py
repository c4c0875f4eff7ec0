"""Models that crash or hang: Compare explains and recovers, and labelers notice nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from detox.writers import Writers
from hosting.settings import Settings
from labeling.store import open_store
from tests.app.conftest import Visit, app_of
from tests.app.label_desk import STAGE, picks, project, sign_in

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


class Frail(Writers):
    """Writes two words and then, as ``mood`` says: goes on, crashes, or waits for ``help``."""

    mood = "well"
    help = threading.Event()

    def stream(self, *arguments: Any) -> Iterator[tuple[str, ...]]:
        yield "They are", "They are"
        if self.mood == "crashing":
            raise RuntimeError("the worker died")
        if self.mood == "hanging":
            assert self.help.wait(60)
        yield from super().stream(*arguments)

    def write(self, *arguments: Any) -> list[str]:
        if self.mood == "hanging":
            assert self.help.wait(60)
        return super().write(*arguments)


@pytest.fixture(scope="module")
def frail(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    folder = tmp_path_factory.mktemp("frail")
    settings = replace(tiny_settings, database=folder / "picks.db", results=folder / "none")
    project(settings.database)
    with app_of(settings, lend=Frail) as visit:
        visit.bench.wait(120)
        yield visit


def test_a_crash_is_explained_and_the_next_comparison_works(frail: Visit, visitor: Any) -> None:
    visitor.goto(frail.url)
    Frail.mood = "crashing"
    visitor.click("#compare")
    expect(visitor.locator("#result .da-error")).to_contain_text("Something went wrong on our side")
    Frail.mood = "well"
    visitor.click("#compare")
    expect(visitor.locator("#result .da-scores")).to_have_count(2)
    expect(visitor.locator("#result .da-writing")).to_have_count(0)


@pytest.mark.parametrize(
    ("mood", "there"),
    [("crashing", "#result .da-error"), ("well", "#result .da-verdict:not(.da-working)")],
)
def test_what_the_page_asks_by_itself_replaces_no_result(
    frail: Visit, visitor: Any, monkeypatch: pytest.MonkeyPatch, mood: str, there: str
) -> None:
    asked, pressed = threading.Event(), threading.Event()

    def start_later() -> None:
        if not asked.is_set():
            asked.set()
            assert pressed.wait(60)

    monkeypatch.setattr(frail.bench, "start", start_later)
    visitor.goto(frail.url)
    assert asked.wait(60)
    Frail.mood = mood
    visitor.click("#compare")
    outcome = visitor.locator(there)
    expect(outcome).to_be_visible()
    pressed.set()
    visitor.wait_for_timeout(2_000)
    expect(outcome).to_be_visible()
    expect(visitor.locator("#model-status")).to_contain_text("ready")


@pytest.mark.parametrize("change", ["card", "text", "version"])
def test_a_summary_never_stands_under_another_conversation(
    frail: Visit, visitor: Any, change: str
) -> None:
    visitor.goto(frail.url)
    # while it is being opened, what is typed may be set back
    visitor.get_by_role("button", name="Paste your own").click()
    text = visitor.locator("#dialogue textarea")
    expect(text).to_be_editable()
    expect(text).not_to_have_value("")
    Frail.mood = "hanging"
    Frail.help.clear()
    visitor.click("#compare")
    expect(visitor.locator("#result .da-writing").first).to_be_visible()
    try:
        if change == "card":
            visitor.locator("#featured label").nth(2).click()
        elif change == "text":
            text.fill("Ann: Where is my bike?\nBob: In the shed.")
        else:
            visitor.click("#swap")
        expect(visitor.locator("#result")).to_contain_text("Press Compare")
    finally:
        Frail.mood = "well"
        Frail.help.set()
    visitor.wait_for_timeout(1_000)
    expect(visitor.locator("#result")).to_contain_text("Press Compare")
    visitor.click("#compare")
    expect(visitor.locator("#result .da-scores")).to_have_count(2)


def test_a_report_chosen_during_an_evaluation_stays(frail: Visit, visitor: Any) -> None:
    visitor.goto(frail.url)
    visitor.get_by_role("tab", name="Evaluate", exact=True).click()
    Frail.mood = "hanging"
    Frail.help.clear()
    visitor.locator("#evaluate-now button").first.click()
    visitor.click("#evaluate-go")
    report = visitor.locator("#report")
    expect(report).to_contain_text("0 of 20 pairs")
    try:
        visitor.locator("#evaluate-runs input").click()
        visitor.get_by_role("option", name="what ships").click()
        expect(report).to_contain_text("No report yet")
    finally:
        Frail.mood = "well"
        Frail.help.set()
    visitor.wait_for_timeout(1_000)
    expect(report).to_contain_text("No report yet")
    expect(visitor.locator("#evaluate-runs input")).to_have_value("what ships")


def test_labelers_go_on_while_a_model_hangs(frail: Visit, visitor: Any) -> None:
    visitor.goto(frail.url)
    Frail.mood = "hanging"
    visitor.click("#compare")
    expect(visitor.locator("#result .da-writing").first).to_be_visible()
    try:
        visitor.get_by_role("tab", name="Label", exact=True).click()
        sign_in(visitor)
        visitor.get_by_role("button", name="Skip the practice").click()
        visitor.locator(f"{STAGE} .lb-card").first.wait_for()
        for number in range(3):
            stage = visitor.locator(f"{STAGE} .lb-stage")
            shown = stage.get_attribute("data-assignment")
            visitor.keyboard.press("1")
            expect(stage).not_to_have_attribute("data-assignment", shown or "")
            saved(frail, number + 1)
    finally:
        Frail.mood = "well"
        Frail.help.set()
    visitor.get_by_role("tab", name="Compare", exact=True).click()
    expect(visitor.locator("#result .da-writing")).to_have_count(0)


def saved(frail: Visit, count: int) -> None:
    """Returns once so many picks are in the database."""
    end = time.monotonic() + 30
    while len(picks(open_store(frail.settings.database))) < count:
        assert time.monotonic() < end, "the pick was not saved"
        time.sleep(0.05)
