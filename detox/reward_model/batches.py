"""Batches of pairs: those of one prompt together, each text once, texts of similar length."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

# Prompts are sorted by length within stretches of so many batches, which keeps order random.
STRETCH = 8


def reading_order(
    prompts: Sequence[Hashable],
    lengths: Sequence[int],
    batch_size: int,
    steps: int,
    rng: random.Random,
) -> list[int]:
    """Indices of the pairs in the order in which ``steps`` batches read them.

    All are read once before any comes again, those of one prompt one after the other: a batch
    that holds them all passes each of their texts through the model once, and a model that sees
    a prompt once a pass overfits less (Ouyang et al. 2022, InstructGPT, section 3.5). Prompts of
    about the same length are neighbours, which spares padding. The order is settled before the
    first step, so that a resumed run reads on where it was cut off.
    """
    groups: dict[Hashable, list[int]] = {}
    for place, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(place)
    longest = {name: max(lengths[i] for i in places) for name, places in groups.items()}
    in_stretch = max(1, STRETCH * batch_size * len(groups) // max(1, len(prompts)))
    wanted, drawn = steps * batch_size, list[int]()
    while len(drawn) < wanted:
        names = rng.sample(list(groups), len(groups))
        for start in range(0, len(names), in_stretch):
            part = sorted(names[start : start + in_stretch], key=longest.__getitem__)
            drawn += [i for name in part for i in rng.sample(groups[name], len(groups[name]))]
    batches = [drawn[start : start + batch_size] for start in range(0, wanted, batch_size)]
    order: list[int] = []
    # long texts must not always come last; batches change places within a pass only
    a_pass = max(1, len(prompts) // batch_size)
    for start in range(0, steps, a_pass):
        part_of_run = batches[start : start + a_pass]
        rng.shuffle(part_of_run)
        order += [i for batch in part_of_run for i in batch]
    return order


class PairCollator:
    """Pads the different texts of a batch of pairs, and says which pair they belong to."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad = pad_token_id

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of B pairs with U different texts of at most T tokens.

        ``input_ids`` and ``attention_mask`` [U, T] int64, padded on the right; ``first`` and
        ``second`` [B] int64, the places of a pair's texts; ``margin`` and ``target`` [B] float32.
        """
        places: dict[tuple[int, ...], int] = {}
        sides = {
            name: torch.tensor([places.setdefault(tuple(row[name]), len(places)) for row in rows])
            for name in ("chosen_ids", "rejected_ids")
        }
        ids = [torch.tensor(text) for text in places]
        return {
            "input_ids": pad_sequence(ids, True, self.pad),
            "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], True, 0),
            "first": sides["chosen_ids"],
            "second": sides["rejected_ids"],
            "margin": torch.tensor([float(row["margin"]) for row in rows]),
            "target": torch.tensor([float(row["target"]) for row in rows]),
        }
