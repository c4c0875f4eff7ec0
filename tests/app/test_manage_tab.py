"""The Manage tab in a real browser: a batch from its writing to a decided conflict."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hosting.settings import Settings
from labeling.adjudication import decisions
from labeling.gold import gold_pairs
from labeling.picks import submit
from labeling.plans import standings
from labeling.queue import next_pair
from labeling.store import Store, open_store
from tests.app.conftest import Visit, app_of

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

PHONE = {"width": 390, "height": 844}
SECTIONS = ("Batches", "New batch", "Conflicts", "Gold", "People", "Record")
HOSTILE = '<img src=x onerror="window.hacked=1">'


@pytest.fixture(scope="module")
def app(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """The app with an empty database: every batch comes from these tests."""
    folder = tmp_path_factory.mktemp("manage")
    settings = replace(tiny_settings, database=folder / "picks.db", results=folder / "none")
    with app_of(settings) as visit:
        visit.bench.wait(120)
        yield visit


@pytest.fixture
def store(app: Visit) -> Store:
    return open_store(app.settings.database)


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def field(page: Any, name: str) -> Any:
    return page.locator(f"#{name} input, #{name} textarea").first


def pick_all(store: Store, labeler: str, choice: str) -> int:
    count, rng = 0, random.Random(0)
    while task := next_pair(store, labeler, rng):
        # Sides are drawn for each of them: the longer text stands for one opinion, whoever looks.
        longer = "left" if (len(task.left), task.left) > (len(task.right), task.right) else "right"
        other = {"left": "right", "right": "left"}[longer]
        side = {"longer": longer, "shorter": other}.get(choice, choice)
        submit(store, task.assignment_id, side, labeler=labeler, note=f"{HOSTILE} {labeler}")
        count += 1
    return count


def test_a_batch_is_written_paused_opened_labelled_and_decided(
    app: Visit, store: Store, visitor: Any
) -> None:
    visitor.goto(app.url)
    tab(visitor, "Manage")
    expect(visitor.locator("#manage-batches")).to_contain_text("There is no batch yet")

    tab(visitor, "New batch")
    field(visitor, "new-name").fill("small")
    field(visitor, "new-count").fill("4")
    field(visitor, "new-votes").fill("3")
    field(visitor, "new-repeats").fill("0")
    visitor.click("#new-generate")
    card = visitor.locator("#new-progress")
    expect(card).to_contain_text("Finished “small”")
    expect(card).to_contain_text("4 of 4 dialogues")
    pairs = standings(store)[0].pairs
    assert pairs >= 2

    tab(visitor, "Batches")
    batch = visitor.get_by_role("article", name="small")
    expect(batch).to_contain_text(f"0 of {3 * pairs} votes")
    batch.get_by_role("button", name="Pause").click()
    expect(batch).to_contain_text("paused")

    tab(visitor, "Label")
    field(visitor, "label-name").fill("Ada")
    visitor.click("#label-start")
    expect(visitor.locator("#label-desk")).to_contain_text(re.compile("Labell?ing is paused"))

    tab(visitor, "Manage")
    batch.get_by_role("button", name="Open").click()
    expect(batch).to_contain_text("open")
    tab(visitor, "Label")
    visitor.get_by_role("button", name="Look for new pairs").click()
    expect(visitor.locator("#label-desk")).not_to_contain_text(re.compile("Labell?ing is paused"))
    assert pick_all(store, "Bob", "longer") == pairs
    assert pick_all(store, "Eve", "shorter") == pairs

    tab(visitor, "Manage")
    expect(batch).to_contain_text("in conflict")
    tab(visitor, "Conflicts")
    desk = visitor.locator("#manage-conflicts")
    expect(desk.locator(".lb-card")).to_have_count(2)
    expect(desk).to_contain_text("Bob")
    assert "before" not in desk.inner_text() and "after" not in desk.inner_text()
    field(visitor, "manage-lead").fill("Zoe")
    desk.locator("textarea").fill(f"{HOSTILE} says it all.")
    desk.get_by_label("Make it a gold pair with this answer").check()
    desk.get_by_role("button", name=re.compile("A is better")).click()
    expect(desk.locator(".mg-said")).to_contain_text(re.compile("Saved: (before|after) is better"))
    decided = visitor.locator("#manage-decided tbody tr")
    expect(decided).to_have_count(1)
    expect(decided).to_contain_text("says it all.")
    # By key, for those who have many to decide.
    visitor.keyboard.press("3")
    expect(decided).to_have_count(2)
    expect(decided.first).to_contain_text("tie")
    assert [each.outcome in ("a", "b") for each in decisions(store)] == [False, True]
    assert len(gold_pairs(store)) == 1

    visitor.click("#manage-decided-csv")
    with visitor.expect_download() as download:
        visitor.click("#manage-decided-download")
    assert "says it all." in Path(download.value.path()).read_text(encoding="utf-8")

    # The browser remembers who decides, and what was written there cannot act.
    visitor.reload()
    tab(visitor, "Manage")
    tab(visitor, "Conflicts")
    expect(field(visitor, "manage-lead")).to_have_value("Zoe")
    decided.last.get_by_role("button", name="Decide again").click()
    expect(desk.locator(".mg-said")).to_contain_text("your new decision counts")
    visitor.keyboard.press("4")
    expect(decided.first).to_contain_text("both bad")
    expect(decided).to_have_count(2)
    tab(visitor, "Gold")
    expect(visitor.locator("#manage-gold tbody tr")).to_have_count(1)
    assert visitor.evaluate("window.hacked") is None


def test_a_plan_is_changed_on_a_page_of_its_own(app: Visit, store: Store, visitor: Any) -> None:
    visitor.goto(app.url)
    tab(visitor, "Manage")
    batch = visitor.get_by_role("article").first
    name = standings(store)[0].plan.name
    batch.get_by_role("button", name="Change").click()
    expect(visitor.locator("#manage-plan")).to_contain_text(f"Change “{name}”")
    field(visitor, "manage-plan-hold").fill("0")
    visitor.click("#manage-plan-save")
    toast = visitor.get_by_test_id("toast-body")
    expect(toast).to_contain_text("more than 0 minutes")
    field(visitor, "manage-plan-hold").fill("45")
    visitor.click("#manage-plan-save")
    expect(batch).to_contain_text("held 45 min")
    batch.get_by_role("button", name="Order the pairs").click()
    visitor.get_by_label("Those whose summaries are scored alike").last.check()
    visitor.click("#manage-order-go")
    expect(batch).to_contain_text("alike scores first")


def test_people_and_the_record(app: Visit, store: Store, visitor: Any) -> None:
    visitor.goto(app.url)
    tab(visitor, "Manage")
    tab(visitor, "People")
    field(visitor, "people-name").fill(HOSTILE)
    visitor.click("#people-save")
    people = visitor.locator("#manage-people")
    expect(people.locator("tbody tr")).to_have_count(1)
    people.locator("select").select_option("viewer")
    expect(people.locator("select")).to_have_value("viewer")
    # the list comes anew with the role in it; a click on what it replaces would be lost
    expect(people.get_by_role("button", name="Disable")).to_have_attribute("data-value", "viewer")
    people.get_by_role("button", name="Disable").click()
    expect(people).to_contain_text("not at all: disabled")
    # The focus stays with the person it was about.
    expect(people.get_by_role("button", name="Enable")).to_be_focused()
    expect(people).to_contain_text("--password")
    assert visitor.locator("#manage-desk input[type=password]").count() == 0

    tab(visitor, "Record")
    pair = decisions(store)[0].pair_id if decisions(store) else ""
    if pair:
        field(visitor, "record-pair").fill(pair[:12])
        visitor.keyboard.press("Enter")
        expect(visitor.locator("#record-history .mg-adjudicated").first).to_be_visible()
    visitor.click("#record-check")
    expect(visitor.locator("#record-result")).to_contain_text("The record is whole")
    visitor.click("#record-backup")
    with visitor.expect_download() as download:
        visitor.click("#record-download")
    assert Path(download.value.path()).read_bytes().startswith(b"SQLite format 3")
    assert visitor.evaluate("window.hacked") is None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_fits_on_a_phone(app: Visit, visitor: Any, theme: str) -> None:
    visitor.set_viewport_size(PHONE)
    visitor.goto(f"{app.url}?__theme={theme}")
    open_section(visitor.locator(".tabs").first, "Manage")
    sections = visitor.locator("#manage-sections")
    expect(sections).to_be_visible()
    for name in SECTIONS:
        open_section(sections, name)
        page = "document.documentElement"
        assert visitor.evaluate(f"{page}.scrollWidth - {page}.clientWidth") <= 0, name
        for button in visitor.locator("#manage-desk .mg-button:visible").all():
            box = button.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390, name


def open_section(tabs: Any, name: str) -> None:
    """Opens a tab of ``tabs``, from the menu where a narrow page has put it there."""
    expect(tabs.get_by_role("tab").first).to_be_visible()
    found = tabs.get_by_role("tab", name=name, exact=True)
    if found.count() and found.first.is_visible():
        found.first.click()
        return
    tabs.locator(".overflow-menu > button").first.click()
    menu = tabs.locator(".overflow-dropdown button").filter(has_text=re.compile(rf"^\s*{name}\s*$"))
    menu.first.click()
