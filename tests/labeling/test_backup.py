"""A copy of the record: whole, new, and open to work with."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from labeling import cli
from labeling.batches import add_pairs
from labeling.check import check_record
from labeling.store import Store, StoreError, back_up, open_store
from tests.labeling.conftest import Judge, Rows


def test_a_copy_is_the_record_of_one_moment_and_can_be_gone_on_with(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "Ada", ["after", "tie"])
    copy = tmp_path / "kept" / "labels.backup.db"
    back_up(store, copy)
    judge(store, "Ada", ["before"])
    kept = open_store(copy)
    assert check_record(kept).picks == 2
    assert check_record(kept).problems == ()
    judge(kept, "Ada", ["after"])
    assert check_record(kept).picks == 3 and check_record(store).picks == 3
    with kept.reading() as db:
        assert next(db.query("PRAGMA journal_mode"))["journal_mode"] == "wal"
    left = {path.name for path in copy.parent.iterdir()}
    assert not any("part" in name for name in left)


def test_a_copy_never_replaces_a_file(store: Store, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    there.write_text("precious")
    with pytest.raises(StoreError, match=r"There is a file .* already"):
        back_up(store, there)
    assert there.read_text() == "precious"


@pytest.mark.parametrize("name", ["", "labels.db/inside", "x" * 300])
def test_a_place_that_cannot_be_written_is_named(store: Store, tmp_path: Path, name: str) -> None:
    target = tmp_path / name if name else Path()
    with pytest.raises(StoreError, match=r"Give the copy a name|cannot be written"):
        back_up(store, target)


def test_a_damaged_database_is_not_copied(store: Store, tmp_path: Path) -> None:
    for path in tmp_path.glob("labels.db-*"):
        path.unlink()
    store.path.write_bytes(b"not a database at all " * 1000)
    with pytest.raises(StoreError, match="damaged or not a labeling database"):
        back_up(store, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert not list(tmp_path.glob("*part*"))


def test_people_go_on_labelling_while_it_is_copied(
    store: Store, rows: Rows, judge: Judge, tmp_path: Path
) -> None:
    add_pairs(store, rows(40, start=100), "more")
    working = threading.Thread(target=judge, args=(store, "Ada", ["after"] * 20))
    working.start()
    for number in range(3):
        back_up(store, tmp_path / f"{number}.db")
    working.join()
    counts = [check_record(open_store(tmp_path / f"{number}.db")) for number in range(3)]
    assert [health.problems for health in counts] == [()] * 3
    assert [health.picks for health in counts] == sorted(health.picks for health in counts)


def test_the_command_copies_and_refuses(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["backup", str(tmp_path / "copy.db"), "--db", str(store.path)]
    assert cli.main(arguments) == 0
    assert "Copied to" in capsys.readouterr().out
    assert check_record(open_store(tmp_path / "copy.db")).pairs == 6
    assert cli.main(arguments) == 2
    assert "There is a file" in capsys.readouterr().err
