"""A Label tab in a real browser: a project to label, a page signed in to it, ways to look at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from app import launch
from labeling.batches import add_pairs
from labeling.store import Store, open_store
from labeling.ui import label_tab

PAIRS = 6
STAGE = "#label-stage"


def project(path: Path, pairs: int = PAIRS, batch: str = "mystery-batch", start: int = 0) -> Store:
    """A database with ``pairs`` short pairs; everything that must stay hidden says mystery."""
    store = open_store(path)
    sides = ("before", "Plan {} is dumb.", -7.25), ("after", "They differ on plan {}.", 6.75)
    rows = [
        {"dialogue": f"#Person1#: Plan {i} is dumb.\n#Person2#: Thank you, <b>Ada</b>."}
        | {
            side: {"policy": f"mystery-{side}", "text": text.format(i), "reward": reward}
            for side, text, reward in sides
        }
        for i in range(start, start + pairs)
    ]
    add_pairs(store, rows, batch)
    return store


@contextmanager
def served(database: Path) -> Iterator[str]:
    """The address of an app with the Label tab and another one before it."""
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("First"):
            gr.Markdown("Hello")
        with gr.Tab("Label"):
            label_tab(database)
    yield launch(page, quiet=True)
    page.close(verbose=False)


def open_door(page: Any, url: str, theme: str = "light") -> None:
    """Opens the Label tab."""
    page.goto(f"{url}?__theme={theme}")
    page.get_by_role("tab", name="Label").click()


def sign_in(page: Any, name: str = "Ada") -> None:
    """From the door to the desk; what comes first there is not passed."""
    page.locator("#label-name input, #label-name textarea").first.fill(name)
    page.keyboard.press("Enter")


def start(page: Any, url: str, name: str = "Ada", theme: str = "light") -> None:
    """Signs in and goes on to the first pair."""
    open_door(page, url, theme)
    sign_in(page, name)
    page.get_by_role("button", name="Skip the practice").click()
    page.locator(f"{STAGE} .lb-card").first.wait_for()


def shown(page: Any) -> str:
    """The assignment on the stage; empty while there is none."""
    return str(page.locator(f"{STAGE} .lb-stage").get_attribute("data-assignment"))


def picks(store: Store, *columns: str) -> list[tuple[Any, ...]]:
    """Every row of the record in order: choice and whether it is an undo, or ``columns``."""
    with store.reading() as db:
        rows = list(db.query("SELECT * FROM picks ORDER BY seq"))
    return [tuple(row[name] for name in columns or ("choice", "retracted")) for row in rows]


# What becomes of requests to an event: lost on the way there or back, or late. Set as script
# rather than by the browser's own interception, which now and then lets the first one through.
NETWORK = """
window.network = { mode: "up", delay: 0, of: "pick" };
window.network.picks = 0;
const really = window.fetch.bind(window);
window.fetch = async (resource, options) => {
  const { mode, delay, of } = window.network;
  if (!String(resource).endsWith("/run/" + of)) return really(resource, options);
  if (of === "pick") window.network.picks += 1;
  if (mode === "down") throw new TypeError("Failed to fetch");
  const reply = await really(resource, options);
  if (mode === "deaf") throw new TypeError("Failed to fetch");
  if (delay) await new Promise((resolve) => setTimeout(resolve, delay));
  return reply;
};
"""


def network(page: Any, mode: str = "up", delay: int = 0, of: str = "pick") -> None:
    """From now on requests to ``of`` arrive or not, and answers come after ``delay`` ms or never.

    ``mode`` is ``up``, ``down`` (the server hears nothing) or ``deaf`` (the page does not).
    """
    page.evaluate(
        "now => Object.assign(window.network, now)", {"mode": mode, "delay": delay, "of": of}
    )
