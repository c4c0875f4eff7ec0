"""Picks on their way: the next pair at once, and nothing lost or doubled on a bad network."""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labeling.store import Store
from tests.app.label_desk import NETWORK, network, picks, project, served, shown, start

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=20_000)

PAIRS = 8
# From the key to the first frame that has the next pair on it, as the page's own clock has it.
WATCH = """
window.waits = [];
let pressed = 0;
document.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
const stage = document.querySelector("#label-stage .lb-stage");
new MutationObserver(() => {
  if (!stage.dataset.assignment) return;
  const from = pressed;
  requestAnimationFrame(() => {
    const painted = new MessageChannel();
    painted.port1.onmessage = () => window.waits.push(performance.now() - from);
    painted.port2.postMessage(0);
  });
}).observe(stage, { attributeFilter: ["data-assignment"] });
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return project(tmp_path / "picks.db", PAIRS)


@pytest.fixture
def desk(store: Store, visitor: Any) -> Iterator[Any]:
    """A labeler's page on a network that a test can break."""
    visitor.add_init_script(NETWORK)
    with served(store.path) as url:
        start(visitor, url)
        yield visitor


def done(page: Any, count: int, of: int = PAIRS) -> None:
    expect(page.locator(".lb-meter-own span")).to_have_text(f"You: {count} of {of}")


def status(page: Any) -> Any:
    return page.locator(".lb-stage .lb-status")


def trouble(page: Any) -> Any:
    return page.get_by_role("alert").filter(has_text="not saved")


def next_shown(page: Any, before: str) -> str:
    expect(page.locator(".lb-stage")).not_to_have_attribute("data-assignment", before)
    expect(page.locator(".lb-stage")).not_to_have_attribute("data-assignment", "")
    return shown(page)


def test_the_next_pair_is_painted_within_100_ms_on_a_slow_network(desk: Any, store: Store) -> None:
    desk.evaluate(WATCH)
    network(desk, delay=600)
    for count in range(1, 6):
        desk.keyboard.press("1")
        # Not called saved before the server has said so.
        expect(status(desk)).to_contain_text("Saving")
        expect(status(desk)).not_to_contain_text("Saved")
        done(desk, count)
        expect(status(desk)).to_contain_text("Saved")
    waits = desk.evaluate("window.waits")
    assert len(waits) == 5
    assert statistics.median(waits) < 100
    assert len(picks(store)) == 5


def test_a_second_pick_waits_for_the_first_and_both_arrive_in_order(
    desk: Any, store: Store
) -> None:
    network(desk, delay=700)
    first = shown(desk)
    desk.keyboard.press("1")
    second = shown(desk)
    desk.keyboard.press("2")
    # The pair after the next one is not here yet, so there is nothing to judge.
    expect(desk.get_by_text("Your pick is being saved; the next pair follows.")).to_be_visible()
    desk.keyboard.press("3")
    done(desk, 2)
    network(desk)
    desk.keyboard.press("4")
    done(desk, 3)
    rows = picks(store, "assignment_id", "choice")
    assert rows[:2] == [(first, "left"), (second, "right")]
    assert rows[2][1] == "both_bad" and rows[2][0] not in (first, second)
    assert desk.evaluate("window.network.picks") == 3


def test_picks_at_the_speed_of_typing_are_all_kept_once(desk: Any, store: Store) -> None:
    network(desk, delay=60)
    judged = []
    for turn in range(PAIRS):
        judged.append(shown(desk))
        desk.keyboard.press("1" if turn % 2 else "2")
        if turn < PAIRS - 1:
            next_shown(desk, judged[-1])
    expect(desk.locator(".lb-end:not([hidden])")).to_contain_text("You have labelled every pair")
    rows = picks(store, "assignment_id", "choice")
    assert rows == [
        (assignment, "left" if turn % 2 else "right") for turn, assignment in enumerate(judged)
    ]


