"""The Manage tab: its sections for leads, and one sentence for everybody else."""

from __future__ import annotations

import random
from typing import Any

import gradio as gr

from detox.ui.html import empty
from detox.ui.manners import polite
from detox.workbench import Workbench
from labeling.store import open_store
from labeling.ui.identity import Gate, leads_only, visitor
from labeling.ui.manage.batches import batches_section, overview
from labeling.ui.manage.conflicts import conflicts_section
from labeling.ui.manage.gold import gold_section
from labeling.ui.manage.new_batch import new_batch_section
from labeling.ui.manage.people import people_section
from labeling.ui.manage.record import record_section
from labeling.ui.place import FLAT, SWIFT, current_tab

WHAT = "batches, conflicts and people are managed by leads"


def manage_tab(gate: Gate, bench: Workbench, *, rng: random.Random | None = None) -> None:
    """Builds the tab inside the current ``gr.Tab``; ``rng`` draws the sides of conflicts.

    ``bench`` writes new batches. The database is opened per event, never here.
    """
    closed = gr.HTML(
        empty("Manage", "One moment."), elem_id="manage-closed", label="closed", **FLAT
    )
    with (
        gr.Column(visible=False, elem_id="manage-desk") as desk,
        gr.Tabs(elem_classes="da-view-tabs", elem_id="manage-sections"),
    ):
        with gr.Tab("Batches", id="manage-tab-batches"):
            shown = batches_section(gate)
        with gr.Tab("New batch", id="manage-tab-new"):
            new_batch_section(gate, bench)
        with gr.Tab("Conflicts", id="manage-tab-conflicts"):
            conflicts_section(gate, rng or random.Random())
        with gr.Tab("Gold", id="manage-tab-gold"):
            gold_section(gate)
        with gr.Tab("People", id="manage-tab-people"):
            people_section(gate)
        with gr.Tab("Record", id="manage-tab-record"):
            record_section(gate)

    @polite
    def manage(request: gr.Request) -> tuple[Any, ...]:
        """Every batch, for leads."""
        store = open_store(gate.database)
        found = visitor(store, gate.entrance, request)
        if not found.may("lead"):
            shut = leads_only(gate.entrance, found, WHAT)
            told = {"name": found.name, "role": found.role}
            return told, gr.skip(), gr.update(value=shut, visible=True), gr.update(visible=False)
        return *overview(store), gr.update(visible=False), gr.update(visible=True)

    if (tab := current_tab()) is not None:
        tab.select(manage, None, [*shown, closed, desk], api_name="manage", **SWIFT)
