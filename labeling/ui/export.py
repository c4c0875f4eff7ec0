"""The Export tab: the picks as a file in the format of each tool, with what is in it."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from detox.ui.html import empty, percent
from detox.ui.manners import polite
from labeling.export import FORMATS, SUFFIXES, Filters, Manifest, export
from labeling.schema import SPLITS
from labeling.store import Store, open_store
from labeling.ui.place import FLAT, SWIFT, current_blocks, current_tab
from labeling.ui.results import Counts, count, plural

ALL_SPLITS = "all"
# What each format is called, and what its file holds.
NAMES = {
    "trl-explicit": ("TRL, explicit prompt", "rows of prompt, chosen, rejected"),
    "trl-implicit": ("TRL, implicit prompt", "rows of chosen, rejected"),
    "trl-conversational": ("TRL, conversational", "rows of message lists"),
    "trl-unpaired": ("TRL, unpaired", "rows of prompt, completion, label"),
    "vertex-preference": ("Vertex AI, preferences", "rows of input_text, two candidates, choice"),
    "vertex-prompts": ("Vertex AI, prompts", "rows of input_text"),
    "vertex-bulk-inference": ("Vertex AI, bulk inference", "rows of inputs, prediction"),
    "openai-comparisons": ("OpenAI comparisons", "rows of info, summaries, choice"),
    "csv": ("CSV", "every pick with texts, sides, policies and times"),
    "parquet": ("Parquet", "every pick with texts, sides, policies and times"),
    "folder": ("Dataset folder, ZIP", "preferences, raw picks, a dataset card"),
}


@dataclass(frozen=True)
class Exported:
    """A written export: the file to download, its manifest as a file, and the manifest itself."""

    path: Path
    manifest_path: Path
    manifest: Manifest

    def answer(self) -> dict[str, Any]:
        """The manifest for programs, as JSON; gradio would take a ``path`` for a file to fetch."""
        told = asdict(self.manifest)
        return {"file": told.pop("path"), **told}


def write_export(store: Store, folder: Path, format: str, split: str) -> Exported:
    """Writes the picks of ``split`` (or ``all``) into ``folder``, where it replaces an earlier one.

    Manifests tell the file's name only, not where on the server it was made. Raises ``UserError``
    for an unknown format or split and when nothing matches, ``StoreError`` by the database.
    """
    only = None if split in (ALL_SPLITS, "", None) else split
    filters = Filters(split=only)
    name = f"detox-arena-{format}" + (f"-{only}" if only else "")
    out = folder / f"{name}{SUFFIXES.get(format, '')}"
    manifest = export(store, format, out, filters)
    inside = out.is_dir()
    beside = out / "manifest.json" if inside else out.with_name(f"{out.name}.manifest.json")
    path = folder / f"{name}.zip" if inside else out
    manifest = replace(manifest, path=path.name)
    beside.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    if inside:
        # Whole or not at all, for those who are downloading the one before.
        Path(shutil.make_archive(str(folder / f"{name}.new"), "zip", root_dir=out)).replace(path)
    return Exported(path, beside, manifest)


def summary(done: Exported) -> str:
    """What the file holds and what it leaves out, as HTML."""
    path, manifest = done.path, done.manifest
    left_out = ", ".join(
        f"{n} both bad" if choice == "both_bad" else plural(n, choice)
        for choice, n in manifest.left_out.items()
    )
    splits = ", ".join(f"{n} {split}" for split, n in manifest.rows_by_split.items())
    shared = manifest.agreement
    overlap = (
        f"{percent(shared['raw'])} on {plural(shared['pairs'], 'pair')} judged twice or more"
        if shared["raw"] is not None
        else "no pair was judged twice"
    )
    rows = (
        ("Rows", f"{manifest.rows:,}" + (f" ({splits})" if splits else "")),
        ("From", f"{plural(manifest.picks, 'pick')} by {plural(manifest.labelers, 'labeler')}"),
        ("Left out", left_out or "nothing"),
        ("Agreement", overlap),
        ("Snapshot", f'<code title="{manifest.snapshot}">{manifest.snapshot[:16]}</code>'),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return (
        f'<section class="da-card lb-manifest"><h3 class="da-title">{escape(path.name)}</h3>'
        f'<p class="da-muted">{_size(path)}: {NAMES[manifest.format][1]}.</p>'
        f"<dl>{items}</dl></section>"
    )


def overview(counts: Counts) -> str:
    """How many picks there are to export, as HTML."""
    if counts.picks == 0:
        return empty(
            "Nothing to export yet",
            "Picks made in the <b>Label</b> tab become a preference dataset here.",
        )
    decided = counts.left + counts.right
    return (
        '<div class="lb-export-head"><h2 class="da-title">Take the picks with you</h2>'
        f'<p class="da-muted">{plural(counts.picks, "pick")} so far: {decided:,} decided,'
        f" {plural(counts.ties, 'tie')}, {counts.both_bad:,} both bad, {counts.skips:,} skipped."
        " Formats that hold only a winner and a loser leave the undecided ones out and count them."
        " Labelers appear under pseudonyms; splits are by dialogue.</p></div>"
    )


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1024:,.1f} KB" if size < 1024**2 else f"{size / 1024**2:,.1f} MB"


def export_tab(database: Path) -> None:
    """Builds the tab inside the current ``gr.Tab``; its files go when the app does."""
    scratch = tempfile.TemporaryDirectory(prefix="detox-arena-")
    one_at_a_time = threading.Lock()
    head = gr.HTML(empty("Export", "One moment."), elem_id="export-head", label="overview", **FLAT)
    with gr.Column(
        visible=False, elem_id="export-controls", elem_classes="da-panel lb-export"
    ) as controls:
        with gr.Row(equal_height=False):
            format = gr.Dropdown(
                [(NAMES[name][0], name) for name in FORMATS],
                value=FORMATS[0],
                label="Format",
                elem_id="export-format",
                scale=3,
            )
            split = gr.Dropdown(
                [("All splits", ALL_SPLITS), *((name.capitalize(), name) for name in SPLITS)],
                value=ALL_SPLITS,
                label="Split",
                elem_id="export-split",
                scale=1,
            )
        start = gr.Button("Prepare the file", variant="primary", size="md", elem_id="export-start")
    with gr.Column(visible=False, elem_id="export-done", elem_classes="lb-export-done") as done:
        shown = gr.HTML(elem_id="export-summary", label="summary", **FLAT)
        with gr.Row(elem_classes="lb-downloads"):
            file = gr.DownloadButton(
                "Download the file", variant="primary", size="md", elem_id="export-download"
            )
            manifest_file = gr.DownloadButton(
                "Download the manifest", size="md", elem_id="export-manifest"
            )
    with gr.Row(visible=False):
        answer = gr.JSON(label="answer")

    @polite
    def look() -> tuple[Any, ...]:
        counts = count(open_store(database))
        some = counts.picks > 0
        hidden = gr.skip() if some else gr.update(visible=False)
        return overview(counts), gr.update(visible=some), hidden

    @polite
    def export_picks(format: str, split: str) -> tuple[Any, ...]:
        with one_at_a_time:
            found = write_export(open_store(database), Path(scratch.name), format, split)
        files = str(found.path), str(found.manifest_path)
        return found.answer(), *files, summary(found), gr.update(visible=True)

    triggers: list[Callable[..., Any]] = [current_blocks().load]
    if (tab := current_tab()) is not None:
        triggers.append(tab.select)
    gr.on(triggers, look, None, [head, controls, done], api_name="export_overview", **SWIFT)
    start.click(
        export_picks,
        [format, split],
        [answer, file, manifest_file, shown, done],
        api_name="export",
        **SWIFT,
    )
    gr.on(
        [format.change, split.change],
        lambda: gr.update(visible=False),
        None,
        done,
        api_visibility="private",
        **SWIFT,
    )
