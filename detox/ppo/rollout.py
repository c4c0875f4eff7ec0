"""Rollouts: queries in, sampled responses out, and what the policy thinks of each token."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from detox.ppo.math import token_logprobs


@dataclass(frozen=True)
class Rollout:
    """Queries and the responses to them, as token ids; all int64, masks 1 on real tokens.

    Queries are padded on the left for causal models and on the right for encoder-decoders,
    responses always on the right.
    """

    query: Tensor
    """[B, Q]"""
    query_mask: Tensor
    """[B, Q]"""
    response: Tensor
    """[B, R]"""
    mask: Tensor
    """[B, R]; covers the first end-of-text token, which the policy chose as well"""

    def rows(self, index: Tensor) -> Rollout:
        """The rows ``index`` [b], without columns that are padding in all of them."""
        query, query_mask = self.query[index], self.query_mask[index]
        used = query_mask.any(0)
        longest = int(self.mask[index].sum(1).max())
        return Rollout(
            query[:, used],
            query_mask[:, used],
            self.response[index, :longest],
            self.mask[index, :longest],
        )


class ValueHead(torch.nn.Module):
    """A linear estimate of the return from the last hidden state; starts at 0."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(hidden_size, 1)
        torch.nn.init.zeros_(self.linear.weight)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Values, float32 [B, R], of ``hidden`` [B, R, H]."""
        return self.linear(hidden.float()).squeeze(-1)


def encode_queries(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[Tensor]:
    """Token ids, int64 [q], of each prompt, as the tokenizer frames them."""
    return [torch.tensor(tokenizer(prompt).input_ids) for prompt in prompts]


def sample(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    queries: Sequence[Tensor],
    max_new_tokens: int,
    seed: int,
) -> Rollout:
    """One response a query, drawn from the very distribution whose likelihood PPO uses.

    No top-k, top-p, temperature or minimum length: each would make the sampled tokens come
    from another distribution than the one scored, and the KL estimate negative.
    """
    seq2seq = bool(model.config.is_encoder_decoder)
    side = "right" if seq2seq else "left"
    query = pad_sequence(list(queries), True, tokenizer.pad_token_id, side).to(model.device)
    query_mask = pad_sequence([torch.ones_like(q) for q in queries], True, 0, side).to(query)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        output = model.generate(
            input_ids=query,
            attention_mask=query_mask,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    # encoder-decoders give back their start token, causal models the query
    response = output[:, 1:] if seq2seq else output[:, query.shape[1] :]
    mask = response_mask(response, tokenizer.eos_token_id)
    response = response.where(mask.bool(), tokenizer.pad_token_id)
    return Rollout(query, query_mask, response, mask)


def response_mask(response: Tensor, eos: int) -> Tensor:
    """1 up to and with the first ``eos`` of each row of ``response`` [B, R], int64 [B, R]."""
    ends = (response == eos).long()
    return (ends.cumsum(1) - ends == 0).long()


def texts(tokenizer: PreTrainedTokenizerBase, rollout: Rollout) -> list[str]:
    """The responses as a person would read them: no special tokens, no outer blanks."""
    return [
        str(tokenizer.decode(row[keep.bool()], skip_special_tokens=True)).strip()
        for row, keep in zip(rollout.response, rollout.mask, strict=True)
    ]


def forward(model: Any, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Logits [B, R, V] that predict each response token, and the hidden states [B, R, H] below.

    Positions are counted from the first real token, so that padding changes nothing.
    """
    if model.config.is_encoder_decoder:
        start = torch.full_like(rollout.response[:, :1], model.config.decoder_start_token_id)
        output = model(
            input_ids=rollout.query,
            attention_mask=rollout.query_mask,
            decoder_input_ids=torch.cat([start, rollout.response[:, :-1]], 1),
            output_hidden_states=True,
        )
        return output.logits, output.decoder_hidden_states[-1]
    mask = torch.cat([rollout.query_mask, rollout.mask], 1)
    length = rollout.response.shape[1]
    output = model(
        input_ids=torch.cat([rollout.query, rollout.response], 1),
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        logits_to_keep=length + 1,
        output_hidden_states=True,
        use_cache=False,
    )
    hidden = output.hidden_states[-1][:, -length - 1 :]
    return output.logits[:, :-1], hidden[:, :-1]


@torch.no_grad()
def assess(
    model: Any, head: ValueHead, rollout: Rollout, batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities of policy and reference, and values: float32 [B, R] each, 0 on padding.

    The reference is the policy with its adapter switched off. Rows are taken ``batch_size`` at
    a time, with the same rows together as in training, so that the first ratio is exactly 1.
    """
    shape = rollout.response.shape
    logprobs, ref_logprobs, values = (torch.zeros(shape) for _ in range(3))
    for index in mini_batches(shape[0], batch_size):
        part = rollout.rows(index)
        width = part.response.shape[1]
        logits, hidden = forward(model, part)
        logprobs[index, :width] = token_logprobs(logits, part.response).cpu()
        values[index, :width] = head(hidden).cpu()
        with adapter_off(model):
            logits, _ = forward(model, part)
        ref_logprobs[index, :width] = token_logprobs(logits, part.response).cpu()
    mask = rollout.mask.cpu()
    return logprobs * mask, ref_logprobs * mask, values * mask


def mini_batches(rows: int, batch_size: int) -> list[Tensor]:
    """Row numbers in order, ``batch_size`` at a time."""
    return list(torch.arange(rows).split(batch_size))


def adapter_off(model: Any) -> Any:
    """A context in which ``model`` answers as the reference."""
    return model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
