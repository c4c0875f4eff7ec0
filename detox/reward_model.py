"""A Bradley–Terry reward model from pairs of responses, trained with TRL's RewardTrainer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.nn.functional import logsigmoid
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl.trainer.reward_config import RewardConfig as TrlConfig
from trl.trainer.reward_trainer import RewardTrainer

from detox.config import RewardConfig
from detox.learning import FEWEST, steps_of
from detox.models import new_classifier, save_adapter
from detox.rewards import PreferenceReward, RewardSource
from detox.runlog import RunLog

# A pair: prompt, chosen, rejected, and by how much (margin).
Pair = Mapping[str, Any]
Tell = Callable[[str], None]
# What the trainer calls its numbers, and what they are called in the run's log.
_LOGGED = {
    "loss": "loss",
    "accuracy": "accuracy",
    "margin": "reward_margin",
    "mean_reward": "reward_mean",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
}


def is_held_out(name: str, share: float, seed: int) -> bool:
    """Whether all pairs of the prompt or dialogue ``name`` are kept apart, for measuring.

    By a hash of the name, so that a pair more or less moves no other.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def fit_reward_model(
    train: Sequence[Pair], held_out: Sequence[Pair], config: RewardConfig, tell: Tell = print
) -> dict[str, Any]:
    """Trains an adapter on the pairs of ``train`` and writes it to ``config.output``.

    The loss is -log sigmoid(r_chosen - r_rejected - margin) (Bradley & Terry 1952; the margin
    as in Touvron et al. 2023, Llama 2) plus a centring term. Every step's loss and accuracy, and
    now and then those on ``held_out``, go to ``metrics.jsonl`` and TensorBoard.

    Returns the lineage with the accuracy on both parts. Raises ``UserError`` for a base that
    cannot be loaded and for a folder that cannot be written.
    """
    model, tokenizer = new_classifier(config.base, ["preference"])
    tokenizer.truncation_side = "left"

    def ids(row: Pair, side: str) -> list[int]:
        text = row["prompt"] + row[side]
        kept: list[int] = tokenizer(text, truncation=True, max_length=config.max_tokens).input_ids
        return kept

    # Token ids are ours, so that training reads a text exactly as PreferenceReward does later;
    # the trainer would append an end mark, and drop rows that are too long without a word.
    rows = [
        {
            "chosen_ids": ids(row, "chosen"),
            "rejected_ids": ids(row, "rejected"),
            "margin": float(row["margin"]),
        }
        for row in train
    ]
    steps = config.steps or steps_of(len(train), config.batch_size, config.epochs)
    folder = Path(config.output)
    started = time.perf_counter()
    torch.manual_seed(config.seed)
    log = RunLog(folder)
    trainer = RewardTrainer(
        model=model,
        args=TrlConfig(
            output_dir=str(folder / "checkpoints"),
            max_steps=steps,
            per_device_train_batch_size=config.batch_size,
            learning_rate=config.lr,
            center_rewards_coefficient=config.center,
            max_length=None,
            seed=config.seed,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_steps=1,
            activation_checkpointing=False,
            bf16=False,
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[_Recorder(log, tell, held_out, tokenizer, config.max_tokens)],
        peft_config=LoraConfig(
            r=config.lora_r,
            lora_alpha=2 * config.lora_r,
            target_modules="all-linear",
            task_type="SEQ_CLS",
        ),
    )
    trainer.remove_callback(PrinterCallback)  # it would repeat what the recorder tells
    trainer.train()
    log.close()
    trained: Any = trainer.model
    judge = PreferenceReward(trained, tokenizer, config.output, config.max_tokens)
    lineage = {
        "kind": "preference",
        "base": config.base,
        "parent": None,
        "labels": ["preference"],
        "config": asdict(config),
        "seed": config.seed,
        "steps": steps,
        "accuracy": {
            "train": accuracy(judge, train),
            "held_out": accuracy(judge, held_out),
        },
        "seconds": round(time.perf_counter() - started),
    }
    save_adapter(trained, folder, lineage)
    return lineage


def accuracy(judge: RewardSource, rows: Sequence[Pair]) -> float | None:
    """Share of ``rows`` whose chosen response ``judge`` scores higher; None without rows."""
    return round(float((gaps(judge, rows) > 0).float().mean()), 4) if rows else None


def gaps(judge: RewardSource, rows: Sequence[Pair]) -> torch.Tensor:
    """How much higher ``judge`` scores each chosen response than the rejected one, float32 [n]."""
    prompts = [row["prompt"] for row in rows]
    chosen, rejected = (
        judge.score(prompts, [row[side] for row in rows]) for side in ("chosen", "rejected")
    )
    return chosen - rejected


class _Recorder(TrainerCallback):
    """Passes the trainer's numbers on to the run log, and now and then measures on held-out pairs.

    The trainer could measure too, but averages over batches of unequal size.
    """

    def __init__(
        self,
        log: RunLog,
        tell: Tell,
        held_out: Sequence[Pair],
        tokenizer: PreTrainedTokenizerBase,
        max_tokens: int,
    ) -> None:
        self.log, self.tell, self.held_out, self.tokenizer = log, tell, held_out, tokenizer
        self.max_tokens = max_tokens

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        numbers = {new: float(logs[old]) for old, new in _LOGGED.items() if old in logs}
        self.log.write(state.global_step, numbers)
        if state.global_step % 10 == 0:
            self.tell(
                f"step {state.global_step}/{args.max_steps}  loss {numbers['loss']:.3f}  "
                f"accuracy {numbers['accuracy']:.1%}"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        # often enough for a trend to show
        if not self.held_out or state.global_step % max(1, args.max_steps // FEWEST):
            return
        found = gaps(PreferenceReward(model, self.tokenizer, "", self.max_tokens), self.held_out)
        model.train()
        margins = torch.tensor([float(row["margin"]) for row in self.held_out])
        numbers = {
            "validation_loss": -float(logsigmoid(found - margins).mean()),
            "held_out_accuracy": float((found > 0).float().mean()),
        }
        self.log.write(state.global_step, numbers)
        self.tell(
            f"step {state.global_step}/{args.max_steps}  held out: "
            f"loss {numbers['validation_loss']:.3f}  accuracy {numbers['held_out_accuracy']:.1%}"
        )
