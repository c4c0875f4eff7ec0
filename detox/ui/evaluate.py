"""The Evaluate tab: the report of an evaluation, and a small one made on the spot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import gradio as gr

from detox.card import CARD
from detox.config import Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.report import REPORT, read_report, training_curves, write_report
from detox.results import Row, write_results
from detox.runs import Run, find_run, find_runs, run_page
from detox.ui import html
from detox.ui.manners import lasting, polite
from detox.ui.one import QUICK, versions
from detox.ui.shipped import draw
from detox.ui.turns import breakable, overtakes
from detox.workbench import Status, Workbench

FILES = (REPORT, CARD, "summary.json", "compare.csv", "compare.jsonl")
MOST = 60
SHIPPED, SHIPPED_LINK = "what ships", "shipped"
NOTHING = html.empty(
    "No report yet",
    "<code>python -m detox evaluate</code> writes one into the folder that "
    "<code>DETOX_RESULTS</code> names. Or evaluate two versions below.",
)


def evaluate_tab(page: gr.Blocks, bench: Workbench, results: Path, runs: Path) -> None:
    """Builds the tab inside ``page``, which shows another report at first where a link says so.

    ``results`` is a folder written by ``detox evaluate``, ``runs`` one where the commands write.
    """
    shelf = TemporaryDirectory(prefix="detox-evaluate-")  # kept by the handlers, gone with the app
    with gr.Accordion("Evaluate two versions now", open=False, elem_id="evaluate-now"):
        before, swap, after = versions(bench, "evaluate-")
        with gr.Row(elem_classes="da-controls"):
            count = gr.Slider(
                5, MOST, 20, step=5, label="Test dialogues, drawn at random", min_width=180
            )
            samples = gr.Slider(
                1, 5, 1, step=1, label="Responses of each version to each", min_width=180
            )
        go = gr.Button("Evaluate", variant="primary", elem_id="evaluate-go")
    with gr.Row(elem_classes="da-controls", elem_id="evaluate-runs"):
        chosen = gr.Dropdown(
            _choices(runs),
            value=SHIPPED,
            label="Report",
            info="Evaluations, tables, searches and trainings, the latest first",
            min_width=220,
            scale=4,
        )
        again = gr.Button("Look again", size="sm", scale=0, min_width=120)
    report = gr.HTML(_shipped(results), elem_id="report", apply_default_css=False)
    files = gr.Files(
        _files(results), label="Report, numbers and rows", interactive=False, elem_id="report-files"
    )

    @breakable
    @lasting(lambda said: (html.failure("There is no report of this", said), gr.skip()))
    @polite
    def report_now(
        before: str, after: str, count: float, samples: float, progress: gr.Progress = gr.Progress()
    ) -> Iterator[tuple[Any, Any]]:
        """The report of two versions on a few test dialogues, and its files."""
        for status, folder in evaluated(
            bench, before, after, int(count), int(samples), Path(shelf.name)
        ):
            progress(status.share, desc=status.text)
            if folder is None:
                yield html.waiting(status), gr.skip()
            else:
                yield read_report(folder), _files(folder)

    def read(report: str) -> tuple[str, Any]:
        if report == SHIPPED:
            return _shipped(results), _files(results)
        run = find_run(runs, report)
        return _linked(run_page(run), run.name), _takeaway(run)

    @polite
    def report_of(report: str) -> tuple[str, Any]:
        """The page of what ships or of a run, and its files."""
        return read(report)

    @polite
    def open_link(request: gr.Request) -> tuple[Any, Any, Any]:
        wanted = request.query_params.get("report")
        if wanted is None:
            return gr.skip(), gr.skip(), gr.skip()
        name = SHIPPED if wanted == SHIPPED_LINK else wanted
        try:
            return gr.Dropdown(_choices(runs), value=name), *read(name)
        except UserError as error:  # a toast would be gone before the page is there
            lost = html.failure("This link leads to no report", str(error))
            return gr.Dropdown(value=None), lost, None

    @polite
    def look_again(report: str | None) -> tuple[Any, Any, Any]:
        """The reports there are now, and the chosen one as it is now."""
        choices = _choices(runs)
        if report is None:  # one that was made just now, and is in no folder
            return gr.Dropdown(choices), gr.skip(), gr.skip()
        kept = report if report in [name for _, name in choices] else SHIPPED
        return gr.Dropdown(choices, value=kept), *report_of(kept)

    shown = [report, files]
    page.load(open_link, None, [chosen, *shown], api_name="report_link", **QUICK)
    # before the evaluation, as gradio would ask it only after that
    go.click(lambda: None, None, [chosen], api_name="evaluate_unnamed", **QUICK)
    evaluating = go.click(
        report_now,
        [before, after, count, samples],
        [report, files],
        api_name="evaluate",
        show_progress="hidden",
    )
    overtakes([chosen.input], evaluating)
    chosen.input(report_of, [chosen], shown, api_name="report", show_progress="hidden")
    again.click(look_again, [chosen], [chosen, *shown], api_name="reports", show_progress="hidden")
    swap.click(
        lambda a, b: (b, a), [before, after], [before, after], api_name="evaluate_swap", **QUICK
    )


def evaluated(
    bench: Workbench, before: str, after: str, count: int, samples: int, shelf: Path
) -> Iterator[tuple[Status, Path | None]]:
    """Evaluates two versions on ``count`` test dialogues: (how far, folder once it is written).

    Raises ``UserError`` for unknown policies, models that could not be loaded, and numbers out
    of range.
    """
    if not (1 <= count <= MOST and 1 <= samples <= 5):
        raise UserError(f"Choose 1 to {MOST} dialogues and 1 to 5 responses to each.")
    bench.check_names((before, after))
    for status in bench.loading():
        yield status, None
    dialogues = load_dialogues(split="test")
    chosen = set(draw(dialogues["id"], count))
    dialogues = dialogues.select([i for i, id in enumerate(dialogues["id"]) if id in chosen])
    sampling = Sampling()
    rows: list[Row] = []
    wanted = samples * len(dialogues)
    yield Status(False, 0.0, f"0 of {wanted} pairs"), None
    for more in bench.evaluate(before, after, dialogues, sampling, samples, kl=True):
        rows += more
        yield Status(False, len(rows) / wanted, f"{len(rows)} of {wanted} pairs"), None
    from detox.evaluation import about, about_judges

    assert bench.judge is not None
    sides = bench.policies[before], bench.policies[after]
    origin = about(*sides, bench.judge, sampling, "embedded", f"test, {len(dialogues)} drawn")
    if bench.preference is not None:
        origin["judges"] = about_judges(bench.specs[after], bench.preference, rows)
    folder = shelf / f"{before}-{after}-{count}-{samples}"
    write_results(folder, rows, origin | {"samples": samples})
    write_report(folder, training_curves(bench.specs[after]))
    yield Status(True, 1.0, "done"), folder


def _choices(runs: Path) -> list[tuple[str, str]]:
    return [(SHIPPED, SHIPPED)] + [
        (f"{run.name} · {run.kind}", run.name) for run in find_runs(runs)
    ]


def _takeaway(run: Run) -> list[str] | None:
    # gradio hands out nothing from outside the folder it was started in
    here = Path.cwd().resolve()
    return [str(path) for path in run.files if path.resolve().is_relative_to(here)] or None


def _shipped(results: Path) -> str:
    try:
        return _linked(read_report(results), SHIPPED_LINK)
    except UserError:
        return NOTHING


def _linked(report: str, name: str) -> str:
    """A report with the link that opens it."""
    link = f'<a href="?report={quote(name, safe="")}">Link to this report</a>'
    return f'{report}<p class="da-linked">{link}</p>'


def _files(folder: Path) -> list[str] | None:
    found = [str(folder / name) for name in FILES if (folder / name).is_file()]
    return found or None
