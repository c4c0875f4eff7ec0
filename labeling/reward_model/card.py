"""The model card of a reward model: ``README.md`` of its folder, in the hub's format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from detox.config import EMBEDDED
from detox.errors import UserError
from detox.plots import standalone
from labeling.reward_model import charts, words

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CARD, CALIBRATION, MARGIN = "README.md", "calibration.svg", "margin.svg"


def write_card(folder: Path, lineage: Mapping[str, Any]) -> Path:
    """Writes ``README.md`` and its plots to ``folder``; returns the path of the first.

    Raises ``UserError`` when the folder cannot be written.
    """
    figures = lineage["figures"]
    plots = {}
    if figures["accuracy"]:
        plots[CALIBRATION] = charts.calibration(figures["calibration"])
        plots[MARGIN] = charts.by_margin(figures["by_margin"], figures["ceiling"])
    try:
        for name, svg in plots.items():
            (folder / name).write_text(standalone(svg), encoding="utf-8")
        (folder / CARD).write_text(_text(folder.name, lineage, list(plots)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The card cannot be written to {folder}: {error.strerror}.") from error
    return folder / CARD


def _text(name: str, lineage: Mapping[str, Any], plots: list[str]) -> str:
    base = MINILM if lineage["base"] == EMBEDDED else lineage["base"]
    data = ModelCardData(
        language="en",
        base_model=base,
        library_name="peft" if lineage["config"]["method"] == "lora" else "transformers",
        pipeline_tag="text-classification",
        tags=["reward-model", "preferences", "rlhf", "trl"],
    )
    warnings = [f"> **Mind:** {text}\n" for text in lineage["warnings"]]
    pictures = [f"![{Path(plot).stem}]({plot})" for plot in plots]
    center = lineage["config"]["center"]
    temperature = lineage["figures"].get("calibration", {}).get("temperature")
    chance = "sigmoid(gap / temperature)" if temperature else "sigmoid(gap)"
    lines = [
        f"# {name}: which summary people prefer",
        "",
        "A Bradley–Terry reward model: one number for a dialogue's summary, higher where people "
        "would rather have it. Trained with Detox Arena and TRL's RewardTrainer on "
        "`-log sigmoid(chosen - rejected - margin)`, its mean pulled to 0 by "
        f"`center_rewards_coefficient` {center:g}. The chance that people prefer one of two is "
        f"`{chance}`.",
        "",
        *warnings,
        "## How good it is",
        "",
        "On dialogues that nothing was learned from; 95 % intervals, bootstrap over dialogues and "
        "labelers.",
        "",
        *_table(("figure", "value"), words.measured(lineage)),
        "",
        *pictures,
        "",
        "The noise ceiling is the best that anybody could do on single votes, between what other "
        "labelers' majority gets right and Cover and Hart's bound (1967), (1 + sqrt(2 A - 1)) / 2 "
        "for two labelers who agree in a share A of pairs.",
        "",
        "## Where it comes from",
        "",
        *_table(("what", "which"), words.origin(lineage)),
        "",
        f"Filters: `{json.dumps(lineage['filters'])}`.",
        "",
        f"Settings: `{json.dumps(lineage['config'])}`.",
        "",
        "```python",
        "from detox.rewards import load_preference_reward",
        "",
        'judge = load_preference_reward("path/to/this/folder")',
        "judge.score([prompt], [summary])  # what PPO is given",
        "judge.win_probability([prompt], [summary], [other_summary])",
        "```",
        "",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines)


def _table(head: tuple[str, str], lines: list[tuple[str, str]]) -> list[str]:
    rows = [f"| {_cell(left)} | {_cell(right)} |" for left, right in lines]
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
