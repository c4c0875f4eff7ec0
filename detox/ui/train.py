"""The Train tab: a new training, those there have been, and how the one that runs is doing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.events import api

from detox.errors import UserError
from detox.job import LOCK, LOG, RECORD, REWARD
from detox.jobs import UNFINISHED, Jobs
from detox.last_words import DONE, RUNNING, STOPPING
from detox.recipes import FILE, Recipe, reward_models
from detox.runs import METRICS
from detox.ui import html
from detox.ui.manners import polite
from detox.ui.train_form import Form
from detox.ui.train_page import NOTHING, curves_html, list_html, log_html, training_html
from detox.versions import follow, read_versions
from detox.workbench import Workbench

# Seconds between two looks at a training that runs.
PACE = 2.0
# Any number of people may look, and none of them waits for a model.
SWIFT: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
_SCRIPT = (Path(__file__).parents[1] / "assets" / "train.js").read_text(encoding="utf-8")
# The name in the list that was clicked takes the place of the first input.
_CLICKED = (
    "(name, ...rest) => "
    "[document.querySelector('#train-list [data-asked]').dataset.asked || name, ...rest]"
)

MayTrain = Callable[[gr.Request], None]


def anybody(request: gr.Request) -> None:
    """Lets everybody train."""


def train_tab(
    bench: Workbench,
    runs: Path,
    recipes: Sequence[Recipe],
    may_train: MayTrain = anybody,
    tab: gr.Tab | None = None,
) -> gr.Textbox:
    """Builds the tab; ``tab`` is the ``gr.Tab`` around it, which looks again when it is opened.

    ``recipes`` are the kinds of trainings on offer, ``runs`` is the folder where they happen.
    ``may_train`` raises ``UserError`` for those who may not.

    Returns a component whose change tells that there is a new version or a new reward model.
    """
    jobs = Jobs(runs)
    follow(bench, runs)
    closed = gr.HTML(visible=False, elem_id="train-closed", apply_default_css=False)
    with gr.Row(equal_height=False, elem_id="train-desk", elem_classes="tr-desk") as desk:
        with gr.Column(scale=5, min_width=320, elem_classes="da-panel tr-form"):
            form = Form(recipes, jobs, bench)
            start = gr.Button("Start training", variant="primary", size="lg", elem_id="train-start")
        with gr.Column(scale=8, min_width=320, elem_classes="tr-side"):
            listed = gr.HTML(
                list_html((), ""),
                elem_id="train-list",
                js_on_load=_SCRIPT,
                apply_default_css=False,
            )
            shown = gr.HTML(NOTHING, elem_id="train-run", apply_default_css=False)
            with gr.Row(visible=False, elem_classes="tr-actions") as actions:
                stop = gr.Button("Stop", variant="stop", size="md", elem_id="train-stop")
                resume = gr.Button("Resume", variant="primary", size="md", elem_id="train-resume")
                keep = gr.Button("Keep what it has learned", size="md", elem_id="train-keep")
                anew = gr.Button("Begin again", size="md", elem_id="train-anew")
                judge = gr.Button("Let it judge in Compare", size="md", elem_id="train-judge")
            curves = gr.HTML(elem_id="train-curves", apply_default_css=False)
            with gr.Accordion("What it said", open=False, visible=False) as said:
                log = gr.HTML(elem_id="train-log", apply_default_css=False)
    timer = gr.Timer(PACE, active=False)
    with gr.Row(visible=False):
        current = gr.Textbox(label="name")
        mark = gr.Textbox(label="mark")
        known = gr.Textbox(_known(bench, runs), label="known")
        data = gr.JSON(label="trainings")
    outputs = [
        *(current, listed, shown, actions, stop, resume, keep, anew, judge),
        *(curves, said, log, timer, mark, known, data),
    ]

    def view(name: str, seen: str = "") -> tuple[Any, ...]:
        """All ``outputs`` for the training ``name``, or the latest; skipped if ``seen`` already."""
        busy, names = jobs.running(), jobs.names()
        name = name if name in names else busy or (names[0] if names else "")
        now = _mark(jobs, bench, name)
        ticking = gr.Timer(active=bool(busy or bench.coming or _awaited(jobs, bench)))
        if now == seen:
            return tuple(ticking if part is timer else gr.skip() for part in outputs)
        standings = jobs.standings()
        told = [asdict(each) for each in standings]
        one = next((each for each in standings if each.job.name == name), None)
        if one is None:
            none = gr.update(visible=False)
            shut = (none, *(gr.skip(),) * 5, "", none, gr.skip())
            return "", list_html((), ""), NOTHING, *shut, ticking, now, _known(bench, runs), told
        idle = one.state in UNFINISHED
        runs_now = one.state in (RUNNING, STOPPING)
        judges = one.state == DONE and one.job.makes == REWARD and bench.reward != _reward(name)
        learned = idle and one.can_go_on and one.step > 0 and bool(one.job.steps)
        return (
            name,
            list_html(standings, name),
            training_html(one, runs / name, bench),
            gr.update(visible=idle or runs_now or judges),
            gr.update(
                visible=runs_now, value="End it at once" if one.state == STOPPING else "Stop"
            ),
            gr.update(visible=idle and one.can_go_on),
            gr.update(visible=learned),
            gr.update(visible=idle),
            gr.update(visible=judges),
            curves_html(one, runs / name),
            gr.update(visible=True),
            log_html(jobs.log(name)),
            ticking,
            now,
            _known(bench, runs),
            told,
        )

    def _reward(name: str) -> str:
        return f"preference:{runs / name}"

    def begin(kind: str, name: str, values: dict[str, Any]) -> str:
        recipe = form.recipe(kind)
        name = (name or "").strip() or form.free_name(kind)
        if busy := jobs.running():
            raise UserError(f"'{busy}' is being trained: wait for it, or stop it.")
        with jobs.new_folder(name, [*bench.specs, *bench.coming]) as folder:
            jobs.start(recipe.job(values, folder))
        return name

    @polite
    def trainings(name: str, wanted: str, kind: str, request: gr.Request) -> tuple[Any, ...]:
        """Every training and how it stands; those who may not train hear why."""
        try:
            may_train(request)
        except UserError as error:
            told = html.empty("For those who lead", escape(str(error)))
            shut = gr.update(value=told, visible=True), gr.update(visible=False)
            return *shut, gr.skip(), *(gr.skip() for _ in outputs)
        free = gr.skip() if _is_free(jobs, bench, wanted) else form.free_name(kind)
        return gr.update(visible=False), gr.update(visible=True), free, *view(name)

    @polite
    def training(name: str, request: gr.Request) -> tuple[Any, ...]:
        """One training: its page, and all of them as data."""
        may_train(request)
        return view(name)

    @polite
    def tick(name: str, seen: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            may_train(request)
        except UserError:  # somebody who may no more would hear of it every other second
            return tuple(gr.Timer(active=False) if p is timer else gr.skip() for p in outputs)
        return view(name, seen)

    @polite
    def start_training(request: gr.Request, kind: str, name: str, *values: Any) -> tuple[Any, ...]:
        may_train(request)
        recipe, chosen = form.chosen(kind, values)
        begun = begin(recipe.name, name, chosen)
        return form.free_name(recipe.name), *view(begun)

    @polite
    def stop_training(name: str, request: gr.Request) -> tuple[Any, ...]:
        """Asks a training to stop; asked again, it ends at once. Its last checkpoint stays."""
        may_train(request)
        jobs.stop(name, at_once=jobs.look(name).state == STOPPING)
        return view(name)

    @polite
    def resume_training(name: str, request: gr.Request) -> tuple[Any, ...]:
        """Lets a training go on from its checkpoint, or begin again where there is none."""
        may_train(request)
        jobs.resume(name)
        return view(name)

    @polite
    def restart_training(name: str, request: gr.Request) -> tuple[Any, ...]:
        """Lets an unfinished training begin again from its first step."""
        may_train(request)
        jobs.resume(name, anew=True)
        return view(name)

    @polite
    def keep_training(name: str, request: gr.Request) -> tuple[Any, ...]:
        """Makes what a stopped training has learned its result."""
        may_train(request)
        jobs.keep(name)
        return view(name)

    @polite
    def judge_by_training(name: str, request: gr.Request) -> tuple[Any, ...]:
        """Makes a finished reward model the second judge of Compare and Evaluate."""
        may_train(request)
        if name not in [folder for _, folder in reward_models(runs)]:
            raise UserError(f"'{name}' is no finished reward model: choose one from the list.")
        bench.judge_by(_reward(name))
        return view(name)

    @polite
    def train(
        request: gr.Request,
        kind: str = form.recipes[0].name,
        name: str = "",
        settings: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Begins a training; ``settings`` names what differs from the form. How it stands."""
        may_train(request)
        # a file comes through the form only, as whatever lies on this machine is not to be named
        known_fields = {field.name for field in form.recipe(kind).fields if field.kind != FILE}
        if strange := sorted(set(settings or {}) - known_fields):
            raise UserError(
                f"Unknown setting '{strange[0]}': choose among {', '.join(sorted(known_fields))}."
            )
        return asdict(jobs.look(begin(kind, name, settings or {})))

    api(train, api_name="train")
    if tab is not None:
        tab.select(
            trainings,
            [current, form.name, form.kind],
            [closed, desk, form.name, *outputs],
            api_name="trainings",
            **SWIFT,
        )
    listed.choose(training, current, outputs, js=_CLICKED, api_name="training", **SWIFT)
    timer.tick(
        tick,
        [current, mark],
        outputs,
        api_name="train_tick",
        api_visibility="undocumented",
        **SWIFT,
    )
    start.click(
        start_training,
        form.inputs,
        [form.name, *outputs],
        api_name="start_training",
        api_visibility="undocumented",
        concurrency_limit=1,
        show_progress="minimal",
    )
    for button, act, name in (
        (stop, stop_training, "stop_training"),
        (resume, resume_training, "resume_training"),
        (keep, keep_training, "keep_training"),
        (anew, restart_training, "restart_training"),
        (judge, judge_by_training, "judge_by_training"),
    ):
        button.click(act, current, outputs, api_name=name, **SWIFT)
    known.change(form.new_choices, None, form.choices, api_name="train_choices", **SWIFT)
    return known


