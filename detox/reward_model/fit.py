"""A reward model from its first weights to its folder."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, PrinterCallback
from trl.trainer.reward_config import RewardConfig as TrlConfig

from detox.calibration import fit_temperature, negative_log_likelihood
from detox.checkpoints import CHECKPOINTS, begin, last_checkpoint, room
from detox.config import RewardConfig, recorded
from detox.judges import write_learned
from detox.learning import FEWEST, steps_of
from detox.models import (
    check_bfloat16,
    new_classifier,
    parameter_counts,
    save_adapter,
    save_model,
)
from detox.reward_model.batches import PairCollator, reading_order
from detox.reward_model.measure import accuracy, gaps
from detox.reward_model.parts import HELD_OUT, VALIDATION, Pair, hash_of, target_of
from detox.reward_model.trainer import PairTrainer, Recorder, Stopping, Tell
from detox.rewards import PreferenceReward, token_limit
from detox.runlog import RunLog, peak_memory, read_metrics

# Fewer validation pairs than this say too little of how sure a model should be.
MIN_CALIBRATION = 10
# Accuracy on what was learned from is a figure for comparison: so many pairs are enough for it.
MEASURED = 200
# Why a run ended that can go on.
ASKED = "asked to stop"


def fit_reward_model(
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    config: RewardConfig,
    tell: Tell = print,
    validation: Sequence[Pair] = (),
    resume: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Trains a model on the pairs of ``train`` and writes it to ``config.output``.

    ``detox.reward_model.loss`` tells the loss. With pairs for ``validation`` the weights of their
    lowest loss are kept, a run stops early that finds none lower (``config.patience``), and the
    temperature is fitted to them (``detox.calibration``). Every step's loss and accuracy, and now
    and then those on ``validation``, or ``held_out`` where there is none, go to ``metrics.jsonl``
    and TensorBoard. A run that was cut off goes on with ``resume``; ``should_stop`` is asked
    after every step.

    Returns the lineage with the accuracy on what was learned from (the first ``MEASURED`` pairs
    at most) and on ``held_out``. Raises ``UserError`` for a base that cannot be loaded, a folder
    that cannot be written, a loss that is not finite, and when there is nothing to resume.
    """
    if config.mixed_precision == "bf16":
        check_bfloat16()
    folder = Path(config.output)
    data = hash_of(train, validation)
    checkpoint = last_checkpoint(folder, config, data, ("output",)) if resume else None
    torch.manual_seed(config.seed)  # for the weights of a head that the base does not have
    model, tokenizer = new_classifier(config.base, ["preference"])
    tokenizer.truncation_side = "left"
    limit = token_limit(model, tokenizer, config.max_tokens)
    rows = _encoded(train, tokenizer, limit, tell)
    steps = config.steps or steps_of(len(train), config.batch_size, config.epochs)
    log = RunLog(folder, int(checkpoint.rsplit("-", 1)[1]) if checkpoint else 0)
    if checkpoint is None:
        begin(folder, config, data)
    order = reading_order(
        [row["prompt"] for row in train],
        [len(row["chosen_ids"]) for row in rows],
        config.batch_size,
        steps,
        random.Random(f"{config.seed}:order"),
    )
    trainer = PairTrainer(
        model=model,
        args=_arguments(config, steps, bool(validation), bool(held_out)),
        train_dataset=Dataset.from_list(rows).select(order),
        # never read: evaluate measures the watched pairs
        eval_dataset=Dataset.from_list(rows[:1]),
        data_collator=PairCollator(int(tokenizer.pad_token_id or 0)),
        processing_class=tokenizer,
        peft_config=_adapter(model, config) if config.method == "lora" else None,
    )
    total, trainable = parameter_counts(trainer.model)
    tell(f"{total:,} parameters, {trainable:,} of them trainable ({trainable / total:.2%})")
    trainer.watched, trainer.tokenizer = validation or held_out, tokenizer
    trainer.max_tokens = config.max_tokens
    stopping = Stopping(should_stop)
    recorder = Recorder(log, tell, VALIDATION if validation else HELD_OUT)
    trainer.remove_callback(PrinterCallback)  # it would repeat what the recorder tells
    trainer.add_callback(recorder)
    trainer.add_callback(stopping)
    if validation and config.patience:
        trainer.add_callback(EarlyStoppingCallback(config.patience))
    trainer.train(resume_from_checkpoint=checkpoint)
    log.close()
    trained: Any = trainer.model
    judge = PreferenceReward(trained, tokenizer, config.output, config.max_tokens)
    lineage: dict[str, Any] = {
        "kind": "preference",
        "base": config.base,
        "parent": None,
        "labels": ["preference"],
        "config": recorded(config),
        "seed": config.seed,
        "parameters": {"all": total, "trainable": trainable},
        "pairs": {"train": len(train), "validation": len(validation), "held_out": len(held_out)},
        "steps": trainer.state.global_step,
        "stopped": _stopped(stopping, trainer, config),
        "accuracy": {
            "train": accuracy(judge, train[:MEASURED]),
            "held_out": accuracy(judge, held_out),
        },
    }
    if validation:
        lineage["best_step"] = trainer.state.best_global_step
        lineage["validation_loss"] = round(float(trainer.state.best_metric or 0), 4)
        lineage["calibration"] = _calibrated(judge, validation)
    lineage["seconds"] = round(sum(row.get("seconds", 0) for row in read_metrics(folder)))
    lineage["peak_memory"] = peak_memory()
    if config.method == "lora":
        save_adapter(trained, folder, lineage)
    else:
        save_model(trained, tokenizer, folder, lineage)
    with room(folder):
        write_learned(folder, [row["prompt"] for row in (*train, *validation)])
    if not stopping.stopped:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    return lineage


