"""The Label tab: components and events; what they do is in ``session``, how it looks in ``stage``.

Gradio signs the labeler in and out. From then on the page's own script talks to the events below
over HTTP: it shows the next pair before a pick is stored, sends picks one after the other and
knows what became of each. A handler depends on nothing but its arguments, so a pick is always
that of the pair on the screen, whatever other tab, second click or restart came between.
"""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.manners import polite
from labeling.practice import practise
from labeling.store import Store
from labeling.ui import session
from labeling.ui.guide import INTRO
from labeling.ui.history import history, history_page
from labeling.ui.identity import Entrance, Gate
from labeling.ui.place import FLAT, SWIFT
from labeling.ui.session import Answer, Scope
from labeling.ui.shell import feedback_html, shell
from labeling.ui.stage import change_page, turn_page

_ASSETS = Path(__file__).parents[1] / "assets"
# One function body: each file uses what stands in those before it.
_SCRIPTS = ("outbox.js", "desk.js", "views.js", "keys.js", "label.js")
SCRIPT = "\n".join((_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
# The key of the browser's own store must outlive the app, or everybody signs in again.
_STORAGE_KEY = "detox-arena-labeler"
# The script posts to these itself, which gradio allows past its queue only; it shows their errors.
_POSTED: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


def label_tab(
    database: Path,
    *,
    entrance: Entrance | None = None,
    batch: str | None = None,
    rng: random.Random | None = None,
) -> None:
    """Builds the tab inside the current ``gr.Tab``; ``batch`` limits it to one batch of pairs.

    ``entrance`` says how labelers come in, by default each under the name they give. ``rng`` draws
    pairs and sides. The database is opened per event, never here.
    """
    gate = Gate(database, entrance or Entrance())
    asks_name = gate.entrance.asks_name
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
                visible=asks_name,
            )
            start = gr.Button(
                "Start labelling", variant="primary", size="md", elem_id="label-start"
            )
    with gr.Column(visible=False, elem_id="label-desk", elem_classes="lb-desk") as desk:
        page = gr.HTML(
            "",
            html_template=shell(asks_name=asks_name),
            elem_id="label-stage",
            label="page",
            js_on_load=SCRIPT,
            **FLAT,
        )
    # What programs and the script send and get; people never see it.
    with gr.Row(visible=False):
        choice, assignment = gr.Textbox(label="choice"), gr.Textbox(label="assignment")
        seconds = gr.Number(label="seconds")
        strength, reasons = gr.Textbox(label="strength"), gr.JSON(label="reasons")
        note, flagged = gr.Textbox(label="note"), gr.Checkbox(label="flagged", value=False)
        uuid, changed = gr.Textbox(label="uuid"), gr.Checkbox(label="change", value=False)
        chosen = gr.Textbox(label="batch", value="")
        number = gr.Number(label="page", value=0, precision=0)
        item = gr.Textbox(label="item")
        answer = gr.JSON(label="answer")

    def admitted(request: gr.Request, claimed: str) -> tuple[Store, str]:
        """The store and under which name the sender of a request labels; all pass through here."""
        store, person = gate.admit(request, "labeler", claimed or "")
        return store, person.name

    def scope(chosen: str | None = "") -> Scope:
        return Scope(rng, batch, chosen or "")

    def told(turn: session.Turn) -> tuple[Any, ...]:
        return turn.answer(), turn_page(turn)

    def welcomed(request: gr.Request, claimed: str) -> tuple[Any, ...]:
        store, name = admitted(request, claimed)
        turn = session.sign_in(store, name, scope())
        return *told(turn), turn.labeler, *_doors(inside=True)

    @polite
    def sign_in(name: str, request: gr.Request) -> tuple[Any, ...]:
        return welcomed(request, name)

    @polite
    def restore(labeler: str, request: gr.Request) -> tuple[Any, ...]:
        if (labeler or "").strip():
            try:
                return welcomed(request, labeler)
            except UserError:  # not asked for: the door says what to do
                pass
        return (gr.skip(),) * len(outputs)

    @polite
    def next_pair(labeler: str, request: gr.Request, batch: str | None = None) -> tuple[Any, ...]:
        store, name = admitted(request, labeler)
        return told(session.look_again(store, name, scope(batch)))

    @polite
    def pick(
        choice: str,
        assignment: str,
        seconds: float | None,
        labeler: str,
        request: gr.Request,
        strength: str | None = None,
        reasons: list[str] | None = None,
        note: str | None = None,
        flagged: bool | None = None,
        uuid: str | None = None,
        change: bool | None = None,
        batch: str | None = None,
    ) -> tuple[Any, ...]:
        store, name = admitted(request, labeler)
        answer = Answer(
            choice=choice,
            seconds=seconds,
            strength=strength,
            reasons=_texts(reasons),
            note=note or "",
            flagged=bool(flagged),
            uuid=uuid,
            change=bool(change),
        )
        return told(session.judge(store, name, assignment, answer, scope(batch)))

    @polite
    def undo(labeler: str, request: gr.Request, batch: str | None = None) -> tuple[Any, ...]:
        store, name = admitted(request, labeler)
        return told(session.take_back(store, name, scope(batch)))

    @polite
    def earlier(labeler: str, request: gr.Request, page: int | None = None) -> tuple[Any, ...]:
        store, name = admitted(request, labeler)
        found = history(store, name, page or 0)
        return found.answer(), history_page(found)

    @polite
    def look_back(assignment: str, labeler: str, request: gr.Request) -> tuple[Any, ...]:
        store, name = admitted(request, labeler)
        found = session.change(store, name, assignment)
        return found.answer(), change_page(found)

    @polite
    def practice(item: str, choice: str, labeler: str, request: gr.Request) -> tuple[Any, ...]:
        store, name = admitted(request, labeler)
        said = practise(store, session.signed_in(name), item, choice)
        return asdict(said), feedback_html(said)

    def sign_out() -> tuple[Any, ...]:
        # A blank, as an empty value would leave the old one in the browser.
        return " ", "", *_doors(inside=False)

    outputs = [answer, page, labeler, door, desk]
    gr.on([start.click, name.submit], sign_in, name, outputs, api_name="sign_in", **SWIFT)
    # The browser's store is read when the tab is first opened, not when the page is.
    labeler.change(restore, labeler, outputs, api_visibility="private", **SWIFT)
    page.sign_out(sign_out, None, [labeler, page, door, desk], api_name="sign_out", **SWIFT)
    posted = [answer, page]
    page.next_pair(next_pair, [labeler, chosen], posted, api_name="next_pair", **_POSTED)
    sent = [strength, reasons, note, flagged, uuid, changed, chosen]
    page.pick(
        pick, [choice, assignment, seconds, labeler, *sent], posted, api_name="pick", **_POSTED
    )
    page.undo(undo, [labeler, chosen], posted, api_name="undo", **_POSTED)
    page.history(earlier, [labeler, number], posted, api_name="history", **_POSTED)
    page.look_back(look_back, [assignment, labeler], posted, api_name="look_back", **_POSTED)
    page.practice(practice, [item, choice, labeler], posted, api_name="practice", **_POSTED)


def _texts(reasons: Any) -> tuple[str, ...]:
    if reasons is None:
        return ()
    if not isinstance(reasons, list) or not all(isinstance(each, str) for each in reasons):
        raise UserError("Give the reasons as a list of texts.")
    return tuple(reasons)


def _doors(*, inside: bool) -> tuple[Any, Any]:
    """The sign-in form and the desk behind it: one is shown at a time."""
    return gr.update(visible=not inside), gr.update(visible=inside)
