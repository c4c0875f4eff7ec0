"""The schema is exactly this; what is not our database is refused."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labeling.store import Store, StoreError, open_store

TABLES = {
    "meta": ["key", "value"],
    "prompts": ["id", "dialogue_id", "dialogue", "prompt", "topic", "tone", "source", "split"],
    "policies": ["id", "name", "base", "adapter", "fingerprint", "created"],
    "candidates": ["id", "prompt_id", "policy_id", "text", "sampling", "reward", "toxicity"],
    "pairs": [
        "id",
        "prompt_id",
        "candidate_a",
        "candidate_b",
        "batch",
        "created",
        "votes",
        "votes_a",
        "votes_b",
        "votes_tie",
        "votes_both_bad",
        "holds",
        "priority",
    ],
    "labelers": ["id", "name", "pseudonym", "kind"],
    "assignments": [
        "id",
        "pair_id",
        "labeler_id",
        "left_candidate",
        "right_candidate",
        "assigned_at",
        "app_version",
        "kind",
        "state",
        "held_until",
        "revealed_at",
    ],
    "picks": [
        "seq",
        "uuid",
        "assignment_id",
        "choice",
        "strength",
        "reasons",
        "note",
        "seconds",
        "picked_at",
        "supersedes",
        "retracted",
        "flagged",
        "informed",
        "app_version",
    ],
    "batches": [
        "name",
        "status",
        "votes_wanted",
        "repeat_share",
        "gold_share",
        "strategy",
        "hold_minutes",
        "reveal",
        "guidelines",
        "seed",
        "pairs",
        "votes",
        "created",
    ],
    "tallies": ["labeler_id", "batch", "done"],
    "gold": ["pair_id", "outcome", "note", "source", "created"],
    "adjudications": [
        "seq",
        "uuid",
        "pair_id",
        "labeler_id",
        "left_candidate",
        "outcome",
        "note",
        "adjudicated_at",
        "app_version",
    ],
    "accounts": ["name", "role", "password", "disabled", "created"],
    "practice": ["seq", "labeler_id", "item", "choice", "correct", "practised_at"],
    "judges": ["labeler_id", "version", "settings", "created"],
    "judge_answers": ["pick", "first_candidate", "answer", "log_odds", "explanation"],
    "reward_models": [
        "id",
        "name",
        "path",
        "base",
        "snapshot",
        "picks",
        "metrics",
        "created",
    ],
    "exports": [
        "id",
        "format",
        "path",
        "rows",
        "filters",
        "left_out",
        "snapshot",
        "manifest",
        "created",
    ],
}
VIEWS = {
    "current_picks": TABLES["picks"],
    "cast_votes": ["uuid", "pair_id", "outcome"],
    "current_adjudications": TABLES["adjudications"],
    "preferences": [
        "seq",
        "pick",
        "assignment_id",
        "kind",
        "pair_id",
        "batch",
        "prompt_id",
        "dialogue_id",
        "dialogue",
        "prompt",
        "topic",
        "tone",
        "source",
        "split",
        "choice",
        "outcome",
        "chosen",
        "rejected",
        "chosen_policy",
        "rejected_policy",
        "chosen_reward",
        "rejected_reward",
        "left_text",
        "right_text",
        "left_candidate",
        "right_candidate",
        "left_policy",
        "right_policy",
        "left_policy_id",
        "right_policy_id",
        "left_reward",
        "right_reward",
        "left_toxicity",
        "right_toxicity",
        "labeler_id",
        "labeler",
        "labeler_kind",
        "strength",
        "reasons",
        "note",
        "seconds",
        "picked_at",
        "flagged",
        "informed",
        "app_version",
    ],
}


def test_the_tables_and_views_have_exactly_these_columns(fresh_store: Store) -> None:
    ignored = {"_sqlite_migrations", "sqlite_sequence"}
    with fresh_store.reading() as db:
        assert set(db.table_names()) - ignored == set(TABLES)
        assert set(db.view_names()) == set(VIEWS)
        for name, columns in TABLES.items():
            assert [column.name for column in db.table(name).columns] == columns, name
        for name, columns in VIEWS.items():
            assert [column.name for column in db.view(name).columns] == columns, name


def test_foreign_keys_point_where_they_should(fresh_store: Store) -> None:
    with fresh_store.reading() as db:
        keys = {
            (key.table, key.column, key.other_table, key.other_column)
            for name in TABLES
            for key in db.table(name).foreign_keys
        }
    assert keys == {
        ("candidates", "prompt_id", "prompts", "id"),
        ("candidates", "policy_id", "policies", "id"),
        ("pairs", "prompt_id", "prompts", "id"),
        ("pairs", "candidate_a", "candidates", "id"),
        ("pairs", "candidate_b", "candidates", "id"),
        ("assignments", "pair_id", "pairs", "id"),
        ("assignments", "labeler_id", "labelers", "id"),
        ("assignments", "left_candidate", "candidates", "id"),
        ("assignments", "right_candidate", "candidates", "id"),
        ("picks", "assignment_id", "assignments", "id"),
        ("picks", "supersedes", "picks", "uuid"),
        ("tallies", "labeler_id", "labelers", "id"),
        ("tallies", "batch", "batches", "name"),
        ("gold", "pair_id", "pairs", "id"),
        ("adjudications", "pair_id", "pairs", "id"),
        ("adjudications", "labeler_id", "labelers", "id"),
        ("adjudications", "left_candidate", "candidates", "id"),
        ("practice", "labeler_id", "labelers", "id"),
        ("judges", "labeler_id", "labelers", "id"),
        ("judge_answers", "pick", "picks", "uuid"),
        ("judge_answers", "first_candidate", "candidates", "id"),
    }


def test_every_connection_is_durable_and_checks_references(fresh_store: Store) -> None:
    with fresh_store.writing() as db:
        settings = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_opening_again_changes_nothing(store: Store) -> None:
    before = list(sqlite3.connect(store.path).iterdump())
    open_store(store.path)
    assert list(sqlite3.connect(store.path).iterdump()) == before


def test_a_new_database_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "labels.db"
    with ThreadPoolExecutor(8) as pool:
        assert [s.path for s in pool.map(open_store, [path] * 16)] == [path] * 16
    names = sqlite3.connect(path).execute("SELECT name FROM _sqlite_migrations").fetchall()
    assert names == [("m001_initial",), ("m002_batches",), ("m003_judges",)]


def test_each_database_has_its_own_salt(tmp_path: Path) -> None:
    salts = set()
    for name in "ab":
        with open_store(tmp_path / name).reading() as db:
            salts.add(next(db.query("SELECT value FROM meta WHERE key = 'salt'"))["value"])
    assert len(salts) == 2


def test_the_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE songs (title TEXT)")
    with pytest.raises(StoreError, match="another program"):
        open_store(path)
    assert sqlite3.connect(path).execute("SELECT name FROM sqlite_master").fetchall() == [
        ("songs",)
    ]


def test_a_newer_database_is_refused(fresh_store: Store) -> None:
    with sqlite3.connect(fresh_store.path) as newer:
        newer.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('labeling', 'm999_later', '2030-01-01')"
        )
    with pytest.raises(StoreError, match="newer version"):
        open_store(fresh_store.path)


def test_a_store_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="must be a file"):
        open_store(":memory:")