def _encoded(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, limit: int, tell: Tell
) -> list[dict[str, Any]]:
    """Token ids of both texts of each pair, cut on the left to ``limit``.

    They are ours, so that training reads a text exactly as PreferenceReward does later; the
    trainer would append an end mark, and drop rows that are too long without a word.
    """
    known: dict[str, list[int]] = {}
    cut = 0

    def ids(row: Pair, side: str) -> list[int]:
        nonlocal cut
        text = row["prompt"] + row[side]
        if text not in known:
            known[text] = tokenizer(text, truncation=True, max_length=limit).input_ids
            cut += len(known[text]) == limit
        return known[text]

    rows = [
        {
            "chosen_ids": ids(row, "chosen"),
            "rejected_ids": ids(row, "rejected"),
            "margin": float(row["margin"]),
            "target": target_of(row),
        }
        for row in pairs
    ]
    if cut:
        tell(f"{cut} of {len(known)} texts reach {limit} tokens, where their start is cut")
    return rows


def _arguments(config: RewardConfig, steps: int, validated: bool, watched: bool) -> TrlConfig:
    every = config.validate_every or max(1, steps // FEWEST)
    more: dict[str, Any] = {"save_strategy": "steps", "save_steps": every, "save_total_limit": 1}
    if validated or watched:
        more |= {"eval_strategy": "steps", "eval_steps": every}
    if validated:
        more |= {
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
            # else a resumed run would count its patience anew
            "restore_callback_states_from_checkpoint": True,
        }
    return TrlConfig(
        output_dir=str(Path(config.output) / CHECKPOINTS),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        center_rewards_coefficient=config.center,
        max_length=None,
        seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        logging_steps=1,
        activation_checkpointing=False,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        bf16=config.mixed_precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        **more,
    )


def _adapter(model: Any, config: RewardConfig) -> LoraConfig:
    return LoraConfig(
        r=config.lora_r,
        lora_alpha=2 * config.lora_r,
        target_modules=targets(model, config.lora_layers),
        modules_to_save=heads(model),
        task_type="SEQ_CLS",
    )


def targets(model: torch.nn.Module, layers: int) -> str | list[str]:
    """Names of the linear modules in the last ``layers`` layers of an encoder; 0 means all.

    What lies below the first adapter needs no gradients, and costs a forward pass only.
    """
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) > 1
    ]
    if not layers or not stacks:
        return "all-linear"
    name, stack = max(stacks, key=lambda pair: len(pair[1]))
    last = [f"{name}.{number}." for number in range(max(0, len(stack) - layers), len(stack))]
    return [
        path
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and path.startswith(tuple(last))
    ]


def heads(model: torch.nn.Module) -> list[str]:
    """Names of the modules on top of an encoder, which many bases come without.

    Their fresh weights must be trained and saved whole: an adapter on them would be put on other
    random numbers when it is loaded again.
    """
    base = getattr(model, "base_model_prefix", "")
    on_top = [name for name, module in model.named_children() if name != base and _holds(module)]
    pooler = getattr(getattr(model, base, None), "pooler", None)
    return on_top + (["pooler"] if pooler is not None and _holds(pooler) else [])


def _holds(module: torch.nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def _stopped(stopping: Stopping, trainer: PairTrainer, config: RewardConfig) -> str:
    if stopping.stopped:
        return ASKED
    if trainer.state.global_step < trainer.state.max_steps:
        return f"no lower validation loss in {config.patience} validations"
    return ""


def _calibrated(judge: PreferenceReward, validation: Sequence[Pair]) -> dict[str, Any]:
    """The temperature, and what it does to the validation pairs that it was fitted to."""
    decided = [row for row in validation if target_of(row) == 1]
    if len(decided) < MIN_CALIBRATION:
        return {"temperature": None, "n": len(decided)}
    found = gaps(judge, decided).double().numpy()
    temperature = fit_temperature(found)
    return {
        "temperature": round(temperature, 4),
        "n": len(decided),
        "nll_before": round(negative_log_likelihood(found, 1.0), 4),
        "nll_after": round(negative_log_likelihood(found, temperature), 4),
    }
