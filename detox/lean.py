"""Each row of a batch through its own version of a model, in as few and as fast steps as can be.

peft can do that as well, but copies rows out and in again at every one of hundreds of layers. And
the matrix library below torch leaves all cores but one idle when few rows meet a large weight,
which is what writing a response consists of. Both are mended here while a response is written;
the formulas stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn
from torch.nn.functional import linear

from detox.models import ROOT_ADAPTER

# Rows up to which the weight stands first in a product; many rows keep all cores busy anyway.
FEW = 64

Forward = Callable[[torch.Tensor], torch.Tensor]

# Two passes at a time through one model would run each other's rows through the wrong adapters.
_one_pass = Lock()


@contextmanager
def row_adapters(model: Any, adapters: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    """Inside, row i of every batch runs through ``adapters[i]``; None is the weights as they are.

    Yields what ``model.generate`` must be told besides: peft's own way of mixing serves the
    adapters that are more than a plain LoRA.
    """
    adapted = hasattr(model, "peft_config")
    peft_mixes = adapted and not _is_plain(model)
    rows = _rows(adapters) if adapted and not peft_mixes else None
    with _one_pass:
        faster = _faster_forwards(model, rows)
        try:
            for module, forward in faster.items():
                module.forward = forward
            names = [name or ROOT_ADAPTER for name in adapters]
            yield {"adapter_names": names} if peft_mixes else {}
        finally:
            for module in faster:
                vars(module).pop("forward", None)  # uncovers the method of its class


def _faster_forwards(
    model: nn.Module, rows: dict[str, slice | list[int]] | None
) -> dict[nn.Module, Forward]:
    """What computes the linear layers of ``model``; adapters are left alone without ``rows``."""
    faster: dict[nn.Module, Forward] = {}
    for module in model.modules():
        if type(module) is nn.Linear:
            faster[module] = _linear_forward(module)
        elif rows is not None and isinstance(module, LoraLinear):
            faster[module] = _adapted_forward(module, rows)
    return faster


def _is_plain(model: nn.Module) -> bool:
    """True when all that adapters do to ``model`` is to add B A x to products W x."""
    for module in model.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return False
        if not isinstance(module, BaseTunerLayer):
            continue
        if not isinstance(module, LoraLinear) or type(module).forward is not LoraLinear.forward:
            return False
        if module.lora_variant or any(module.lora_bias.values()):
            return False
    return True


def _rows(adapters: Sequence[str | None]) -> dict[str, slice | list[int]]:
    """The rows of each adapter; a slice where it can be, because a slice copies nothing."""
    if len(set(adapters)) == 1 and adapters[0] is not None:
        return {adapters[0]: slice(None)}  # all, also where beams make several of each row
    rows: dict[str, slice | list[int]] = {}
    for name in sorted({name for name in adapters if name is not None}):
        chosen = [i for i, other in enumerate(adapters) if other == name]
        first, end = chosen[0], chosen[-1] + 1
        rows[name] = slice(first, end) if end - first == len(chosen) else chosen
    return rows


def _adapted_forward(layer: LoraLinear, rows: dict[str, slice | list[int]]) -> Forward:
    base: Any = layer.base_layer
    updates = []
    for name, chosen in rows.items():
        if name in layer.lora_A:
            a: Any = layer.lora_A[name].weight
            b: Any = layer.lora_B[name].weight * layer.scaling[name]
            updates.append((chosen, a, b))

    def forward(x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = base(x)
        for chosen, a, b in updates:
            result[chosen] += linear(linear(x[chosen].to(a.dtype), a), b).to(result.dtype)
        return result

    return forward


def _linear_forward(layer: nn.Linear) -> Forward:
    weight, bias = layer.weight, layer.bias

    def forward(x: torch.Tensor) -> torch.Tensor:
        rows = x.numel() // x.shape[-1]
        if rows > FEW or x.device.type != "cpu":
            return linear(x, weight, bias)
        # W x' is split over the cores where x W' is not
        product = torch.mm(weight, x.reshape(rows, x.shape[-1]).t()).t().contiguous()
        if bias is not None:
            product += bias
        return product.view(*x.shape[:-1], weight.shape[0])

    return forward
