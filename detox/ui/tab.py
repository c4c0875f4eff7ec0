"""The header of the page and the Compare tab."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from detox.data import load_dialogues
from detox.ui import html
from detox.ui.compare import Comparison, Example
from detox.ui.one import one_dialogue
from detox.ui.shipped import Shipped, draw
from detox.ui.twenty import twenty_dialogues
from detox.workbench import Status, Workbench


def page_header(status: Status) -> gr.HTML:
    """What this is, and how far the models are; returns the latter for updates."""
    with gr.Row(elem_classes="da-top"):
        gr.HTML(html.header(), apply_default_css=False)
        return gr.HTML(
            html.pill(status),
            elem_id="model-status",
            elem_classes="da-status",
            apply_default_css=False,
        )


def compare_tab(page: gr.Blocks, bench: Workbench, results: Path, pill: gr.HTML) -> None:
    """Builds the tab inside ``page``; ``results`` is a folder written by ``detox evaluate``."""
    dialogues = load_dialogues(split="test")
    examples = [Example(d["id"], d["dialogue"], d["topic"], d["tone"]) for d in dialogues]
    comparison = Comparison(bench, Shipped.read(results), examples)
    with gr.Tabs(elem_classes="da-view-tabs"):
        with gr.Tab("One dialogue", id="one"):
            one_dialogue(page, comparison, pill)
        with gr.Tab("Twenty at once", id="twenty"):
            chosen = set(draw([example.id for example in examples]))
            places = [i for i, example in enumerate(examples) if example.id in chosen]
            twenty_dialogues(comparison, dialogues.select(places))
