"""Supervised fine-tuning: a base model learns to write summaries, through a LoRA adapter."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from detox import processes
from detox.config import SftConfig, recorded
from detox.data import load_dialogues, prompts, targets
from detox.errors import UserError
from detox.models import (
    add_adapter,
    find_source,
    fingerprint,
    load_base,
    parameter_counts,
    save_adapter,
)
from detox.runlog import RunLog, read_metrics

SETTINGS = "config.json"  # of the run, beside its checkpoints
IGNORED = -100  # the label that the cross-entropy of transformers leaves out


def train_sft(
    config: SftConfig, resume: bool = False, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains the adapter of ``config`` and writes it to ``config.output``.

    A run that was cut off continues from its last checkpoint with ``resume``.

    Returns the adapter's lineage, with parameter counts, loss and seconds. Raises
    ``UserError`` for missing models or data and when there is nothing to resume. Under
    ``accelerate launch`` the processes share every batch, and the first of them writes.
    """
    folder = Path(config.output)
    if not processes.is_main():
        tell = processes.silent
    share = processes.share(config.batch_size, "batch_size")
    checkpoint = _last_checkpoint(folder, config) if resume else None
    model, tokenizer = load_base(config.base)
    seq2seq = bool(model.config.is_encoder_decoder)
    task = "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM"
    model = add_adapter(model, config.lora, task, config.seed)
    total, trainable = parameter_counts(model)
    tell(f"{total:,} parameters, {trainable:,} of them trainable ({trainable / total:.2%})")
    examples = encode(load_dialogues(config.data, "train"), tokenizer, config, seq2seq, tell)
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
        learning_rate=config.lr,
        lr_scheduler_type="linear",
        warmup_steps=max(1, config.steps // 20),
        max_grad_norm=1.0,
        logging_steps=1,
        save_steps=config.save_every,
        save_total_limit=1,
        seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        # encoder-decoders of transformers take no token count, and their loss would be doubled
        average_tokens_across_devices=not seq2seq,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=examples.select(order),
        data_collator=Collator(tokenizer, seq2seq),
        callbacks=[_Recorder(log, tell)] if log else [],
    )
    trainer.remove_callback(PrinterCallback)  # it would repeat what the recorder tells
    trainer.train(resume_from_checkpoint=checkpoint)
    processes.wait()
    if log:
        log.close()
    rows = read_metrics(folder)  # those from before a resumed run was cut off included
    losses = [row["loss"] for row in rows]
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
    }
    if processes.is_main():
        save_adapter(model, folder, lineage)
    processes.wait()
    tell(f"saved the adapter to {folder}")
    return lineage


def encode(
    dialogues: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    config: SftConfig,
    seq2seq: bool,
    tell: Callable[[str], None],
) -> Dataset:
    """Token ids of prompts and summaries; prompts over ``max_prompt_tokens`` are left out.

    The summary ends with the end-of-text token, so that the policy learns to stop.
    """
    rng = random.Random(config.seed)
    rows = []
    summaries = targets(dialogues, config.style, rng)
    for prompt, summary in zip(prompts(dialogues), summaries, strict=True):
        prompt_ids = tokenizer(prompt).input_ids
        text_ids = tokenizer(summary.strip(), add_special_tokens=False).input_ids
        target = [*text_ids[: config.max_summary_tokens - 1], tokenizer.eos_token_id]
        if len(prompt_ids) <= config.max_prompt_tokens:
            length = len(prompt_ids) + len(target)
            rows.append({"prompt": prompt_ids, "target": target, "length": length})
    left_out = len(dialogues) - len(rows)
    tell(f"{len(rows)} dialogues to learn from, {left_out} left out as too long")
    if not rows:
        raise UserError("No dialogue fits max_prompt_tokens: raise it or give shorter dialogues.")
    return Dataset.from_list(rows)


def reading_order(
    lengths: Sequence[int], batch_size: int, steps: int, rng: random.Random
) -> list[int]:
    """Indices of the examples in the order in which ``steps`` batches read them.

    All are read once before any comes again. Examples of about the same length share a batch,
    which spares a third of the padding. The order is settled before the first step, since the
    Trainer's own grouping depends on a random state that a resumed run has lost.
    """
    wanted, count = steps * batch_size, len(lengths)
    drawn = [i for _ in range(0, wanted, count) for i in rng.sample(range(count), count)][:wanted]
    # grouped within stretches of at most 50 batches, so that every part of a run sees all lengths
    stretch = batch_size * max(1, min(50, count // (4 * batch_size)))
    order: list[int] = []
    for start in range(0, wanted, stretch):
        rows = sorted(drawn[start : start + stretch], key=lengths.__getitem__)
        batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        rng.shuffle(batches)
        order += [i for batch in batches for i in batch]
    return order


class Collator:
    """Pads a batch of encoded dialogues.

    Causal models get prompt and summary in one left-padded row; since summaries then end
    together, only the last ``logits_to_keep`` positions need logits, which spares a fifth of
    the work of a small model with a large vocabulary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seq2seq: bool) -> None:
        self.pad = int(tokenizer.pad_token_id)
        self.seq2seq = seq2seq

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Model inputs: ``input_ids`` and ``attention_mask`` [B, T], ``labels`` [B, L] int64."""
        longest = max(len(row["target"]) for row in rows)
        if self.seq2seq:
            ids = [torch.tensor(row["prompt"]) for row in rows]
            labels = [torch.tensor(row["target"]) for row in rows]
            return {
                "input_ids": pad_sequence(ids, True, self.pad),
                "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], True, 0),
                "labels": pad_sequence(labels, True, IGNORED),
            }
        joined = [torch.tensor(row["prompt"] + row["target"]) for row in rows]
        mask = pad_sequence([torch.ones_like(i) for i in joined], True, 0, "left")
        keep = longest + 1  # the position before the first summary token predicts it
        kept = torch.full((len(rows), keep), IGNORED)
        for i, row in enumerate(rows):
            kept[i, keep - len(row["target"]) :] = torch.tensor(row["target"])
        return {
            "input_ids": pad_sequence(joined, True, self.pad, "left"),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "labels": kept,
            "logits_to_keep": keep,
        }


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
        if not logs or "loss" not in logs:
            return
        seconds = time.perf_counter() - self.before
        self.before = time.perf_counter()
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
