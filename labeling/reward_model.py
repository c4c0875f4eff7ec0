"""Picks → reward model: which picks count, what is held out, and the record of the model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detox.config import RewardConfig
from detox.errors import UserError
from labeling.export import Filters, select, snapshot_hash
from labeling.formats import MARGINS, decided
from labeling.records import add_reward_model
from labeling.store import Store, open_store

MIN_PICKS = 20
ADVISED_PICKS = 50


def train_reward_model(
    store: Store, config: RewardConfig, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains on the decided picks of ``store`` and writes the adapter to ``config.output``.

    A pick's strength is its margin (``detox.reward_model`` tells the loss). Dialogues, not picks,
    are held out. Returns the lineage with accuracy on both parts; raises ``UserError`` with fewer
    than ``MIN_PICKS`` decided picks or fewer than five dialogues.
    """
    # The model libraries take seconds to import; the rest of the package does without them.
    from detox.reward_model import fit_reward_model, is_held_out

    with store.reading() as db:
        chosen = [row for row in select(db, Filters(labeler_kind="person")) if decided(row)]
    dialogues = {row["dialogue_id"] for row in chosen}
    if len(chosen) < MIN_PICKS or len(dialogues) < 5:
        raise UserError(
            f"There are {len(chosen)} decided picks on {len(dialogues)} dialogues; a reward model "
            f"needs at least {MIN_PICKS} on 5: label more pairs first."
        )
    if len(chosen) < ADVISED_PICKS:
        tell(f"Only {len(chosen)} picks: expect a weak model, {ADVISED_PICKS} or more are advised.")
    held = {name for name in dialogues if is_held_out(name, config.held_out, config.seed)}
    train = [_pair(row) for row in chosen if row["dialogue_id"] not in held]
    held_out = [_pair(row) for row in chosen if row["dialogue_id"] in held]
    if not train:
        raise UserError("held_out leaves no dialogue to learn from: lower it or label more.")
    tell(f"{len(train)} picks to learn from, {len(held_out)} held out")
    lineage = fit_reward_model(train, held_out, config, tell) | {
        "picks": len(chosen),
        "snapshot": snapshot_hash(chosen),
        "labelers": len({row["labeler_id"] for row in chosen}),
    }
    folder = Path(config.output)
    (folder / "detox.json").write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
    add_reward_model(
        store,
        folder.name,
        folder,
        base=config.base,
        snapshot=lineage["snapshot"],
        picks=len(chosen),
        metrics=lineage["accuracy"],
    )
    tell(f"accuracy {json.dumps(lineage['accuracy'])}; saved to {folder}")
    return lineage


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    texts = {key: row[key] for key in ("prompt", "chosen", "rejected")}
    return texts | {"margin": MARGINS[row["strength"]]}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m labeling reward``."""
    from detox.cli import add_options

    add_options(parser, RewardConfig)


def run(arguments: argparse.Namespace) -> int:
    """``python -m labeling reward``."""
    from detox.cli import chosen_options

    config = chosen_options(arguments, RewardConfig())
    train_reward_model(open_store(arguments.db), config, lambda text: print(text, flush=True))
    return 0
