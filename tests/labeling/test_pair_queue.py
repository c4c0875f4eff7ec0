"""Which pair comes next, and what a pick may be."""

from __future__ import annotations

import random
from typing import Any

import pytest

from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.picks import reveal, submit
from labeling.queue import Progress, Share, next_pair, progress
from labeling.store import Store, StoreError
from tests.labeling.conftest import Judge, Rows


def _count(store: Store, table: str) -> int:
    with store.reading() as db:
        return int(db.table(table).count)


def test_a_labeler_sees_every_pair_once(store: Store) -> None:
    rng, seen = random.Random(1), []
    while task := next_pair(store, "ann", rng):
        seen.append(task.dialogue)
        submit(store, task.assignment_id, "skip" if len(seen) == 2 else "tie")
    assert len(seen) == len(set(seen)) == 6
    assert (progress(store, "ann").done, progress(store, "ann").total) == (6, 6)


def test_an_open_assignment_is_given_again_with_its_sides(store: Store) -> None:
    first = next_pair(store, "ann", random.Random(1))
    for seed in range(20):
        assert next_pair(store, "ann", random.Random(seed)) == first
    assert _count(store, "assignments") == 1


def test_the_pair_with_fewest_picks_comes_first(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 4)
    with store.reading() as db:
        judged = {r["dialogue"] for r in db.query("SELECT dialogue FROM preferences")}
    given = set()
    for seed, labeler in enumerate(["ben", "cem"]):
        task = next_pair(store, labeler, random.Random(seed))
        assert task is not None
        given.add(task.dialogue)
    # What somebody is looking at counts as if it were judged.
    assert len(given) == 2 and not given & judged


def test_a_skip_is_not_a_judgement_of_the_pair(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["skip"] + ["after"] * 5)
    with store.reading() as db:
        skipped = next(db.query("SELECT dialogue FROM preferences WHERE choice = 'skip'"))
    task = next_pair(store, "ben", random.Random(0))
    assert task is not None
    assert task.dialogue == skipped["dialogue"]


def test_equal_pairs_come_in_an_order_drawn_by_the_generator(store: Store) -> None:
    firsts = set()
    for seed in range(30):
        task = next_pair(store, f"labeler {seed}", random.Random(seed))
        assert task is not None
        firsts.add(task.dialogue)
    assert len(firsts) > 3


def test_progress_counts_within_a_batch(store: Store, rows: Rows) -> None:
    add_pairs(store, rows(2, start=50), "second")
    task = next_pair(store, "ann", random.Random(0), "second")
    assert task is not None
    assert "number 5" in task.dialogue
    project = Share(0, 8)
    assert task.progress == Progress(0, 2, Share(0, 2), project)
    submit(store, task.assignment_id, "left")
    project = Share(1, 8)
    assert progress(store, "ann", "second") == Progress(1, 2, Share(1, 2), project)
    assert progress(store, "ann", "first") == Progress(0, 6, Share(0, 6), project)
    assert progress(store, "ann") == Progress(1, 8, Share(0, 0), project)
    assert progress(store, "nobody") == Progress(0, 8, Share(0, 0), project)


def test_an_empty_project_has_no_next_pair(fresh_store: Store) -> None:
    assert next_pair(fresh_store, "ann", random.Random(0)) is None


def test_an_unknown_batch_is_named_and_adds_nobody(store: Store) -> None:
    with pytest.raises(UserError, match="no batch 'x'"):
        next_pair(store, "ann", random.Random(0), "x")
    assert _count(store, "labelers") == 0


@pytest.mark.parametrize("name", ["", "  ", "\u202e", "n" * 101])
def test_a_labeler_needs_a_name(store: Store, name: str) -> None:
    with pytest.raises(UserError, match="labeler name"):
        next_pair(store, name, random.Random(0))


def test_names_that_look_the_same_are_the_same(store: Store, judge: Judge) -> None:
    judge(store, " Ann   Lee", ["after"])
    assert progress(store, "Ann Lee ").done == 1


