"""Takes the pictures of docs/gallery.md from a running app: every tab, light, dark, on a phone.

    DETOX_DB=/tmp/pictures.db python app.py &
    python docs/screenshots.py http://127.0.0.1:7860

Needs Playwright (requirements-dev.txt) and a system Chromium. A dozen pairs are judged on the way,
so that there is something to see in Results: give the app a database of its own.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect, sync_playwright

FOLDER = Path(__file__).parent
LOOKS: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1280, "height": 900}},
    "-dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "-phone": {"viewport": {"width": 390, "height": 844}},
}
PICKS = 12
PATIENCE = 240_000


def main(url: str) -> None:
    """Writes a picture of each tab in each look beside this file."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for suffix, look in LOOKS.items():
            page = browser.new_page(**look)
            page.set_default_timeout(PATIENCE)
            page.goto(url)
            for name, wait in TABS.items():
                if name != "Compare":
                    open_tab(page, name)
                wait(page)
                page.wait_for_timeout(500)  # what fades in has done so
                page.screenshot(path=FOLDER / f"{name.lower()}{suffix}.png")
            page.close()
        browser.close()


def open_tab(page: Page, name: str) -> None:
    """Opens a tab, from the menu where a narrow page has put it there."""
    page.evaluate("window.scrollTo(0, 0)")
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.count() and tab.first.is_visible():
        tab.first.click()
        return
    page.locator(".overflow-menu button").first.click()
    page.locator(".overflow-dropdown button", has_text=name).first.click()


def compared(page: Page) -> None:
    """Two summaries of the first dialogue."""
    expect(page.locator("#result .da-side")).to_have_count(2, timeout=PATIENCE)


def played(page: Page) -> None:
    """Three answers to one text."""
    page.click("#play-go")
    expect(page.locator("#play-answers .da-scores")).to_have_count(3, timeout=PATIENCE)


def reported(page: Page) -> None:
    """The report that ships."""
    expect(page.locator("#report svg").first).to_be_visible(timeout=PATIENCE)


def labelled(page: Page) -> None:
    """A pair to judge, after a dozen that were."""
    page.locator("#label-name input, #label-name textarea").first.fill("Ada")
    page.click("#label-start")
    # whoever has picked before is only told what to expect
    skip = page.get_by_role("button", name="Skip the practice").or_(
        page.get_by_role("button", name="I have read this")
    )
    left = page.locator("#label-stage [data-choice=left]")
    expect(skip.or_(left).first).to_be_visible(timeout=PATIENCE)
    if skip.first.is_visible():
        skip.first.click()
    for number in range(PICKS):
        expect(left).to_be_enabled(timeout=PATIENCE)
        page.locator(f"#label-stage [data-choice={'left' if number % 3 else 'right'}]").click()
        page.wait_for_timeout(700)
    expect(left).to_be_visible(timeout=PATIENCE)


def settled(selector: str) -> Callable[[Page], None]:
    """Waits for what a tab is about."""

    def wait(page: Page) -> None:
        expect(page.locator(selector).first).to_be_visible(timeout=PATIENCE)
        page.wait_for_timeout(1_500)

    return wait


TABS: dict[str, Callable[[Page], None]] = {
    "Compare": compared,
    "Playground": played,
    "Evaluate": reported,
    "Label": labelled,
    "Results": settled("#results-page"),
    "Export": settled("#export-controls"),
    "Manage": settled("#manage-desk"),
    "Train": settled("#train-desk"),
}


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860")
