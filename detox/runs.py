"""What the commands have left behind: trainings, evaluations, tables and searches, as pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from detox.errors import UserError
from detox.report import REPORT, read_report
from detox.runlog import read_metrics
from detox.tables import table

DEPTH = 3
QUALITY, STUDY, METRICS = "quality.json", "best.json", "metrics.jsonl"
FILES = (
    REPORT,
    "summary.json",
    "compare.csv",
    "compare.jsonl",
    "pipeline.json",
    "quality.md",
    "quality.csv",
    QUALITY,
    "history.svg",
    "trials.csv",
    STUDY,
    "detox.json",
    METRICS,
)


@dataclass(frozen=True)
class Run:
    """A folder that a command wrote, and what kind of command that was."""

    name: str
    """its path below the folder of runs"""
    kind: str
    """report, table, search or training"""
    folder: Path

    @property
    def files(self) -> list[Path]:
        """What of it is worth taking home."""
        return [self.folder / name for name in FILES if (self.folder / name).is_file()]


def find_runs(root: Path) -> list[Run]:
    """The runs up to ``DEPTH`` folders below ``root``, the latest first; none within another."""
    found = sorted(_runs(root, root, DEPTH), key=lambda pair: (-pair[0], pair[1].name))
    return [run for _, run in found]


def _runs(folder: Path, root: Path, depth: int) -> Iterator[tuple[float, Run]]:
    try:
        below = [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:  # there is none, or it is not for us
        return
    for path in below:
        marks = [(kind, path / file) for kind, file in _MARKS.items() if (path / file).is_file()]
        if marks:
            kind, mark = marks[0]
            yield mark.stat().st_mtime, Run(path.relative_to(root).as_posix(), kind, path)
        elif depth > 1:
            yield from _runs(path, root, depth - 1)


def find_run(root: Path, name: str) -> Run:
    """The run called ``name``; ``UserError`` when it is none of ``find_runs``."""
    for run in find_runs(root):
        if run.name == name:
            return run
    raise UserError(f"There is no run called '{name}' in {root}: look again at what there is.")


def run_page(run: Run) -> str:
    """``run`` as HTML in the style of the report; every text in it is escaped.

    Raises ``UserError`` when its files cannot be read.
    """
    try:
        return _PAGES[run.kind](run.folder)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"The files in {run.folder} cannot be read: run it again.") from error


def _table_page(folder: Path) -> str:
    content = json.loads((folder / QUALITY).read_text(encoding="utf-8"))
    rows = content["policies"]
    keys = list(rows[0]["scores"])
    head = ["policy", *keys, f"gain in {keys[0]}, points", "words", "trained", "minutes", "GB"]
    lines = []
    for number, row in enumerate(rows):
        training, gain = row["training"], row["gains"][keys[0]]
        trained, memory = (
            training.get("parameters", {}).get("trainable"),
            training.get("peak_memory"),
        )
        cells = [
            *(f"{row['scores'][key]:.1f}" for key in keys),
            f"{gain['difference']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}] {gain['verdict']}"
            if number
            else "",
            f"{row['words']:.1f}",
            f"{trained:,}" if trained else "",
            f"{training['seconds'] / 60:.1f}" if "seconds" in training else "",
            f"{memory / 1e9:.1f}" if memory else "",
        ]
        lines.append([row["policy"], *cells])
    title = f"{content['task'].capitalize()}: policies against human references"
    note = (
        f"{rows[0]['n']:,} texts of {content['data']}, split {content['split']}; means, and paired "
        "gains over the first policy with 95 % intervals."
    )
    return _page(title, note, _table(head, lines))


def _search_page(folder: Path) -> str:
    from detox.tune import read_study

    best, chart = read_study(folder)
    value = "none ended" if best["best_value"] is None else f"{best['best_value']:.4f}"
    settings = [[name, f"{value:g}"] for name, value in best["settings"].items()]
    note = (
        f"{best['trials']} trials, {best['pruned']} of them cut short; best value {value}. "
        "Settings were judged on the validation split only."
    )
    return _page(
        f"Search for settings of {best['study']}",
        note,
        f'<div class="da-charts"><figure>{chart}</figure></div>',
        _table(["setting", "best"], settings),
        f"<pre>{escape(best['command'])}</pre>",
    )


def _training_page(folder: Path) -> str:
    from detox import plots
    from detox.learning import verdicts

    steps = read_metrics(folder)
    charts = (
        [*plots.curves(steps), plots.frontier(steps)] if _is_ppo(steps) else plots.losses(steps)
    )
    said = "".join(f"<p>{escape(line)}</p>" for line in verdicts(steps))
    figures = "".join(f"<figure>{chart}</figure>" for chart in charts)
    last = steps[-1]["step"] if steps else 0
    seconds = sum(row.get("time/step") or row.get("seconds") or 0 for row in steps)
    note = f"{last:,} steps so far, {seconds / 60:.1f} minutes."
    return _page(f"Training: {folder.name}", note, said, f'<div class="da-charts">{figures}</div>')


def _is_ppo(steps: list[dict[str, Any]]) -> bool:
    return any("objective/kl" in row for row in steps)


def _page(title: str, note: str, *parts: str) -> str:
    return (
        f'<div class="da-report"><header><h2>{escape(title)}</h2><p>{escape(note)}</p></header>'
        + "".join(f"<section>{part}</section>" for part in parts)
        + "</div>"
    )


def _table(head: list[str], lines: list[list[str]]) -> str:
    return table(head, [[escape(cell) for cell in line] for line in lines])


# A folder may hold several of these files: the first kind that fits says what it is.
_MARKS = {"report": REPORT, "table": QUALITY, "search": STUDY, "training": METRICS}
_PAGES: dict[str, Callable[[Path], str]] = {
    "report": read_report,
    "table": _table_page,
    "search": _search_page,
    "training": _training_page,
}
