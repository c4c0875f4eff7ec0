"""What can go wrong with a file becomes one sentence that says what to do."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

import labeling.store
from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store, StoreError, open_store
from tests.labeling.conftest import Judge, Rows

Connect = Callable[[Path, bool], sqlite3.Connection]


def _with_pragma(monkeypatch: pytest.MonkeyPatch, pragma: str) -> None:
    connect: Connect = labeling.store._connect

    def changed(path: Path, create: bool) -> sqlite3.Connection:
        connection = connect(path, create)
        connection.execute(f"PRAGMA {pragma}")
        return connection

    monkeypatch.setattr(labeling.store, "_connect", changed)


def test_store_errors_are_user_errors() -> None:
    assert issubclass(StoreError, UserError)


def test_a_read_only_database(store: Store, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    (pick,) = judge(store, "ann", ["after"])
    with monkeypatch.context() as patch:
        _with_pragma(patch, "query_only = ON")
        with pytest.raises(StoreError, match=r"is read-only and nothing was saved: make the file"):
            submit(store, pick.assignment_id, "tie")
        # Looking is still possible.
        assert open_store(store.path) == store
        with store.reading() as db:
            assert len(list(db.query("SELECT * FROM preferences"))) == 1
    assert submit(store, pick.assignment_id, "tie").supersedes == pick.uuid


def test_a_full_disk(
    store: Store, rows: Rows, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(store, "ann", ["after"])
    big = rows(1, start=90)[0]
    big["after"]["text"] = "long " * 100_000
    with monkeypatch.context() as patch:
        # SQLite never goes below the pages the file has: there is just no room to grow.
        _with_pragma(patch, "max_page_count = 1")
        with pytest.raises(StoreError, match=r"disk of .* is full and nothing was saved: free"):
            add_pairs(store, [big], "big")
    assert add_pairs(store, [big], "big") == 1


@pytest.mark.parametrize("content", [b"just some text\n" * 400, b"\x00\x01\x02\x03" * 2000])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged or not a labeling database: restore a backup"):
        open_store(path)
    assert path.read_bytes() == content


def test_a_damaged_database(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    with sqlite3.connect(store.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(StoreError, match="damaged or not a labeling database"):
        next_pair(store, "ann", random.Random(0))


def test_a_database_deleted_under_the_app_does_not_come_back_empty(store: Store) -> None:
    for path in store.path.parent.glob("labels.db*"):
        path.unlink()
    with pytest.raises(StoreError, match="cannot be opened"):
        next_pair(store, "ann", random.Random(0))
    assert not store.path.exists()


def test_a_database_emptied_under_the_app(store: Store) -> None:
    for path in store.path.parent.glob("labels.db*"):
        path.unlink()
    store.path.touch()
    with pytest.raises(StoreError, match="not a whole labeling database"):
        next_pair(store, "ann", random.Random(0))


def test_a_folder_in_place_of_the_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path)


def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StoreError, match="choose another folder"):
        open_store(tmp_path / "data" / "labels.db")


def test_a_database_locked_by_another_program(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labeling.store, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="in use by another program: wait"):
        next_pair(store, "ann", random.Random(0))
    other.execute("ROLLBACK")
    assert next_pair(store, "ann", random.Random(0)) is not None


def test_a_mistake_of_ours_is_not_dressed_up(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="syntax"), store.reading() as db:
        db.execute("SELEC 1")


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.writing() as db:
        db.execute("INSERT INTO meta VALUES ('half', 'done')")
        raise RuntimeError
    with store.reading() as db:
        assert list(db.query("SELECT * FROM meta WHERE key = 'half'")) == []
