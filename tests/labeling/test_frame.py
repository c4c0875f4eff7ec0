"""The picks in memory are those in the database, whatever happened in between."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeling.analysis import frame as frames
from labeling.analysis import reading, saved
from labeling.analysis.frame import KIND_NAMES, OUTCOME_NAMES, Frame, frame
from labeling.analysis.reading import Reader
from labeling.batches import add_pairs
from labeling.picks import submit, undo
from labeling.queue import next_pair
from labeling.records import add_candidate, add_labeler
from labeling.store import Store, open_store
from tests.labeling.conftest import Judge, Rows


def in_database(store: Store) -> list[tuple[Any, ...]]:
    with store.reading() as db:
        return [
            (
                row["seq"],
                row["pair_id"],
                row["labeler"],
                row["outcome"],
                row["choice"] == "left",
                row["kind"],
                bool(row["informed"]),
                bool(row["flagged"]),
                row["seconds"],
                row["topic"],
                row["tone"],
                row["batch"],
                row["split"],
                {row["left_policy"], row["right_policy"]},
            )
            for row in db.query("SELECT * FROM preferences ORDER BY seq")
        ]


def in_memory(found: Frame, store: Store) -> list[tuple[Any, ...]]:
    with store.reading() as db:
        ids = {
            place: row["id"]
            for place, row in enumerate(db.query("SELECT id FROM pairs ORDER BY rowid"))
        }
    pairs = found.pairs
    rows = []
    for i in range(len(found)):
        p, outcome = int(found.pair[i]), OUTCOME_NAMES[found.outcome[i]]
        seconds = float(found.seconds[i])
        rows.append(
            (
                int(found.seq[i]),
                ids[p],
                found.labelers[found.labeler[i]].pseudonym,
                outcome,
                outcome in ("a", "b") and (outcome == "a") == bool(found.a_left[i]),
                KIND_NAMES[found.kind[i]],
                bool(found.informed[i]),
                bool(found.flagged[i]),
                None if np.isnan(seconds) else seconds,
                pairs.topics[pairs.topic[p]] if pairs.topic[p] >= 0 else None,
                pairs.tones[pairs.tone[p]] if pairs.tone[p] >= 0 else None,
                pairs.batches[pairs.batch[p]],
                pairs.splits[pairs.split[p]],
                {pairs.policies[pairs.policy_a[p]], pairs.policies[pairs.policy_b[p]]},
            )
        )
    return rows


def columns(found: Frame) -> dict[str, Any]:
    every = {**vars(found), **vars(found.pairs)}
    return {
        name: repr(value.tolist()) if isinstance(value, np.ndarray) else value
        for name, value in every.items()
        if name != "pairs"
    }


@pytest.fixture(autouse=True)
def no_frames() -> Iterator[None]:
    frames._kept.clear()
    yield
    frames._kept.clear()


def test_random_work_is_the_same_in_memory_and_in_the_database(
    fresh_store: Store, rows: Rows
) -> None:
    rng = random.Random(3)
    data = rows(30)
    for number, row in enumerate(data):
        row["topic"], row["tone"] = (None, "work", "home")[number % 3], None
    add_pairs(fresh_store, data[:20], "first")
    with fresh_store.writing() as db:
        db.execute("UPDATE batches SET repeat_share = 0.3, gold_share = 0.2, reveal = 0")
        pair = next(db.query("SELECT id FROM pairs"))["id"]
        db.execute("INSERT INTO gold VALUES (?, 'a', '', 'test', '2026')", [pair])
    for turn in range(60):
        who = rng.choice(["ann", "ben", "cleo"])
        if turn == 30:
            add_pairs(fresh_store, data[20:], "second")
        if rng.random() < 0.12:
            undo(fresh_store, who)
        elif task := next_pair(fresh_store, who, rng):
            for choice in rng.sample(
                ["left", "right", "tie", "both_bad", "skip"], rng.choice([1, 1, 1, 2])
            ):
                submit(
                    fresh_store,
                    task.assignment_id,
                    choice,
                    seconds=rng.choice([None, 1.5, 20.25]),
                    flagged=rng.random() < 0.1,
                )
        if turn % 7 == 0:
            assert in_memory(frame(fresh_store), fresh_store) == in_database(fresh_store)
    step_by_step = frame(fresh_store)
    assert in_memory(step_by_step, fresh_store) == in_database(fresh_store)
    assert {KIND_NAMES[kind] for kind in step_by_step.kind} == {"regular", "repeat", "gold"}
    assert columns(Reader().read(fresh_store)) == columns(step_by_step)


def test_nothing_new_is_the_same_frame(store: Store, judge: Judge) -> None:
    empty = frame(store)
    assert frame(store) is empty and len(empty) == 0
    judge(store, "ann", ["after"])
    first = frame(store)
    assert first is not empty and len(first) == 1
    assert frame(store) is first
    assert frame(Store(store.path)) is first


def test_an_undo_takes_the_pick_out(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "tie"])
    assert len(frame(store)) == 2
    undo(store, "ann")
    assert [OUTCOME_NAMES[o] for o in frame(store).outcome] != ["tie"]
    assert len(frame(store)) == 1
    undo(store, "ann")
    assert len(frame(store)) == 0


def test_times_are_microseconds_in_utc(store: Store, judge: Judge) -> None:
    pick = judge(store, "ann", ["after"])[0]
    found = np.datetime64(int(frame(store).picked_at[0]), "us")
    assert str(found) == pick.picked_at.removesuffix("+00:00")


def test_lengths_are_in_words(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    pairs = frame(store).pairs
    assert set(pairs.words_a.tolist() + pairs.words_b.tolist()) == {4, 5}


def test_rewards_filled_in_later_are_noticed(fresh_store: Store, rows: Rows, judge: Judge) -> None:
    data = rows(3)
    for row in data:
        row["after"]["reward"] = None
    add_pairs(fresh_store, data, "first")
    judge(fresh_store, "ann", ["after"])
    before = frame(fresh_store)
    assert np.isnan(before.pairs.reward_b).all() and not np.isnan(before.pairs.reward_a).any()
    with fresh_store.writing() as db:
        found = next(
            db.query(
                "SELECT c.* FROM candidates AS c JOIN policies AS p ON p.id = c.policy_id"
                " WHERE p.name = 'after' ORDER BY c.rowid LIMIT 1"
            )
        )
        add_candidate(
            db, found["prompt_id"], found["policy_id"], found["text"], sampling={}, reward=1.25
        )
    after = frame(fresh_store)
    assert np.nanmax(after.pairs.reward_b) == 1.25
    assert np.isnan(after.pairs.reward_b).sum() == 2
    # The frame that was handed out before is as it was.
    assert np.isnan(before.pairs.reward_b).all()


def test_gold_and_adjudications_come_and_go(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    assert set(frame(store).pairs.gold) == {-1}
    with store.writing() as db:
        pair = next(db.query("SELECT id, candidate_a FROM pairs ORDER BY rowid"))
        lead = add_labeler(db, "lead")
        db.execute("INSERT INTO gold VALUES (?, 'tie', '', 'test', '2026')", [pair["id"]])
        for outcome in ("a", "b"):
            db.execute(
                "INSERT INTO adjudications (uuid, pair_id, labeler_id, left_candidate, outcome,"
                " adjudicated_at, app_version) VALUES (?, ?, ?, ?, ?, '2026', 'x')",
                [str(uuid.uuid4()), pair["id"], lead, pair["candidate_a"], outcome],
            )
    found = frame(store).pairs
    assert (OUTCOME_NAMES[found.gold[0]], OUTCOME_NAMES[found.adjudicated[0]]) == ("tie", "b")
    with store.writing() as db:
        db.execute("DELETE FROM gold")
    assert set(frame(store).pairs.gold) == {-1}


def test_first_tries_of_the_practice_round(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    with store.writing() as db:
        for item, correct in (("soup", 0), ("soup", 1), ("bus", 1)):
            db.execute(
                "INSERT INTO practice (labeler_id, item, choice, correct, practised_at)"
                " VALUES (1, ?, 'left', ?, '2026')",
                [item, correct],
            )
    assert frame(store).labelers[0].practice == (1, 2)


def test_a_restored_backup_is_read_anew(store: Store, judge: Judge, tmp_path: Path) -> None:
    judge(store, "ann", ["after"])
    with sqlite3.connect(store.path) as db:
        db.execute("VACUUM INTO ?", [str(tmp_path / "backup.db")])
    judge(store, "ann", ["before", "tie"])
    assert len(frame(store)) == 3
    # In place, as SQLite's own backup does, so that the file is the same one.
    with sqlite3.connect(tmp_path / "backup.db") as source, sqlite3.connect(store.path) as target:
        source.backup(target)
    judge(store, "ann", ["both_bad", "skip"], seed=5)
    assert in_memory(frame(store), store) == in_database(store)
    assert len(frame(store)) == 3


def test_another_database_at_the_same_path_is_read_anew(
    store: Store, judge: Judge, rows: Rows
) -> None:
    judge(store, "ann", ["after", "after"])
    assert len(frame(store)) == 2
    for path in store.path.parent.glob("labels.db*"):
        path.unlink()
    other = open_store(store.path)
    add_pairs(other, rows(4, start=50), "other")
    judge(other, "zoe", ["after", "tie"])
    assert in_memory(frame(other), other) == in_database(other)


def test_threads_get_whole_frames(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 3)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: frame(store), range(32)))
    assert len({id(each) for each in found}) == 1


def test_few_frames_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        frame(open_store(tmp_path / f"{number}.db"))
    assert len(frames._kept) == frames.FRAMES_KEPT


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are saved from the first pick on."""
    monkeypatch.setattr(reading, "SAVED_FROM", 1)


