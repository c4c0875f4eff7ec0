"""Trainings as HTML: the list of them, and one with its progress, choices and curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from detox.errors import UserError
from detox.job import POLICY
from detox.jobs import Standing
from detox.last_words import CUT, DONE, FAILED, RUNNING, STOPPED, STOPPING
from detox.report import REPORT
from detox.runlog import read_metrics
from detox.runs import Run, run_page
from detox.ui.html import empty
from detox.workbench import Workbench

NOTHING = empty(
    "No training yet",
    "Choose on the form what is rewarded, and press <b>Start training</b>. It goes on when you "
    "close this page, and what comes of it meets the other versions in Compare, Playground, "
    "Evaluate and new batches.",
)
_DOTS = {
    RUNNING: "accent",
    STOPPING: "accent",
    DONE: "after",
    STOPPED: "muted",
    FAILED: "error",
    CUT: "error",
}
# Steps whose mean tells how long the next ones will take.
PACE_OF = 5
FIRST = (
    '<p class="da-muted tr-first">The curves begin with the first step, once the models are '
    "loaded.</p>"
)


def list_html(found: Sequence[Standing], chosen: str) -> str:
    """The trainings as buttons, the latest first; nothing where there is no choice."""
    if len(found) < 2:
        return '<div data-asked=""></div>'
    items = "".join(_item(each, each.job.name == chosen) for each in found)
    return f'<div class="tr-list" data-asked="" role="group" aria-label="Trainings">{items}</div>'


def _item(now: Standing, chosen: bool) -> str:
    name, pressed = escape(now.job.name), str(chosen).lower()
    return (
        f'<button type="button" class="tr-item" data-run="{name}" aria-pressed="{pressed}">'
        f"<b>{name}</b>{_pill(now)}<small>{escape(_where(now))}</small>{_bar(now)}</button>"
    )


def _pill(now: Standing) -> str:
    style = f"--da-dot:var(--da-{_DOTS[now.state]})"
    return f'<span class="da-pill tr-state" style="{style}">{now.state}</span>'


def _where(now: Standing) -> str:
    if now.state == DONE and now.step == now.steps:
        return f"{now.steps:,} steps" if now.steps else "done"
    if not now.steps:
        return "getting ready" if now.state == RUNNING else "no step taken"
    return f"step {now.step:,} of {now.steps:,}"


def _bar(now: Standing) -> str:
    share = 100 * (1.0 if now.state == DONE else now.step / now.steps if now.steps else 0.0)
    return (
        f'<div class="da-bar tr-{_DOTS[now.state]}" role="progressbar" '
        f'aria-label="Steps of {escape(now.job.name)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share:.0f}" style="--value:{share:.1f}%"><i></i></div>'
    )


def training_html(now: Standing, folder: Path, bench: Workbench) -> str:
    """One training: how far it is, what was chosen, and what came of it."""
    seconds = seconds_left(now, folder)
    left = f"<span>{duration(seconds)} left</span>" if seconds is not None else ""
    facts = "".join(
        f"<div><dt>{escape(what)}</dt><dd>{escape(which)}</dd></div>"
        for what, which in now.job.facts
    )
    return (
        '<section class="da-card tr-run" aria-live="off"><header>'
        f'<div><h2 class="da-title">{escape(now.job.name)}</h2>'
        f'<p class="da-muted">{escape(now.job.title)}</p></div>{_pill(now)}</header>'
        f'<div class="tr-progress"><strong>{escape(_where(now))}</strong>{left}{_bar(now)}</div>'
        f'{_outcome(now, folder, bench)}<dl class="tr-facts">{facts}</dl>'
        f"{mix_html(now.job.mix)}</section>"
    )


def mix_html(mix: Sequence[tuple[str, float]]) -> str:
    """What is rewarded, as one bar with the share of each part; empty where nothing is."""
    total = sum(weight for _, weight in mix)
    if total <= 0:
        return ""
    parts = "".join(f'<i style="flex-grow:{weight / total:.4f}"></i>' for _, weight in mix)
    words = "".join(
        f"<span>{escape(what)} <b>{100 * weight / total:.0f}\u00a0%</b></span>"
        for what, weight in mix
    )
    return f'<div class="tr-mix"><div aria-hidden="true">{parts}</div><p>{words}</p></div>'


def seconds_left(now: Standing, folder: Path) -> float | None:
    """What the steps to come will take at the pace of the last ones; None where none is known."""
    if now.state != RUNNING:
        return None
    took = [row["time/step"] for row in read_metrics(folder) if row.get("time/step")][-PACE_OF:]
    return (now.steps - now.step) * sum(took) / len(took) if took and now.steps else None


def duration(seconds: float) -> str:
    """A time in whole seconds, minutes or hours, rounded as people would say it."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _outcome(now: Standing, folder: Path, bench: Workbench) -> str:
    """What people want to know next, as a paragraph; empty while all goes well."""
    name = now.job.name
    if now.state == RUNNING:
        return ""
    if now.state != DONE:
        more = (
            " Nothing of what it learned is lost: resume it, or keep it as it is."
            if now.can_go_on and now.step
            else ""
        )
        tone = " tr-bad" if now.state in (FAILED, CUT) else ""
        more = "" if now.state == STOPPING else more
        return f'<p class="tr-said{tone}" role="status">{escape(now.said)}{more}</p>'
    early = f"<br>{escape(now.said.capitalize())}." if now.said.startswith("stopped:") else ""
    if now.job.makes != POLICY:
        said = "It can be rewarded now, as <b>People’s taste</b>."
        if bench.reward == f"preference:{folder}":
            said += (
                " It judges in Compare and Evaluate until the app ends; "
                f"<code>DETOX_REWARD={escape(bench.reward)}</code> makes it stay."
            )
    elif name in bench.specs:
        said = (
            f"<b>{escape(name)}</b> is in Compare, Playground, Evaluate and new batches. "
            f"<code>{escape(bench.fingerprints.get(name, ''))}</code>"
        )
    elif name in bench.refused:
        return f'<p class="tr-said tr-bad" role="status">{escape(bench.refused[name])}</p>'
    else:
        said = f"<b>{escape(name)}</b> is being loaded beside the other versions."
    return f'<p class="tr-said tr-good" role="status">{said}{early}</p>'


def curves_html(now: Standing, folder: Path) -> str:
    """The report that a training has written, or its curves so far and whether it is learning."""
    kind = "report" if (folder / REPORT).is_file() else "training"
    if kind == "training" and not read_metrics(folder):
        return FIRST if now.state in (RUNNING, STOPPING) else ""
    try:
        style = "tr-curves" if kind == "training" else ""
        return f'<div class="{style}">{run_page(Run(now.job.name, kind, folder))}</div>'
    except UserError as error:
        return f'<p class="da-muted">{escape(str(error))}</p>'


def log_html(lines: Sequence[str]) -> str:
    """The end of a training's log."""
    text = "\n".join(lines) or "It has said nothing yet."
    return f'<pre class="da-prompt tr-log" tabindex="0">{escape(text)}</pre>'
