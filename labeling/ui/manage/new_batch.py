"""A new batch: any dialogues × any versions, or pairs out of a file."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import gradio as gr

from detox.config import EMBEDDED, Sampling
from detox.data import SPLITS, load_dialogues
from detox.errors import UserError
from detox.ui.manners import polite
from detox.workbench import Workbench
from labeling.active import prioritise
from labeling.batches import BatchReport, load_pairs
from labeling.files import read_jsonl
from labeling.generate import generate_batch
from labeling.plans import Plan, find_plan, save_plan, set_status, standings
from labeling.store import Store
from labeling.text import clean_text
from labeling.ui.identity import Gate
from labeling.ui.manage import plan_form
from labeling.ui.manage.generation import Generations, Report, Steps, report_html
from labeling.ui.place import FLAT, SWIFT, current_tab

if TYPE_CHECKING:
    from datasets import Dataset

FILE = "file"
SOURCES = [
    ("Built-in: test", "test"),
    ("Built-in: validation", "validation"),
    ("Built-in: training", "train"),
    ("Built-in: all", "all"),
    ("A file of mine", FILE),
]
MEETINGS = (("Every two of them", "all"), ("The first with each other one", "first"))


@dataclass(frozen=True)
class Wish:
    """What a new batch is made from. Raises ``UserError`` for a number that is none."""

    names: tuple[str, ...]
    meetings: str
    source: str
    """One of ``SPLITS``, ``all``, or ``file``."""
    path: str | None
    count: int
    """Dialogues, drawn by the plan's seed; 0 takes all."""
    temperature: float
    max_new_tokens: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserError("Give a number of dialogues, or 0 for all of them.")


def prepared(store: Store, plan: Plan, wish: Wish, bench: Workbench, *, paused: bool) -> Steps:
    """The steps of a generation, once everything that can be wrong at its start is not.

    A batch that exists keeps its plan and its status; a new one is made, ``paused`` if asked.
    Raises ``UserError`` for dialogues, versions and settings that cannot be used.
    """
    if len(wish.names) < 2:
        raise UserError("A pair needs two different versions: choose two or more.")
    bench.check_names(wish.names)
    known = any(standing.plan.name == plan.name for standing in standings(store))
    plan = find_plan(store, plan.name) if known else plan
    dialogues = _drawn(_dialogues(wish), wish.count, plan.seed)
    sampling = Sampling(
        temperature=wish.temperature, max_new_tokens=wish.max_new_tokens, seed=plan.seed
    )
    if not known:
        save_plan(store, plan)
        if paused:
            set_status(store, plan.name, "paused")
    return _steps(store, plan, wish, bench, dialogues, sampling)


def _steps(
    store: Store,
    plan: Plan,
    wish: Wish,
    bench: Workbench,
    dialogues: Dataset,
    sampling: Sampling,
) -> Steps:
    yield from generate_batch(
        store, plan, bench, list(wish.names), dialogues, sampling, meetings=wish.meetings
    )
    if plan.strategy != "balanced":
        prioritise(store, plan.name)


def _dialogues(wish: Wish) -> Dataset:
    if wish.source == FILE:
        if not wish.path:
            raise UserError("Choose a file of dialogues first: JSONL, CSV or Parquet.")
        with TemporaryDirectory(prefix="detox-arena-") as folder:
            # A comma would part the name of a source in two.
            path = Path(folder) / Path(wish.path).name.replace(",", "_")
            shutil.copyfile(wish.path, path)
            return load_dialogues(str(path))
    if wish.source not in (*SPLITS, "all"):
        raise UserError(f"Unknown dialogues '{wish.source}': use {', '.join(SPLITS)}, all or file.")
    return load_dialogues(EMBEDDED, None if wish.source == "all" else wish.source)


def _drawn(dialogues: Dataset, count: int, seed: int) -> Dataset:
    if not 0 < count < len(dialogues):
        return dialogues
    return dialogues.select(sorted(random.Random(seed).sample(range(len(dialogues)), count)))