def again(store: Store) -> Frame:
    """The frame as another process reads it."""
    return Reader().read(store)


def test_a_new_process_goes_on_from_the_saved_arrays(
    fresh_store: Store, rows: Rows, judge: Judge, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_pairs(fresh_store, rows(4), "first")
    judge(fresh_store, "ann", ["after", "tie"])
    again(fresh_store)
    file = saved.beside(fresh_store.path)
    assert file.is_file()
    add_pairs(fresh_store, rows(3, start=9), "second")
    judge(fresh_store, "ben", ["before", "skip", "after"])
    undo(fresh_store, "ann")
    monkeypatch.setattr(reading, "SAVED_GROWTH", 1e9)
    seen: list[int] = []
    whole = reading._PICKS
    monkeypatch.setattr(reading, "_PICKS", whole.replace("WHERE", "WHERE seen(p.seq) AND"))

    class Watched(Store):
        def reading(self) -> Any:
            manager = Store.reading(self)

            class Context:
                def __enter__(self) -> Any:
                    db = manager.__enter__()
                    db.conn.create_function("seen", 1, lambda seq: seen.append(seq) or 1)
                    return db

                def __exit__(self, *error: Any) -> Any:
                    return manager.__exit__(*error)

            return Context()

    found = Reader().read(Watched(fresh_store.path))
    assert in_memory(found, fresh_store) == in_database(fresh_store)
    assert set(seen) == {3, 4, 5, 6}


@pytest.mark.parametrize("damage", [b"", b"PK not a zip", None])
def test_a_damaged_file_is_passed_over(
    store: Store, judge: Judge, at_once: None, damage: bytes | None
) -> None:
    judge(store, "ann", ["after", "tie"])
    again(store)
    file = saved.beside(store.path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert in_memory(again(store), store) == in_database(store)


def test_a_file_that_lacks_an_array_is_passed_over(
    store: Store, judge: Judge, at_once: None
) -> None:
    judge(store, "ann", ["after", "tie"])
    again(store)
    file = saved.beside(store.path)
    arrays = saved.load(file)
    assert arrays is not None
    del arrays["pick_outcome"]
    saved.save(file, arrays)
    assert in_memory(again(store), store) == in_database(store)


def test_a_file_of_another_version_is_passed_over(
    store: Store, judge: Judge, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(store, "ann", ["after"])
    again(store)
    monkeypatch.setattr(saved, "VERSION", saved.VERSION + 1)
    assert saved.load(saved.beside(store.path)) is None


def test_a_file_of_another_database_is_passed_over(
    store: Store, judge: Judge, rows: Rows, tmp_path: Path, at_once: None
) -> None:
    judge(store, "ann", ["after", "tie"])
    again(store)
    other = open_store(tmp_path / "other.db")
    add_pairs(other, rows(2), "b")
    judge(other, "zoe", ["after"])
    shutil.copy(saved.beside(store.path), saved.beside(other.path))
    assert in_memory(again(other), other) == in_database(other)


def test_the_file_holds_no_names_and_no_texts(store: Store, judge: Judge, at_once: None) -> None:
    judge(store, "Annabella", ["after", "tie"])
    again(store)
    content = saved.beside(store.path).read_bytes()
    assert b"Annabella" not in content and b"dumb" not in content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_does_no_harm(
    store: Store, judge: Judge, at_once: None
) -> None:
    judge(store, "ann", ["after"])
    store.path.parent.chmod(0o500)
    try:
        assert len(again(store)) == 1
    finally:
        store.path.parent.chmod(0o700)


def test_a_full_disk_does_no_harm(
    store: Store, judge: Judge, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(store, "ann", ["after"])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert len(again(store)) == 1
    assert [path.name for path in store.path.parent.glob("*.npz*")] == []
