"""Takes the screenshots of the README from a running app.

    make app &                      # or python app.py
    python docs/screenshots.py http://127.0.0.1:7860

Needs Playwright (requirements-dev.txt) and a system Chromium.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

FOLDER = Path(__file__).parent
WIDTHS = {"": 1280, "-phone": 390}


def main(url: str) -> None:
    """Writes a picture of each tab, and of each on a phone, beside this file."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for suffix, width in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(url)
            expect(page.locator("#result .da-side")).to_have_count(2, timeout=120_000)
            page.screenshot(path=FOLDER / f"compare{suffix}.png", full_page=not suffix)
            open_tab(page, "Playground")
            page.click("#play-go")
            expect(page.locator("#play-answers .da-scores")).to_have_count(3, timeout=120_000)
            page.screenshot(path=FOLDER / f"playground{suffix}.png", full_page=not suffix)
            open_tab(page, "Evaluate")
            expect(page.locator("#report svg").first).to_be_visible()
            page.screenshot(path=FOLDER / f"evaluate{suffix}.png", full_page=False)
            open_tab(page, "Label")
            page.locator("#label-name input, #label-name textarea").first.fill("Ada")
            page.click("#label-start")
            page.get_by_role("button", name="Skip the practice").click()
            expect(page.locator("#label-stage [data-choice=left]")).to_be_visible(timeout=60_000)
            page.screenshot(path=FOLDER / f"label{suffix}.png", full_page=not suffix)
            page.close()
        browser.close()


def open_tab(page: Page, name: str) -> None:
    """Opens a tab, from the menu where a narrow page has put it there."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.count() and tab.first.is_visible():
        tab.first.click()
        return
    page.locator(".overflow-menu button").first.click()
    page.locator(".overflow-dropdown button", has_text=name).first.click()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860")
