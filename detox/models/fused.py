"""Small functions that transformers composes of many, put back into one kernel each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.activations import NewGELUActivation

# Root-mean-square norms (Zhang & Sennrich 2019) that scale by their weight as it is.
PLAIN_NORMS = {"T5LayerNorm", "LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"}


def fuse(model: Any) -> None:
    """Replaces the norms and the tanh-GELU of ``model``, float32, by torch's own, in place.

    Same formulas, same parameter names; outputs differ by rounding. In training the pieces'
    intermediate results need not be kept either. Half-precision models stay as they are: there
    the two round at different places.
    """
    if model.dtype != torch.float32:
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            fused = _fused(child)
            if fused is not None:
                setattr(parent, name, fused.train(child.training))


def _fused(module: Any) -> nn.Module | None:
    if isinstance(module, NewGELUActivation):
        return nn.GELU(approximate="tanh")
    if type(module).__name__ in PLAIN_NORMS:
        norm = nn.RMSNorm(module.weight.shape, eps=module.variance_epsilon)
        norm.weight = module.weight
        return norm
    return None
