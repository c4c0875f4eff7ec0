"""What a batch may ask, and how it stands."""

from __future__ import annotations

import random
from typing import Any

import pytest

from detox.errors import UserError
from labeling.batches import add_pairs, load_pairs
from labeling.gold import gold_pairs, mark_gold, unmark_gold
from labeling.picks import submit, undo
from labeling.plans import Plan, find_plan, open_batches, save_plan, set_status, standings
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": " "}, "name of 1 to 100"),
        ({"name": "n" * 101}, "name of 1 to 100"),
        ({"votes_wanted": 0}, "1 or more"),
        ({"repeat_share": 1.0}, "between 0 and 1"),
        ({"gold_share": -0.1}, "between 0 and 1"),
        ({"gold_share": float("nan")}, "between 0 and 1"),
        ({"repeat_share": 0.5, "gold_share": 0.5}, "leave room"),
        ({"strategy": "guess"}, "Unknown strategy 'guess'"),
        ({"hold_minutes": 0}, "more than 0 minutes"),
        ({"hold_minutes": float("inf")}, "more than 0 minutes"),
        ({"guidelines": "x" * 5001}, "5,001 characters"),
    ],
)
def test_a_plan_that_cannot_be_done_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Plan(**({"name": "b"} | fields))


def test_a_plan_is_kept_and_changed_without_touching_pairs_or_status(store: Store) -> None:
    set_status(store, "first", "paused")
    plan = Plan("first", votes_wanted=3, repeat_share=0.1, reveal=False, guidelines="Be fair.")
    save_plan(store, plan)
    assert find_plan(store, "first") == plan
    (standing,) = standings(store)
    assert (standing.status, standing.pairs, standing.wanted) == ("paused", 6, 18)


def test_a_batch_may_be_planned_before_it_has_pairs(fresh_store: Store, rows: Rows) -> None:
    save_plan(fresh_store, Plan("later", votes_wanted=2))
    assert open_batches(fresh_store) == []
    add_pairs(fresh_store, rows(2), "later")
    assert open_batches(fresh_store) == ["later"]
    assert find_plan(fresh_store, "later").votes_wanted == 2


def test_unknown_batches_and_statuses_are_named(store: Store) -> None:
    with pytest.raises(UserError, match="no batch 'x'"):
        set_status(store, "x", "open")
    with pytest.raises(UserError, match="no batch 'x'"):
        find_plan(store, "x")
    with pytest.raises(UserError, match="Unknown status 'ajar'"):
        set_status(store, "first", "ajar")


def test_a_standing_counts_what_is_there(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    judge(store, "ben", ["before", "skip"])
    assert next_pair(store, "cem", random.Random(0)) is not None
    with store.reading() as db:
        (pair,) = db.query("SELECT id FROM pairs ORDER BY id LIMIT 1")
    mark_gold(store, pair["id"], "b", note="clear")
    (standing,) = standings(store)
    assert (standing.votes, standing.conflicts, standing.labelers) == (7, 1, 2)
    assert (standing.held, standing.gold) == (1, 1)


def test_a_closed_batch_keeps_its_picks_as_they_are(store: Store, judge: Judge) -> None:
    (pick,) = judge(store, "ann", ["after"])
    set_status(store, "first", "closed")
    with pytest.raises(UserError, match="closed and its picks stay"):
        submit(store, pick.assignment_id, "tie", labeler="ann")
    with pytest.raises(UserError, match="closed and its picks stay"):
        undo(store, "ann")
    set_status(store, "first", "paused")
    assert undo(store, "ann") is not None


def test_gold_comes_with_the_rows_whichever_order_they_are_in(
    fresh_store: Store, rows: Rows
) -> None:
    (row,) = rows(1)
    load_pairs(fresh_store, [row], "first")
    turned = {
        "dialogue": row["dialogue"],
        "prompt": row["prompt"],
        "a": row["after"]["text"],
        "b": row["before"]["text"],
        "policy_a": "after",
        "policy_b": "before",
        "gold": "a",
    }
    load_pairs(fresh_store, [turned], "first")
    (gold,) = gold_pairs(fresh_store)
    with fresh_store.reading() as db:
        (pair,) = db.query("SELECT * FROM pairs")
        (text,) = db.query(
            "SELECT text FROM candidates WHERE id = ?", [pair[f"candidate_{gold.outcome}"]]
        )
    assert text["text"] == row["after"]["text"]
    assert gold.source == "file"


def test_gold_is_corrected_and_lifted(store: Store) -> None:
    with store.reading() as db:
        (pair,) = db.query("SELECT id FROM pairs LIMIT 1")
    mark_gold(store, pair["id"], "a")
    mark_gold(store, pair["id"], "tie", note="on a second look")
    (gold,) = gold_pairs(store, "first")
    assert (gold.outcome, gold.note) == ("tie", "on a second look")
    unmark_gold(store, pair["id"])
    assert gold_pairs(store) == []
    with pytest.raises(UserError, match="is not gold"):
        unmark_gold(store, pair["id"])
    with pytest.raises(UserError, match="no pair 'x'"):
        mark_gold(store, "x", "a")
    with pytest.raises(UserError, match="Unknown gold answer 'left'"):
        mark_gold(store, pair["id"], "left")


def test_a_row_with_a_strange_gold_answer_is_named(fresh_store: Store, rows: Rows) -> None:
    with pytest.raises(UserError, match="Row 2: `gold` must be one of a, b, tie, both_bad"):
        load_pairs(fresh_store, [*rows(1), rows(1, 5)[0] | {"gold": "left"}], "first")


def test_a_policy_of_another_version_is_another_policy(fresh_store: Store, rows: Rows) -> None:
    one, two = rows(1), rows(1)
    two[0]["after"] = two[0]["after"] | {"fingerprint": "f2", "text": "Kinder."}
    add_pairs(fresh_store, one + two, "first")
    with fresh_store.reading() as db:
        found = {(row["name"], row["fingerprint"]) for row in db.query("SELECT * FROM policies")}
    assert found == {("before", None), ("after", None), ("after", "f2")}
