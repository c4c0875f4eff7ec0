"""The formulas of PPO as pure tensor functions.

Shapes: B responses of up to R tokens. A mask is 1 on response tokens (the first end-of-text
included) and 0 on padding. Formulas follow trl 0.11.4's ``PPOTrainer`` unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of ``values`` [B, R] where ``mask`` is 1, a scalar; 0 for an empty mask.

    ``count`` is the number of values when others hold a part of them: the parts' results
    then add up to the mean.
    """
    return (values * mask).sum() / (mask.sum() if count is None else count).clamp(min=1)


def masked_var(values: Tensor, mask: Tensor) -> Tensor:
    """Unbiased variance where ``mask`` is 1, a scalar; 0 with fewer than two values."""
    count = mask.sum()
    squares = masked_mean((values - masked_mean(values, mask)) ** 2, mask)
    return squares * count / (count - 1).clamp(min=1)


def whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
    """``values`` [B, R] with mean 0 and variance 1 over the mask; the mean is kept on request."""
    mean = masked_mean(values, mask)
    whitened = (values - mean) * torch.rsqrt(masked_var(values, mask) + 1e-8)
    return whitened if shift_mean else whitened + mean


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability, float32 [B, R], of ``tokens`` [B, R] under ``logits`` [B, R, V]."""
    flat = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), tokens.flatten(), reduction="none"
    )
    return -flat.view(tokens.shape)


def entropy(logits: Tensor) -> Tensor:
    """Entropy in nats, float32 [B, R], of the distributions ``logits`` [B, R, V]."""
    logprobs = logits.float().log_softmax(-1)
    return -(logprobs.exp() * logprobs).sum(-1)


def token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, kl_coef: float
) -> tuple[Tensor, Tensor]:
    """Per-token rewards: the KL penalty everywhere, the score on the last token.

    ``scores`` is [B], the others [B, R]. Returns rewards [B, R] and the per-token KL estimate
    ``logprobs - ref_logprobs`` [B, R], both 0 on padding (Ziegler et al. 2019, eq. 2). A row
    without a token gets no reward.
    """
    kl = (logprobs - ref_logprobs) * mask
    rewards = -kl_coef * kl
    places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    last = (mask * places).argmax(1)
    rewards[torch.arange(len(scores)), last] += scores.to(rewards) * mask.any(1)
    return rewards, kl


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16).

    All arguments [B, R]. Returns advantages (not whitened) and returns, both [B, R] and 0 on
    padding; the value after the last token is 0.
    """
    rewards, values = rewards * mask, values * mask
    advantages = torch.zeros_like(rewards)
    carried = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        following = values[:, t + 1] if t + 1 < rewards.shape[1] else torch.zeros_like(carried)
        delta = rewards[:, t] + gamma * following - values[:, t]
        carried = delta + gamma * lam * carried
        advantages[:, t] = carried
    advantages = advantages * mask
    return advantages, (advantages + values) * mask


@dataclass(frozen=True)
class Losses:
    """The scalars of one optimizer step; ``total`` carries the gradient."""

    total: Tensor
    policy: Tensor
    value: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor
    mean_ratio: Tensor


def losses(
    logprobs: Tensor,
    values: Tensor,
    old_logprobs: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float,
    clip_value: float,
    vf_coef: float,
    count: Tensor | None = None,
) -> Losses:
    """Clipped policy and value losses (Schulman et al. 2017, eq. 7 and 9), all inputs [B, R].

    ``count`` is the number of tokens when other processes hold a part of the mini-batch.
    """
    ratio = (logprobs - old_logprobs).exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    policy = masked_mean(torch.maximum(unclipped, clipped), mask, count)
    near = old_values + (values - old_values).clamp(-clip_value, clip_value)
    errors = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    value = 0.5 * masked_mean(errors, mask, count)
    with torch.no_grad():
        clip_fraction = masked_mean((clipped > unclipped).float(), mask, count)
        approx_kl = 0.5 * masked_mean((logprobs - old_logprobs) ** 2, mask, count)
        mean_ratio = masked_mean(ratio, mask, count)
    return Losses(policy + vf_coef * value, policy, value, clip_fraction, approx_kl, mean_ratio)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 - Var(returns - values) / Var(returns), a scalar; 0 when the returns do not vary."""
    spread = masked_var(returns, mask)
    if spread < 1e-12:
        return torch.zeros(())
    return 1 - masked_var(returns - values, mask) / spread


def adapt_kl(kl_coef: float, kl: float, target: float, samples: int, horizon: int) -> float:
    """The next KL weight (Ziegler et al. 2019, section 2.2); a horizon of 0 keeps it fixed.

    ``kl`` and ``target`` are nats a response, ``samples`` the responses since the last call.
    """
    if horizon == 0:
        return kl_coef
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * (1 + error * samples / horizon)
