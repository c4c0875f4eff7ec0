"""Pairs that teach most come first, by the strategy of their batch."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from detox.errors import UserError
from labeling.active import STEP, prioritise
from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.plans import Plan, save_plan
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Rows


class Length:
    """A reward that likes short responses."""

    name = "length"

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        return torch.tensor([-len(text) / 4 for text in responses])

    def describe(self) -> dict[str, Any]:
        return {}


def scored(rows: Rows, gaps: list[float | None]) -> list[dict[str, Any]]:
    made = rows(len(gaps))
    for row, gap in zip(made, gaps, strict=True):
        row["before"]["reward"] = None if gap is None else 0.0
        row["after"]["reward"] = gap
    return made


def order(store: Store, labeler: str = "ann") -> list[int]:
    found = []
    while task := next_pair(store, labeler, random.Random(0)):
        found.append(int(task.dialogue.split("number ")[1].split()[0]))
        submit(store, task.assignment_id, "skip", labeler=labeler)
    return found


def priorities(store: Store) -> dict[str, float]:
    with store.reading() as db:
        return {row["id"]: row["priority"] for row in db.query("SELECT id, priority FROM pairs")}


def test_the_least_certain_pairs_come_first(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, scored(rows, [4.0, 0.1, -2.0, 9.0, None, -1.0]), "b")
    save_plan(fresh_store, Plan("b", strategy="uncertainty"))
    ranked = prioritise(fresh_store, "b")
    assert (ranked.ranked, ranked.unscored) == (5, 1)
    # 4 p (1 - p) is 0.998 at 0.1, 0.79 at 1, 0.42 at 2, 0.07 at 4, 0.0005 at 9; unscored is 0.5.
    assert order(fresh_store) == [1, 5, 4, 2, 0, 3]


def test_a_reward_given_scores_the_pairs_anew(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, scored(rows, [None] * 3), "b")
    save_plan(fresh_store, Plan("b", strategy="uncertainty"))
    told: list[tuple[int, int]] = []
    ranked = prioritise(fresh_store, "b", Length(), lambda done, total: told.append((done, total)))
    assert (ranked.ranked, ranked.unscored, told) == (3, 0, [(3, 3)])
    gap = (len("They disagree about plan 0.") - len("Plan 0 is dumb.")) / 4
    chance = 1 / (1 + math.exp(gap))
    for value in priorities(fresh_store).values():
        assert value == pytest.approx(4 * chance * (1 - chance), abs=STEP)


def test_people_against_the_classifier_come_first_and_each_pick_counts(
    fresh_store: Store, rows: Rows
) -> None:
    add_pairs(fresh_store, scored(rows, [3.0, 3.0, 3.0, 3.0]), "b")
    save_plan(fresh_store, Plan("b", strategy="disagreement", votes_wanted=3))
    prioritise(fresh_store, "b")
    before = priorities(fresh_store)
    answers = {}
    for wanted in ("before", "after"):
        task = next_pair(fresh_store, "ann", random.Random(0))
        assert task is not None
        side = "left" if task.left.startswith("They disagree") == (wanted == "after") else "right"
        submit(fresh_store, task.assignment_id, side, labeler="ann")
        answers[wanted] = task.dialogue
    after = priorities(fresh_store)
    changes = sorted(round(after[pair] - before[pair], 1) for pair in before)
    # The classifier is 95 % for `after`; one vote moves people from 1/2 to 1/3 or 2/3.
    assert changes == [-0.2, 0.0, 0.0, 0.2]
    task = next_pair(fresh_store, "ben", random.Random(0))
    assert task is not None
    assert task.dialogue == answers["before"]


def test_the_seed_orders_equals_and_the_same_seed_the_same(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, scored(rows, [1.0] * 8), "b")
    orders = []
    for seed, labeler in ((1, "ann"), (1, "ben"), (2, "cem")):
        save_plan(fresh_store, Plan("b", strategy="uncertainty", seed=seed))
        prioritise(fresh_store, "b")
        orders.append(order(fresh_store, labeler))
    assert orders[0] == orders[1] != orders[2]


def test_a_balanced_batch_has_no_priorities(store: Store) -> None:
    with pytest.raises(UserError, match="balanced and has no priorities"):
        prioritise(store, "first")
    with pytest.raises(UserError, match="no batch 'x'"):
        prioritise(store, "x")
