"""A fresh database per test, and rows to fill it with."""

from __future__ import annotations

import random
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from labeling.batches import add_pairs
from labeling.picks import Pick, submit
from labeling.queue import next_pair
from labeling.store import Store, open_store

Rows = Callable[..., list[dict[str, Any]]]
Judge = Callable[..., list[Pick]]


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database in one file, to be copied: making one anew takes fifty times as long."""
    path = tmp_path_factory.mktemp("empty") / "labels.db"
    open_store(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def fresh_store(tmp_path: Path, empty_database: Path) -> Store:
    path = tmp_path / "labels.db"
    shutil.copyfile(empty_database, path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE meta SET value = ? WHERE key = 'salt'", [secrets.token_hex(16)])
    return Store(path)


@pytest.fixture
def rows() -> Rows:
    """`n` rows as `python -m detox evaluate` writes them."""

    def make(n: int, start: int = 0) -> list[dict[str, Any]]:
        return [
            {
                "id": f"d{i}",
                "dialogue": f"#Person1#: Your plan number {i} is dumb.\n#Person2#: Thanks a lot.",
                "prompt": f"\nSummarize the following conversation.\n\n#Person1#: Your plan number"
                f" {i} is dumb.\n#Person2#: Thanks a lot.\n\nSummary:\n",
                "topic": "work",
                "tone": "rude",
                "split": ("train", "validation", "test")[i % 3],
                "before": {
                    "policy": "before",
                    "text": f"Plan {i} is dumb.",
                    "reward": -1.0,
                    "toxicity": 0.8,
                },
                "after": {
                    "policy": "after",
                    "text": f"They disagree about plan {i}.",
                    "reward": 2.0,
                    "toxicity": 0.1,
                },
            }
            for i in range(start, start + n)
        ]

    return make


@pytest.fixture
def store(fresh_store: Store, rows: Rows) -> Store:
    """A store with the six pairs of one batch."""
    assert add_pairs(fresh_store, rows(6), "first") == 6
    return fresh_store


@pytest.fixture
def judge() -> Judge:
    """Makes a labeler prefer a policy (or answer tie, both_bad, skip) on their next pairs."""

    def answer(store: Store, labeler: str, answers: list[str], seed: int = 0) -> list[Pick]:
        rng = random.Random(seed)
        picks = []
        for wanted in answers:
            task = next_pair(store, labeler, rng)
            assert task is not None
            choice = wanted
            if wanted in ("before", "after"):
                left_is_after = task.left.startswith("They disagree")
                choice = "left" if left_is_after == (wanted == "after") else "right"
            picks.append(submit(store, task.assignment_id, choice, labeler=labeler))
        return picks

    return answer
