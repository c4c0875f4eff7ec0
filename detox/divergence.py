"""How far one policy's choice of words is from another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from detox.examples import IGNORED, Collator
from detox.generation import Done
from detox.lean import row_adapters
from detox.models import Policy


def response_kl(
    policy: Policy,
    reference: Policy,
    prompts: Sequence[str],
    responses: Sequence[str],
    batch_size: int = 8,
    done: Done = lambda finished, total: None,
) -> list[float]:
    """KL(policy || reference) of each response, in nats, summed over its tokens and its end.

    At every token the divergence is exact over the whole vocabulary, at temperature 1, given the
    tokens before it. Both policies must read the same tokens: ``same_tokens`` says whether.
    """
    tokenizer, seq2seq = policy.tokenizer, policy.is_encoder_decoder
    rows = [
        {
            "prompt": tokenizer(prompt).input_ids,
            "target": [
                *tokenizer(response, add_special_tokens=False).input_ids,
                tokenizer.eos_token_id,
            ],
        }
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["prompt"]))
    collate = Collator(tokenizer, seq2seq)
    found = [0.0] * len(rows)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = collate([rows[i] for i in chosen])
        labels = batch["labels"] if seq2seq else batch.pop("labels")[:, 1:]
        first, second = (_logprobs(side, dict(batch)) for side in (policy, reference))
        gaps = (first.exp() * (first - second)).sum(-1).cpu() * (labels != IGNORED)
        for i, kl in zip(chosen, gaps.sum(-1).tolist(), strict=True):
            found[i] = kl
        done(min(start + batch_size, len(order)), len(order))
    return found


def same_tokens(one: Policy, other: Policy) -> bool:
    """Whether the two speak in the same tokens, so that their choices can be compared at all."""
    alike = one.is_encoder_decoder == other.is_encoder_decoder
    return alike and one.tokenizer.get_vocab() == other.tokenizer.get_vocab()


def _logprobs(policy: Policy, batch: dict[str, Any]) -> torch.Tensor:
    """Log-probabilities of every token at the places of the response, float32 [B, R, V]."""
    device = policy.model.device
    inputs = {k: v.to(device) if torch.is_tensor(v) else v for k, v in batch.items()}
    count = len(inputs["input_ids"])
    with torch.inference_mode(), row_adapters(policy.model, [policy.adapter] * count) as how:
        logits = policy.model(**inputs, **how).logits
    if not policy.is_encoder_decoder:
        logits = logits[:, :-1]  # what follows the response's end is nobody's concern
    return logits.float().log_softmax(-1)
