"""A reward model from the picks of a database: trained, measured, described and recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detox.config import RewardConfig
from detox.errors import UserError
from labeling.export import Filters
from labeling.records import add_reward_model
from labeling.reward_model.material import (
    KEPT,
    PEOPLE,
    doubts,
    gather,
    keep,
    kept,
    parts,
    refuse_too_few,
    told_filters,
)
from labeling.store import Store


def train_reward_model(
    store: Store,
    config: RewardConfig,
    tell: Callable[[str], None] = print,
    filters: Filters = PEOPLE,
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Trains on the picks of ``store`` that match ``filters``; writes it to ``config.output``.

    The folder then holds the model, ``detox.json`` (the lineage), ``README.md`` (the card) with
    its plots, and ``report.html``; the database records the model. Dialogues, not picks, are
    dealt into those to learn from, to validate on and to measure on. What the picks cannot
    support is told, and kept under ``warnings``. A run that was cut off goes on with ``resume``, on
    the picks that it began with.

    Returns the lineage. Raises ``UserError`` with too few decided picks or dialogues
    (``refuse_too_few``), for a folder that cannot be written, and as ``fit_reward_model`` does.
    """
    # the model libraries take seconds to import; the rest of the package does without them
    from detox.report import REPORT
    from detox.reward_model import ASKED, fit_reward_model
    from detox.rewards import load_preference_reward
    from labeling.reward_model.card import write_card
    from labeling.reward_model.figures import figures, leaks
    from labeling.reward_model.page import write_page

    folder = Path(config.output)
    begun = kept(folder, told_filters(store, filters)) if resume else None
    material = begun or gather(store, filters, config.ties)
    refuse_too_few(material)
    warnings = doubts(material)
    dealt = parts(material, config)
    for warning in warnings:
        tell(warning)
    counts = {name: len(rows) for name, rows in dealt.items()}
    tell(
        f"{counts['train']} picks to learn from, {counts['validation']} to validate on, "
        f"{counts['held_out']} held out"
    )
    if not resume:
        keep(material, folder)
    # a report of an earlier run would stand where this one's curves should be
    (folder / REPORT).unlink(missing_ok=True)
    lineage = fit_reward_model(
        dealt["train"],
        dealt["held_out"],
        config,
        tell,
        dealt["validation"],
        resume,
        should_stop,
    )
    apart = {row["dialogue"] for row in dealt["held_out"]}
    found = figures(
        load_preference_reward(config.output),  # every figure is that of the saved files
        dealt["held_out"],
        [vote for vote in material.votes if vote["dialogue"] in apart],
        material.votes,
        joined=material.filters["aggregation"] != "every",
    )
    if leak := leaks(found):
        warnings.append(leak)
        tell(leak)
    lineage |= {
        "picks": len(material.rows),
        "ties": material.ties,
        "left_out": material.left_out,
        "labelers": material.labelers,
        "filters": material.filters,
        "snapshot": material.snapshot,
        "warnings": warnings,
        "figures": found,
    }
    _describe(folder, lineage)
    write_card(folder, lineage)
    write_page(folder, lineage)
    if lineage["stopped"] != ASKED:
        (folder / KEPT).unlink(missing_ok=True)
    add_reward_model(
        store,
        folder.name,
        folder,
        base=config.base,
        snapshot=material.snapshot,
        picks=len(material.rows),
        metrics=lineage["accuracy"] | {"figures": found},
    )
    tell(f"{_summary(lineage)}; saved to {folder}")
    return lineage


def _describe(folder: Path, lineage: dict[str, Any]) -> None:
    from detox.models import LINEAGE

    try:
        (folder / LINEAGE).write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"The model cannot be written to {folder}: {error.strerror}.") from error


def _summary(lineage: dict[str, Any]) -> str:
    from labeling.reward_model.words import percent

    figures = lineage["figures"]
    said = f"held-out accuracy {percent(figures['accuracy'])}"
    if ceiling := figures["ceiling"]:
        said += f", noise ceiling at most {100 * ceiling['upper']:.1f} %"
    return said
