"""From the first look to a dataset: compare, label three pairs, undo one, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from detox.results import Row
from tests.app.conftest import Visit

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)


def test_compare_label_undo_and_export(arena: Visit, visitor: Any, result_rows: list[Row]) -> None:
    # pairs of equal texts leave nothing to pick
    pairs = sum(row["before"]["text"] != row["after"]["text"] for row in result_rows)
    visitor.goto(arena.url)
    expect(visitor.locator("#model-status")).to_contain_text("models ready")
    visitor.click("#compare")
    expect(visitor.locator("#result .da-side:not(.da-writing)")).to_have_count(2)

    visitor.get_by_role("tab", name="Label").click()
    visitor.locator("#label-name input, #label-name textarea").first.fill("Ada")
    visitor.click("#label-start")
    visitor.get_by_role("button", name="Skip the practice").click()
    done = visitor.locator("#label-stage .lb-meter-own span")
    expect(done).to_have_text(f"You: 0 of {pairs}")
    for count, choice in enumerate(("left", "right", "left"), start=1):
        visitor.locator(f"#label-stage [data-choice={choice}]:not([aria-disabled])").click()
        expect(done).to_have_text(f"You: {count} of {pairs}")
    visitor.keyboard.press("u")
    expect(done).to_have_text(f"You: 2 of {pairs}")

    visitor.get_by_role("tab", name="Results").click()
    expect(visitor.locator("#results-page")).to_contain_text("2")

    visitor.get_by_role("tab", name="Export").click()
    visitor.click("#export-start")
    expect(visitor.locator("#export-summary")).to_contain_text("2")
    with visitor.expect_download() as download:
        visitor.click("#export-download")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 2
    assert all({"prompt", "chosen", "rejected"} <= set(row) for row in rows)
    assert "Ada" not in "".join(lines)
