"""One dialogue: the components of this view, and which function answers which event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.events import api

from detox.ui import html
from detox.ui.compare import PRESS, Comparison, Data, Example, View, sampling_of
from detox.ui.manners import lasting, polite
from detox.ui.share import share_panel
from detox.ui.turns import breakable, overtakes
from detox.workbench import Workbench

BROKEN = "There are no summaries of this"
CONTENT_NOTE = (
    "Some of these invented conversations contain insults, which is the point; none contains "
    "slurs against groups."
)
# The class of every list of versions; ``offer_versions`` keeps them up to date.
VERSIONS = "da-versions"
# Quick events neither queue behind a model nor show that they are being answered.
QUICK: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "undocumented",
}
# What the page asks by itself is shown if result and form are as they were when it asked: in the
# meantime a visitor may have asked for something else, which only the browser can tell.
OFFERED = """(offer, ...now) =>
    offer && JSON.stringify(offer.asked) === JSON.stringify(now) ? [offer.page, offer.data] : []"""


def one_dialogue(page: gr.Blocks, comparison: Comparison, pill: gr.HTML) -> None:
    """Builds the view, and the timer that tells in ``pill`` how far the models are."""
    first = comparison.opening(None)
    best = comparison.featured()
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="da-panel"):
            gr.HTML('<h2 class="da-title">The conversation</h2>', apply_default_css=False)
            cards, picker = _examples(comparison, best, first)
            with gr.Accordion("Paste your own, or edit this one", open=False):
                dialogue = gr.Textbox(
                    first.dialogue,
                    label="One turn a line, as in #Person1#: Hello.",
                    lines=10,
                    max_lines=16,
                    elem_id="dialogue",
                )
                clear = gr.Button("Clear", size="sm", elem_id="clear")
            talk = gr.HTML(
                html.conversation(first.dialogue), elem_id="talk", apply_default_css=False
            )
            gr.HTML(f'<p class="da-muted">{CONTENT_NOTE}</p>', apply_default_css=False)
        with gr.Column(scale=8, min_width=320):
            with gr.Column(elem_classes="da-panel"):
                before, swap, after = versions(comparison.bench)
                settings = _sampling(comparison)
                go = gr.Button("Compare", variant="primary", size="lg", elem_id="compare")
            result = gr.HTML(PRESS, elem_id="result", apply_default_css=False)
            data = gr.JSON(visible=False, label="result")
            offer = gr.JSON(visible=False, label="offer")
            share_panel(comparison, dialogue, data)

    def recalled(dialogue: str, before: str, after: str, *sampling: Any) -> View:
        return comparison.recall(dialogue, (before, after), sampling_of(*sampling))

    def shown(example: Example, *rest: Any) -> tuple[Any, ...]:
        card = example.id if example in best else None
        talk = html.conversation(example.dialogue)
        return card, example.id, example.dialogue, talk, *recalled(example.dialogue, *rest)

    @polite
    def example(
        id: str,
        before: str,
        after: str,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> tuple[Any, ...]:
        """An example and, where these very models wrote them beforehand, its summaries."""
        rest = before, after, temperature, top_p, max_new_tokens, seed
        return shown(comparison.example(id), *rest)

    @polite
    def open_page(request: gr.Request, *rest: Any) -> tuple[Any, ...]:
        wanted = request.query_params.get("dialogue")
        if wanted is None:  # the page is right as it is, and a quick visitor may have typed already
            return (gr.skip(),) * 6
        return shown(comparison.opening(wanted), *rest)

    @polite
    def preview(dialogue: str, *rest: Any) -> tuple[Any, ...]:
        talk = html.conversation(dialogue or "")
        if same := comparison.known(dialogue):  # an example, and whoever chose it shows its result
            return same.id if same in best else None, same.id, talk, gr.skip(), gr.skip()
        return None, None, talk, *recalled(dialogue, *rest)

    @polite
    def recall(*form: Any) -> View:
        return recalled(*form)

    @polite
    def exchange(dialogue: str, before: str, after: str, *sampling: Any) -> tuple[Any, ...]:
        return after, before, *recalled(dialogue, after, before, *sampling)

    @breakable
    @lasting(lambda said: (html.failure(BROKEN, said), {"status": "failed", "error": said}))
    @polite
    def compare(
        dialogue: str,
        before: str,
        after: str,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        seed: int,
    ) -> Iterator[View]:
        """Both summaries as a page and as data; the last update has their scores."""
        sampling = sampling_of(temperature, top_p, max_new_tokens, seed)
        yield from comparison.write(dialogue, (before, after), sampling)

    @polite
    def tick(shown: Data, *form: Any) -> tuple[Any, ...]:
        comparison.bench.start()
        now = comparison.bench.status()
        found = None
        if shown is None or comparison.lacks_preference(shown):
            page_of, data_of = recalled(*form)
            found = {"asked": [shown, *form], "page": page_of, "data": data_of}
        return html.pill(now), gr.Timer(active=not (now.ready or now.error)), found

    def status() -> dict[str, Any]:
        """How far the models are: ready, share from 0 to 1, text, error."""
        comparison.bench.start()
        now = comparison.bench.status()
        return {"ready": now.ready, "share": now.share, "text": now.text, "error": now.error}

    timer = gr.Timer(1.0, active=False)
    rest = [before, after, *settings]
    form = [dialogue, *rest]
    seen = [cards, picker, talk, result, data]
    chosen = [cards, picker, dialogue, talk, result, data]
    api(status, api_name="status", queue=False)
    opened = page.load(open_page, rest, chosen, api_name="open", **QUICK)
    # only then: what is offered for the form before a link is followed would be refused
    first = opened.then(tick, [data, *form], [pill, timer, offer], api_name="first_tick", **QUICK)
    later = timer.tick(tick, [data, *form], [pill, timer, offer], api_name="tick", **QUICK)
    for ticked in (first, later):
        ticked.then(None, [offer, data, *form], [result, data], js=OFFERED)
    comparing = go.click(compare, form, [result, data], api_name="compare", show_progress="minimal")
    touched = [cards.input, picker.input, dialogue.change, before.input, after.input, swap.click]
    overtakes(touched, comparing)
    cards.input(example, [cards, *rest], chosen, api_name="featured", **QUICK)
    picker.input(example, [picker, *rest], chosen, api_name="example", show_progress="hidden")
    # "input" would miss what is pasted with the mouse
    dialogue.change(preview, form, seen, api_name="preview", trigger_mode="always_last", **QUICK)
    clear.click(lambda: "", None, dialogue, api_name="clear", **QUICK)
    gr.on([before.input, after.input], recall, form, [result, data], api_name="recall", **QUICK)
    swap.click(exchange, form, [before, after, result, data], api_name="swap", **QUICK)


def versions(bench: Workbench, prefix: str = "") -> tuple[gr.Dropdown, gr.Button, gr.Dropdown]:
    """Two lists of policies and the button that swaps them."""
    names = list(bench.specs)
    # an unknown name is answered by our own sentence
    options: dict[str, Any] = {
        "min_width": 120,
        "allow_custom_value": True,
        "elem_classes": VERSIONS,
    }
    with gr.Row(equal_height=True, elem_classes="da-controls"):
        before = gr.Dropdown(
            names, value=names[0], label="First version", elem_id=f"{prefix}before", **options
        )
        swap = gr.Button(
            "\u21c4", elem_id=f"{prefix}swap", elem_classes="da-swap", scale=0, min_width=44
        )
        after = gr.Dropdown(
            names,
            value=names[min(1, len(names) - 1)],
            label="Second version",
            elem_id=f"{prefix}after",
            **options,
        )
    return before, swap, after


def _examples(
    comparison: Comparison, best: list[Example], first: Example
) -> tuple[gr.Radio, gr.Dropdown]:
    cards = gr.Radio(
        [(example.label("\n"), example.id) for example in best],
        value=first.id,
        label="Examples",
        show_label=False,
        container=False,
        elem_id="featured",
        elem_classes="da-cards",
    )
    picker = gr.Dropdown(
        [(example.label(), example.id) for example in comparison.examples],
        value=first.id,
        label=f"All {len(comparison.examples)} test dialogues",
        elem_id="example",
        allow_custom_value=True,
    )
    return cards, picker


def _sampling(comparison: Comparison) -> list[Any]:
    given = comparison.shipped.sampling
    with gr.Accordion("Sampling", open=False, elem_id="sampling"):
        with gr.Row(elem_classes="da-controls"):
            temperature = gr.Slider(
                0, 2, given.temperature, step=0.05, label="Temperature", min_width=180
            )
            top_p = gr.Slider(0.05, 1, given.top_p, step=0.05, label="Top-p", min_width=180)
        with gr.Row(elem_classes="da-controls"):
            length = gr.Slider(
                8,
                256,
                given.max_new_tokens,
                step=1,
                label="Longest summary, in tokens",
                min_width=180,
            )
            seed = gr.Number(given.seed, precision=0, label="Seed", min_width=180)
    return [temperature, top_p, length, seed]
