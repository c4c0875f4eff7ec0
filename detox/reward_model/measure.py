"""What a reward model says of pairs: rewards of their texts, gaps, accuracy, loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from detox.reward_model.loss import pair_losses
from detox.reward_model.parts import Pair, target_of
from detox.rewards import RewardSource


def scores(judge: RewardSource, rows: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Rewards of the chosen and of the rejected responses, float32 [n] each.

    A text that stands in several pairs is scored once.
    """
    sides = ("chosen", "rejected")
    texts = list(dict.fromkeys((row["prompt"], row[side]) for row in rows for side in sides))
    found = judge.score([prompt for prompt, _ in texts], [text for _, text in texts])
    place = {text: i for i, text in enumerate(texts)}
    chosen, rejected = (
        found[torch.tensor([place[row["prompt"], row[side]] for row in rows], dtype=torch.long)]
        for side in sides
    )
    return chosen, rejected


def gaps(judge: RewardSource, rows: Sequence[Pair]) -> Tensor:
    """How much higher ``judge`` scores each chosen response than the rejected one, float32 [n]."""
    chosen, rejected = scores(judge, rows)
    return chosen - rejected


def accuracy(judge: RewardSource, rows: Sequence[Pair]) -> float | None:
    """Share of ``rows`` whose chosen response ``judge`` scores higher; None without rows.

    Ties have no better response and do not count.
    """
    return share_right(gaps(judge, rows), rows) if rows else None


def share_right(found: Tensor, rows: Sequence[Pair]) -> float | None:
    """The accuracy of the gaps ``found`` [n] over the rows that are no ties."""
    decided = torch.tensor([target_of(row) == 1 for row in rows], dtype=torch.bool)
    return round(float((found[decided] > 0).float().mean()), 4) if decided.any() else None


def mean_loss(found: Tensor, rows: Sequence[Pair]) -> float:
    """The loss of training over the gaps ``found`` [n], without its centring term."""
    margins = torch.tensor([float(row["margin"]) for row in rows])
    targets = torch.tensor([target_of(row) for row in rows])
    return float(pair_losses(found, torch.zeros_like(found), margins, targets).mean())
