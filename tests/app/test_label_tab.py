"""The Label tab in a real browser: keys, clicks, memory, and what the page does not tell."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labeling.store import Store
from tests.app.label_desk import (
    PAIRS,
    STAGE,
    open_door,
    picks,
    project,
    served,
    shown,
    sign_in,
    start,
)

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=20_000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return project(tmp_path / "picks.db")


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with served(store.path) as address:
        yield address


@pytest.fixture
def desk(url: str, visitor: Any) -> Any:
    """The page of a labeler who has just signed in."""
    start(visitor, url)
    return visitor


def done(page: Any, count: int, of: int = PAIRS) -> None:
    expect(page.locator(f"{STAGE} .lb-meter-own span")).to_have_text(f"You: {count} of {of}")


def saved(page: Any, words: str) -> None:
    expect(page.locator(".lb-stage .lb-status")).to_contain_text(f"Saved: {words}")


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def test_every_choice_has_a_key_and_undo_two(desk: Any, store: Store) -> None:
    for count, (keys, words) in enumerate(
        (
            (["1"], "you chose A"),
            (["2"], "you chose B"),
            (["3"], "you called it a tie"),
            (["4"], "you found both bad"),
            (["s", "Enter"], "you skipped it"),
        ),
        start=1,
    ):
        press(desk, *keys)
        saved(desk, words)
        done(desk, count)
    press(desk, "Control+z")
    done(desk, 4)
    expect(desk.locator(".lb-stage .lb-status")).to_contain_text("Taken back")
    press(desk, "u")
    done(desk, 3)
    assert picks(store) == [
        ("left", 0),
        ("right", 0),
        ("tie", 0),
        ("both_bad", 0),
        ("skip", 0),
        ("skip", 1),
        ("both_bad", 1),
    ]
    for count in range(4, PAIRS):
        press(desk, "1")
        done(desk, count)
    press(desk, "1")
    expect(desk.locator(".lb-end:not([hidden])")).to_contain_text("You have labelled every pair")
    press(desk, "u")
    done(desk, PAIRS - 1)


def test_keys_do_nothing_while_typing_or_elsewhere(desk: Any, store: Store) -> None:
    desk.evaluate("document.body.append(document.createElement('textarea'))")
    desk.locator("body > textarea").press_sequentially("1234sud?")
    expect(desk.locator("body > textarea")).to_have_value("1234sud?")
    for chord in ("Alt+1", "Control+s", "Meta+2", "Control+Shift+z"):
        press(desk, chord)
    desk.evaluate("document.querySelector('body > textarea').remove()")
    # A key that is held down judges one pair, not many; here it began before the page heard it.
    held = "new KeyboardEvent('keydown', {key: '1', repeat: true, bubbles: true})"
    desk.evaluate(f"document.body.dispatchEvent({held})")
    press(desk, "?")
    expect(desk.get_by_role("dialog")).to_be_visible()
    press(desk, "1", "2", "s", "u")
    press(desk, "Escape")
    expect(desk.get_by_role("dialog")).to_be_hidden()
    desk.get_by_role("tab", name="First").click()
    expect(desk.locator(STAGE)).to_be_hidden()
    press(desk, "1", "?")
    assert desk.get_by_role("dialog").count() == 0
    desk.get_by_role("tab", name="Label").click()
    expect(desk.locator(f"{STAGE} .lb-card").first).to_be_visible()
    press(desk, "3")
    done(desk, 1)
    assert picks(store) == [("tie", 0)]


def test_details_are_marked_and_then_sent(desk: Any, store: Store) -> None:
    press(desk, "d")
    details = desk.get_by_role("group", name="Details of your pick")
    expect(details).to_be_visible()
    first = shown(desk)
    press(desk, "2", "l", "c", "5", "7", "5", "f")
    assert shown(desk) == first
    expect(desk.get_by_role("button", name="B is better")).to_have_attribute("aria-pressed", "true")
    for name, pressed in (
        ("Slightly", "false"),
        ("Clearly", "true"),
        ("Gentler", "false"),
        ("More fluent", "true"),
        ("Broken pair", "true"),
    ):
        expect(desk.get_by_role("button", name=name)).to_have_attribute("aria-pressed", pressed)
    press(desk, "n")
    # Typed, not obeyed: a digit, the skip key, Enter.
    desk.keyboard.type("1 s?")
    press(desk, "Enter")
    desk.keyboard.type("line")
    press(desk, "Escape", "Enter")
    saved(desk, "you chose B")
    (row,) = picks(store, "choice", "strength", "reasons", "note", "flagged")
    assert row == ("right", "clearly", '["more fluent"]', "1 s?\nline", 1)
    # The next pair starts anew, the browser remembers the mode.
    for name in ("Clearly", "More fluent", "Broken pair"):
        expect(desk.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "false")
    expect(desk.locator("#lb-note")).to_have_value("")
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    expect(details).to_be_visible()
    expect(desk.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    # A tie is neither slight nor clear.
    press(desk, "1", "c", "3")
    expect(desk.get_by_role("button", name="Clearly")).to_be_disabled()
    press(desk, "Enter")
    saved(desk, "you called it a tie")
    assert picks(store, "choice", "strength", "reasons")[1] == ("tie", None, "[]")
    press(desk, "d", "1")
    saved(desk, "you chose A")


def test_a_skip_asks_for_a_reason_and_can_do_without(desk: Any, store: Store) -> None:
    why = desk.get_by_role("group", name="Why do you skip this pair?")
    expect(why).to_be_hidden()
    press(desk, "s")
    expect(why).to_be_visible()
    expect(desk.get_by_role("button", name="Skip")).to_have_attribute("aria-expanded", "true")
    press(desk, "Escape")
    expect(why).to_be_hidden()
    press(desk, "s", "4")
    done(desk, 1)
    expect(why).to_be_hidden()
    press(desk, "f", "s", "Enter")
    done(desk, 2)
    desk.get_by_role("button", name="Skip").click()
    desk.get_by_role("button", name="Broken text").click()
    done(desk, 3)
    assert picks(store, "choice", "reasons", "flagged") == [
        ("skip", '["too upsetting"]', 0),
        ("skip", "[]", 1),
        ("skip", '["broken text"]', 0),
    ]


def test_an_earlier_pick_can_be_changed_or_kept(desk: Any, store: Store) -> None:
    first = shown(desk)
    press(desk, "1")
    saved(desk, "you chose A")
    press(desk, "2")
    saved(desk, "you chose B")
    waiting = shown(desk)
    press(desk, "h")
    rows = desk.locator(".lb-picks li")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("B is better")
    expect(rows.last).to_contain_text("A is better")
    press(desk, "Escape")
    assert shown(desk) == waiting
    press(desk, "h")
    rows.last.get_by_role("button", name="Change").click()
    banner = desk.locator(".lb-banner")
    expect(banner).to_contain_text("You are changing an earlier pick")
    expect(banner).to_contain_text("it was not blind")
    assert shown(desk) == first
    expect(desk.get_by_role("button", name="A is better")).to_have_attribute("aria-pressed", "true")
    press(desk, "Escape")
    expect(banner).to_be_hidden()
    expect(desk.locator(".lb-stage .lb-status")).to_contain_text("stays as it is")
    assert shown(desk) == waiting
    assert len(picks(store)) == 2
    press(desk, "h")
    rows.last.get_by_role("button", name="Change").click()
    expect(banner).to_be_visible()
    press(desk, "3")
    expect(desk.locator(".lb-stage .lb-status")).to_contain_text("Your change is saved")
    assert shown(desk) == waiting
    done(desk, 2)
    assert picks(store, "choice", "informed") == [("left", 0), ("right", 0), ("tie", 1)]


def test_picks_of_a_closed_batch_stay(desk: Any, store: Store) -> None:
    press(desk, "1")
    saved(desk, "you chose A")
    with store.writing() as db:
        db.execute("UPDATE batches SET status = 'closed'")
    press(desk, "h")
    row = desk.locator(".lb-picks li")
    expect(row).to_contain_text("Its batch is closed")
    expect(row.get_by_role("button")).to_have_count(0)


def test_a_double_click_judges_one_pair(desk: Any, store: Store) -> None:
    desk.locator(f"{STAGE} [data-choice=right]").dblclick()
    done(desk, 1)
    desk.locator(f"{STAGE} [data-choice=left]").click()
    done(desk, 2)
    assert picks(store) == [("right", 0), ("left", 0)]


def test_the_page_is_blind_until_the_pick(url: str, store: Store, visitor: Any) -> None:
    heard: list[str] = []

    def listen(response: Any) -> None:
        if "gradio_api" in response.url and "queue/data" not in response.url:
            heard.append(response.text())

    visitor.on("response", listen)
    start(visitor, url)
    with store.reading() as db:
        ids = [row["id"] for table in ("pairs", "candidates", "policies") for row in db[table].rows]
    heard.append(visitor.content())
    heard.append(visitor.evaluate("JSON.stringify(window.gradio_config)"))
    # Templates, too, and the page that the tab keeps in memory.
    heard.append(visitor.locator(f"{STAGE} .lb-root").evaluate("node => node.innerHTML"))
    for secret in ("mystery", "7.25", "6.75", *ids):
        assert not any(secret in told for told in heard)
    expect(visitor.locator(".da-talk")).to_contain_text("Thank you, <b>Ada</b>.")
    expect(visitor.locator(".lb-stage .lb-status")).to_be_empty()
    with visitor.expect_response("**/run/pick") as answer:
        press(visitor, "1")
    expect(visitor.locator(".lb-stage .lb-status")).to_contain_text(
        re.compile("A was mystery-(before|after) reward")
    )
    told = answer.value.json()["data"]
    assert "mystery" not in json.dumps([told[0]["pair"], told[0]["next"], told[0]["batches"]])
    templates = re.findall(r"<template.*?</template>", told[1], re.DOTALL)
    assert len(templates) == 2 and not any("mystery" in each for each in templates)


def test_the_content_note_comes_once_for_a_browser(url: str, store: Store, visitor: Any) -> None:
    open_door(visitor, url)
    sign_in(visitor)
    note = visitor.locator(".lb-welcome")
    expect(note).to_contain_text("contain insults and mockery")
    press(visitor, "1", "2", "h")
    assert picks(store) == []
    expect(visitor.locator(".lb-card").first).to_be_hidden()
    visitor.get_by_role("button", name="Skip the practice").click()
    press(visitor, "1")
    done(visitor, 1)
    visitor.reload()
    visitor.get_by_role("tab", name="Label").click()
    done(visitor, 1)
    expect(note).to_be_hidden()
    # Somebody else in this browser has read the note as well, but may want to practise.
    visitor.locator("#label-change").click()
    sign_in(visitor, "Bob")
    expect(note.get_by_role("button", name="Try four examples first")).to_be_visible()
    expect(note.get_by_text("contain insults and mockery")).to_be_hidden()


def test_the_practice_gives_feedback_and_leaves_no_pick(
    url: str, store: Store, visitor: Any
) -> None:
    open_door(visitor, url)
    sign_in(visitor)
    visitor.get_by_role("button", name="Try four examples first").click()
    banner = visitor.locator(".lb-banner")
    heard = visitor.locator(".lb-feedback")
    for place, (key, verdict) in enumerate(
        (
            ("2", "That is how we see it"),
            ("1", "We would say: B is better or Both bad."),
            ("3", "That is how we see it"),
            ("4", "That is how we see it"),
        ),
        start=1,
    ):
        expect(banner).to_contain_text(f"Practice {place} of 4")
        press(visitor, "s", "u", "f", key)
        expect(heard).to_contain_text(verdict)
        press(visitor, "1", "Enter")
    expect(visitor.locator(".lb-end:not([hidden])")).to_contain_text("agreed on 3 of 4 pairs")
    press(visitor, "Enter")
    expect(banner).to_be_hidden()
    done(visitor, 0)
    with store.reading() as db:
        tries = [(row["item"], row["correct"]) for row in db["practice"].rows]
        assert db["picks"].count == 0
    assert tries == [("tickets", 1), ("meeting", 0), ("soup", 1), ("parking", 1)]
    # It stays within reach, and can be left in the middle.
    press(visitor, "g")
    visitor.get_by_role("button", name="Practise with four examples").click()
    expect(banner).to_contain_text("Practice 1 of 4")
    press(visitor, "Escape")
    expect(banner).to_be_hidden()
    press(visitor, "1")
    done(visitor, 1)


def test_guidelines_hold_worked_examples_and_the_rules_of_the_batch(
    desk: Any, store: Store
) -> None:
    press(desk, "g")
    dialog = desk.get_by_role("dialog", name="Guidelines")
    expect(dialog.get_by_role("article")).to_have_count(3)
    expect(dialog.get_by_text("For the pairs of this batch")).to_be_hidden()
    press(desk, "Escape")
    with store.writing() as db:
        db.execute("UPDATE batches SET guidelines = ?", ["Dates <b>matter</b> most.\nNames, too."])
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    done(desk, 0)
    button = desk.locator(".lb-foot [data-action=guidelines]")
    expect(button).to_contain_text("Guidelines (new)")
    press(desk, "g")
    expect(button).not_to_contain_text("(new)")
    expect(dialog.get_by_text("For the pairs of this batch")).to_be_visible()
    expect(dialog).to_contain_text("Dates <b>matter</b> most.")


def test_a_batch_can_be_chosen_where_there_are_several(
    desk: Any, store: Store, tmp_path: Path
) -> None:
    chooser = desk.get_by_label("Pairs from")
    expect(chooser).to_be_hidden()
    project(store.path, 2, "mystery-second", start=50)
    press(desk, "1")
    expect(chooser).to_be_visible()
    assert chooser.locator("option").all_inner_texts()[0] == "All open batches"
    chooser.select_option(index=2)
    done(desk, 0, of=2)
    expect(desk.locator(".da-talk")).to_contain_text("Plan 5")
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    done(desk, 0, of=2)
    press(desk, "1")
    done(desk, 1, of=2)
    press(desk, "1")
    end = desk.locator(".lb-end:not([hidden])")
    expect(end).to_contain_text("You have labelled every pair")
    end.get_by_role("button", name="Show all open batches").click()
    done(desk, 3, of=PAIRS + 2)


def test_a_pause_is_told_and_ends(desk: Any, store: Store) -> None:
    with store.writing() as db:
        db.execute("UPDATE batches SET status = 'paused'")
    # The pairs that the page has may still be judged.
    press(desk, "1")
    saved(desk, "you chose A")
    press(desk, "1")
    end = desk.locator(".lb-end:not([hidden])")
    expect(end).to_contain_text("Labelling is paused")
    expect(end).to_contain_text("Saved: you chose A")
    assert picks(store) == [("left", 0), ("left", 0)]
    with store.writing() as db:
        db.execute("UPDATE batches SET status = 'open'")
    end.get_by_role("button", name="Look for new pairs").click()
    done(desk, 2)


def test_the_browser_remembers_the_labeler_until_told_otherwise(desk: Any) -> None:
    press(desk, "1")
    done(desk, 1)
    before = shown(desk)
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    done(desk, 1)
    assert shown(desk) == before
    desk.locator("#label-change").click()
    expect(desk.locator("#label-start")).to_be_visible()
    desk.reload()
    desk.get_by_role("tab", name="Label").click()
    expect(desk.locator("#label-start")).to_be_visible()
    expect(desk.locator(STAGE)).to_be_hidden()


def test_the_keyboard_alone_is_enough(desk: Any, store: Store) -> None:
    # From the heading of the pair, over the conversation, to the buttons, and back to the heading.
    heading = desk.locator("#lb-question")
    expect(heading).to_be_focused()
    press(desk, "Tab")
    expect(desk.get_by_role("region", name="The conversation")).to_be_focused()
    press(desk, "Tab", "Tab")
    expect(desk.get_by_role("button", name="B is better")).to_be_focused()
    first = shown(desk)
    press(desk, "Enter")
    done(desk, 1)
    expect(heading).to_be_focused()
    assert shown(desk) != first
    expect(heading).to_contain_text("Pair 2. ")
    press(desk, "Enter")
    assert picks(store) == [("right", 0)]
    # Marked, Enter sends it; a chip is pressed by Enter like any button.
    press(desk, "d", "Tab", "Tab", "Enter")
    expect(desk.get_by_role("button", name="A is better")).to_have_attribute("aria-pressed", "true")
    press(desk, "Enter")
    done(desk, 2)
    assert picks(store) == [("right", 0), ("left", 0)]


def test_time_counts_only_while_the_pair_is_to_be_seen(desk: Any, store: Store) -> None:
    began = time.monotonic()
    press(desk, "1")
    done(desk, 1)
    desk.get_by_role("tab", name="First").click()
    hidden = time.monotonic()
    desk.wait_for_timeout(1500)
    away = time.monotonic() - hidden
    desk.get_by_role("tab", name="Label").click()
    desk.wait_for_timeout(400)
    press(desk, "1")
    done(desk, 2)
    ended = time.monotonic()
    _, (seconds,) = picks(store, "seconds")
    # however slow the machine: what was away is not counted, but for the moment of leaving
    assert 0.2 <= seconds < ended - began - away + 0.5


def test_a_phone_has_every_button_in_reach(desk: Any) -> None:
    desk.set_viewport_size({"width": 390, "height": 844})
    for group in (".lb-actions", ".lb-details", ".lb-skip"):
        if group == ".lb-details":
            press(desk, "d")
        elif group == ".lb-skip":
            press(desk, "d", "s")
        for button in desk.locator(f"{STAGE} {group} button").all():
            box = button.bounding_box()
            assert box is not None and box["height"] >= 44
            assert box["x"] >= 0 and box["x"] + box["width"] <= 390
            assert box["y"] + box["height"] <= 844
        assert desk.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_went_wrong_is_shown(desk: Any, store: Store) -> None:
    desk.locator("#label-change").click()
    sign_in(desk, " ")
    toast = desk.get_by_test_id("toast-body")
    expect(toast).to_contain_text("Give a labeler name of 1 to 100 characters.")
    sign_in(desk, "Bob")
    desk.get_by_role("button", name="Skip the practice").click()
    before = shown(desk)
    # The database is gone: the pair stays, and the labeler hears why.
    for path in store.path.parent.glob("picks.db*"):
        path.unlink()
    store.path.write_bytes(b"not a database at all " * 1000)
    press(desk, "1")
    expect(desk.get_by_role("alert").filter(has_text="not saved")).to_contain_text(
        "damaged or not a labeling database"
    )
    assert shown(desk) == before
    expect(desk.get_by_role("button", name="A is better")).to_have_attribute("aria-pressed", "true")
    done(desk, 0)
