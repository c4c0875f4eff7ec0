"""Language models and classifiers by name: embedded, from a folder or from the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)

from detox import processes
from detox.config import EMBEDDED
from detox.errors import UserError
from detox.models.adapters import attach
from detox.models.fused import fuse
from detox.models.libraries import one_sentence
from detox.models.sources import ADAPTER_CONFIG, named_base, read_lineage
from detox.models.weights import safe_weights
from detox.models.wheels import embedded_encoder, embedded_policy


def load_base(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """A base model, seq2seq or causal, with its tokenizer, in evaluation mode.

    ``name`` is ``embedded``, a folder or a hub name. Raises ``UserError`` when it is neither
    here nor reachable.
    """
    where = str(embedded_policy()) if name == EMBEDDED else name
    with one_sentence(name):
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        if not _writes(config.architectures or ["ForCausalLM"]):
            raise UserError(f"'{name}' does not write text: choose a seq2seq or causal model.")
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model: Any = kind.from_pretrained(
            where, dtype=dtype(), trust_remote_code=False, **safe_weights(where)
        )
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    model.to(processes.device()).eval()
    fuse(model)
    _check_pad(tokenizer, name)
    # Beams, penalties and least lengths of a checkpoint's own would make it sample from another
    # distribution than the one that was asked for, and than the one that PPO scores.
    marks = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    own = model.generation_config
    model.generation_config = GenerationConfig(**{mark: getattr(own, mark) for mark in marks})
    return model, tokenizer


def dtype() -> torch.dtype:
    """bfloat16 where the hardware computes in it, float32 elsewhere (bf16 emulation crawls)."""
    if processes.has_gpu() and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def check_bfloat16() -> None:
    """``UserError`` where the processor emulates bfloat16: GPUs compute in it, CPUs with AMX."""
    if torch.cuda.is_available():
        able = torch.cuda.is_bf16_supported()
    else:
        able = bool(torch.cpu.get_capabilities().get("amx_bf16"))
    if not able:
        raise UserError(
            "This processor does not compute in bfloat16, and emulating it takes far longer: "
            "leave mixed_precision at 'no'."
        )


def _writes(architectures: list[str]) -> bool:
    # transformers would give a classifier a random head and let it babble
    heads = ("CausalLM", "LMHead", "ConditionalGeneration")
    return any(head in architecture for architecture in architectures for head in heads)


def _check_pad(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    if tokenizer.eos_token_id is None:
        raise UserError(f"The tokenizer of '{name}' has no end-of-text token: choose another.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def load_classifier(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """A sequence classifier by hub name or folder; a folder may hold a LoRA adapter on MiniLM.

    Raises ``UserError`` when it is neither here nor reachable.
    """
    folder = Path(name)
    if (folder / ADAPTER_CONFIG).is_file():
        return _load_adapted_classifier(folder)
    with one_sentence(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not any("SequenceClassification" in kind for kind in config.architectures or ()):
            raise UserError(f"'{name}' is not a sequence classifier: choose one that is.")
        model = AutoModelForSequenceClassification.from_pretrained(
            name, dtype=torch.float32, trust_remote_code=False, **safe_weights(name)
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    return model.eval(), tokenizer


def _load_adapted_classifier(folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    lineage = read_lineage(folder)
    base = lineage.get("base") or named_base(folder)
    labels = lineage.get("labels", ["nothate", "hate"])
    model, tokenizer = new_classifier(str(base), labels)
    adapted = attach(model, folder, "default")
    return adapted.merge_and_unload().eval(), tokenizer


def new_classifier(base: str, labels: Sequence[str]) -> tuple[Any, PreTrainedTokenizerBase]:
    """A classifier with a fresh head of ``labels`` on the encoder ``base``."""
    where = str(embedded_encoder()) if base == EMBEDDED else base
    with one_sentence(base):
        model = AutoModelForSequenceClassification.from_pretrained(
            where,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # a base may be a classifier with a head of its own
            trust_remote_code=False,
            **safe_weights(where),
        )
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    return model, tokenizer
