"""Supervised fine-tuning: a base model learns to answer, through an adapter or all its weights."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from detox import processes
from detox.config import SftConfig, recorded
from detox.data import load_dialogues
from detox.errors import UserError
from detox.examples import Collator, encode, reading_order
from detox.models import (
    add_adapter,
    check_bfloat16,
    dtype,
    find_source,
    fingerprint,
    load_base,
    parameter_counts,
    save_adapter,
    save_model,
)
from detox.runlog import RunLog, peak_memory, read_metrics
from detox.tasks import find_task

SETTINGS = "config.json"  # of the run, beside its checkpoints


def train_sft(
    config: SftConfig, resume: bool = False, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains the adapter of ``config``, or all weights, and writes them to ``config.output``.

    A run that was cut off continues from its last checkpoint with ``resume``. With
    ``validate_every`` the weights of the lowest validation loss are kept.

    Returns the lineage, with parameter counts, losses, seconds and peak memory (bytes). Raises
    ``UserError`` for missing models or data and when there is nothing to resume. Under
    ``accelerate launch`` the processes share every batch, and the first of them writes.
    """
    folder = Path(config.output)
    if not processes.is_main():
        tell = processes.silent
    share = processes.share(config.batch_size, "batch_size")
    mixed = config.mixed_precision == "bf16"
    if mixed:
        check_bfloat16()
    # all weights of a half-precision base are made float32 to be tuned, and need not run so
    mixed = mixed or (config.method == "full" and dtype() is torch.bfloat16)
    checkpoint = _last_checkpoint(folder, config) if resume else None
    model, tokenizer = load_base(config.base)
    seq2seq = bool(model.config.is_encoder_decoder)
    if config.method == "lora":
        model = add_adapter(
            model, config.lora, "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM", config.seed
        )
    else:
        model.float()  # small steps vanish in half-precision weights
    total, trainable = parameter_counts(model)
    tell(f"{total:,} parameters, {trainable:,} of them trainable ({trainable / total:.2%})")

    def read(split: str, hear: Callable[[str], None]) -> Dataset:
        texts = load_dialogues(config.data, split, find_task(config.task), config.hold_out)
        return encode(texts, tokenizer, config, seq2seq, hear)

    examples = read("train", tell)
    held_out = None
    if config.validate_every:
        held_out = read("validation", processes.silent)
        _check_apart(examples, held_out)
        tell(f"{len(held_out)} examples to validate on")
    log = None
    if processes.is_main():
        log = RunLog(folder, int(checkpoint.rsplit("-", 1)[1]) if checkpoint else 0)
        if checkpoint is None:
            with _room(folder):
                _forget_checkpoints(folder, config)
    processes.wait()
    order = reading_order(
        examples["length"], config.batch_size, config.steps, random.Random(f"{config.seed}:order")
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=config.steps,
        per_device_train_batch_size=share,
        per_device_eval_batch_size=share,
        learning_rate=config.lr,
        weight_decay=config.weight_decay,
        lr_scheduler_type="linear",
        warmup_steps=max(1, config.steps // 20),
        max_grad_norm=1.0,
        logging_steps=1,
        save_total_limit=1,
        seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        # encoder-decoders of transformers take no token count, and their loss would be doubled
        average_tokens_across_devices=not seq2seq,
        use_cpu=not torch.cuda.is_available(),
        bf16=mixed,
        **_validating(config),
    )
    callbacks: list[TrainerCallback] = [_Recorder(log, tell)] if log else []
    if config.patience:
        callbacks.append(EarlyStoppingCallback(config.patience))
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=examples.select(order),
        eval_dataset=held_out,
        data_collator=Collator(tokenizer, seq2seq),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it would repeat what the recorder tells
    trainer.train(resume_from_checkpoint=checkpoint)
    processes.wait()
    if log:
        log.close()
    rows = read_metrics(folder)  # those from before a resumed run was cut off included
    losses = [row["loss"] for row in rows if "loss" in row]
    lineage = {
        "kind": "sft",
        "base": config.base,
        "base_fingerprint": fingerprint(find_source(config.base)),
        "parent": None,
        "config": recorded(config),
        "seed": config.seed,
        "parameters": {"all": total, "trainable": trainable},
        "examples": len(examples),
        "train_loss": None if None in losses else round(sum(losses) / len(losses), 4),
        "seconds": round(sum(row["seconds"] for row in rows)),
        "peak_memory": peak_memory(),
    }
    if held_out is not None:
        lineage["best_step"] = trainer.state.best_global_step
        lineage["validation_loss"] = round(float(trainer.state.best_metric or 0), 4)
    if processes.is_main():
        if config.method == "lora":
            save_adapter(model, folder, lineage)
        else:
            save_model(model, tokenizer, folder, lineage)
    processes.wait()
    tell(f"saved the {'adapter' if config.method == 'lora' else 'model'} to {folder}")
    return lineage


def _validating(config: SftConfig) -> dict[str, Any]:
    """When the Trainer saves and validates; it can only go back to what it has saved."""
    if not config.validate_every:
        return {"save_steps": config.save_every}
    return {
        "eval_strategy": "steps",
        "eval_steps": config.validate_every,
        "save_steps": config.validate_every,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
        "greater_is_better": False,
        # else a resumed run would count its patience anew
        "restore_callback_states_from_checkpoint": True,
    }


def _check_apart(examples: Dataset, held_out: Dataset) -> None:
    known = {tuple(prompt) for prompt in examples["prompt"]}
    if any(tuple(prompt) in known for prompt in held_out["prompt"]):
        raise UserError(
            "Texts to validate on are also learned from: give them a 'split' of their own, or "
            "set hold_out to the share to keep apart."
        )


class _Trainer(Trainer):
    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with _room(Path(str(self.args.output_dir)).parent):
            super()._save_checkpoint(*args, **kwargs)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # what a full disk makes of torch
        raise UserError(
            f"The checkpoint cannot be written to {folder}: free some disk and resume."
        ) from error


class _Recorder(TrainerCallback):
    """Passes the trainer's numbers on to the run log and to whoever watches."""

    def __init__(self, log: RunLog, tell: Callable[[str], None]) -> None:
        self.log, self.tell = log, tell
        self.before = time.perf_counter()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        seconds = time.perf_counter() - self.before
        self.before = time.perf_counter()
        if logs and "eval_loss" in logs:
            loss = float(logs["eval_loss"])
            numbers = {"validation_loss": loss, "seconds": round(seconds, 2)}
            self.log.write(state.global_step, numbers)
            self.tell(f"step {state.global_step}: validation loss {loss:.4f}")
        if not logs or "loss" not in logs:
            return
        numbers = {key: float(logs[key]) for key in ("loss", "grad_norm", "learning_rate")}
        self.log.write(state.global_step, numbers | {"seconds": round(seconds, 2)})
        self.tell(
            f"step {state.global_step}/{args.max_steps}  "
            f"loss {numbers['loss']:.3f}  {seconds:.1f} s"
        )


def _last_checkpoint(folder: Path, config: SftConfig) -> str:
    path = folder / "checkpoints"
    # the Trainer writes its state last: a checkpoint without it was cut off while being saved
    found = [state.parent for state in path.glob("checkpoint-*/trainer_state.json")]
    if not found:
        raise UserError(f"There is no checkpoint in {folder} to resume from: start without it.")
    settings, now = path / SETTINGS, asdict(config)
    then = now | (json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {})
    # a run may be moved, and how often it is saved changes nothing
    changed = [key for key in now if now[key] != then[key] and key not in ("output", "save_every")]
    if changed:
        raise UserError(
            f"The run in {folder} was started with other settings ({', '.join(changed)}): resume "
            "it with those, or start anew."
        )
    return str(max(found, key=lambda checkpoint: int(checkpoint.name.rsplit("-", 1)[1])))


def _forget_checkpoints(folder: Path, config: SftConfig) -> None:
    """A fresh run must never be resumed from what an earlier one left in its folder."""
    path = folder / "checkpoints"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    (path / SETTINGS).write_text(json.dumps(asdict(config)), encoding="utf-8")
