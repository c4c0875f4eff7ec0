"""The Results tab: filters, the page below them, and the report for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.html import empty
from detox.ui.manners import polite
from labeling.analysis.report import Report, report
from labeling.analysis.selection import Selection
from labeling.ui.identity import Entrance, Gate
from labeling.ui.place import FLAT, SWIFT, current_tab
from labeling.ui.results.page import page

ALL = "all"
WHO = (("People", "person"), ("Models", "model"), ("Both", ALL))


def results_tab(database: Path, *, entrance: Entrance = Entrance()) -> None:
    """Builds the tab inside the current ``gr.Tab``; it refreshes each time it is opened.

    Viewers see what all picks say together, leads besides how each labeler works.
    """
    gate = Gate(database, entrance)
    with gr.Row(elem_classes="da-panel lb-filters", equal_height=False):
        batch = gr.Dropdown(
            [("All batches", ALL)],
            value=ALL,
            label="Batch",
            allow_custom_value=True,
            elem_id="results-batch",
            scale=2,
        )
        policies = gr.Dropdown(
            [("All policies", ALL)],
            value=ALL,
            label="Policies",
            allow_custom_value=True,
            visible=False,
            elem_id="results-policies",
            scale=2,
        )
        without = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            allow_custom_value=True,
            label="Leave out",
            elem_id="results-without",
            scale=3,
        )
        kind = gr.Radio(
            WHO, value="person", label="Picks of", elem_id="results-kind", scale=0, min_width=320
        )
        with gr.Column(scale=0, min_width=200, elem_classes="lb-switches"):
            blind = gr.Checkbox(value=False, label="Blind picks only", elem_id="results-blind")
            flagged = gr.Button(
                "Leave out the flagged", size="sm", elem_id="results-flagged", interactive=False
            )
    shown = gr.HTML(empty("Results", "One moment."), elem_id="results-page", label="page", **FLAT)
    with gr.Row(elem_classes="lb-foot"):
        refresh = gr.Button("Refresh", size="sm", elem_id="results-refresh", scale=0)
    with gr.Row(visible=False):
        answer = gr.JSON(label="answer")
    filters = [batch, without, blind, kind, policies]
    outputs = [answer, shown, batch, without, policies, flagged]

    @polite
    def results(
        batch: str,
        without: list[str],
        blind: bool,
        kind: str,
        policies: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        store, visitor = gate.admit(request, "viewer")
        found = report(store, selection(batch, without, blind, kind, policies))
        return _told(found if visitor.may("lead") else replace(found, labelers=()))

    @polite
    def without_flagged(
        batch: str,
        without: list[str],
        blind: bool,
        kind: str,
        policies: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        store, _ = gate.admit(request, "lead")
        chosen = selection(batch, without, blind, kind, policies)
        left_out = dict.fromkeys([*chosen.without, *report(store, chosen).flagged])
        return _told(report(store, replace(chosen, without=tuple(left_out))))

    triggers: list[Callable[..., Any]] = [
        refresh.click,
        *(filter.input for filter in (batch, policies, without, blind, kind)),
    ]
    if (tab := current_tab()) is not None:
        triggers.append(tab.select)
    gr.on(triggers, results, filters, outputs, api_name="results", **SWIFT)
    flagged.click(without_flagged, filters, outputs, api_visibility="private", **SWIFT)


def selection(
    batch: str | None,
    without: list[str] | None,
    blind: bool,
    kind: str | None,
    policies: str | None,
) -> Selection:
    """The filters of the page as a selection; ``policies`` is a JSON list of two names.

    Raises ``UserError`` for an unknown kind of labeler and for policies that are not two names.
    """
    return Selection(
        batch=None if batch in (ALL, "", None) else batch,
        policies=None if policies in (ALL, "", None) else _two(policies),
        without=tuple(without or ()),
        blind_only=bool(blind),
        labeler_kind=None if kind in (ALL, "", None) else kind,
    )


def _two(policies: str | None) -> tuple[str, str]:
    try:
        after, before = json.loads(policies or "")
    except (ValueError, TypeError) as error:
        raise UserError(
            'Give two policies as a JSON list, as in ["after", "before"], or all.'
        ) from error
    return str(after), str(before)


def _told(found: Report) -> tuple[Any, ...]:
    """The report, the page, and the filters with what there is to choose from."""
    chosen = found.selection
    labelers = dict.fromkeys([*(row.labeler for row in found.labelers), *chosen.without])
    couples = [
        (f"{after} against {before}", json.dumps([after, before]))
        for after, before in found.couples
    ]
    return (
        found.answer(),
        page(found),
        gr.update(
            choices=[("All batches", ALL), *((name, name) for name in found.batches)],
            value=chosen.batch or ALL,
        ),
        # Also those who have no pick with the other filters: they stay left out.
        gr.update(choices=list(labelers), value=list(chosen.without)),
        gr.update(
            visible=len(couples) > 1,
            choices=[("All policies", ALL), *couples],
            value=json.dumps(list(chosen.policies)) if chosen.policies else ALL,
        ),
        gr.update(interactive=any(row.flags and not row.left_out for row in found.labelers)),
    )
