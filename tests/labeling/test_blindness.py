"""A labeler is told nothing that tells the policies apart, and sides are a fair coin."""

from __future__ import annotations

import random
from dataclasses import asdict

from labeling.batches import add_pairs
from labeling.queue import next_pair
from labeling.store import Store
from labeling.text import content_id
from tests.labeling.conftest import Rows


def test_a_task_holds_only_what_may_be_seen(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["before"] |= {"policy": "secret-base", "text": "<pad>Plan A is dumb.</s>", "reward": -7.25}
    row["after"] |= {"policy": "secret-ppo", "text": "<|im_start|>They talk.", "toxicity": 0.125}
    add_pairs(fresh_store, [row], "secret-batch")
    task = next_pair(fresh_store, "ann", random.Random(0))
    assert task is not None
    shown = asdict(task)
    assert set(shown) == {
        "assignment_id",
        "dialogue",
        "left",
        "right",
        "progress",
        "guidelines",
    }
    assert {task.left, task.right} == {"Plan A is dumb.", "They talk."}
    for secret in ("secret", "7.25", "0.125", "<", "im_start"):
        assert secret not in repr(shown)


def test_an_assignment_id_says_nothing_of_the_sides(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    with store.reading() as db:
        parts = next(db.query("SELECT * FROM assignments"))
    known = [parts["pair_id"], parts["left_candidate"], parts["right_candidate"]]
    assert task.assignment_id not in known
    assert task.assignment_id != content_id(*known)


def test_sides_are_balanced(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(1), "b")
    rng = random.Random(11)
    tasks = [next_pair(fresh_store, f"labeler {i}", rng) for i in range(100)]
    left = sum(task is not None and task.left.startswith("They disagree") for task in tasks)
    # Four standard deviations of a fair coin are 20.
    assert 30 < left < 70


def test_sides_follow_the_injected_generator(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(1), "b")

    def sides(names: str) -> list[str]:
        rng = random.Random(5)
        tasks = [next_pair(fresh_store, f"{names} {i}", rng) for i in range(16)]
        return [task.left for task in tasks if task]

    first = sides("one")
    assert sides("two") == first
    assert len(set(first)) == 2
