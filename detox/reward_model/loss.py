"""What a reward model pays for its opinion of a pair; pure tensor functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def pair_losses(first: Tensor, second: Tensor, margin: Tensor, target: Tensor) -> Tensor:
    """Loss of each pair, float32 [n], given both rewards, the margin and the target [n].

    ``-[t log sigmoid(d - m) + (1 - t) log sigmoid(-d - m)]`` with ``d = first - second``. Target
    1 is the negative log-likelihood of Bradley & Terry (1952) with the margin of Touvron et al.
    (2023, Llama 2, equation 2), which is trl's loss. Target 0.5 is a tie as a soft label, half a
    win for each response: the cross-entropy to that label, which is least, log 2, at ``d = 0``.
    A tie has no margin.
    """
    gap = first - second
    return -(target * logsigmoid(gap - margin) + (1 - target) * logsigmoid(-gap - margin))


def centring(first: Tensor, second: Tensor) -> Tensor:
    """Mean of ``(first + second)^2`` over pairs [n], which is least where rewards are around 0.

    Eisenstein et al. (2023), "Helping or Herding?", section 3: Bradley and Terry's likelihood
    knows differences only, and this settles where 0 is.
    """
    return torch.mean((first + second) ** 2)