def test_a_pick_that_does_not_arrive_comes_back_with_its_answer(desk: Any, store: Store) -> None:
    first = shown(desk)
    network(desk, "down")
    desk.keyboard.press("f")
    desk.keyboard.press("2")
    assert shown(desk) != first
    expect(trouble(desk)).to_have_text(
        "Your pick was not saved. The server cannot be reached. Your answer is still marked."
    )
    assert shown(desk) == first
    # Tried once more by itself before it gave up.
    assert desk.evaluate("window.network.picks") == 2
    expect(desk.get_by_role("button", name="B is better")).to_have_attribute("aria-pressed", "true")
    expect(desk.get_by_role("button", name="Broken pair")).to_have_attribute("aria-pressed", "true")
    expect(status(desk)).to_be_empty()
    assert picks(store) == []
    network(desk)
    desk.keyboard.press("Enter")
    done(desk, 1)
    expect(desk.locator(".lb-trouble")).to_be_hidden()
    assert shown(desk) != first
    assert picks(store, "assignment_id", "choice", "flagged") == [(first, "right", 1)]


def test_what_was_picked_after_it_goes_out_after_it(desk: Any, store: Store) -> None:
    network(desk, "down")
    first = shown(desk)
    desk.keyboard.press("1")
    second = shown(desk)
    desk.keyboard.press("2")
    expect(trouble(desk)).to_be_visible()
    assert shown(desk) == first
    network(desk)
    desk.get_by_role("button", name="Send it again").click()
    done(desk, 2)
    assert picks(store, "assignment_id", "choice") == [(first, "left"), (second, "right")]
    assert shown(desk) not in (first, second)


def test_a_pick_whose_answer_was_lost_is_kept_once(desk: Any, store: Store) -> None:
    network(desk, "deaf")
    desk.keyboard.press("1")
    expect(trouble(desk)).to_be_visible()
    assert picks(store) == [("left", 0)]
    network(desk)
    desk.keyboard.press("1")
    done(desk, 1)
    assert picks(store) == [("left", 0)]
    expect(status(desk)).to_contain_text("Saved: you chose A")


def test_another_answer_after_a_lost_one_replaces_it(desk: Any, store: Store) -> None:
    network(desk, "deaf")
    first = shown(desk)
    desk.keyboard.press("1")
    expect(trouble(desk)).to_be_visible()
    network(desk)
    desk.keyboard.press("2")
    done(desk, 1)
    expect(status(desk)).to_contain_text("you chose B")
    assert shown(desk) != first
    with store.reading() as db:
        assert [row["choice"] for row in db["current_picks"].rows] == ["right"]


def test_undo_takes_back_what_has_not_left_yet(desk: Any, store: Store) -> None:
    network(desk, delay=700)
    desk.keyboard.press("1")
    second = shown(desk)
    desk.keyboard.press("2")
    desk.keyboard.press("u")
    assert shown(desk) == second
    expect(desk.get_by_role("button", name="B is better")).to_have_attribute("aria-pressed", "true")
    done(desk, 1)
    network(desk)
    desk.keyboard.press("3")
    done(desk, 2)
    assert picks(store) == [("left", 0), ("tie", 0)]


def test_undo_waits_for_a_pick_that_is_on_its_way(desk: Any, store: Store) -> None:
    network(desk, delay=500)
    first = shown(desk)
    desk.keyboard.press("1")
    desk.keyboard.press("u")
    # Meanwhile nothing else is judged by mistake.
    desk.keyboard.press("2")
    expect(status(desk)).to_contain_text("Taken back")
    assert shown(desk) == first
    assert picks(store) == [("left", 0), ("left", 1)]


