"""Rollouts: queries in, sampled responses out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from detox import processes
from detox.lean import row_adapters


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
    """[B, R]; 1 on the tokens that are trained: all up to and with the first end-of-text"""
    encoded: Tensor | None = None
    """[B, Q, H]: what the encoder made of the queries at the time, for encoder-decoders"""
    logprobs: Tensor | None = None
    """[B, R]: of each token when it was drawn, float32"""
    hidden: Tensor | None = None
    """[B, R, H]: the states that each token was drawn from"""

    def rows(self, index: Tensor) -> Rollout:
        """The rows ``index`` [b], without columns that are padding in all of them."""
        query, query_mask = self.query[index], self.query_mask[index]
        used = query_mask.any(0)
        longest = int(self.mask[index].any(0).nonzero().max()) + 1
        return Rollout(
            query[:, used],
            query_mask[:, used],
            self.response[index, :longest],
            self.mask[index, :longest],
            None if self.encoded is None else self.encoded[index][:, used],
        )


def encode_queries(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str]) -> list[Tensor]:
    """Token ids, int64 [q], of each prompt, as the tokenizer frames them."""
    return [torch.tensor(tokenizer(prompt).input_ids) for prompt in prompts]


def draws(seed: int, rows: int, length: int) -> Tensor:
    """Numbers in [0, 1), float64 [rows, length], that decide every token of a batch.

    Token t of a row depends on the row's own numbers, on no other row: the same batch gives
    the same responses however it is split among processes.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, length, generator=generator, dtype=torch.float64)


@torch.no_grad()
def sample(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    queries: Sequence[Tensor],
    chances: Tensor,
    batch_size: int = 16,
) -> Rollout:
    """One response a query, drawn from the very distribution whose likelihood PPO uses.

    No top-k, top-p, temperature or minimum length: each would make the sampled tokens come
    from another distribution than the one scored, and the KL estimate negative. ``chances``
    [B, T], see ``draws``, decide the tokens, T of them at most. An encoder reads the queries
    ``batch_size`` at a time, once; the rollout keeps what it made of them.
    """
    seq2seq = bool(model.config.is_encoder_decoder)
    side = "right" if seq2seq else "left"
    query = pad_sequence(list(queries), True, tokenizer.pad_token_id, side).to(model.device)
    query_mask = pad_sequence([torch.ones_like(q) for q in queries], True, 0, side).to(query)
    encoded = encode(model, query, query_mask, batch_size) if seq2seq else None
    read = {"encoder_outputs": BaseModelOutput(encoded)} if seq2seq else {}
    draw = Draw(chances)
    with head_inputs(model) as states, _all_cores(model, len(query)):
        output = model.generate(
            input_ids=query,
            attention_mask=query_mask,
            **read,
            do_sample=False,
            logits_processor=[draw],
            max_new_tokens=chances.shape[1],
            synced_gpus=processes.is_sharded(),
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    # encoder-decoders give back their start token, causal models the query
    response = output[:, 1:] if seq2seq else output[:, query.shape[1] :]
    mask = response_mask(response, tokenizer.eos_token_id)
    response = response.where(mask.bool(), tokenizer.pad_token_id)
    logprobs = torch.stack(draw.logprobs, 1)
    # dealt-out weights keep a process that is done running along until all are
    hidden = torch.stack([state[:, -1] for state in states[: len(draw.logprobs)]], 1)
    return Rollout(query, query_mask, response, mask, encoded, logprobs, hidden)


@contextmanager
def head_inputs(model: Any) -> Iterator[list[Tensor]]:
    """Collects what the language-model head gets inside: the states [B, T, H] of each call."""
    found: list[Tensor] = []

    def listen(head: Any, inputs: tuple[Tensor, ...]) -> None:
        found.append(inputs[0])

    hook = model.get_output_embeddings().register_forward_pre_hook(listen)
    try:
        yield found
    finally:
        hook.remove()


def _all_cores(model: Any, rows: int) -> Any:
    """A context in which ``model`` writes faster, unless its weights are dealt out."""
    if processes.is_sharded():
        return nullcontext()
    return row_adapters(model, [getattr(model, "active_adapter", None)] * rows)


def encode(model: Any, query: Tensor, query_mask: Tensor, batch_size: int) -> Tensor:
    """The encoder's last states [B, Q, H] of ``query`` [B, Q], 0 on padding.

    Rows are taken ``batch_size`` at a time, and without common padding, as in training: the
    same rows together give the same numbers to the last bit.
    """
    parts = []
    for index in mini_batches(len(query), batch_size):
        used = query_mask[index].any(0)
        found = model.get_encoder()(
            input_ids=query[index][:, used], attention_mask=query_mask[index][:, used]
        ).last_hidden_state
        part = found.new_zeros(len(index), query.shape[1], found.shape[-1])
        part[:, used] = found
        parts.append(part)
    return torch.cat(parts)


def mini_batches(rows: int, batch_size: int) -> list[Tensor]:
    """Row numbers in order, ``batch_size`` at a time."""
    return list(torch.arange(rows).split(batch_size))


class Draw(LogitsProcessor):
    """Leaves each row the one token that its number in [0, 1) falls on (inverse transform).

    Writes down ``logprobs``: float32 [B] for each token drawn.
    """

    def __init__(self, chances: Tensor) -> None:
        self.chances = iter(chances.T)
        self.logprobs: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``scores`` [B, V] with -inf everywhere but at the token drawn."""
        logprobs = scores.float().log_softmax(-1)
        mass = logprobs.exp().cumsum(-1, dtype=torch.float64)
        chance = next(self.chances).to(mass.device)[:, None]
        token = torch.searchsorted(mass, chance * mass[:, -1:], right=True)
        token = token.clamp(max=scores.shape[1] - 1)
        self.logprobs.append(logprobs.gather(1, token)[:, 0])
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


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
