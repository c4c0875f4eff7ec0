"""The Compare tab: its components, and which function answers which event."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from detox.data import load_dialogues
from detox.ui import html
from detox.ui.batch import Batch, live_batch, shipped_batch
from detox.ui.compare import PRESS, Comparison, Example, featured, sampling_of
from detox.ui.manners import polite
from detox.ui.shipped import Shipped, draw
from detox.workbench import Workbench

CONTENT_NOTE = (
    "Some of these invented conversations contain insults, which is the point; none contains "
    "slurs against groups."
)


def page_header() -> gr.HTML:
    """What this is, and how far the models are; returns the latter for updates."""
    with gr.Row(elem_classes="da-top"):
        gr.HTML(html.header(), apply_default_css=False)
        return gr.HTML(elem_id="model-status", elem_classes="da-status", apply_default_css=False)


def compare_tab(page: gr.Blocks, bench: Workbench, results: Path, pill: gr.HTML) -> None:
    """Builds the tab inside ``page`` and the timer that tells how far the models are."""
    dialogues = load_dialogues(split="test")
    examples = [Example(d["id"], d["dialogue"], d["topic"], d["tone"]) for d in dialogues]
    comparison = Comparison(bench, Shipped.read(results), examples)
    with gr.Tabs(elem_classes="da-view-tabs"):
        with gr.Tab("One dialogue", id="one"):
            _one_dialogue(page, comparison, pill)
        with gr.Tab("Twenty at once", id="twenty"):
            chosen = set(draw([example.id for example in examples]))
            places = [i for i, example in enumerate(examples) if example.id in chosen]
            _twenty(comparison, dialogues.select(places))


def _one_dialogue(page: gr.Blocks, comparison: Comparison, pill: gr.HTML) -> None:
    first = comparison.opening(None)
    best = featured(comparison.examples)
    with gr.Row(equal_height=False, elem_classes="da-columns"):
        with gr.Column(scale=5, min_width=320, elem_classes="da-panel"):
            gr.HTML('<h2 class="da-title">The conversation</h2>', apply_default_css=False)
            cards = gr.Radio(
                [(example.label("\n"), example.id) for example in best],
                value=first.id,
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
                # an unknown one is answered by our own sentence
                allow_custom_value=True,
            )
            with gr.Accordion("Paste your own, or edit this one", open=False):
                dialogue = gr.Textbox(
                    first.dialogue,
                    label="One turn a line, as in  #Person1#: Hello.",
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
                before, swap, after = _versions(comparison.bench, "")
                settings = _sampling(comparison)
                go = gr.Button("Compare", variant="primary", size="lg", elem_id="compare")
            result = gr.HTML(PRESS, elem_id="result", apply_default_css=False)
            data = gr.JSON(visible=False)

    form = [dialogue, before, after, *settings]
    chosen = [cards, picker, dialogue, talk, result, data]

    def known(text: str, first: str, second: str, *sampling: Any) -> tuple[str, Any]:
        return comparison.recall(text, (first, second), sampling_of(*sampling))

    def show(example: Example, *rest: Any) -> tuple[Any, ...]:
        card = example.id if example in best else None
        view = known(example.dialogue, *rest)
        return card, example.id, example.dialogue, html.conversation(example.dialogue), *view

    @polite
    def pick(id: str, *rest: Any) -> tuple[Any, ...]:
        return show(comparison.example(id), *rest)

    @polite
    def open_page(request: gr.Request, *rest: Any) -> tuple[Any, ...]:
        return show(comparison.opening(request.query_params.get("dialogue")), *rest)

    @polite
    def preview(text: str, *rest: Any) -> tuple[Any, ...]:
        match = next((e for e in comparison.examples if e.dialogue == text.strip()), None)
        card = match.id if match in best and match else None
        return card, match.id if match else None, html.conversation(text), *known(text, *rest)

    @polite
    def recall(*values: Any) -> tuple[str, Any]:
        return known(*values)

    @polite
    def exchange(text: str, first: str, second: str, *sampling: Any) -> tuple[Any, ...]:
        return second, first, *known(text, second, first, *sampling)

    @polite
    def compare(text: str, first: str, second: str, *sampling: Any) -> Iterator[tuple[str, Any]]:
        yield from comparison.write(text, (first, second), sampling_of(*sampling))

    @polite
    def status(shown: Any, *values: Any) -> tuple[Any, ...]:
        comparison.bench.start()
        now = comparison.bench.status()
        over = now.ready or bool(now.error)
        view: tuple[Any, Any] = (gr.skip(), gr.skip())
        if now.error:
            view = html.failure("The models could not be loaded", now.error), None
        elif shown is None and comparison.bench.fingerprints:
            view = known(*values)
        return html.pill(now), gr.Timer(active=not over), *view

    timer = gr.Timer(1.0)
    quiet: dict[str, Any] = {"show_progress": "hidden"}
    rest = [before, after, *settings]
    gr.on(
        [page.load, timer.tick],
        status,
        [data, *form],
        [pill, timer, result, data],
        api_name="status",
        concurrency_limit=None,
        **quiet,
    )
    page.load(open_page, rest, chosen, api_name="open", **quiet)
    cards.input(pick, [cards, *rest], chosen, api_name="featured", **quiet)
    picker.input(pick, [picker, *rest], chosen, api_name="example", **quiet)
    seen = [cards, picker, talk, result, data]
    dialogue.input(preview, form, seen, api_name="preview", trigger_mode="always_last", **quiet)
    clear.click(lambda: "", None, dialogue, api_name="clear", **quiet).then(
        preview, form, seen, api_visibility="private", **quiet
    )
    gr.on([before.input, after.input], recall, form, [result, data], api_name="recall", **quiet)
    swap.click(exchange, form, [before, after, result, data], api_name="swap", **quiet)
    go.click(compare, form, [result, data], api_name="compare", show_progress="minimal")


def _versions(bench: Workbench, prefix: str) -> tuple[gr.Dropdown, gr.Button, gr.Dropdown]:
    names = list(bench.specs)
    with gr.Row(equal_height=True, elem_classes="da-controls da-versions"):
        before = gr.Dropdown(
            names,
            value=names[0],
            label="First version",
            elem_id=f"{prefix}before",
            min_width=120,
            allow_custom_value=True,
        )
        swap = gr.Button(
            "\u21c4", elem_id=f"{prefix}swap", elem_classes="da-swap", scale=0, min_width=44
        )
        after = gr.Dropdown(
            names,
            value=names[min(1, len(names) - 1)],
            label="Second version",
            elem_id=f"{prefix}after",
            min_width=120,
            allow_custom_value=True,
        )
    return before, swap, after


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


def _twenty(comparison: Comparison, dialogues: Any) -> None:
    folder = TemporaryDirectory(prefix="detox-arena-")  # lives and dies with the handlers below
    files = Path(folder.name)
    opening = shipped_batch(comparison.shipped, files)
    summary = gr.HTML(opening.summary, elem_id="batch-summary", apply_default_css=False)
    with gr.Row(elem_classes="da-controls da-actions"):
        download = gr.DownloadButton(
            "Download CSV",
            size="sm",
            value=opening.file,
            visible=opening.file is not None,
            scale=0,
            min_width=160,
            elem_id="batch-csv",
        )
        again = gr.Button(
            "Show the shipped results",
            size="sm",
            visible=False,
            scale=0,
            min_width=200,
            elem_id="batch-shipped",
        )
    with (
        gr.Accordion("Compute for other versions", open=not opening.file),
        gr.Column(elem_classes="da-controls"),
    ):
        before, swap, after = _versions(comparison.bench, "batch-")
        go = gr.Button("Compute twenty dialogues", variant="primary", elem_id="batch-go")
    plot = gr.HTML(opening.plot, elem_id="batch-plot", apply_default_css=False)
    rows = gr.HTML(opening.table, elem_id="batch-table", apply_default_css=False)
    data = gr.JSON(opening.data, visible=False)
    views = [summary, plot, rows, download, again, data]

    def shown(batch: Batch, live: bool) -> tuple[Any, ...]:
        file = gr.DownloadButton(value=batch.file, visible=batch.file is not None)
        back = gr.Button(visible=live and bool(comparison.shipped.rows))
        return batch.summary, batch.plot, batch.table, file, back, batch.data

    @polite
    def batch() -> tuple[Any, ...]:
        return shown(shipped_batch(comparison.shipped, Path(folder.name)), live=False)

    @polite
    def batch_live(
        first: str, second: str, progress: gr.Progress = gr.Progress()
    ) -> Iterator[tuple[Any, ...]]:
        for status, partial in live_batch(comparison, first, second, dialogues, Path(folder.name)):
            progress(status.share, desc=status.text)
            if partial is None:
                yield html.waiting(status), *(gr.skip(),) * 5
            elif not status.ready:
                yield html.waiting(status), partial.plot, partial.table, *(gr.skip(),) * 3
            else:
                yield shown(partial, live=True)

    again.click(batch, None, views, api_name="batch", show_progress="hidden")
    swap.click(lambda a, b: (b, a), [before, after], [before, after], api_visibility="private")
    go.click(batch_live, [before, after], views, api_name="batch_live", show_progress="hidden")
