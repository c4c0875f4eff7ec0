"""Loading pairs: idempotent, all or nothing, and each dialogue in one split."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from detox.errors import UserError
from labeling.batches import BatchReport, add_pairs, load_pairs
from labeling.store import Store
from tests.labeling.conftest import Rows


def _dump(store: Store) -> list[str]:
    return list(sqlite3.connect(store.path).iterdump())


def _all(store: Store, query: str) -> list[dict[str, Any]]:
    with store.reading() as db:
        return list(db.query(query))


def test_loading_twice_changes_nothing(fresh_store: Store, rows: Rows) -> None:
    assert load_pairs(fresh_store, rows(4), "one") == BatchReport(4, 0, 0)
    before = _dump(fresh_store)
    assert load_pairs(fresh_store, rows(4), "two") == BatchReport(0, 4, 0)
    assert _dump(fresh_store) == before


def test_the_same_two_texts_the_other_way_round_are_one_pair(
    fresh_store: Store, rows: Rows
) -> None:
    add_pairs(fresh_store, rows(1), "one")
    row = rows(1)[0]
    row["before"], row["after"] = row["after"], row["before"]
    assert load_pairs(fresh_store, [row], "one") == BatchReport(0, 1, 0)


def test_identical_texts_are_skipped_and_counted(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["after"]["text"] = f" {row['before']['text']}</s>\n"
    assert load_pairs(fresh_store, [row, *rows(1, start=5)], "b") == BatchReport(1, 0, 1)


def test_what_is_stored_is_what_labelers_see(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["after"]["text"] = "<pad> A calm summary.</s><pad>"
    add_pairs(fresh_store, [row], "b")
    texts = {r["text"] for r in _all(fresh_store, "SELECT text FROM candidates")}
    assert texts == {"A calm summary.", "Plan 0 is dumb."}


def test_scores_are_filled_in_later_but_never_overwritten(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["after"] |= {"reward": None, "toxicity": float("nan")}
    add_pairs(fresh_store, [row], "b")
    row["after"] |= {"reward": 3.0, "toxicity": 0.25}
    row["before"] |= {"reward": 99.0}
    add_pairs(fresh_store, [row], "b")
    query = (
        "SELECT p.name, c.reward, c.toxicity FROM candidates AS c"
        " JOIN policies AS p ON p.id = c.policy_id ORDER BY p.name"
    )
    assert _all(fresh_store, query) == [
        {"name": "after", "reward": 3.0, "toxicity": 0.25},
        {"name": "before", "reward": -1.0, "toxicity": 0.8},
    ]


def test_all_prompts_of_a_dialogue_share_a_split(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0] | {"split": "test"}
    other = row | {"prompt": "Another question about it.", "split": "train"}
    add_pairs(fresh_store, [row, other], "b")
    assert [r["split"] for r in _all(fresh_store, "SELECT split FROM prompts")] == ["test"] * 2


def test_without_a_split_the_dialogue_draws_one(fresh_store: Store) -> None:
    texts = [
        {"dialogue": f"dialogue {i}", "prompt": "", "a": "one", "b": "two"} for i in range(300)
    ]
    add_pairs(fresh_store, texts, "b")
    counts = {
        r["split"]: r["n"]
        for r in _all(fresh_store, "SELECT split, count(*) AS n FROM prompts GROUP BY split")
    }
    assert 210 <= counts["train"] <= 270
    assert 15 <= counts["validation"] <= 50
    assert 15 <= counts["test"] <= 50


def test_flat_rows_and_described_policies(fresh_store: Store) -> None:
    flat = {
        "dialogue": "Hello.",
        "prompt": "Summarize: Hello.",
        "a": "One greets.",
        "b": "A greeting.",
        "policy_a": {"name": "v1", "base": "t5", "adapter": "runs/1", "fingerprint": "abc"},
        "policy_b": "v2",
        "reward_b": 1,
        "sampling_a": {"top_p": 1.0},
    }
    add_pairs(fresh_store, [flat], "b")
    query = (
        "SELECT p.name, p.base, p.fingerprint, c.reward, c.sampling FROM candidates AS c"
        " JOIN policies AS p ON p.id = c.policy_id ORDER BY p.name"
    )
    found = _all(fresh_store, query)
    assert [tuple(row.values()) for row in found] == [
        ("v1", "t5", "abc", None, json.dumps({"top_p": 1.0})),
        ("v2", None, None, 1.0, "{}"),
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dialogue": " ", "prompt": ""}, "dialogue is empty"),
        ({"before": {"text": None}}, "two texts"),
        ({"before": {"text": "<pad>"}}, "summary is empty"),
        ({"split": "holdout"}, "Unknown split 'holdout'"),
        ({"topic": ["a"]}, "`topic` must be text"),
        ({"before": {"text": "x", "policy": 3}}, "a policy is a name"),
        ({"before": {"text": "x", "policy": ""}}, "policy needs a name"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_kept(
    fresh_store: Store, rows: Rows, change: dict[str, Any], sentence: str
) -> None:
    before = _dump(fresh_store)
    with pytest.raises(UserError, match=f"^Row 3: .*{sentence}"):
        add_pairs(fresh_store, [*rows(2), rows(3)[2] | change], "b")
    assert _dump(fresh_store) == before


def test_a_batch_needs_a_name(fresh_store: Store, rows: Rows) -> None:
    with pytest.raises(UserError, match="batch a name"):
        add_pairs(fresh_store, rows(1), " ")
