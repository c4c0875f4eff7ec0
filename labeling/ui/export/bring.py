"""The part of the Export tab that brings preferences in: look at a file first, then add it."""

from __future__ import annotations

import threading
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.manners import polite
from labeling.formats import RAW
from labeling.imports import LABELER
from labeling.ui.export.files import check_import, do_import
from labeling.ui.export.words import NAMES, button, import_report, refused
from labeling.ui.identity import Gate
from labeling.ui.place import FLAT, SWIFT

AUTO = "auto"
TITLE = (
    '<div class="lb-export-head"><h2 class="da-title">Bring preferences in</h2>'
    '<p class="da-muted">Every format above, and pairs to judge, as JSONL, JSON, CSV, Parquet or a'
    " dataset folder's ZIP. The file is looked at first and added whole or not at all; what the"
    " project knows already stays as it is.</p></div>"
)


def import_panel(gate: Gate, one_at_a_time: threading.Lock) -> tuple[gr.Column, Any]:
    """Builds the panel, hidden; returns it and the event that follows an import."""
    with gr.Column(
        visible=False, elem_id="import-panel", elem_classes="da-panel lb-export"
    ) as panel:
        gr.HTML(TITLE, **FLAT)
        file = gr.File(
            label="File",
            show_label=False,
            type="filepath",
            height=120,
            elem_id="import-file",
            elem_classes="lb-drop",
        )
        with gr.Accordion(
            "More settings", open=False, elem_id="import-more", elem_classes="lb-more"
        ):
            with gr.Row(elem_classes="lb-fields"):
                names = [(NAMES[name][0], name) for name in NAMES if name not in (*RAW, "folder")]
                format = gr.Dropdown(
                    [
                        ("As the first row tells", AUTO),
                        *names,
                        ("Raw picks", "csv"),
                        ("Pairs to judge", "pairs"),
                    ],
                    value=AUTO,
                    label="Format",
                    elem_id="import-format",
                    scale=2,
                )
                batch = gr.Textbox(
                    value="",
                    label="Batch",
                    info="Of pairs that name none; else the file's name.",
                    max_lines=1,
                    elem_id="import-batch",
                    scale=2,
                )
            with gr.Row(elem_classes="lb-fields"):
                labeler = gr.Textbox(
                    value=LABELER,
                    label="Labeler",
                    info="Whose picks rows without a worker are.",
                    max_lines=1,
                    elem_id="import-labeler",
                )
                policy = gr.Textbox(
                    value="",
                    label="Whose responses",
                    info="The version behind the predictions of bulk inference.",
                    max_lines=1,
                    elem_id="import-policy",
                )
        report = gr.HTML(elem_id="import-report", label="report", **FLAT)
        add = gr.Button(
            button(None),
            variant="primary",
            size="md",
            interactive=False,
            elem_id="import-start",
        )
    with gr.Row(visible=False):
        answer = gr.JSON(label="imported")

    @polite
    def import_check(
        request: gr.Request,
        file: str | None = None,
        format: str = AUTO,
        batch: str = "",
        labeler: str = LABELER,
        policy: str = "",
    ) -> tuple[Any, ...]:
        store, _ = gate.admit(request, "lead")
        if not file:
            return None, "", gr.update(value=button(None), interactive=False)
        try:
            found = check_import(
                store, file, format=_known(format), batch=batch, labeler=labeler, policy=policy
            )
        except UserError as error:
            off = gr.update(value=button(None), interactive=False)
            return {"refused": str(error)}, refused(str(error)), off
        ready = gr.update(value=button(found), interactive=found.adds)
        return found.answer(), import_report(found), ready

    @polite
    def import_file(
        request: gr.Request,
        file: str | None = None,
        format: str = AUTO,
        batch: str = "",
        labeler: str = LABELER,
        policy: str = "",
    ) -> tuple[Any, ...]:
        store, _ = gate.admit(request, "lead")
        with one_at_a_time:
            found = do_import(
                store, file, format=_known(format), batch=batch, labeler=labeler, policy=policy
            )
        off = gr.update(value=button(None), interactive=False)
        return found.answer(), import_report(found), off

    form, shown = [file, format, batch, labeler, policy], [answer, report, add]
    gr.on(
        [file.change, format.change, batch.blur, labeler.blur, policy.blur],
        import_check,
        form,
        shown,
        api_name="import_check",
        trigger_mode="always_last",
        **SWIFT | {"show_progress": "minimal"},
    )
    imported = add.click(
        import_file,
        form,
        shown,
        api_name="import_file",
        **SWIFT | {"show_progress": "minimal"},
    )
    return panel, imported


def _known(format: str | None) -> str | None:
    return None if format in (AUTO, "", None) else format
