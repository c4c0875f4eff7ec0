"""The Export tab: components and events; what they do is in ``files``, what they say in ``words``.

It is for leads. Every handler opens the database itself and passes the gate.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.html import empty
from detox.ui.manners import polite
from labeling.analysis.report import count
from labeling.export import FORMATS, Filters, offered, preview
from labeling.store import Store, open_store
from labeling.ui.export.bring import import_panel
from labeling.ui.export.files import write_export
from labeling.ui.export.form import ALL, build_form, chosen_filters, fitting, offers
from labeling.ui.export.words import forecast, overview, problem, summary
from labeling.ui.identity import Entrance, Gate, leads_only, visitor
from labeling.ui.place import FLAT, SWIFT, current_blocks, current_tab

Act = Callable[[Store, str, Filters], tuple[Any, ...]]
Failed = Callable[[str], tuple[Any, ...]]


def export_tab(database: Path, *, entrance: Entrance = Entrance()) -> None:
    """Builds the tab inside the current ``gr.Tab``, for leads; its files go when the app does."""
    gate = Gate(database, entrance)
    scratch = tempfile.TemporaryDirectory(prefix="detox-arena-")
    one_at_a_time = threading.Lock()
    head = gr.HTML(empty("Export", "One moment."), elem_id="export-head", label="overview", **FLAT)
    with gr.Column(
        visible=False, elem_id="export-controls", elem_classes="da-panel lb-export"
    ) as controls:
        form = build_form()
        with gr.Row(elem_classes="lb-export-foot"):
            start = gr.Button(
                "Prepare the file", variant="primary", size="md", elem_id="export-start", scale=0
            )
            told = gr.HTML(elem_id="export-forecast", label="forecast", **FLAT)
    with gr.Column(visible=False, elem_id="export-done", elem_classes="lb-export-done") as done:
        shown = gr.HTML(elem_id="export-summary", label="summary", **FLAT)
        with gr.Row(elem_classes="lb-downloads"):
            file = gr.DownloadButton(
                "Download the file", variant="primary", size="md", elem_id="export-download"
            )
            manifest_file = gr.DownloadButton(
                "Download the manifest", size="md", elem_id="export-manifest"
            )
    bring, imported = import_panel(gate, one_at_a_time)
    with gr.Row(visible=False):
        answer, counted = gr.JSON(label="answer"), gr.JSON(label="counted")

    @polite
    def look(request: gr.Request) -> tuple[Any, ...]:
        store = open_store(database)
        found = visitor(store, entrance, request)
        hidden = gr.update(visible=False)
        if not found.may("lead"):
            shut = leads_only(entrance, found, "datasets are made by leads")
            return shut, hidden, hidden, hidden, gr.skip(), gr.skip()
        counts = count(store)
        if not counts.picks:
            return overview(counts), hidden, hidden, gr.update(visible=True), gr.skip(), gr.skip()
        with store.reading() as db:
            choices = offers(offered(db))
        visible = gr.update(visible=True)
        return overview(counts), visible, gr.skip(), visible, *choices

    def with_form(
        name: str, act: Act, failed: Failed | None = None
    ) -> Callable[..., tuple[Any, ...]]:
        """A handler that does ``act`` with what the form asks for.

        What goes wrong is an error message, or what ``failed`` makes of its sentence.
        """

        def handler(
            request: gr.Request,
            format: str = FORMATS[0],
            split: str | None = ALL,
            batch: str | None = ALL,
            aggregation: str = "every",
            margin: bool = False,
            minimum_agreement: float | None = 0.0,
            minimum_votes: float | None = 0,
            task: str | None = ALL,
            since: str | None = None,
            until: str | None = None,
            without: list[str] | None = None,
            blind_only: bool = False,
            notes: bool = True,
            labeler_kind: str | None = ALL,
        ) -> tuple[Any, ...]:
            values = (
                split,
                batch,
                aggregation,
                margin,
                minimum_agreement,
                minimum_votes,
                task,
                since,
                until,
                without,
                blind_only,
                notes,
                labeler_kind,
            )
            try:
                store, _ = gate.admit(request, "lead")
                return act(store, format, chosen_filters(*values))
            except UserError as error:
                if failed is None:
                    raise
                return failed(str(error))

        handler.__name__ = name
        return polite(handler)

    def export_picks(store: Store, format: str, filters: Filters) -> tuple[Any, ...]:
        with one_at_a_time:
            found = write_export(store, Path(scratch.name), format, filters)
        files = str(found.path), str(found.manifest_path)
        return found.answer(), *files, summary(found), gr.update(visible=True)

    def count_rows(store: Store, format: str, filters: Filters) -> tuple[Any, ...]:
        plan = preview(store, format, filters)
        counts = {"rows": plan.rows, "picks": len(plan.picks), "left_out": plan.left_out}
        return counts, forecast(plan), gr.update(interactive=plan.rows > 0)

    def no_count(sentence: str) -> tuple[Any, ...]:
        return {"refused": sentence}, problem(sentence), gr.update(interactive=False)

    counting = with_form("export_count", count_rows, no_count)
    seen = [head, controls, done, bring, form.batch, form.without]
    tab = current_tab()
    comes: Callable[..., Any] = current_blocks().load if tab is None else tab.select
    opened = comes(look, None, seen, api_name="export_overview", **SWIFT)
    start.click(
        with_form("export", export_picks),
        form.components,
        [answer, file, manifest_file, shown, done],
        api_name="export",
        **SWIFT,
    )
    forecast_parts = [counted, told, start]
    form.format.change(
        fitting, form.format, [form.aggregation, form.margin], api_visibility="private", **SWIFT
    )
    gr.on(
        [part.change for part in form.components],
        counting,
        form.components,
        forecast_parts,
        api_name="export_count",
        trigger_mode="always_last",
        **SWIFT,
    )
    gr.on(
        [part.change for part in form.components],
        lambda: gr.update(visible=False),
        None,
        done,
        api_visibility="private",
        **SWIFT,
    )
    for event in (opened, imported):
        event.then(counting, form.components, forecast_parts, api_visibility="private", **SWIFT)
    imported.then(look, None, seen, api_visibility="private", **SWIFT)
