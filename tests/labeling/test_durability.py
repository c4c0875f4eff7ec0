"""A labeling process that is killed, and the book that is kept of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from benchmarks.durability import Ledger, first_version, torment
from labeling.store import open_store


def test_nothing_is_lost_beyond_the_window_and_nothing_doubled(tmp_path: Path) -> None:
    found = torment(tmp_path, kills=3, seed=1)
    assert found["disks_wiped"] >= 1 and found["acknowledged"] > 20
    assert found["lost_within_the_window"] < found["acknowledged"]
    assert (found["lost_beyond_the_window"], found["committed_and_not_restored"]) == (0, 0)
    assert found["doubled"] == 0
    assert found["problems_of_the_record"] == []


def test_the_book_tells_what_is_lost_and_what_is_doubled(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE picks (uuid, supersedes, assignment_id)")
        db.executemany(
            "INSERT INTO picks VALUES (?, ?, ?)", [("a", None, 1), ("b", None, 1), ("c", "b", 1)]
        )
    ledger = Ledger({"a": 0.0, "old": 0.0, "late": 99.0}, safe_until=50.0)
    assert ledger.wipe(killed=100.0) == 1.0
    # a commit of the next process makes nothing safe that was on the lost disk
    ledger.safe_until = 200.0
    ledger.compare(path, committed={"a", "old"})
    assert ledger.committed_and_gone == {"old"}
    assert (ledger.lost_beyond, ledger.lost_within, ledger.doubled) == ({"old"}, {"late"}, 1)
    assert ledger.wipe(killed=300.0) == 0.0, "what was lost once is not lost again"
    ledger = Ledger({"late": 99.0})
    ledger.compare(path)
    assert ledger.lost_beyond == {"late"}, "a disk that is still there has every pick"


def test_the_first_version_is_one_that_can_be_upgraded(tmp_path: Path) -> None:
    first_version(tmp_path / "labels.db")
    with closing(sqlite3.connect(tmp_path / "labels.db")) as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    assert "picks" in tables and "batches" not in tables
    open_store(tmp_path / "labels.db")
