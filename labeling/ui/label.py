"""The Label tab: components and events; what they do is in ``session``, how it looks in ``stage``.

The page itself carries the assignment's id and the labeler's name, so a handler depends on
nothing but its arguments: a pick is always that of the pair on the screen, whatever other tab,
second click or restart came between.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from detox.ui.manners import polite
from labeling.store import Store, open_store
from labeling.ui import session
from labeling.ui.place import FLAT, SWIFT
from labeling.ui.stage import GUIDE, INTRO, stage, who

SCRIPT = (Path(__file__).parents[1] / "assets" / "label.js").read_text(encoding="utf-8")
# The pick goes out with what the page shows at the moment of the click.
_SENT = """(choice, assignment, seconds, labeler) => {
    const page = document.querySelector("#label-stage [data-assignment]").dataset;
    return [page.choice, page.assignment, Number(page.seconds), labeler];
}"""
# The key of the browser's own store must outlive the app, or everybody signs in again.
_STORAGE_KEY = "detox-arena-labeler"


def label_tab(
    database: Path, *, batch: str | None = None, rng: random.Random | None = None
) -> None:
    """Builds the tab inside the current ``gr.Tab``; ``batch`` limits it to one batch of pairs.

    ``rng`` draws pairs and sides. The database is opened per event, never here.
    """
    rng = rng or random.Random()
    labeler = gr.BrowserState("", storage_key=_STORAGE_KEY, secret=_STORAGE_KEY)
    with gr.Column(elem_id="label-sign-in", elem_classes="lb-sign-in") as door:
        gr.HTML(INTRO, **FLAT)
        with gr.Row(elem_classes="lb-name-row"):
            name = gr.Textbox(
                label="Your name",
                info="Kept in this browser and with your picks; exports hold a pseudonym.",
                placeholder="Ada",
                max_lines=1,
                max_length=100,
                elem_id="label-name",
                scale=3,
            )
            start = gr.Button(
                "Start labelling", variant="primary", size="md", elem_id="label-start"
            )
    with gr.Column(visible=False, elem_id="label-desk", elem_classes="lb-desk") as desk:
        page = gr.HTML(elem_id="label-stage", label="page", js_on_load=SCRIPT, **FLAT)
        with gr.Row(elem_classes="lb-foot"):
            gr.HTML(GUIDE, elem_id="label-guide", **FLAT)
            badge = gr.HTML(elem_id="label-who", label="who", **FLAT)
            leave = gr.Button(
                "Change name", size="sm", variant="secondary", elem_id="label-change", scale=0
            )
    # What programs send and get; people never see it.
    with gr.Row(visible=False):
        choice, assignment = gr.Textbox(label="choice"), gr.Textbox(label="assignment")
        seconds = gr.Number(label="seconds")
        answer = gr.JSON(label="answer")

    def opened(act: Callable[[Store], session.Turn]) -> tuple[Any, ...]:
        turn = act(open_store(database))
        return turn.answer(), stage(turn), turn.labeler, who(turn.labeler), *_doors(inside=True)

    @polite
    def sign_in(name: str) -> tuple[Any, ...]:
        return opened(lambda store: session.sign_in(store, name, rng, batch))

    @polite
    def restore(labeler: str) -> tuple[Any, ...]:
        return sign_in(labeler) if (labeler or "").strip() else (gr.skip(),) * len(outputs)

    @polite
    def next_pair(labeler: str) -> tuple[Any, ...]:
        return opened(lambda store: session.look_again(store, labeler, rng, batch))

    @polite
    def pick(choice: str, assignment: str, seconds: float | None, labeler: str) -> tuple[Any, ...]:
        return opened(
            lambda store: session.judge(store, labeler, assignment, choice, seconds, rng, batch)
        )

    @polite
    def undo(labeler: str) -> tuple[Any, ...]:
        return opened(lambda store: session.take_back(store, labeler, rng, batch))

    def sign_out() -> tuple[Any, ...]:
        # A blank, as an empty value would leave the old one in the browser.
        return " ", *_doors(inside=False)

    outputs = [answer, page, labeler, badge, door, desk]
    gr.on([start.click, name.submit], sign_in, name, outputs, api_name="sign_in", **SWIFT)
    # The browser's store is read when the tab is first opened, not when the page is.
    labeler.change(restore, labeler, outputs, api_visibility="private", **SWIFT)
    page.next(next_pair, labeler, outputs, api_name="next_pair", **SWIFT)
    page.pick(
        pick,
        [choice, assignment, seconds, labeler],
        outputs,
        api_name="pick",
        js=_SENT,
        **SWIFT,
    )
    page.undo(undo, labeler, outputs, api_name="undo", **SWIFT)
    leave.click(sign_out, None, [labeler, door, desk], api_name="sign_out", **SWIFT)


def _doors(*, inside: bool) -> tuple[Any, Any]:
    """The sign-in form and the desk behind it: one is shown at a time."""
    return gr.update(visible=not inside), gr.update(visible=inside)
