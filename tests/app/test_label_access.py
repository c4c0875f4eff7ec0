"""The Label tab for everybody: axe-core in every state, light and dark, on a desk and a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from labeling.store import Store
from tests.app.label_desk import NETWORK, STAGE, network, open_door, project, served, sign_in

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=20_000)
AXE = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
# Themes, and the rules whose findings depend on colours; the others once say all they have to say.
THEMES = {"light": None, "dark": ["color-contrast", "link-in-text-block"]}
# A colour that is still on its way to another is no colour to judge.
STILL = "* { transition: none !important; animation: none !important; }"
RUN = "rules => axe.run({ resultTypes: ['violations'], ...rules && { runOnly: rules } })"
PAIRS = 3


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return project(tmp_path / "picks.db", PAIRS)


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with served(store.path) as address:
        yield address


def findings(page: Any) -> list[str]:
    """What axe calls serious or critical on the whole page, with the elements, in each theme."""
    found = []
    for theme, rules in THEMES.items():
        page.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
        seen = page.evaluate(RUN, rules)
        found += [
            f"{theme}, {rule['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
            for rule in seen["violations"]
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
    return found


def prepare(page: Any, url: str) -> None:
    """Opens the door on a page that axe can look at."""
    page.add_init_script(NETWORK)
    open_door(page, url)
    page.evaluate(AXE)
    page.add_style_tag(content=STILL)


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious_in_any_state(
    url: str, store: Store, visitor: Any, size: str
) -> None:
    page = visitor
    page.set_viewport_size(SIZES[size])
    wrong: dict[str, list[str]] = {}

    def look(state: str, *, at: str, keys: tuple[str, ...] = ()) -> None:
        for key in keys:
            page.keyboard.press(key)
        expect(page.locator(at).first).to_be_visible()
        if found := findings(page):
            wrong[state] = found
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{state} is {wide} px too wide"

    prepare(page, url)
    look("sign-in", at="#label-start")
    sign_in(page)
    look("content note", at=".lb-welcome")
    page.get_by_role("button", name="Try four examples first").click()
    look("practice", at=".lb-banner")
    look("feedback", at=".lb-heard", keys=("1",))
    for key in "212":
        page.keyboard.press("Enter")
        page.keyboard.press(key)
        expect(page.locator(".lb-heard")).to_be_visible()
    look("practice done", at="#lb-drilled-title", keys=("Enter",))
    look("pair", at=f"{STAGE} .lb-card", keys=("Enter",))
    look("help", at="[data-dialog=keys]", keys=("?",))
    look("guidelines", at="[data-dialog=guidelines]", keys=("Escape", "g"))
    look("skip reasons", at=".lb-skip", keys=("Escape", "s"))
    look("details", at=".lb-details", keys=("Escape", "d"))
    look("marked", at="[data-choice=right][aria-pressed=true]", keys=("2", "c", "5", "f"))
    look("saved", at=".lb-saved", keys=("Enter",))
    network(page, "down")
    look("not saved", at=".lb-trouble", keys=("1", "Enter"))
    network(page)
    page.keyboard.press("Enter")
    expect(page.locator(".lb-stage .lb-saved")).to_be_visible()
    look("history", at=".lb-picks", keys=("h",))
    page.get_by_role("button", name="Change the pick").first.click()
    look("change", at=".lb-banner")
    page.keyboard.press("Escape")
    look("finished", at=".lb-end-said", keys=("d", "3"))
    with store.writing() as db:
        db.execute("UPDATE batches SET status = 'paused'")
    page.get_by_role("button", name="Look for new pairs").click()
    expect(page.get_by_role("heading", name="Labelling is paused")).to_be_visible()
    look("paused", at=".lb-end-said")
    assert wrong == {}


def test_axe_would_find_what_is_wrong(url: str, visitor: Any) -> None:
    prepare(visitor, url)
    assert findings(visitor) == []
    visitor.add_style_tag(content="#label-sign-in .lb-lead { color: rgb(120 120 120) !important }")
    visitor.add_style_tag(content="#label-start { color: var(--da-accent) !important }")
    found = " ".join(findings(visitor))
    assert "light, color-contrast" in found and "dark, color-contrast" in found


def test_a_window_holds_the_focus_and_gives_it_back(url: str, visitor: Any) -> None:
    open_door(visitor, url)
    sign_in(visitor)
    visitor.get_by_role("button", name="Skip the practice").click()
    keys = visitor.get_by_role("button", name="Keys")
    keys.focus()
    keys.press("Enter")
    dialog = visitor.get_by_role("dialog", name="Keys")
    for _ in range(6):
        visitor.keyboard.press("Tab")
        inside = (
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
        assert visitor.evaluate(inside)
    visitor.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(keys).to_be_focused()


@pytest.fixture
def steps(url: str, visitor: Any) -> Callable[[], list[str]]:
    """What a screen reader is told by live regions, from the first pair on."""
    open_door(visitor, url)
    sign_in(visitor)
    visitor.get_by_role("button", name="Skip the practice").click()
    visitor.evaluate(
        """
        window.said = [];
        for (const region of document.querySelectorAll("#label-stage [role=status]"))
          new MutationObserver(() => {
            const heard = region.cloneNode(true);
            heard.querySelectorAll("[aria-hidden=true]").forEach((node) => node.remove());
            if (heard.textContent.trim()) window.said.push(heard.textContent.trim());
          }).observe(region, { childList: true });
        """
    )
    return lambda: visitor.evaluate("window.said")


def test_a_screen_reader_hears_what_was_saved_and_where_it_is(
    steps: Callable[[], list[str]], visitor: Any
) -> None:
    visitor.keyboard.press("1")
    expect(visitor.locator(".lb-saved")).to_be_visible()
    heading = visitor.get_by_role("heading", level=2)
    expect(heading).to_have_text("Pair 2. Which summary is gentler, and still tells what happened?")
    expect(heading).to_be_focused()
    (told,) = steps()
    assert told.startswith("Saved: you chose A.") and "A was mystery" in told
