"""The report of a reward model: a page that stands alone, and that the Evaluate tab shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from detox import plots
from detox.learning import verdicts
from detox.report import REPORT, save_page
from detox.runlog import read_metrics
from labeling.reward_model import charts, words


def write_page(folder: Path, lineage: Mapping[str, Any]) -> Path:
    """Writes ``report.html`` to ``folder`` and returns its path.

    Raises ``UserError`` when it cannot be written.
    """
    return save_page(folder / REPORT, f"Reward model {folder.name}", body(folder, lineage))


def body(folder: Path, lineage: Mapping[str, Any]) -> str:
    """The report as HTML; every text in it is escaped."""
    figures, steps = lineage["figures"], read_metrics(folder)
    drawn = plots.losses(steps)
    if figures["accuracy"]:
        drawn = [
            charts.calibration(figures["calibration"]),
            charts.by_margin(figures["by_margin"], figures["ceiling"]),
            *drawn,
        ]
    learned = "".join(f"<p>Training: {escape(line)}</p>" for line in verdicts(steps))
    found = "".join(f"<figure>{chart}</figure>" for chart in drawn)
    return (
        '<div class="da-report"><header>'
        f"<h2>Reward model: {escape(folder.name)}</h2><p>What people prefer, learned from their "
        "picks. Measured on dialogues that nothing was learned from; intervals are 95 %, from a "
        "bootstrap that draws dialogues and labelers.</p></header>"
        f"{_warnings(lineage['warnings'])}"
        f"<section><h3>How good it is</h3>{_table(words.measured(lineage))}</section>"
        f'<section><h3>Plots</h3>{learned}<div class="da-charts">{found}</div></section>'
        f"<section><h3>Where it comes from</h3>{_table(words.origin(lineage))}</section>"
        f'<footer class="da-quiet"><p>Filters: {escape(json.dumps(lineage["filters"]))}. '
        f"Settings: {escape(json.dumps(lineage['config']))}.</p></footer></div>"
    )


def _warnings(said: Sequence[str]) -> str:
    if not said:
        return ""
    lines = "".join(f"<li>{escape(text)}</li>" for text in said)
    return f'<div class="da-warning" role="note"><b>Mind</b><ul>{lines}</ul></div>'


def _table(lines: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lines
    )
    return f'<div class="da-scroll"><table class="da-rows"><tbody>{rows}</tbody></table></div>'
