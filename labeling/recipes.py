"""Trainings that learn from the picks, as the Train tab offers them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detox.config import DpoConfig, RewardConfig
from detox.errors import UserError
from detox.job import REWARD
from detox.recipes import NONE, Field, Recipe, flags
from detox.workbench import Workbench
from labeling.export import AGGREGATIONS
from labeling.plans import standings
from labeling.store import open_store

# What transformers has written last when a checkpoint is whole.
CHECKPOINT = "checkpoints/checkpoint-*/trainer_state.json"
LOSSES = (
    ("picks are right (DPO)", "dpo"),
    ("some picks are wrong (cDPO)", "cdpo"),
    ("some are wrong, unbiased (robust)", "robust"),
    ("against overfitting (IPO)", "ipo"),
)
_VOTES = {
    "every": "each for itself",
    "majority": "the majority of each pair",
    "adjudicated": "a lead's word first",
}

_PEOPLE = (("everybody", NONE), ("all but those Results flags", "unflagged"))


def reward_recipe(database: Path) -> Recipe:
    """``python -m labeling reward`` on the picks in ``database``."""
    usual = RewardConfig()

    def prepare(values: Mapping[str, Any], folder: Path) -> list[str]:
        chosen = {name: values[name] for name in ("epochs", "lr", "seed")} | {"output": str(folder)}
        config = RewardConfig(**chosen)
        return ["labeling", "reward", *_which(values, database), *flags(config, chosen)]

    return Recipe(
        "reward",
        "A reward model, from the picks",
        "It learns which summaries people prefer; versions can then be rewarded for that.",
        (
            *_picks(database),
            Field("epochs", "Passes", "whole", usual.epochs, "over the picks, at most", "How far"),
            Field("lr", "Learning rate", "number", usual.lr, "at its peak", "How far"),
            Field("seed", "Seed", "whole", usual.seed, "same seed, same run", "How far"),
        ),
        prepare,
        makes=REWARD,
        stem="reward",
        checkpoint=CHECKPOINT,
    )


def preference_recipe(bench: Workbench, database: Path) -> Recipe:
    """``python -m labeling tune`` on the picks in ``database``, from a version ``bench`` knows."""
    usual = DpoConfig()

    def prepare(values: Mapping[str, Any], folder: Path) -> list[str]:
        bench.check_names((values["policy"],))
        chosen = {name: values[name] for name in ("loss", "beta", "epochs", "lr", "seed")} | {
            "policy": bench.specs[values["policy"]],
            "output": str(folder),
        }
        config = DpoConfig(**chosen)
        return ["labeling", "tune", *_which(values, database), *flags(config, chosen)]

    return Recipe(
        "dpo",
        "A new version, straight from the picks",
        "Direct preference tuning: no reward model in between.",
        (
            Field(
                "policy",
                "Starts from",
                "choice",
                next(iter(bench.specs)),
                choices=lambda: [(name, name) for name in bench.specs],
                group="From",
            ),
            *_picks(database),
            Field(
                "loss",
                "It takes it that",
                "choice",
                usual.loss,
                choices=lambda: LOSSES,
                group="From",
            ),
            Field("epochs", "Passes", "whole", usual.epochs, "over the picks, at most", "How far"),
            Field("beta", "Leash", "number", usual.beta, "beta, higher is shorter", "How far"),
            Field("lr", "Learning rate", "number", usual.lr, "at its peak", "How far"),
            Field("seed", "Seed", "whole", usual.seed, "same seed, same run", "How far"),
        ),
        prepare,
        checkpoint=CHECKPOINT,
    )


def _which(values: Mapping[str, Any], database: Path) -> list[str]:
    """The options that say which picks."""
    batch = [f"--batch={values['batch']}"] if values["batch"] else []
    people = ["--without-flagged"] if values["people"] else []
    return [f"--db={database}", f"--aggregation={values['votes']}", *batch, *people]


def _picks(database: Path) -> tuple[Field, Field, Field]:
    def batches() -> list[tuple[str, str]]:
        try:
            names = [standing.plan.name for standing in standings(open_store(database))]
        except UserError:  # whoever labels hears of it
            names = []
        return [("all", NONE), *((name, name) for name in names)]

    def votes() -> list[tuple[str, str]]:
        return [(_VOTES.get(name, name), name) for name in AGGREGATIONS]

    return (
        Field("batch", "Picks of the batch", "choice", NONE, choices=batches, group="From"),
        Field("votes", "Picks count", "choice", AGGREGATIONS[0], choices=votes, group="From"),
        Field("people", "Picks by", "choice", NONE, choices=lambda: _PEOPLE, group="From"),
    )
