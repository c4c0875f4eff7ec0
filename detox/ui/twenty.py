"""Twenty dialogues at once: the components of this view, and what answers its events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradio as gr

from detox.ui import html
from detox.ui.batch import Batch, live_batch, shipped_batch
from detox.ui.compare import Comparison
from detox.ui.manners import lasting, polite
from detox.ui.one import QUICK, versions
from detox.ui.turns import breakable, overtakes

if TYPE_CHECKING:
    from datasets import Dataset


def twenty_dialogues(comparison: Comparison, dialogues: Dataset) -> None:
    """Builds the view; ``dialogues`` are those that are computed live."""
    files = TemporaryDirectory(prefix="detox-arena-")  # kept by the handlers, gone with the app
    opening = shipped_batch(comparison.shipped, Path(files.name))
    summary = gr.HTML(opening.summary, elem_id="batch-summary", apply_default_css=False)
    some = opening.file is not None
    with gr.Row(visible=some, elem_classes="da-controls da-actions") as actions:
        download = gr.DownloadButton(
            "Download CSV", value=opening.file, size="sm", elem_id="batch-csv"
        )
        again = gr.Button(
            "Back to the shipped results", visible=False, size="sm", elem_id="batch-shipped"
        )
    with (
        gr.Accordion("Compute twenty dialogues now", open=not some),
        gr.Column(elem_classes="da-controls"),
    ):
        before, swap, after = versions(comparison.bench, "batch-")
        go = gr.Button("Compute", variant="primary", elem_id="batch-go")
    plot = gr.HTML(opening.plot, elem_id="batch-plot", apply_default_css=False)
    rows = gr.HTML(opening.table, elem_id="batch-table", apply_default_css=False)
    data = gr.JSON(opening.data, visible=False, label="batch")
    views = [summary, plot, rows, download, again, actions, data]

    def shown(batch: Batch, live: bool) -> tuple[Any, ...]:
        back = gr.Button(visible=live and bool(comparison.shipped.rows))
        row = gr.Row(visible=batch.file is not None)
        return batch.summary, batch.plot, batch.table, batch.file, back, row, batch.data

    @polite
    def batch() -> tuple[Any, ...]:
        """The results computed beforehand: as a page, as CSV and as data."""
        return shown(shipped_batch(comparison.shipped, Path(files.name)), live=False)

    @breakable
    @lasting(lambda said: (html.failure("This broke off", said), *(gr.skip(),) * 6))
    @polite
    def batch_live(
        before: str, after: str, progress: gr.Progress = gr.Progress()
    ) -> Iterator[tuple[Any, ...]]:
        """Twenty test dialogues through two versions, a few at a time."""
        for status, partial in live_batch(comparison, before, after, dialogues, Path(files.name)):
            progress(status.share, desc=status.text)
            if partial is None:
                yield html.waiting(status), *(gr.skip(),) * 6
            elif not status.ready:
                yield html.waiting(status), partial.plot, partial.table, *(gr.skip(),) * 4
            else:
                yield shown(partial, live=True)

    computing = go.click(
        batch_live, [before, after], views, api_name="batch_live", show_progress="hidden"
    )
    overtakes([again.click], computing)
    again.click(batch, None, views, api_name="batch", show_progress="hidden")
    swap.click(
        lambda a, b: (b, a), [before, after], [before, after], api_name="batch_swap", **QUICK
    )
