"""What policy, reference and value head think of the tokens of a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from detox.ppo.math import token_logprobs
from detox.ppo.rollout import Rollout, head_inputs, mini_batches


class ValueHead(torch.nn.Module):
    """A linear estimate of the return from the last hidden state; starts at 0."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(hidden_size, 1)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Values, float32 [B, R], of ``hidden`` [B, R, H]."""
        values: Tensor = self.linear(hidden.float()).squeeze(-1)
        return values


class ActorCritic(torch.nn.Module):
    """Policy and value head: all that PPO asks, and all that it trains."""

    def __init__(self, model: Any, head: ValueHead, mixed: bool = False) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.mixed = mixed
        self.encoder_is_frozen = bool(model.config.is_encoder_decoder) and not any(
            parameter.requires_grad for parameter in model.get_encoder().parameters()
        )

    def forward(
        self, rollout: Rollout, encoded: Tensor | None = None, reference: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values, float32 [B, R] each, of the response tokens.

        ``encoded`` [B, Q, H] spares the encoder its pass. The reference is the policy with
        its adapter switched off.
        """
        if self.mixed and not self.encoder_is_frozen:
            encoded = None  # it was read in float32, and the other passes read in bfloat16
        with adapter_off(self.model) if reference else nullcontext(), self._precision():
            logits, hidden = forward(self.model, rollout, encoded)
        return token_logprobs(logits, rollout.response), self.head(hidden)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Products in bfloat16 on request, all but the last.

        Logits rounded to bfloat16 would be off by up to 0.06, about what an update moves them.
        """
        if not self.mixed:
            yield
            return
        head = self.model.get_output_embeddings()
        kind = self.model.device.type

        def exact(hidden: Tensor) -> Any:
            with torch.autocast(kind, enabled=False):
                return type(head).forward(head, hidden.to(head.weight.dtype))

        head.forward = exact
        try:
            with torch.autocast(kind, torch.bfloat16):
                yield
        finally:
            del head.forward  # uncovers the method of its class


def adapter_off(model: Any) -> Any:
    """A context in which ``model`` answers as the reference."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()


def forward(model: Any, rollout: Rollout, encoded: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Logits [B, R, V] that predict each response token, and the hidden states [B, R, H] below.

    Positions are counted from the first real token, so that padding changes nothing.
    """
    with head_inputs(model) as hidden:
        if model.config.is_encoder_decoder:
            start = torch.full_like(rollout.response[:, :1], model.config.decoder_start_token_id)
            output = model(
                input_ids=rollout.query,
                attention_mask=rollout.query_mask,
                encoder_outputs=None if encoded is None else BaseModelOutput(encoded),
                decoder_input_ids=torch.cat([start, rollout.response[:, :-1]], 1),
                use_cache=False,
            )
            return output.logits, hidden[0]
        # a leading 0 in the mask means "not trained", not "not there"
        present = rollout.mask.flip(1).cummax(1).values.flip(1)
        mask = torch.cat([rollout.query_mask, present], 1)
        output = model(
            input_ids=torch.cat([rollout.query, rollout.response], 1),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            logits_to_keep=rollout.response.shape[1] + 1,
            use_cache=False,
        )
        return output.logits[:, :-1], hidden[0][:, :-1]


@torch.no_grad()
def assess(
    actor: ActorCritic, rollout: Rollout, batch_size: int, as_drawn: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of policy and reference, and values: float32 [B, R] each, 0 on padding.

    Rows are taken ``batch_size`` at a time, with the same rows together as in training, so
    that the first ratio is exactly 1. What the encoder made of the queries at the rollout
    serves the policy, and the reference too where no adapter touches the encoder.

    ``as_drawn`` takes the policy's numbers from when the tokens were drawn, and spares it a
    pass; other matrix shapes round differently, so the first ratio is 1 but for that.
    """
    shape = rollout.response.shape
    logprobs, ref_logprobs, values = (torch.zeros(shape) for _ in range(3))
    if as_drawn:
        assert rollout.logprobs is not None and rollout.hidden is not None, "not sampled here"
        logprobs, values = rollout.logprobs.cpu(), actor.head(rollout.hidden).cpu()
    for index in mini_batches(shape[0], batch_size):
        part = rollout.rows(index)
        width = part.response.shape[1]
        if not as_drawn:
            mine, value = actor(part, part.encoded)
            logprobs[index, :width] = mine.cpu()
            values[index, :width] = value.cpu()
        reference, _ = actor(part, part.encoded if actor.encoder_is_frozen else None, True)
        ref_logprobs[index, :width] = reference.cpu()
    mask = rollout.mask.cpu()
    return logprobs * mask, ref_logprobs * mask, values * mask
