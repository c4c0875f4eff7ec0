"""A database of the first version comes up to date in place, with a copy of what it was."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlite_utils import Database

from labeling import store as stores
from labeling.schema import migrations
from labeling.store import StoreError, open_store

ROWS = """
INSERT INTO prompts VALUES
    ('r1', 'd1', '#Person1#: Hm.', 'Summarize.', 'work', 'rude', NULL, 'train');
INSERT INTO policies VALUES ('p1', 'before', NULL, NULL, NULL, '2026-01-01');
INSERT INTO policies VALUES ('p2', 'after', NULL, NULL, NULL, '2026-01-01');
INSERT INTO candidates VALUES ('c1', 'r1', 'p1', 'Rude.', '{}', -1.0, 0.9);
INSERT INTO candidates VALUES ('c2', 'r1', 'p2', 'Kind.', '{}', 1.0, 0.1);
INSERT INTO candidates VALUES ('c3', 'r1', 'p2', 'Kinder.', '{}', 1.0, 0.1);
INSERT INTO pairs VALUES ('x1', 'r1', 'c1', 'c2', 'old', '2026-01-01');
INSERT INTO pairs VALUES ('x2', 'r1', 'c1', 'c3', 'old', '2026-01-02');
INSERT INTO labelers VALUES (1, 'ann', 'labeler-1', 'person');
INSERT INTO labelers VALUES (2, 'ben', 'labeler-2', 'person');
INSERT INTO assignments VALUES ('a1', 'x1', 1, 'c1', 'c2', '2026-01-03', '0.1.0');
INSERT INTO assignments VALUES ('a2', 'x1', 2, 'c2', 'c1', '2026-01-03', '0.2.0');
INSERT INTO assignments VALUES ('a3', 'x2', 1, 'c1', 'c3', '2026-01-04', '0.2.0');
INSERT INTO assignments VALUES ('a4', 'x1', 2, 'c1', 'c2', '2026-01-05', '0.2.0');
INSERT INTO picks (uuid, assignment_id, choice, picked_at)
    VALUES ('u1', 'a1', 'left', '2026-01-04');
INSERT INTO picks (uuid, assignment_id, choice, picked_at, supersedes)
    VALUES ('u2', 'a1', 'right', '2026-01-05', 'u1');
INSERT INTO picks (uuid, assignment_id, choice, picked_at)
    VALUES ('u3', 'a2', 'skip', '2026-01-04');
INSERT INTO picks (uuid, assignment_id, choice, picked_at)
    VALUES ('u4', 'a4', 'left', '2026-01-06');
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "labels.db"
    db = Database(path, execute_plugins=False)
    db.enable_wal()
    migrations.apply(db, stop_before="m002_batches")
    db.executescript(ROWS)
    db.close()
    return path


def dump(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return list(db.iterdump())
    finally:
        db.close()


def test_every_pick_is_still_there_and_counted(old: Path) -> None:
    with open_store(old).reading() as db:
        picks = [
            (row["pick"], row["outcome"], row["kind"], row["app_version"])
            for row in db.query("SELECT * FROM preferences ORDER BY seq")
        ]
        pairs = list(db.query("SELECT id, votes, votes_b, holds FROM pairs ORDER BY id"))
        (batch,) = db.query("SELECT * FROM batches")
        tallies = list(db.query("SELECT * FROM tallies ORDER BY labeler_id"))
        (rows,) = db.query("SELECT count(*) AS n FROM picks")
    assert picks == [
        ("u2", "b", "regular", "0.1.0"),
        ("u3", "skip", "regular", "0.2.0"),
        ("u4", "a", "repeat", "0.2.0"),
    ]
    assert rows["n"] == 4
    assert pairs == [
        {"id": "x1", "votes": 1, "votes_b": 1, "holds": 0},
        {"id": "x2", "votes": 0, "votes_b": 0, "holds": 1},
    ]
    assert (batch["name"], batch["pairs"], batch["votes"]) == ("old", 2, 1)
    assert (batch["status"], batch["votes_wanted"], batch["reveal"]) == ("open", None, 1)
    assert tallies == [
        {"labeler_id": 1, "batch": "old", "done": 1},
        {"labeler_id": 2, "batch": "old", "done": 1},
    ]


def test_a_copy_of_the_old_database_stays_beside_it(old: Path) -> None:
    before = dump(old)
    open_store(old)
    copy = old.with_name("labels.db.m001.backup")
    assert dump(copy) == before
    assert not list(old.parent.glob("*.part-*"))
    after = dump(old)
    open_store(old)
    assert dump(old) == after and dump(copy) == before


def test_an_old_database_may_be_opened_by_many_at_once(old: Path) -> None:
    before = dump(old)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(open_store, [old] * 16))
    assert dump(old.with_name("labels.db.m001.backup")) == before
    with open_store(old).reading() as db:
        assert next(db.query("SELECT count(*) AS n FROM picks"))["n"] == 4


def test_a_new_database_has_nothing_to_copy(tmp_path: Path) -> None:
    open_store(tmp_path / "new.db")
    assert not list(tmp_path.glob("*.backup"))


def test_without_room_for_the_copy_the_old_database_stays_as_it_is(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(old)

    def full(db: Database, path: Path) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(stores, "_back_up", full)
        with pytest.raises(StoreError, match=r"disk of .* is full and nothing was saved"):
            open_store(old)
    assert dump(old) == before
    open_store(old)


def test_an_upgrade_that_fails_half_way_changes_nothing(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labeling.schema import v2

    before = dump(old)
    with monkeypatch.context() as patch:
        patch.setattr(v2, "TRIGGERS", "CREATE TRIGGER broken")
        with pytest.raises(sqlite3.OperationalError):
            open_store(old)
    assert dump(old) == before
