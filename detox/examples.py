"""What supervised training reads: prompts and answers as padded batches of token ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from detox.config import SftConfig
from detox.data import prompts, targets
from detox.errors import UserError
from detox.tasks import find_task

IGNORED = -100  # the label that the cross-entropy of transformers leaves out


def encode(
    dialogues: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    config: SftConfig,
    seq2seq: bool,
    tell: Callable[[str], None],
) -> Dataset:
    """Token ids of prompts and answers; prompts over ``max_prompt_tokens`` are left out.

    An answer ends with the end-of-text token, so that the policy learns to stop. With
    ``references`` "all" a prompt comes once with each of its references.
    """
    rows = []
    left_out = 0
    queries = prompts(dialogues, find_task(config.task))
    answers = targets(dialogues, config.style, random.Random(config.seed), config.references)
    for prompt, texts in zip(queries, answers, strict=True):
        prompt_ids = tokenizer(prompt).input_ids
        if len(prompt_ids) > config.max_prompt_tokens:
            left_out += 1
            continue
        for text in texts:
            text_ids = tokenizer(text.strip(), add_special_tokens=False).input_ids
            target = [*text_ids[: config.max_summary_tokens - 1], tokenizer.eos_token_id]
            length = len(prompt_ids) + len(target)
            rows.append({"prompt": prompt_ids, "target": target, "length": length})
    tell(f"{len(rows)} examples to learn from, {left_out} texts left out as too long")
    if not rows:
        raise UserError("No dialogue fits max_prompt_tokens: raise it or give shorter dialogues.")
    return Dataset.from_list(rows)


def reading_order(
    lengths: Sequence[int], batch_size: int, steps: int, rng: random.Random
) -> list[int]:
    """Indices of the examples in the order in which ``steps`` batches read them.

    All are read once before any comes again. Examples of about the same length share a batch,
    which spares a third of the padding. The order is settled before the first step, since the
    Trainer's own grouping depends on a random state that a resumed run has lost.
    """
    wanted, count = steps * batch_size, len(lengths)
    drawn = [i for _ in range(0, wanted, count) for i in rng.sample(range(count), count)][:wanted]
    # grouped within stretches of at most 50 batches, so that every part of a run sees all lengths
    stretch = batch_size * max(1, min(50, count // (4 * batch_size)))
    order: list[int] = []
    for start in range(0, wanted, stretch):
        rows = sorted(drawn[start : start + stretch], key=lengths.__getitem__)
        batches = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
        rng.shuffle(batches)
        order += [i for batch in batches for i in batch]
    return order


class Collator:
    """Pads a batch of encoded dialogues.

    Causal models get prompt and summary in one left-padded row; since summaries then end
    together, only the last ``logits_to_keep`` positions need logits, which spares a fifth of
    the work of a small model with a large vocabulary.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seq2seq: bool) -> None:
        self.pad = int(tokenizer.pad_token_id)
        self.seq2seq = seq2seq

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Model inputs: ``input_ids`` and ``attention_mask`` [B, T], ``labels`` [B, L] int64."""
        longest = max(len(row["target"]) for row in rows)
        if self.seq2seq:
            ids = [torch.tensor(row["prompt"]) for row in rows]
            labels = [torch.tensor(row["target"]) for row in rows]
            return {
                "input_ids": pad_sequence(ids, True, self.pad),
                "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], True, 0),
                "labels": pad_sequence(labels, True, IGNORED),
            }
        joined = [torch.tensor(row["prompt"] + row["target"]) for row in rows]
        mask = pad_sequence([torch.ones_like(i) for i in joined], True, 0, "left")
        keep = longest + 1  # the position before the first summary token predicts it
        kept = torch.full((len(rows), keep), IGNORED)
        for i, row in enumerate(rows):
            kept[i, keep - len(row["target"]) :] = torch.tensor(row["target"])
        return {
            "input_ids": pad_sequence(joined, True, self.pad, "left"),
            "attention_mask": mask,
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "labels": kept,
            "logits_to_keep": keep,
        }