def test_a_pick_is_returned_as_stored(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    pick = submit(
        store,
        task.assignment_id,
        "left",
        strength="clearly",
        reasons=["gentler", "more faithful"],
        note=" fine\x1b[0m ",
        seconds=3,
    )
    with store.reading() as db:
        row = next(db.query("SELECT * FROM preferences"))
    assert (row["pick"], row["choice"], row["strength"]) == (pick.uuid, "left", "clearly")
    assert (row["reasons"], row["note"]) == ('["gentler", "more faithful"]', "fine[0m")
    assert (row["seconds"], row["picked_at"]) == (3.0, pick.picked_at)
    assert row["chosen"] == task.left
    assert row["rejected"] == task.right


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"choice": "middle"}, "Unknown choice 'middle'"),
        ({"choice": "left", "strength": "very"}, "Unknown strength"),
        ({"choice": "left", "note": "x" * 2001}, "2,001 characters"),
        ({"choice": "left", "reasons": ["r"] * 11}, "at most 10 reasons"),
        ({"choice": "left", "reasons": [""]}, "reasons of 1 to 60"),
        ({"choice": "left", "seconds": -1}, "zero or more"),
        ({"choice": "left", "seconds": float("nan")}, "zero or more"),
        ({"choice": "left", "labeler": "ben"}, "another labeler"),
        # of other types, as a program may send them
        ({"choice": ["left"]}, "Unknown choice"),
        ({"choice": "left", "strength": {}}, "Unknown strength"),
        ({"choice": "left", "note": 5}, "not text"),
        ({"choice": "left", "reasons": "gentle"}, "a list of texts"),
        ({"choice": "left", "reasons": [None]}, "not text"),
        ({"choice": "left", "seconds": "3"}, "zero or more"),
        ({"choice": "left", "flagged": "no"}, "true or false"),
        ({"choice": "left", "uuid": 7}, "are texts"),
        ({"choice": "left", "labeler": ["ann"]}, "not text"),
    ],
)
def test_a_bad_answer_is_refused_and_not_kept(
    store: Store, answer: dict[str, Any], sentence: str
) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    with pytest.raises(UserError, match=sentence):
        submit(store, task.assignment_id, **answer)
    assert _count(store, "picks") == 0


def test_a_double_click_is_one_pick_and_another_answer_an_edit(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    first = submit(store, task.assignment_id, "left", seconds=1)
    assert submit(store, task.assignment_id, "left", seconds=2) == first
    edit = submit(store, task.assignment_id, "right")
    assert edit.supersedes == first.uuid
    assert _count(store, "picks") == 2
    with store.reading() as db:
        assert [r["choice"] for r in db.query("SELECT choice FROM current_picks")] == ["right"]


def test_a_uuid_sent_twice_is_one_pick(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    first = submit(store, task.assignment_id, "left", uuid="u1")
    submit(store, task.assignment_id, "right", uuid="u2")
    assert submit(store, task.assignment_id, "left", uuid="u1") == first
    assert _count(store, "picks") == 2


def test_a_pick_for_an_assignment_that_is_gone(store: Store) -> None:
    with pytest.raises(StoreError, match="no longer in the project"):
        submit(store, "an-assignment-of-another-database", "left")
    assert _count(store, "picks") == 0


def test_reveal_names_both_sides_and_the_chosen_one(store: Store, judge: Judge) -> None:
    (pick,) = judge(store, "ann", ["after"])
    shown = reveal(store, pick)
    assert shown.chosen is not None
    assert (shown.chosen.policy, shown.chosen.reward, shown.chosen.toxicity) == ("after", 2.0, 0.1)
    assert {shown.left.policy, shown.right.policy} == {"before", "after"}
    assert shown.chosen == (shown.left if pick.choice == "left" else shown.right)
    (tie,) = judge(store, "ann", ["tie"])
    assert reveal(store, tie.uuid).chosen is None


def test_reveal_needs_a_pick(store: Store) -> None:
    with pytest.raises(StoreError, match="make a pick first"):
        reveal(store, "no-such-pick")
