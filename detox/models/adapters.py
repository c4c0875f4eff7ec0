"""LoRA adapters: fresh on a model, loaded onto one, and written to a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerBase

from detox.config import Lora
from detox.errors import UserError
from detox.models.sources import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LINEAGE


def add_adapter(model: Any, lora: Lora, task: str, seed: int, name: str = "default") -> PeftModel:
    """``model`` with a fresh, trainable LoRA adapter; only the adapter (and head) trains.

    ``task`` is peft's task type: CAUSAL_LM, SEQ_2_SEQ_LM or SEQ_CLS.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        exclude_modules=lora.exclude_modules,
        task_type=task,
    )
    absent = UserError(
        f"The adapter's targets '{lora.targets}' do not exist in this model: name its linear "
        "modules or use 'all-linear'."
    )
    try:
        adapted: Any = get_peft_model(model, config, adapter_name=name)
    except ValueError as error:
        raise absent from error
    if isinstance(lora.target_modules, list):
        # peft is content when one of several names exists
        found = [f".{module}" for module in adapted.base_model.targeted_module_names]
        if not all(any(m.endswith(f".{end}") for m in found) for end in lora.target_modules):
            raise absent
    return adapted


def attach(model: Any, folder: Path, adapter: str) -> PeftModel:
    """``model`` with the adapter in ``folder`` on it, called ``adapter``, in evaluation mode.

    Raises ``UserError`` when the folder cannot be read or was made for another base.
    """
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=adapter)
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=adapter)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"The adapter {folder} cannot be read: check its files.") from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"The adapter {folder} does not fit this base model: use the base it was trained on."
        ) from error
    model.eval()
    return model


def check_weights(folder: Path) -> None:
    """``UserError`` when the weights of the adapter in ``folder`` are not all there."""
    try:
        load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise UserError(f"The adapter {folder} cannot be read: check its files.") from error


def save_adapter(
    model: PeftModel, folder: Path, lineage: dict[str, Any], name: str = "default"
) -> None:
    """Writes an adapter in float16 with its lineage; complete or not at all.

    Raises ``UserError`` when the disk is full or the folder cannot be written.
    """
    temporary = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        model.save_pretrained(str(temporary), selected_adapters=[name])
        inner = temporary / name  # peft puts every adapter but "default" in a folder of its own
        written = inner if inner.is_dir() else temporary
        halve(written / ADAPTER_WEIGHTS)
        settings = json.loads((written / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        # peft names the folder where the base lies on this machine, which helps nobody elsewhere
        settings["base_model_name_or_path"] = lineage.get("base")
        for file, content in ((ADAPTER_CONFIG, settings), (LINEAGE, lineage)):
            (written / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        for file in (ADAPTER_WEIGHTS, ADAPTER_CONFIG, LINEAGE):
            (written / file).replace(folder / file)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"The adapter cannot be written to {folder}: {reason}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_model(
    model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, lineage: dict[str, Any]
) -> None:
    """Writes a whole model in float16 with its tokenizer and lineage; complete or not at all.

    Raises ``UserError`` when the disk is full or the folder cannot be written.
    """
    temporary = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        model.half().save_pretrained(str(temporary), max_shard_size="100GB")
        tokenizer.save_pretrained(str(temporary))
        (temporary / LINEAGE).write_text(json.dumps(lineage, indent=2) + "\n", encoding="utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        # what an earlier run left there would be taken for an adapter on this model
        (folder / ADAPTER_CONFIG).unlink(missing_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(folder / file.name)
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"The model cannot be written to {folder}: {reason}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def halve(path: Path) -> None:
    """Stores the tensors of a safetensors file as float16, half the bytes."""
    tensors = {key: value.half().contiguous() for key, value in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Number of all parameters and of the trainable ones; shared tensors count once."""
    parameters = list(model.parameters())
    return (
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
    )
