"""One run over several processes: who does what, and what all of them know.

Started by ``accelerate launch`` (GPUs) or ``torchrun`` (also without); in a process of its own
every function here is the identity.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object, reduce
from torch import Tensor
from torch.nn.functional import pad

from detox.errors import UserError


def _state() -> PartialState:
    # without the hint accelerate takes several processes without a GPU for as many runs
    return PartialState(cpu=not has_gpu())


def has_gpu() -> bool:
    """Whether a GPU is this process's own.

    Where GPUs are lent to single calls (ZeroGPU), torch pretends to have one everywhere.
    """
    pretends = "spaces" in sys.modules and os.environ.get("SPACES_ZERO_GPU")
    return not pretends and torch.cuda.is_available()


def count() -> int:
    """Number of processes that share the run."""
    return int(_state().num_processes)


def share(size: int, name: str) -> int:
    """What each process takes of ``size`` things; ``UserError`` when that is no whole number."""
    if size % count():
        raise UserError(f"{name} must be a multiple of the {count()} processes that share it.")
    return size // count()


def rank() -> int:
    """Number of this process, from 0."""
    return int(_state().process_index)


def is_main() -> bool:
    """True in the one process that writes files and talks."""
    return bool(_state().is_main_process)


def device() -> torch.device:
    """Where this process computes: a GPU of its own where there are any."""
    if count() > 1:
        own: torch.device = _state().device
        return own
    return torch.device("cuda" if has_gpu() else "cpu")


def wait() -> None:
    """Returns when every process has come here."""
    _state().wait_for_everyone()


def silent(text: str) -> None:
    """What all processes but the main one do with what there is to tell."""


def gather(items: Sequence[Any]) -> list[Any]:
    """The items of all processes, those of the first process first, in every process."""
    return list(gather_object(list(items))) if count() > 1 else list(items)


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The rows of all processes, on the CPU: [b, ...] in each becomes [B, ...] in all.

    Rows [b, R] of different lengths R are filled up with zeros.
    """
    parts = gather([tuple(tensor.cpu() for tensor in tensors)])
    return tuple(_stack(same) for same in zip(*parts, strict=True))


def _stack(parts: Sequence[Tensor]) -> Tensor:
    if parts[0].dim() == 1:
        return torch.cat(list(parts))
    longest = max(part.shape[1] for part in parts)
    return torch.cat([pad(part, (0, longest - part.shape[1])) for part in parts])


def total(numbers: Tensor) -> Tensor:
    """The sum over the processes of ``numbers``, any shape, in every process."""
    if count() == 1:
        return numbers
    summed: Tensor = reduce(numbers.detach().clone(), "sum")
    return summed


def agreed(yes: bool) -> bool:
    """True in all processes when it is true in one."""
    return any(gather([yes]))


def sum_gradients(parameters: Sequence[Tensor]) -> None:
    """Makes each gradient the sum of those of all processes, in one message."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if count() == 1 or not gradients:
        return
    summed = total(torch.cat([gradient.flatten() for gradient in gradients]))
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, values in zip(gradients, summed.split(sizes), strict=True):
        gradient.copy_(values.view_as(gradient))


def is_sharded() -> bool:
    """True when each process is to hold a part of the frozen weights (an FSDP launch)."""
    return count() > 1 and os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def shard(model: Any) -> None:
    """Deals the frozen weights of ``model``'s blocks out among the processes, where asked for.

    What is trained stays whole in every process: an adapter is small, and whole tensors need
    no special optimizer, checkpoint or file.
    """
    if not is_sharded():
        return
    # half a second that a single process does not have to wait
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    kinds = set(model._no_split_modules or ())
    mesh = init_device_mesh(_state().device.type, (count(),))
    for block in list(model.modules()):
        if type(block).__name__ in kinds:
            trained = {parameter for parameter in block.parameters() if parameter.requires_grad}
            fully_shard(block, mesh=mesh, ignored_params=trained)
