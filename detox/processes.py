"""One run over several processes: who does what, and what all of them know.

Started by ``accelerate launch``; in a process of its own every function here is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import gather_object
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.functional import pad


def count() -> int:
    """Number of processes that share the run."""
    return int(PartialState().num_processes)


def rank() -> int:
    """Number of this process, from 0."""
    return int(PartialState().process_index)


def is_main() -> bool:
    """True in the one process that writes files and talks."""
    return bool(PartialState().is_main_process)


def wait() -> None:
    """Returns when every process has come here."""
    PartialState().wait_for_everyone()


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
    summed: Tensor = Accelerator().reduce(numbers.detach().clone(), "sum")
    return summed


def agreed(yes: bool) -> bool:
    """True in all processes when it is true in one."""
    return any(gather([yes]))


def share(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
    """``module`` and ``optimizer`` as one of several processes trains them (DDP or FSDP)."""
    if count() == 1:
        return module, optimizer
    prepared: tuple[Any, Any] = Accelerator().prepare(module, optimizer)
    return prepared


def inner(module: Any) -> Any:
    """The module that ``share`` may have wrapped."""
    return getattr(module, "module", module)


def whole(tensor: Tensor) -> Tensor:
    """``tensor`` itself, or all of it where every process holds a part (FSDP)."""
    if isinstance(tensor, DTensor):
        full: Tensor = tensor.full_tensor()
        return full
    return tensor
