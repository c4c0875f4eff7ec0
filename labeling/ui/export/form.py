"""The form of the Export tab: its components, and what their values ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from detox.tasks import TASKS
from labeling.export import FORMATS, Filters, Offered
from labeling.export.filters import OTHER_TASK
from labeling.formats import RAW, WITH_MARGIN
from labeling.schema import SPLITS
from labeling.ui.export.files import last_day
from labeling.ui.export.words import NAMES

ALL = "all"
JOINED = (
    ("Each pick", "every"),
    ("Each pair, as most of its votes say", "majority"),
    ("Each pair, as a lead said, else its votes", "adjudicated"),
)
# What a model picked is no preference of people's, so it is mixed with theirs only on request.
BOTH = "both"
PICKED_BY = (
    ("People; raw picks of everybody", ALL),
    ("People", "person"),
    ("Models", "model"),
    ("People and models", BOTH),
)


@dataclass(frozen=True)
class Form:
    """The components, in the order in which handlers get their values."""

    format: gr.Dropdown
    split: gr.Dropdown
    batch: gr.Dropdown
    aggregation: gr.Dropdown
    margin: gr.Checkbox
    minimum_agreement: gr.Slider
    minimum_votes: gr.Number
    task: gr.Dropdown
    since: gr.DateTime
    until: gr.DateTime
    without: gr.Dropdown
    blind_only: gr.Checkbox
    notes: gr.Checkbox
    labeler_kind: gr.Dropdown

    @property
    def components(self) -> list[Any]:
        """All of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_form() -> Form:
    """Builds the form, the rarely used parts folded away."""
    with gr.Row(elem_classes="lb-fields"):
        format = gr.Dropdown(
            [(NAMES[name][0], name) for name in FORMATS],
            value=FORMATS[0],
            label="Format",
            elem_id="export-format",
            scale=2,
        )
        aggregation = gr.Dropdown(
            list(JOINED), value="every", label="One row for", elem_id="export-aggregation", scale=2
        )
    with gr.Row(elem_classes="lb-fields"):
        split = _choice("Split", [("All splits", ALL), *_named(SPLITS)], "export-split")
        # Any text, as batches come and go while the page is open, and programs may not ask first.
        batch = _choice("Batch", [("All batches", ALL)], "export-batch", any_text=True)
        margin = gr.Checkbox(
            label="With margins",
            info="How clearly it is better, for the loss.",
            elem_id="export-margin",
            elem_classes="lb-tick",
        )
    with gr.Accordion("More filters", open=False, elem_id="export-more", elem_classes="lb-more"):
        with gr.Row(elem_classes="lb-fields"):
            minimum_agreement = gr.Slider(
                0,
                1,
                value=0,
                step=0.05,
                label="Least share of a pair's votes that agree",
                elem_id="export-agreement",
                scale=2,
            )
            minimum_votes = gr.Number(
                value=0,
                precision=0,
                minimum=0,
                label="Least votes a pair",
                elem_id="export-votes",
            )
            task = _choice(
                "Task", [("All tasks", ALL), *_named((*TASKS, OTHER_TASK))], "export-task"
            )
        with gr.Row(elem_classes="lb-fields"):
            since = _day("First day, UTC", "export-since")
            until = _day("Last day, UTC", "export-until")
            without = gr.Dropdown(
                [],
                value=[],
                multiselect=True,
                allow_custom_value=True,
                label="Leave out labelers",
                elem_id="export-without",
                scale=2,
            )
        with gr.Row(elem_classes="lb-fields"):
            labeler_kind = _choice("Picked by", list(PICKED_BY), "export-kind")
            blind_only = gr.Checkbox(
                label="Blind picks only",
                info="None by labelers who could know which version was which.",
                elem_id="export-blind",
                elem_classes="lb-tick",
            )
            notes = gr.Checkbox(
                value=True,
                label="With notes",
                info="Labelers may have written names in them.",
                elem_id="export-notes",
                elem_classes="lb-tick",
            )
    return Form(
        format,
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


def _choice(
    label: str, choices: list[tuple[str, str]], elem_id: str, *, any_text: bool = False
) -> gr.Dropdown:
    return gr.Dropdown(
        choices, value=ALL, label=label, elem_id=elem_id, allow_custom_value=any_text
    )


def _day(label: str, elem_id: str) -> gr.DateTime:
    return gr.DateTime(include_time=False, type="string", label=label, elem_id=elem_id)


def _named(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name.capitalize(), name) for name in names]


def offers(found: Offered) -> tuple[Any, Any]:
    """The batches and labelers to choose from, for ``batch`` and ``without``."""
    batches = [("All batches", ALL), *((name, name) for name in found.batches)]
    labelers = [(f"{name} · {picks:,}", name) for name, picks in found.labelers]
    return gr.update(choices=batches), gr.update(choices=labelers)


def fitting(format: str) -> tuple[Any, Any]:
    """``aggregation`` and ``margin`` as far as ``format`` has them: raw picks are never joined."""
    joins = format not in RAW
    return (
        gr.update(interactive=True) if joins else gr.update(value="every", interactive=False),
        gr.update(interactive=True)
        if format in WITH_MARGIN
        else gr.update(value=False, interactive=False),
    )


def chosen_filters(
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
) -> Filters:
    """What the values of a form ask for; ``until`` is the last day that counts.

    Raises ``UserError`` for a value that cannot be.
    """
    return Filters(
        split=_some(split),
        batch=_some(batch),
        aggregation=aggregation,
        margin=bool(margin),
        minimum_agreement=float(minimum_agreement or 0),
        minimum_votes=int(minimum_votes or 0),
        task=_some(task),
        since=(since or "").strip() or None,
        until=last_day(until),
        without=tuple(without or ()),
        blind_only=bool(blind_only),
        notes=bool(notes),
        labeler_kind="all" if labeler_kind == BOTH else _some(labeler_kind),
    )


def _some(value: str | None) -> str | None:
    return None if value in (ALL, "", None) else value
