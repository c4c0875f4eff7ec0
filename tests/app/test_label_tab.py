"""The Label tab in a real browser: keys, clicks, memory, and what the page does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app import launch
from labeling.batches import add_pairs
from labeling.store import Store, open_store
from labeling.ui import label_tab

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

PAIRS = 6


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "picks.db")
    sides = ("before", "Plan {} is dumb.", -7.25), ("after", "They differ on plan {}.", 6.75)
    rows = [
        {"dialogue": f"#Person1#: Plan {i} is dumb.\n#Person2#: Thank you, <b>Ada</b>."}
        | {
            side: {"policy": f"mystery-{side}", "text": text.format(i), "reward": reward}
            for side, text, reward in sides
        }
        for i in range(PAIRS)
    ]
    add_pairs(store, rows, "mystery-batch")
    return store


@pytest.fixture
def desk(store: Store, visitor: Any) -> Iterator[Any]:
    """The page of a labeler who has just signed in."""
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("First"):
            gr.Markdown("Hello")
        with gr.Tab("Label"):
            label_tab(store.path)
    visitor.goto(launch(page, quiet=True))
    visitor.get_by_role("tab", name="Label").click()
    visitor.locator("#label-name input, #label-name textarea").first.fill("Ada")
    visitor.keyboard.press("Enter")
    ready(visitor)
    yield visitor
    page.close(verbose=False)


def ready(page: Any) -> None:
    """A pair is shown and may be judged."""
    expect(page.locator("#label-stage [data-choice=left]:not([aria-disabled])")).to_be_visible()


def done(page: Any, count: int) -> None:
    expect(page.locator("#label-stage .lb-progress span")).to_have_text(f"{count} of {PAIRS}")


def choices(store: Store) -> list[tuple[str, int]]:
    with store.reading() as db:
        rows = db.query("SELECT choice, retracted FROM picks ORDER BY seq")
        return [(row["choice"], row["retracted"]) for row in rows]


def test_every_choice_has_a_key_and_undo_two(desk: Any, store: Store) -> None:
    for count, key in enumerate(("1", "2", "3", "4", "s"), start=1):
        ready(desk)
        desk.keyboard.press(key)
        done(desk, count)
    desk.keyboard.press("Control+z")
    done(desk, 4)
    expect(desk.locator(".lb-status")).to_contain_text("Taken back")
    desk.keyboard.press("u")
    done(desk, 3)
    assert choices(store) == [
        ("left", 0),
        ("right", 0),
        ("tie", 0),
        ("both_bad", 0),
        ("skip", 0),
        ("skip", 1),
        ("both_bad", 1),
    ]
    for count in range(4, PAIRS):
        ready(desk)
        desk.keyboard.press("1")
        done(desk, count)
    ready(desk)
    desk.keyboard.press("1")
    expect(desk.locator("#label-stage")).to_contain_text("You have labelled every pair")


def test_keys_do_nothing_while_typing_or_elsewhere(desk: Any, store: Store) -> None:
    desk.evaluate("document.body.append(document.createElement('textarea'))")
    desk.locator("body > textarea").press_sequentially("1234su")
    for chord in ("Alt+1", "Control+s", "Meta+2"):
        desk.keyboard.press(chord)
    desk.evaluate("document.querySelector('body > textarea').remove()")
    desk.get_by_role("tab", name="First").click()
    expect(desk.locator("#label-stage")).to_be_hidden()
    desk.keyboard.press("1")
    desk.get_by_role("tab", name="Label").click()
    ready(desk)
    desk.keyboard.press("3")
    done(desk, 1)
    assert choices(store) == [("tie", 0)]


def test_a_double_click_judges_one_pair(desk: Any, store: Store) -> None:
    desk.locator("#label-stage [data-choice=right]").dblclick()
    done(desk, 1)
    ready(desk)
    desk.locator("#label-stage [data-choice=left]").click()
    done(desk, 2)
    assert choices(store) == [("right", 0), ("left", 0)]


def test_the_page_is_blind_until_the_pick(desk: Any) -> None:
    for secret in ("mystery", "7.25", "6.75", "eward"):
        assert secret not in desk.locator("#label-desk").evaluate("node => node.outerHTML")
        assert secret not in desk.evaluate("JSON.stringify(window.gradio_config)")
    expect(desk.locator(".da-talk")).to_contain_text("Thank you, <b>Ada</b>.")
    expect(desk.locator(".lb-status")).to_be_empty()
    desk.keyboard.press("1")
    expect(desk.locator(".lb-status")).to_contain_text(
        re.compile("A was mystery-(before|after) reward")
    )


def test_the_browser_remembers_the_labeler_until_told_otherwise(desk: Any) -> None:
    desk.keyboard.press("1")
    done(desk, 1)
    shown = desk.locator("#label-stage [data-assignment]").get_attribute("data-assignment")
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    done(desk, 1)
    again = desk.locator("#label-stage [data-assignment]").get_attribute("data-assignment")
    assert again == shown
    desk.locator("#label-change").click()
    expect(desk.locator("#label-start")).to_be_visible()
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    expect(desk.locator("#label-start")).to_be_visible()
    expect(desk.locator("#label-stage")).to_be_hidden()


def test_the_keyboard_alone_is_enough(desk: Any, store: Store) -> None:
    button = desk.locator("#label-stage [data-choice=left]")
    button.focus()
    desk.keyboard.press("Tab")
    desk.keyboard.press("Enter")
    done(desk, 1)
    # The focus stays where it was, for the next pair.
    expect(desk.locator("#label-stage [data-choice=right]")).to_be_focused()
    ready(desk)
    desk.keyboard.press("Enter")
    done(desk, 2)
    assert choices(store) == [("right", 0), ("right", 0)]


def test_a_phone_has_every_button_in_reach(desk: Any) -> None:
    desk.set_viewport_size({"width": 390, "height": 844})
    for button in desk.locator("#label-stage .lb-actions button").all():
        box = button.bounding_box()
        assert box is not None and box["height"] >= 44
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
    assert desk.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_went_wrong_is_shown(desk: Any, store: Store) -> None:
    desk.locator("#label-change").click()
    desk.locator("#label-name input, #label-name textarea").first.fill(" ")
    desk.locator("#label-start").click()
    toast = desk.get_by_test_id("toast-body")
    expect(toast).to_contain_text("Give a labeler name of 1 to 100 characters.")
    desk.locator("#label-name input, #label-name textarea").first.fill("Bob")
    desk.locator("#label-start").click()
    ready(desk)
    # The database is gone: the pair stays, and the labeler hears why.
    for path in store.path.parent.glob("picks.db*"):
        path.unlink()
    store.path.write_bytes(b"not a database at all " * 1000)
    desk.keyboard.press("1")
    expect(toast.last).to_contain_text("damaged or not a labeling database")
    done(desk, 0)
