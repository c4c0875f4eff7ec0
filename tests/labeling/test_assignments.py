"""Places are held and freed, votes are bounded, and repeats and gold come in their shares."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling import queue
from labeling.batches import add_pairs
from labeling.picks import submit, undo
from labeling.queue import Task, next_pair, upcoming
from labeling.schema import OUTCOMES
from labeling.store import Store
from tests.labeling.conftest import Rows


def plan(store: Store, batch: str = "first", **fields: Any) -> None:
    with store.writing() as db:
        for name, value in fields.items():
            db.execute(f"UPDATE batches SET {name} = ? WHERE name = ?", [value, batch])


def later(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    then = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(queue, "now", lambda: then.isoformat(timespec="microseconds"))


def one(store: Store, labeler: str, seed: int = 0) -> Task:
    task = next_pair(store, labeler, random.Random(seed))
    assert task is not None
    return task


def kinds(store: Store, labeler: str) -> list[str]:
    with store.reading() as db:
        rows = db.query(
            "SELECT a.kind FROM assignments AS a JOIN labelers AS l ON l.id = a.labeler_id"
            " WHERE l.name = ? ORDER BY a.rowid",
            [labeler],
        )
        return [row["kind"] for row in rows]


def pair_of(store: Store, task: Task) -> str:
    with store.reading() as db:
        rows = db.query("SELECT pair_id FROM assignments WHERE id = ?", [task.assignment_id])
        return str(next(rows)["pair_id"])


def test_two_pairs_are_given_at_once_and_stay_in_order(store: Store) -> None:
    first, second = upcoming(store, "ann", random.Random(0))
    assert first.assignment_id != second.assignment_id
    assert upcoming(store, "ann", random.Random(9)) == [first, second]
    submit(store, first.assignment_id, "tie")
    again = upcoming(store, "ann", random.Random(9))
    assert again[0].assignment_id == second.assignment_id
    assert len(again) == 2


def test_a_pair_gets_as_many_votes_as_wanted_and_no_more(store: Store) -> None:
    plan(store, votes_wanted=2)
    votes: Counter[str] = Counter()
    for labeler in ("ann", "ben", "cem", "dia"):
        while task := next_pair(store, labeler, random.Random(labeler)):
            votes[pair_of(store, task)] += 1
            submit(store, task.assignment_id, "left")
            if labeler in ("ann", "ben") and sum(votes.values()) % 4 == 0:
                break
    assert votes == dict.fromkeys(votes, 2) and len(votes) == 6


def test_a_held_place_is_not_given_to_another(store: Store) -> None:
    plan(store, votes_wanted=1)
    held = {one(store, f"labeler {i}").dialogue for i in range(6)}
    assert len(held) == 6
    assert next_pair(store, "late", random.Random(0)) is None


def test_an_abandoned_place_is_freed_after_its_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(store, votes_wanted=1, hold_minutes=10)
    tasks = [one(store, f"labeler {i}") for i in range(6)]
    later(monkeypatch, 9)
    assert next_pair(store, "late", random.Random(0)) is None
    later(monkeypatch, 11)
    freed = one(store, "late")
    submit(store, freed.assignment_id, "left", labeler="late")
    # Its former holder comes back: the pair has its vote, so they get none of those held by others.
    (holder,) = [i for i, task in enumerate(tasks) if task.dialogue == freed.dialogue]
    back = next_pair(store, f"labeler {holder}", random.Random(0))
    assert back is not None and back.dialogue != freed.dialogue


def test_who_comes_back_gets_their_own_place_again_if_it_is_free(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(store, votes_wanted=1, hold_minutes=10)
    task = one(store, "ann")
    later(monkeypatch, 11)
    one(store, "ben")  # frees what ran out
    again = next_pair(store, "ann", random.Random(5))
    assert again is not None
    assert (again.assignment_id, again.left) == (task.assignment_id, task.left)


def test_a_late_pick_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(store, votes_wanted=1, hold_minutes=10)
    task = one(store, "ann")
    later(monkeypatch, 11)
    one(store, "ben")
    plan(store, status="closed")
    assert submit(store, task.assignment_id, "left", labeler="ann").choice == "left"


@pytest.mark.parametrize("status", ["paused", "closed"])
def test_a_batch_that_is_not_open_gives_nothing(store: Store, rows: Rows, status: str) -> None:
    one(store, "ann")
    plan(store, status=status)
    assert next_pair(store, "ann", random.Random(0)) is None
    add_pairs(store, rows(1, start=80), "second")
    assert "number 80" in one(store, "ann").dialogue


def test_repeats_come_in_their_share_with_sides_drawn_anew(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(120), "first")
    plan(fresh_store, repeat_share=0.2)
    rng, seen, sides = random.Random(3), [], Counter[bool]()
    first_left: dict[str, str] = {}
    while task := next_pair(fresh_store, "ann", rng):
        pair = pair_of(fresh_store, task)
        if pair in first_left:
            assert len(seen) - seen.index(pair) > queue.REPEAT_GAP
            sides[first_left[pair] == task.left] += 1
        first_left.setdefault(pair, task.left)
        seen.append(pair)
        submit(fresh_store, task.assignment_id, "left")
    repeated = kinds(fresh_store, "ann").count("repeat")
    assert len(seen) == 120 + repeated and max(Counter(seen).values()) == 2
    # 20 % of about 140 draws; four standard deviations are 19.
    assert 10 < repeated < 48
    assert min(sides.values()) > 0 and len(sides) == 2


def test_gold_comes_in_its_share_and_not_as_regular(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(100), "first")
    with fresh_store.writing() as db:
        db.execute(
            "INSERT INTO gold (pair_id, outcome, source, created)"
            " SELECT id, 'b', 'test', '2026-01-01' FROM pairs ORDER BY id LIMIT 20"
        )
    plan(fresh_store, gold_share=0.15, votes_wanted=1)
    for labeler in ("ann", "ben"):
        rng = random.Random(labeler)
        for _ in range(40):
            task = next_pair(fresh_store, labeler, rng)
            assert task is not None
            submit(fresh_store, task.assignment_id, "left")
        # 6 of 40 expected; four standard deviations are 9.
        assert 0 < kinds(fresh_store, labeler).count("gold") < 16
    with fresh_store.reading() as db:
        (wrong,) = db.query(
            "SELECT count(*) AS n FROM assignments AS a JOIN gold AS g ON g.pair_id = a.pair_id"
            " WHERE a.kind <> 'gold'"
        )
        assert wrong["n"] == 0
        assert next(db.query("SELECT sum(votes) AS n FROM pairs"))["n"] == 80 - sum(
            kinds(fresh_store, name).count("gold") for name in ("ann", "ben")
        )


def test_priority_decides_where_a_batch_asks_for_it(store: Store) -> None:
    with store.writing() as db:
        db.execute(
            "UPDATE pairs SET priority = (SELECT length(r.dialogue) + instr(r.dialogue, '4') > 0"
            " AND instr(r.dialogue, 'number 4') > 0 FROM prompts AS r WHERE r.id = prompt_id)"
        )
    plan(store, strategy="uncertainty", votes_wanted=2)
    for labeler in ("ann", "ben"):
        assert "number 4" in one(store, labeler).dialogue
    assert "number 4" not in one(store, "cem").dialogue


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "ben", "cem"]),
        st.sampled_from(["left", "right", "tie", "both_bad", "skip", "undo", "look", "edit"]),
        st.integers(0, 9),
    ),
    max_size=40,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS, wanted=st.sampled_from([None, 1, 2]), shares=st.sampled_from([0.0, 0.3]))
def test_kept_counts_are_those_of_the_record(
    tmp_path_factory: pytest.TempPathFactory,
    rows: Rows,
    actions: list[tuple[str, str, int]],
    wanted: int | None,
    shares: float,
) -> None:
    from labeling.store import open_store

    store = open_store(tmp_path_factory.mktemp("counts") / "labels.db")
    add_pairs(store, rows(8), "first")
    plan(store, votes_wanted=wanted, repeat_share=shares)
    given_out: list[tuple[str, str]] = []
    for labeler, action, seed in actions:
        if action == "undo":
            undo(store, labeler)
        elif action == "edit" and given_out:
            owner, assignment = given_out[seed % len(given_out)]
            submit(store, assignment, "both_bad", labeler=owner)
            continue
        task = next_pair(store, labeler, random.Random(seed))
        if task and action not in ("undo", "look", "edit"):
            submit(store, task.assignment_id, action, labeler=labeler)
            given_out.append((labeler, task.assignment_id))
    with store.reading() as db:
        for row in db.query(
            """
            SELECT p.*,
                (SELECT count(*) FROM preferences AS f WHERE f.pair_id = p.id
                    AND f.kind = 'regular' AND f.choice <> 'skip') AS voted,
                (SELECT count(*) FROM assignments AS a WHERE a.pair_id = p.id
                    AND a.kind = 'regular' AND a.state = 'open') AS held
            FROM pairs AS p
            """
        ):
            assert (row["votes"], row["holds"]) == (row["voted"], row["held"])
            for outcome in OUTCOMES:
                (found,) = db.query(
                    "SELECT count(*) AS n FROM preferences WHERE pair_id = ? AND outcome = ?"
                    " AND kind = 'regular'",
                    [row["id"], outcome],
                )
                assert row[f"votes_{outcome}"] == found["n"]
        (batch,) = db.query("SELECT pairs, votes FROM batches")
        (sums,) = db.query("SELECT count(*) AS pairs, sum(votes) AS votes FROM pairs")
        assert batch == sums
        for row in db.query("SELECT * FROM tallies"):
            (done,) = db.query(
                "SELECT count(DISTINCT pair_id) AS n FROM preferences WHERE labeler_id = ?"
                " AND kind <> 'repeat'",
                [row["labeler_id"]],
            )
            assert row["done"] == done["n"]
        (states,) = db.query(
            "SELECT count(*) AS n FROM assignments AS a WHERE (a.state = 'done') <> EXISTS"
            " (SELECT 1 FROM current_picks AS c WHERE c.assignment_id = a.id)"
        )
        assert states["n"] == 0
