"""The pipeline's report: its graph, whether its models learned, and the evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from detox import plots
from detox.learning import verdicts
from detox.pipeline.config import PipelineConfig
from detox.pipeline.graph import draw_graph
from detox.report import REPORT, body, save_page
from detox.results import read_results
from detox.runlog import read_metrics
from detox.tables import table

Record = Mapping[str, Any]


def write_page(folder: Path, config: PipelineConfig, records: Mapping[str, Record]) -> Path:
    """Writes ``report.html`` to ``folder``, and beside the evaluation, where the app looks.

    Returns the path of the first. Raises ``UserError`` when it cannot be written.
    """
    rows, about = read_results(folder / "evaluation")
    parts = (
        _stages(records),
        _learning(folder, config),
        _wins(about["pipeline"], config),
    )
    content = f'<div class="da-report">{"".join(parts)}</div>' + body(rows, about, lab=False)
    title = f"{about['before']['policy']} → {about['after']['policy']}, pipeline"
    save_page(folder / "evaluation" / REPORT, title, content)
    return save_page(folder / REPORT, title, content)


def _stages(records: Mapping[str, Record]) -> str:
    head = ("stage", "made", "n", "seconds", "this time", "key figure")
    rows = [
        [
            escape(cell)
            for cell in (
                record["title"],
                record["made"],
                f"{record['n']:,}",
                f"{record['seconds']:,.1f}",
                "cached" if record["cached"] else "run",
                record["figure"],
            )
        ]
        for record in records.values()
    ]
    return (
        "<section><h2>Pipeline</h2><p>A stage that is cached ended earlier with the same settings, "
        "data, models and stages before it; its seconds are from then.</p>"
        f'<div class="da-scroll da-graph-frame">{draw_graph(records)}</div></section>'
        f"<section>{table(head, rows)}</section>"
    )


def _learning(folder: Path, config: PipelineConfig) -> str:
    reward = read_metrics(folder / "reward_model")
    ppo = read_metrics(folder / "reinforcement_learning")
    said = "".join(
        f"<p><b>{name}:</b> {escape(line)}</p>"
        for name, steps in (("Reward model", reward), ("Reinforcement learning", ppo))
        for line in verdicts(steps)
    )
    charts = [
        plots.curve(_with(reward, key), key, label, plots.AFTER, "reward model's step")
        for key, label in (("accuracy", "accuracy of a batch"), ("loss", "loss"))
        if len(_with(reward, key)) > 1
    ]
    if len(ppo) > 1:
        charts += [*plots.curves(ppo), plots.frontier(ppo)]
    figures = "".join(f"<figure>{chart}</figure>" for chart in charts)
    command = escape(f"tensorboard --logdir {Path(config.output).name}")
    return (
        f"<section><h3>Is it learning?</h3>{said}<p>The same numbers step by step: "
        f"<code>{command}</code>. Trends are Kendall's tau against time, at 5 %.</p>"
        f'<div class="da-charts">{figures}</div></section>'
    )


def _with(rows: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    return [row for row in rows if row.get(key) is not None]


def _wins(numbers: Mapping[str, Any], config: PipelineConfig) -> str:
    wins = numbers["win_rate"]
    length = numbers["length_correlation"]
    tail = f" Its scores correlate with length by {length:+.2f}." if length is not None else ""
    seen = numbers["trained_on"]
    overlap = (
        f" {seen:,} of the {numbers['n']:,} evaluation prompts were also trained on: those are no "
        "test."
        if seen
        else " None of the evaluation prompts was trained on."
    )
    judge = escape(Path(config.classifier).name or "the embedded classifier")
    return (
        "<section><h3>Side by side</h3><p>The reward model prefers the tuned policy in "
        f"<b>{wins['mean']:.1%}</b> [{wins['low']:.1%}, {wins['high']:.1%}] of {numbers['n']:,} "
        f"pairs (ties half; 50 % is no difference). The policy was tuned to please this model, so "
        f"the held-out judge is the hate classifier ({judge}), which nothing was trained on here: "
        f"toxicity and reward below are its own.{tail}{overlap}</p></section>"
    )
