"""The formulas of direct preference tuning as pure tensor functions.

B pairs of a chosen and a rejected response. A response's log-probability is summed over its
tokens, the first one and the end-of-text included, and no others. Formulas agree with trl's
``DPOTrainer``, which trains causal models only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from detox.ppo.math import token_logprobs

LOSSES = ("dpo", "cdpo", "robust", "ipo")


def response_logprobs(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Log-probability, float32 [B], of each response under the ``logits`` [B, R, V] before it.

    ``tokens`` [B, R] are the responses, padded on either side; ``mask`` [B, R] is 1 on theirs.
    """
    return (token_logprobs(logits, tokens) * mask).sum(1)


def preference_losses(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    loss: str = "dpo",
    beta: float = 0.1,
    smoothing: float = 0.0,
    margin: Tensor | float = 0.0,
    chosen_length: Tensor | None = None,
    rejected_length: Tensor | None = None,
) -> Tensor:
    """The loss of each pair, [B], from the log-probabilities [B] of policy and reference.

    With z = beta * ((chosen - ref_chosen) - (rejected - ref_rejected)) - margin:

    - ``dpo``: -log sigmoid(z) (Rafailov et al. 2023, eq. 7; with a ``margin`` [B], in logits, as in
      Amini et al. 2024, ODPO).
    - ``cdpo``: -(1 - e) log sigmoid(z) - e log sigmoid(-z), with e = ``smoothing``: the expected
      loss where a share e of the picks is wrong (Mitchell 2023, "A note on DPO with noisy
      preferences").
    - ``robust``: (-(1 - e) log sigmoid(z) + e log sigmoid(-z)) / (1 - 2e), whose expectation over
      such picks is the loss on right ones (Chowdhury et al. 2024, robust DPO).
    - ``ipo``: (d - 1 / (2 beta))^2 with d the difference of log-ratios a token (Azar et al. 2023,
      eq. 17; divided by the lengths [B] as trl does, after its authors). It has no ``margin``.

    Raises ``ValueError`` for another loss, and for ``ipo`` without lengths.
    """
    if loss == "ipo":
        if chosen_length is None or rejected_length is None:
            raise ValueError("ipo needs the lengths of the responses")
        gap = (chosen - ref_chosen) / chosen_length - (rejected - ref_rejected) / rejected_length
        return (gap - 1 / (2 * beta)) ** 2
    z = beta * ((chosen - ref_chosen) - (rejected - ref_rejected)) - margin
    if loss == "dpo":
        return -logsigmoid(z)
    if loss == "cdpo":
        return -(1 - smoothing) * logsigmoid(z) - smoothing * logsigmoid(-z)
    if loss == "robust":
        kept = -(1 - smoothing) * logsigmoid(z) + smoothing * logsigmoid(-z)
        return kept / (1 - 2 * smoothing)
    raise ValueError(f"unknown loss {loss}: one of {', '.join(LOSSES)}")


def inverse_smoothing(smoothing: float) -> float:
    """The e' with which ``robust`` is ``cdpo`` with e = ``smoothing``: -e / (1 - 2e).

    The two weigh the same terms: (1 - e') / (1 - 2e') = 1 - e and -e' / (1 - 2e') = e.
    """
    return -smoothing / (1 - 2 * smoothing)


def implicit_rewards(logprobs: Tensor, ref_logprobs: Tensor, beta: float) -> Tensor:
    """What a policy rewards responses with, [B]: beta * log(policy / reference), but for a constant
    of the prompt (Rafailov et al. 2023, eq. 5).
    """
    return beta * (logprobs - ref_logprobs)


def wins(chosen: Tensor, rejected: Tensor) -> Tensor:
    """1 where ``chosen`` [B] is above ``rejected`` [B], 1/2 where they are equal, 0 elsewhere."""
    return torch.heaviside(chosen - rejected, torch.full((), 0.5, device=chosen.device))