def file_html(report: BatchReport, batch: str) -> str:
    """What became of the rows of a file, as a card."""
    facts = "".join(
        f"<li><b>{number:,}</b> {word}</li>"
        for number, word in (
            (report.added, "pairs added"),
            (report.known, "known before"),
            (report.identical, "left out, both texts the same"),
        )
    )
    return (
        '<section class="da-card mg-generation" role="status">'
        f'<header><h3 class="da-title">Read into “{escape(batch)}”</h3></header>'
        f'<ul class="mg-facts">{facts}</ul></section>'
    )


def new_batch_section(gate: Gate, bench: Workbench) -> None:
    """Builds the section inside the current ``gr.Tab``."""
    runs = Generations()
    names = list(bench.specs)
    opening = Sampling()
    with gr.Column(elem_classes="da-panel mg-form"):
        gr.HTML(
            '<h3 class="da-title">Write pairs for a batch</h3><p class="da-muted">Versions answer'
            " dialogues beforehand, so that nobody who labels waits for a model. The name of a"
            " batch that exists adds to it, and its plan stays.</p>",
            **FLAT,
        )
        with gr.Row(elem_classes="mg-fields"):
            name = gr.Textbox(
                label="Name",
                placeholder="gentle-1",
                info="labelers do not see it",
                max_lines=1,
                max_length=100,
                elem_id="new-name",
                min_width=200,
            )
            policies = gr.CheckboxGroup(
                names, value=names[:2], label="Versions that meet", elem_id="new-policies"
            )
            meetings = gr.Radio(
                list(MEETINGS),
                value="all",
                label="Pairs of",
                visible=False,
                elem_id="new-meetings",
            )
        source = gr.Radio(SOURCES, value="test", label="Dialogues", elem_id="new-source")
        file = gr.File(
            label="JSONL, CSV or Parquet with a column `dialogue`",
            file_types=[".jsonl", ".json", ".csv", ".parquet"],
            visible=False,
            height=140,
            elem_id="new-file",
        )
        with gr.Row(elem_classes="mg-fields"):
            count = gr.Number(
                20,
                precision=0,
                label="How many of them",
                info="drawn by the seed; 0 takes all",
                elem_id="new-count",
                min_width=160,
            )
            begin = gr.Checkbox(
                True,
                label="Labelers may begin while pairs are written",
                elem_id="new-begin",
                min_width=240,
            )
        with gr.Accordion("How it is labelled", open=True):
            fields = plan_form.plan_fields("new")
        with (
            gr.Accordion("How summaries are written", open=False),
            gr.Row(elem_classes="mg-fields"),
        ):
            temperature = gr.Slider(
                0, 2, opening.temperature, step=0.05, label="Temperature", elem_id="new-temperature"
            )
            tokens = gr.Slider(
                1,
                256,
                opening.max_new_tokens,
                step=1,
                label="Longest summary, in tokens",
                elem_id="new-tokens",
            )
        with gr.Row(elem_classes="mg-foot"):
            go = gr.Button("Generate", variant="primary", size="md", elem_id="new-generate")
            stop = gr.Button(
                "Stop", variant="stop", size="md", interactive=False, elem_id="new-stop"
            )
    card = gr.HTML(elem_id="new-progress", label="progress", **FLAT)
    with gr.Accordion("Add pairs from a file", open=False, elem_id="new-pairs"):
        gr.HTML(
            '<p class="da-muted">JSONL as <code>python -m detox evaluate</code> writes'
            " compare.jsonl, or rows of <code>dialogue</code>, <code>a</code>, <code>b</code>,"
            " <code>policy_a</code>, <code>policy_b</code>, and <code>gold</code> where the answer"
            " is known.</p>",
            **FLAT,
        )
        pairs_file = gr.File(
            label="Pairs", file_types=[".jsonl"], height=140, elem_id="new-pairs-file"
        )
        with gr.Row(elem_classes="mg-foot"):
            pairs_name = gr.Textbox(
                label="Batch", max_lines=1, max_length=100, elem_id="new-pairs-name"
            )
            add = gr.Button("Add them", size="md", scale=0, elem_id="new-pairs-add")
        pairs_card = gr.HTML(elem_id="new-pairs-report", label="report", **FLAT)
    with gr.Row(visible=False):
        current = gr.Textbox(label="batch")
        answer = gr.JSON(label="answer")

    def watched(batch: str) -> Iterator[tuple[Any, ...]]:
        for report in runs.watch(batch):
            yield _view(report, bench)
            if report.error:
                raise UserError(report.error)

    @polite
    def generate(
        batch: str,
        policies: list[str],
        meetings: str,
        source: str,
        file: str | None,
        dialogues: float,
        begin_at_once: bool,
        labelers_per_pair: float,
        repeats_percent: float,
        gold_percent: float,
        strategy: str,
        hold_minutes: float,
        reveal: bool,
        guidelines: str,
        seed: float,
        temperature: float,
        max_new_tokens: float,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """Writes the pairs of a batch in the background, and tells how far it is."""
        store, _ = gate.admit(request, "lead")
        values = (
            labelers_per_pair,
            repeats_percent,
            gold_percent,
            strategy,
            hold_minutes,
            reveal,
            guidelines,
            seed,
        )
        if None in (dialogues, temperature, max_new_tokens):
            raise UserError("Give a number for every setting of the batch.")
        plan = plan_form.read_plan(batch, values)
        plan = replace(plan, name=clean_text(plan.name))
        wish = Wish(
            tuple(policies or ()),
            meetings,
            source,
            file,
            int(dialogues),
            float(temperature),
            int(max_new_tokens),
        )
        runs.start(plan.name, prepared(store, plan, wish, bench, paused=not begin_at_once))
        yield from watched(plan.name)

    @polite
    def generation(batch: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """How far a generation is: that of ``batch``, or one that runs."""
        gate.admit(request, "lead")
        running = runs.running()
        wanted = batch or (running[0] if running else "")
        if not wanted:
            yield (gr.skip(),) * len(outputs)
            return
        yield from watched(wanted)

    @polite
    def stop_generation(batch: str, request: gr.Request) -> tuple[Any, ...]:
        """Ends a generation after the dialogues it is at; what is there stays."""
        gate.admit(request, "lead")
        return _view(runs.stop(batch), bench)

    @polite
    def add_pairs(batch: str, file: str | None, request: gr.Request) -> tuple[Any, ...]:
        """Adds the pairs of a file to a batch."""
        store, _ = gate.admit(request, "lead")
        if not file:
            raise UserError("Choose a file of pairs first.")
        batch = clean_text(batch or "") or clean_text(Path(file).stem)
        report = load_pairs(store, (row for _, row in read_jsonl(Path(file))), batch)
        if report.added and find_plan(store, batch).strategy != "balanced":
            prioritise(store, batch)
        return asdict(report) | {"batch": batch}, file_html(report, batch)

    outputs = [answer, card, current, go, stop]
    # Each takes as long as a generation runs, and hardly any work.
    watching: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
    go.click(
        generate,
        [name, policies, meetings, source, file, count, begin, *fields, temperature, tokens],
        outputs,
        api_name="manage_generate",
        **watching,
    )
    if (tab := current_tab()) is not None:
        tab.select(generation, current, outputs, api_name="manage_generation", **watching)
    stop.click(stop_generation, current, outputs, api_name="manage_stop", **SWIFT)
    add.click(
        add_pairs,
        [pairs_name, pairs_file],
        [answer, pairs_card],
        api_name="manage_add_pairs",
        **SWIFT,
    )
    policies.change(
        lambda names: gr.update(visible=len(names) > 2),
        policies,
        meetings,
        api_visibility="private",
        **SWIFT,
    )
    source.change(
        lambda source: gr.update(visible=source == FILE),
        source,
        file,
        api_visibility="private",
        **SWIFT,
    )


def _view(report: Report, bench: Workbench) -> tuple[Any, ...]:
    """The answer for programs, the card, the batch it is about, and the two buttons."""
    loading = "" if bench.status().ready else bench.status().text
    return (
        asdict(report),
        report_html(report, loading),
        report.batch,
        gr.update(interactive=not report.running),
        gr.update(interactive=report.running and not report.stopping),
    )
