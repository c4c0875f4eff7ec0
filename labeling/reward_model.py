"""Picks → reward model: a Bradley–Terry preference model trained with TRL's RewardTrainer."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detox.config import EMBEDDED, option
from detox.errors import UserError
from labeling.export import Filters, select, snapshot_hash
from labeling.formats import MARGINS, decided
from labeling.records import add_reward_model
from labeling.store import Store, open_store

MIN_PICKS = 20
ADVISED_PICKS = 50


@dataclass(frozen=True)
class RewardConfig:
    """Training of a reward model from picks."""

    base: str = option(EMBEDDED, "encoder: 'embedded', a hub name or a folder")
    output: str = option("runs/reward", "folder of the adapter and its card")
    epochs: int = option(4, "passes over the picks")
    batch_size: int = option(16, "pairs a step")
    lr: float = option(5e-4, "peak learning rate, decayed linearly")
    lora_r: int = option(16, "rank of the adapter")
    center: float = option(0.01, "pull of the rewards' mean towards 0 (center_rewards_coefficient)")
    held_out: float = option(0.2, "share of the dialogues kept for measuring accuracy")
    max_tokens: int = option(384, "longest prompt + response in tokens; the start is cut")
    seed: int = option(0, "seed of weights, order and the held-out dialogues")

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 1:
            raise UserError("held_out must lie between 0 and 1.")
        if self.epochs < 1 or self.batch_size < 1 or self.lr <= 0:
            raise UserError("epochs and batch_size must be at least 1, lr above 0.")
        if self.lora_r < 1 or self.max_tokens < 1:
            raise UserError("lora_r and max_tokens must be at least 1.")
        if not 0 <= self.seed < 2**32:
            raise UserError("seed must be a whole number from 0 to 4294967295.")


def train_reward_model(
    store: Store, config: RewardConfig, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains on the decided picks of ``store`` and writes the adapter to ``config.output``.

    The loss is -log sigmoid(r_chosen - r_rejected - margin) (Bradley & Terry 1952; the margin
    as in Touvron et al. 2023, Llama 2) plus a centring term. Dialogues, not picks, are held
    out. Returns the lineage with accuracy on both parts; raises ``UserError`` with fewer than
    ``MIN_PICKS`` decided picks or fewer than five dialogues.
    """
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
    held = {name for name in dialogues if _place(name, config.seed) < config.held_out}
    parts = {
        "train": [row for row in chosen if row["dialogue_id"] not in held],
        "held_out": [row for row in chosen if row["dialogue_id"] in held],
    }
    if not parts["train"]:
        raise UserError("held_out leaves no dialogue to learn from: lower it or label more.")
    tell(f"{len(parts['train'])} picks to learn from, {len(parts['held_out'])} held out")
    lineage = _fit(parts, config, tell) | {
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


def _place(name: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _fit(
    parts: Mapping[str, Sequence[Mapping[str, Any]]],
    config: RewardConfig,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    # The model libraries take seconds to import; the rest of the package does without them.
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl.trainer.reward_config import RewardConfig as TrlConfig
    from trl.trainer.reward_trainer import RewardTrainer

    from detox.models import new_classifier, save_adapter
    from detox.rewards import PreferenceReward

    model, tokenizer = new_classifier(config.base, ["preference"])
    tokenizer.truncation_side = "left"

    def ids(row: Mapping[str, Any], side: str) -> list[int]:
        text = row["prompt"] + row[side]
        kept: list[int] = tokenizer(text, truncation=True, max_length=config.max_tokens).input_ids
        return kept

    # Token ids are ours, so that training reads a text exactly as PreferenceReward does later;
    # the trainer would append an end mark, and drop rows that are too long without a word.
    rows = [
        {
            "chosen_ids": ids(row, "chosen"),
            "rejected_ids": ids(row, "rejected"),
            "margin": float(MARGINS[row["strength"]]),
        }
        for row in parts["train"]
    ]
    folder = Path(config.output)
    started = time.perf_counter()
    torch.manual_seed(config.seed)
    trainer = RewardTrainer(
        model=model,
        args=TrlConfig(
            output_dir=str(folder / "checkpoints"),
            num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.lr,
            center_rewards_coefficient=config.center,
            max_length=None,
            seed=config.seed,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_steps=10,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=config.lora_r,
            lora_alpha=2 * config.lora_r,
            target_modules="all-linear",
            task_type="SEQ_CLS",
        ),
    )
    trainer.train()
    trained: Any = trainer.model
    judge = PreferenceReward(trained, tokenizer, config.output)
    lineage = {
        "kind": "preference",
        "base": config.base,
        "parent": None,
        "labels": ["preference"],
        "config": asdict(config),
        "seed": config.seed,
        "accuracy": {name: accuracy(judge, part) for name, part in parts.items()},
        "seconds": round(time.perf_counter() - started),
    }
    save_adapter(trained, folder, lineage)
    return lineage


def accuracy(judge: Any, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Share of ``rows`` whose chosen response ``judge`` scores higher; None without rows."""
    if not rows:
        return None
    prompts = [row["prompt"] for row in rows]
    gap = judge.score(prompts, [row["chosen"] for row in rows]) - judge.score(
        prompts, [row["rejected"] for row in rows]
    )
    return round(float(np.mean(gap.numpy() > 0)), 4)


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