def _is_free(jobs: Jobs, bench: Workbench, name: str) -> bool:
    return bool(name) and name not in bench.specs and not (jobs.root / name).exists()


def _awaited(jobs: Jobs, bench: Workbench) -> bool:
    """Whether there is a version that the bench will learn of any moment."""
    try:
        made = read_versions(jobs.root)
    except UserError:
        return False
    return any(each.name not in bench.specs and each.name not in bench.refused for each in made)


def _known(bench: Workbench, runs: Path) -> str:
    """What trainings may start from and be rewarded by; changes when there is more of it."""
    return " ".join((*bench.specs, "|", *(name for _, name in reward_models(runs))))


def _mark(jobs: Jobs, bench: Workbench, name: str) -> str:
    """Changes whenever there is something new to see; quicker to make than what is shown."""
    watched = [jobs.root / LOCK, *(jobs.root / each / RECORD for each in jobs.names())]
    watched += [jobs.root / name / file for file in (METRICS, LOG)] if name else []
    marks = [(found.st_mtime_ns, found.st_size) for found in map(_stat, watched) if found]
    seen = (
        name,
        jobs.running(),
        marks,
        list(bench.specs),
        list(bench.coming),
        bench.refused,
        bench.reward,
    )
    return str(hash(str(seen)))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
