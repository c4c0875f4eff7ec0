"""A run of direct preference tuning, from preferences in a file to an adapter in a folder."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback

from detox import processes
from detox.checkpoints import CHECKPOINTS, begin, last_checkpoint
from detox.config import DpoConfig, recorded
from detox.errors import UserError
from detox.examples import reading_order
from detox.learning import steps_of
from detox.models import (
    add_adapter,
    find_source,
    fingerprint,
    load_policy,
    parameter_counts,
    read_lineage,
    save_adapter,
)
from detox.preference.math import preference_losses
from detox.preference.pairs import Row, encode, origin, read_pairs, split
from detox.preference.reference import ask_reference
from detox.preference.trainers import PairTrainer, build_trainer
from detox.runlog import RunLog, peak_memory, read_metrics
from detox.statistics import paired_difference

Tell = Callable[[str], None]

# a run may be moved with its data, and how often it is saved changes nothing
_FREE = ("output", "data", "save_every")
VALIDATIONS = 10  # a run, unless another number of steps between them is asked for
_LOGGED = (
    "loss",
    "accuracy",
    "reward_margin",
    "reward_chosen",
    "reward_rejected",
    "logprob_chosen",
    "logprob_rejected",
    "grad_norm",
    "learning_rate",
)


def train_dpo(
    config: DpoConfig,
    resume: bool = False,
    tell: Tell = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Tunes an adapter on ``config.policy`` on the pairs of ``config.data``; writes it to
    ``config.output``.

    The policy's own adapters are merged first, so that the reference, the policy with the new
    adapter disabled, is the policy the run starts from: the first loss of pairs without a margin
    is log 2. With pairs held out the weights of the lowest validation loss are kept. A run that
    was cut off continues from its last checkpoint with ``resume``; ``should_stop`` is asked after
    every step.

    Returns the adapter's lineage. Raises ``UserError`` for missing models or data, for a loss that
    is not finite, and when there is nothing to resume.
    """
    _check_one_device()
    folder = Path(config.output)
    pairs = read_pairs(config.data)
    picks = origin(Path(config.data), len(pairs), tell)
    checkpoint = last_checkpoint(folder, config, picks["sha256"], _FREE) if resume else None
    train, validation = split(pairs, config)
    model, tokenizer = _start(config, tell)
    rows = encode(train, tokenizer, config, lambda text: tell(f"to learn from: {text}"))
    held_out = []
    if validation:
        held_out = encode(validation, tokenizer, config, lambda text: tell(f"held out: {text}"))
    log = RunLog(folder, int(checkpoint.rsplit("-", 1)[1]) if checkpoint else 0)
    if checkpoint is None:
        begin(folder, config, picks["sha256"])
    trainer, order = _prepare(config, model, tokenizer, rows, held_out)
    ask_reference(trainer, [rows[place] for place in sorted(set(order))] + held_out, folder, tell)
    trainer.train_dataset = Dataset.from_list([rows[place] for place in order])
    if held_out:
        trainer.eval_dataset = Dataset.from_list(held_out)
    recorder = _Recorder(log, tell)
    trainer.remove_callback(PrinterCallback)  # it would repeat what the recorder tells
    trainer.add_callback(recorder)
    stopping = _Stopping(should_stop)
    trainer.add_callback(stopping)
    if held_out and config.patience:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    finally:
        log.close()
    _check_finite(model)
    stopped = ""
    if stopping.stopped:
        stopped = "asked to stop"
    elif trainer.state.global_step < trainer.state.max_steps:
        stopped = f"no lower validation loss in {config.patience} validations"
    lineage = _lineage(config, trainer, picks, rows, stopped, model)
    if held_out:
        lineage |= _validated(config, trainer, held_out, tell)
    save_adapter(model, folder, lineage)
    tell(f"stopped: {stopped}" if stopped else f"saved the adapter to {folder}")
    return lineage


def _check_one_device() -> None:
    if processes.count() > 1:
        raise UserError(
            "Direct preference tuning runs in one process: start it without a launcher."
        )
    if torch.cuda.device_count() > 1:
        raise UserError(
            "Direct preference tuning uses one GPU: choose it with CUDA_VISIBLE_DEVICES=0."
        )


def _start(config: DpoConfig, tell: Tell) -> tuple[Any, Any]:
    """The policy with its own adapters merged and a fresh one on it, and its tokenizer."""
    source = find_source(config.policy)
    if Path(config.output).resolve() in [adapter.resolve() for adapter in source.adapters]:
        raise UserError(
            f"A run in {config.output} would overwrite the policy it starts from: choose another "
            "output."
        )
    policy = load_policy(config.policy, "reference")
    model = policy.model
    if policy.adapter is not None:
        model = model.merge_and_unload()
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    model = add_adapter(model, config.lora, task, config.seed)
    total, trainable = parameter_counts(model)
    tell(f"{total:,} parameters, {trainable:,} of them trainable, on {source.base}")
    return model, policy.tokenizer


def _check_finite(model: Any) -> None:
    # a last step may have gone wrong without a loss after it
    if not all(bool(torch.isfinite(p).all()) for p in model.parameters() if p.requires_grad):
        raise UserError("The weights are not finite any more: start anew with a lower lr.")


