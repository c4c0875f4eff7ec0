"""A model's picks take up nobody's place, in a database that is upgraded and in a new one."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from detox.errors import UserError
from labeling.adjudication import conflicts, look_at
from labeling.check import check_record
from labeling.judge import Answer, Verdict, record, waiting
from labeling.picks import reveal, undo
from labeling.plans import Plan, find_plan, save_plan, standings
from labeling.queue import next_pair, progress
from labeling.records import add_labeler
from labeling.schema import migrations
from labeling.store import Store, open_store
from tests.labeling.conftest import Judge

SETTINGS: dict[str, Any] = {"model": "m"}
LEFT = Verdict("left", Answer("first"), Answer("second"))

ROWS = """
INSERT INTO prompts VALUES
    ('r1', 'd1', '#Person1#: Hm.', 'Summarize.', 'work', 'rude', NULL, 'train');
INSERT INTO policies VALUES ('p1', 'before', NULL, NULL, NULL, '2026-01-01');
INSERT INTO policies VALUES ('p2', 'after', NULL, NULL, NULL, '2026-01-01');
INSERT INTO candidates VALUES ('c1', 'r1', 'p1', 'Rude.', '{}', -1.0, 0.9);
INSERT INTO candidates VALUES ('c2', 'r1', 'p2', 'Kind.', '{}', 1.0, 0.1);
INSERT INTO candidates VALUES ('c3', 'r1', 'p2', 'Kinder.', '{}', 1.0, 0.1);
INSERT INTO pairs (id, prompt_id, candidate_a, candidate_b, batch, created)
    VALUES ('x1', 'r1', 'c1', 'c2', 'old', '2026-01-01');
INSERT INTO pairs (id, prompt_id, candidate_a, candidate_b, batch, created)
    VALUES ('x2', 'r1', 'c1', 'c3', 'old', '2026-01-02');
INSERT INTO labelers VALUES (1, 'ann', 'labeler-1', 'person');
INSERT INTO labelers VALUES (2, 'bot', 'labeler-2', 'model');
INSERT INTO assignments (id, pair_id, labeler_id, left_candidate, right_candidate, assigned_at,
    app_version) VALUES ('a1', 'x1', 1, 'c1', 'c2', '2026-01-03', '0.1.0');
INSERT INTO assignments (id, pair_id, labeler_id, left_candidate, right_candidate, assigned_at,
    app_version) VALUES ('a2', 'x1', 2, 'c1', 'c2', '2026-01-03', '0.1.0');
INSERT INTO assignments (id, pair_id, labeler_id, left_candidate, right_candidate, assigned_at,
    app_version) VALUES ('a3', 'x2', 2, 'c1', 'c3', '2026-01-03', '0.1.0');
INSERT INTO picks (uuid, assignment_id, choice, picked_at)
    VALUES ('u1', 'a1', 'right', '2026-01-04');
INSERT INTO picks (uuid, assignment_id, choice, picked_at)
    VALUES ('u2', 'a2', 'left', '2026-01-04');
"""


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A database of the second version in which a model has voted and holds a place."""
    path = tmp_path / "labels.db"
    db = Database(path, execute_plugins=False)
    db.enable_wal()
    migrations.apply(db, stop_before="m003_judges")
    db.executescript(ROWS)
    db.close()
    return path


def counts(store: Store) -> list[tuple[int, ...]]:
    with store.reading() as db:
        return db.execute(
            "SELECT votes, votes_a, votes_b, votes_tie, votes_both_bad, holds FROM pairs"
            " ORDER BY id"
        ).fetchall()


def miscounted(store: Store) -> list[str]:
    """What the check finds, besides ids that are no hashes here."""
    return [problem for problem in check_record(store).problems if "were made from" not in problem]


def test_an_upgrade_takes_models_out_of_the_counts(second: Path) -> None:
    with sqlite3.connect(second) as db:
        before = db.execute("SELECT votes, votes_a, votes_b, holds FROM pairs ORDER BY id")
        assert before.fetchall() == [(2, 1, 1, 0), (0, 0, 0, 1)]
        picks = db.execute("SELECT * FROM picks").fetchall()
        assignments = db.execute("SELECT * FROM assignments").fetchall()
    store = open_store(second)
    assert counts(store) == [(1, 0, 1, 0, 0, 0), (0, 0, 0, 0, 0, 0)]
    assert conflicts(store) == 0
    with store.reading() as db:
        assert db.execute("SELECT * FROM picks").fetchall() == picks
        assert db.execute("SELECT * FROM assignments").fetchall() == assignments
        assert db.execute("SELECT votes FROM batches").fetchone() == (1,)
        assert db.execute("SELECT labeler_id, done FROM tallies").fetchall() == [(1, 1)]
    assert miscounted(store) == []
    assert second.with_name("labels.db.m002.backup").exists()