def test_an_edit_that_does_not_arrive_comes_back_too(desk: Any, store: Store) -> None:
    first = shown(desk)
    desk.keyboard.press("1")
    done(desk, 1)
    waiting = shown(desk)
    desk.keyboard.press("h")
    desk.get_by_role("button", name="Change the pick").click()
    expect(desk.locator(".lb-banner")).to_be_visible()
    network(desk, "down")
    desk.keyboard.press("3")
    expect(trouble(desk)).to_be_visible()
    expect(desk.locator(".lb-banner")).to_contain_text("You are changing an earlier pick")
    assert shown(desk) == first
    network(desk)
    desk.keyboard.press("Enter")
    expect(status(desk)).to_contain_text("Your change is saved")
    assert shown(desk) == waiting
    assert picks(store) == [("left", 0), ("tie", 0)]


def test_a_server_that_refuses_says_why_and_there_is_a_way_on(desk: Any, store: Store) -> None:
    first = shown(desk)
    away = store.path.with_name("away.db")
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("VACUUM INTO ?", [str(away)])
    for path in store.path.parent.glob("picks.db*"):
        path.unlink()
    store.path.write_bytes(b"not a database at all " * 1000)
    desk.keyboard.press("1")
    expect(trouble(desk)).to_contain_text("damaged or not a labeling database")
    # A refusal is not tried again by itself.
    assert desk.evaluate("window.network.picks") == 1
    for path in store.path.parent.glob("picks.db*"):
        path.unlink()
    away.rename(store.path)
    desk.get_by_role("button", name="Fetch the pair that waits for me").click()
    expect(desk.locator(".lb-trouble")).to_be_hidden()
    assert shown(desk) == first
    desk.keyboard.press("1")
    done(desk, 1)


def test_leaving_with_an_unsent_pick_is_asked_about(desk: Any, store: Store) -> None:
    asked: list[str] = []

    def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    desk.on("dialog", stay)
    network(desk, delay=2500)
    desk.keyboard.press("1")
    desk.close(run_before_unload=True)
    desk.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    done(desk, 1)
    assert picks(store) == [("left", 0)]
    desk.remove_listener("dialog", stay)
    # Saved: nothing is asked any more.
    desk.on("dialog", lambda dialog: pytest.fail(f"{dialog.type} although all is saved"))
    with desk.expect_event("close"):
        desk.close(run_before_unload=True)


def test_an_undo_is_never_sent_twice(desk: Any, store: Store) -> None:
    for count in (1, 2):
        desk.keyboard.press("1")
        done(desk, count)
    second = picks(store, "assignment_id")[1][0]
    network(desk, "deaf", of="undo")
    desk.keyboard.press("u")
    told = desk.get_by_role("alert").filter(has_text="taken back is not known")
    expect(told).to_be_visible()
    network(desk)
    desk.get_by_role("button", name="Fetch the pair that waits for me").click()
    expect(told).to_be_hidden()
    done(desk, 1)
    assert shown(desk) == second
    assert picks(store) == [("left", 0), ("left", 0), ("left", 1)]


def test_undo_of_a_pick_that_comes_back_leaves_it_to_the_labeler(desk: Any, store: Store) -> None:
    first = shown(desk)
    network(desk, "down")
    desk.keyboard.press("1")
    desk.keyboard.press("u")
    expect(trouble(desk)).to_be_visible()
    assert shown(desk) == first
    network(desk)
    desk.keyboard.press("2")
    done(desk, 1)
    assert picks(store) == [("right", 0)]


def test_a_visit_to_another_tab_loses_nothing(desk: Any, store: Store) -> None:
    desk.keyboard.press("1")
    done(desk, 1)
    before = shown(desk)
    desk.keyboard.press("d")
    desk.keyboard.press("2")
    desk.locator("#lb-note").fill("half a thou")
    desk.get_by_role("tab", name="First").click()
    expect(desk.locator(".lb-stage")).to_be_hidden()
    desk.get_by_role("tab", name="Label").click()
    expect(desk.locator(".lb-stage")).to_be_visible()
    assert shown(desk) == before
    expect(desk.locator("#lb-note")).to_have_value("half a thou")
    expect(desk.get_by_role("button", name="B is better")).to_have_attribute("aria-pressed", "true")