def _prepare(
    config: DpoConfig, model: Any, tokenizer: Any, rows: list[Row], held_out: list[Row]
) -> tuple[PairTrainer, list[int]]:
    """The trainer, and the places of the rows in the order in which its batches read them."""
    steps = config.steps or steps_of(len(rows), config.batch_size, config.epochs)
    arguments: dict[str, Any] = {
        "output_dir": str(Path(config.output) / CHECKPOINTS),
        "max_steps": steps,
        "per_device_train_batch_size": config.at_once,
        "per_device_eval_batch_size": config.at_once,
        "gradient_accumulation_steps": config.batch_size // config.at_once,
        "learning_rate": config.lr,
        "lr_scheduler_type": "linear",
        "warmup_steps": steps // 20,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_total_limit": 1,
        "save_steps": config.save_every,
        "seed": config.seed,
        "report_to": [],
        "disable_tqdm": True,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "use_cpu": not torch.cuda.is_available(),
        "bf16": False,
    }
    if held_out:
        every = config.validate_every or max(1, steps // VALIDATIONS)
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": every,
            "save_steps": every,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            # else a resumed run would count its patience anew
            "restore_callback_states_from_checkpoint": True,
        }
    order = reading_order(
        [row["length"] for row in rows],
        config.batch_size,
        steps,
        random.Random(f"{config.seed}:order"),
    )
    return build_trainer(model, tokenizer, config, rows, held_out, arguments), order


def _lineage(
    config: DpoConfig,
    trainer: PairTrainer,
    picks: Row,
    rows: Sequence[Row],
    stopped: str,
    model: Any,
) -> Row:
    source = find_source(config.policy)
    folder = Path(config.output)
    parent = source.adapters[-1] if source.adapters else None
    total, trainable = parameter_counts(model)
    logged = read_metrics(folder)  # those from before a resumed run was cut off included
    losses = [row["loss"] for row in logged if row.get("loss") is not None]
    return {
        "kind": "dpo",
        "base": source.base,
        "parent": os.path.relpath(parent.resolve(), folder.resolve()) if parent else None,
        "reference_fingerprint": fingerprint(source),
        "reference": read_lineage(parent) if parent else None,
        # whom the policy was tuned to please, as those ask who look for another judge
        "reward": {"name": "picks", "scope": "pair"},
        "picks": picks,
        "config": recorded(config),
        "seed": config.seed,
        "parameters": {"all": total, "trainable": trainable},
        "examples": len(rows),
        "steps": trainer.state.global_step,
        "stopped": stopped,
        "train_loss": round(sum(losses) / len(losses), 4) if losses else None,
        "seconds": round(sum(row.get("seconds") or 0 for row in logged)),
        "peak_memory": peak_memory(),
    }


def _validated(config: DpoConfig, trainer: PairTrainer, held_out: Sequence[Row], tell: Tell) -> Row:
    """How the weights that were kept do on the pairs held out, with an interval over dialogues."""
    loss = float(trainer.state.best_metric or 0)
    before = _loss_before(config, held_out)
    won = trainer.judge(held_out)
    gap = paired_difference([0.5] * len(won), won, [row["dialogue"] for row in held_out])
    accuracy, low, high = (round(0.5 + x, 4) for x in (gap.mean, gap.low, gap.high))
    tell(
        f"held out: {len(won)} pairs on {gap.clusters} dialogues, accuracy {accuracy:.1%} "
        f"[{low:.1%}, {high:.1%}], loss {before:.4f} -> {loss:.4f}"
    )
    if loss >= before:
        tell("Nothing was learned that holds on other pairs: label more, or lower lr.")
    return {
        "best_step": trainer.state.best_global_step,
        "validation_loss": round(loss, 4),
        "validation_loss_before": round(before, 4),
        "held_out": {
            "pairs": len(won),
            "dialogues": gap.clusters,
            "accuracy": accuracy,
            "low": low,
            "high": high,
        },
    }


def _loss_before(config: DpoConfig, rows: Sequence[Row]) -> float:
    """The mean loss over ``rows`` of a policy that is its reference; log 2 without margins."""
    nothing, lengths = torch.zeros(len(rows)), torch.ones(len(rows))
    found = preference_losses(
        *(nothing,) * 4,
        loss=config.loss,
        beta=config.beta,
        smoothing=config.label_smoothing,
        margin=torch.tensor([float(row["margin"]) for row in rows]),
        chosen_length=lengths,
        rejected_length=lengths,
    )
    return float(found.mean())


class _Stopping(TrainerCallback):
    """Ends a run after the step at which somebody asks for it."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self.should_stop = should_stop
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not control.should_training_stop and self.should_stop():
            self.stopped = True
            control.should_training_stop = control.should_save = True
            # a run that is gone on with must not have validated oftener than others
            if args.eval_strategy != "no" and state.best_metric is None:
                control.should_evaluate = True


class _Recorder(TrainerCallback):
    """Passes the trainer's numbers on to the run log and to whoever watches."""

    def __init__(self, log: RunLog, tell: Tell) -> None:
        self.log, self.tell = log, tell
        self.before = time.perf_counter()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        now = time.perf_counter()
        seconds, self.before = round(now - self.before, 2), now
        if logs and "eval_loss" in logs:
            names = {"eval_loss": "validation_loss", "eval_accuracy": "held_out_accuracy"}
            names["eval_reward_margin"] = "held_out_reward_margin"
            numbers = {new: float(logs[old]) for old, new in names.items()}
            self.log.write(state.global_step, numbers | {"seconds": seconds})
            self.tell(
                f"step {state.global_step}: validation loss {numbers['validation_loss']:.4f}, "
                f"accuracy {numbers['held_out_accuracy']:.1%}"
            )
        if not logs or "loss" not in logs:
            return
        numbers = {key: float(logs[key]) for key in _LOGGED}
        self.log.write(state.global_step, numbers | {"seconds": seconds})
        self.tell(
            f"step {state.global_step}/{args.max_steps}  loss {numbers['loss']:.3f}  "
            f"accuracy {numbers['accuracy']:.1%}  margin {numbers['reward_margin']:+.3f}  "
            f"{seconds:.1f} s"
        )