def test_votes_before_the_upgrade_can_be_changed_after_it(second: Path) -> None:
    store = open_store(second)
    with store.writing() as db:
        # The model's vote was counted once, and must not be counted off a second time.
        db.execute(
            "INSERT INTO picks (uuid, assignment_id, choice, picked_at, supersedes)"
            " VALUES ('u3', 'a2', 'tie', '2026-01-05', 'u2')"
        )
        db.execute(
            "INSERT INTO picks (uuid, assignment_id, choice, picked_at, supersedes)"
            " VALUES ('u4', 'a1', 'both_bad', '2026-01-05', 'u1')"
        )
    assert counts(store)[0] == (1, 0, 0, 0, 1, 0)
    assert miscounted(store) == []


def judged_by_model(store: Store, name: str = "judge:m") -> int:
    cases = waiting(store, name, SETTINGS)
    return sum(record(store, name, SETTINGS, case, LEFT) for case in cases)


def test_a_model_fills_no_place_and_makes_no_conflict(store: Store, judge: Judge) -> None:
    save_plan(store, Plan("first", votes_wanted=1))
    assert judged_by_model(store) == 6
    assert judged_by_model(store, "judge:n") == 6
    assert counts(store) == [(0, 0, 0, 0, 0, 0)] * 6
    assert (standings(store)[0].labelers, standings(store)[0].votes) == (0, 0)
    # Every pair still waits for a person, whatever two models said of it.
    judge(store, "ann", ["after"] * 6)
    assert next_pair(store, "ann", random.Random(0)) is None
    assert next_pair(store, "ben", random.Random(0)) is None
    assert conflicts(store) == 0
    assert progress(store, "ann").project.votes == 6
    assert standings(store)[0].labelers == 1
    assert check_record(store).problems == ()


def test_a_pick_of_a_model_that_is_taken_back_holds_no_place(store: Store) -> None:
    save_plan(store, Plan("first", votes_wanted=1))
    judged_by_model(store)
    assert undo(store, "judge:m") is not None
    assert counts(store) == [(0, 0, 0, 0, 0, 0)] * 6
    assert check_record(store).problems == ()


def test_people_are_not_told_what_models_said(store: Store, judge: Judge) -> None:
    judged_by_model(store)
    (pick,) = judge(store, "ann", ["after"])
    shown = reveal(store, pick)
    assert shown is not None and shown.others == {}
    judge(store, "ben", ["before"] * 6)
    with store.reading() as db:
        (row,) = db.query("SELECT pair_id FROM assignments WHERE id = ?", [pick.assignment_id])
    conflict = look_at(store, row["pair_id"], random.Random(0))
    assert len(conflict.votes) == 2


def test_a_name_belongs_to_a_person_or_to_a_model(store: Store) -> None:
    judged_by_model(store)
    with pytest.raises(UserError, match="'judge:m' is the name of a model here"):
        next_pair(store, "judge:m", random.Random(0))
    with store.writing() as db:
        add_labeler(db, "ann")
    with pytest.raises(UserError, match="'ann' is the name of a person here"):
        waiting(store, "ann", SETTINGS)
    with (
        pytest.raises(UserError, match="'ann' is the name of a person here"),
        store.writing() as db,
    ):
        add_labeler(db, "ann", kind="model")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE judge_answers SET answer = 'tie'",
        "DELETE FROM judge_answers",
        "REPLACE INTO judge_answers (pick, first_candidate, answer)"
        " SELECT pick, first_candidate, 'tie' FROM judge_answers LIMIT 1",
        "UPDATE judges SET settings = '{}'",
        "DELETE FROM judges",
        "REPLACE INTO judges SELECT labeler_id, 'x', '{}', created FROM judges",
    ],
)
def test_what_a_judge_said_stays(store: Store, statement: str) -> None:
    judged_by_model(store)
    other = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|stays as it is"):
        other.execute(statement)
    other.close()


def test_an_answer_is_one_of_three(store: Store) -> None:
    judged_by_model(store)
    other = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        other.execute(
            "INSERT INTO judge_answers (pick, first_candidate, answer)"
            " SELECT uuid, 'x', 'both_bad' FROM picks LIMIT 1"
        )
    other.close()


def test_an_upgrade_that_fails_half_way_changes_nothing(
    second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labeling.schema import v3

    def dump() -> list[str]:
        db = sqlite3.connect(second)
        try:
            return list(db.iterdump())
        finally:
            db.close()

    before = dump()
    with monkeypatch.context() as patch:
        patch.setattr(v3, "TRIGGERS", "CREATE TRIGGER broken")
        with pytest.raises(sqlite3.OperationalError):
            open_store(second)
    assert dump() == before
    open_store(second)
    assert find_plan(Store(second), "old").name == "old"
