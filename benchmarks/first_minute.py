"""A newcomer's first minute: until there is something to read, and until a pair is labelled.

    python -m benchmarks.first_minute --times 15

Starts the app, waits for its models, and comes to it each time with a fresh browser (no cache, the
system's Chromium on the same cores). Seconds from asking for the address: until the browser paints
for the first time, until the summaries of the first dialogue stand on the page, and, by a script
that waits for nothing but the page, from there over the Label tab, a name and the practice that is
skipped to the first pair on the screen and to its pick in the database. What a person adds is
reading and typing. Writes ``benchmarks/results/first_minute.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.labelers import app_process
from benchmarks.timing import spread
from labeling.store import open_store

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ASKED = ("first paint", "summaries to read", "first pair to judge", "first pick saved")
PATIENCE = 60.0
# Without the pop-ups that a new window prepares for its address bar, beside our page.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,HttpsUpgrades,PaintHolding",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    parser.add_argument("--output", default="benchmarks/results/first_minute.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "labels.db"
        with app_process(database) as (url, _), sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path=shutil.which("chromium"), args=list(ARGUMENTS)
            )
            visits = [visit(browser, url, database, n) for n in range(arguments.times + 1)]
            browser.close()
    found = {name: spread([visit[name] for visit in visits[1:]]) for name in ASKED}
    print(json.dumps(found, indent=2))
    Path(arguments.output).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def visit(browser: Browser, url: str, database: Path, number: int) -> dict[str, float]:
    """Seconds from asking for the address to each of ``ASKED``, with a browser that knows nothing.

    The first visit warms the server up, and is not counted.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(1_000 * PATIENCE)
    began = time.monotonic()
    page.goto(url, wait_until="commit")
    page.locator("#result .da-side:not(.da-writing)").nth(1).wait_for()
    read = time.monotonic() - began
    page.get_by_role("tab", name="Label", exact=True).click()
    page.locator("#label-name input, #label-name textarea").first.fill(f"Newcomer {number}")
    page.click("#label-start")
    page.get_by_role("button", name="Skip the practice").click()
    page.locator("#label-stage .lb-card").nth(1).wait_for()
    judge = time.monotonic() - began
    page.keyboard.press("1")
    until(lambda: _picks(database) == number + 1)
    saved = time.monotonic() - began
    painted = page.evaluate(PAINT)
    context.close()
    return dict(zip(ASKED, (painted / 1_000, read, judge, saved), strict=True))


def _picks(database: Path) -> int:
    with open_store(database).reading() as db:
        return int(db["picks"].count)


def until(true: Callable[[], bool]) -> None:
    """Returns once it is; ``SystemExit`` where it takes too long."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise SystemExit("The pick was not saved.")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
