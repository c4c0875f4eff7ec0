"""Picks that outlive their disk: saved to a dataset, and put together again from it."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import labeling.durable.keeper
import labeling.durable.restore
import labeling.picks
import labeling.records
from benchmarks.fake_hub import FakeHub
from detox.errors import UserError
from labeling import cli
from labeling.adjudication import adjudicate
from labeling.batches import add_pairs
from labeling.check import check_record
from labeling.durable.journal import lines_since, replay
from labeling.durable.keeper import COPIES, Keeper, standing
from labeling.durable.restore import restore
from labeling.people import add_account
from labeling.picks import submit, undo
from labeling.plans import Plan, save_plan
from labeling.queue import next_pair
from labeling.store import Store, StoreError, open_store
from labeling.ui.manage.record import kept_html

REPO = "ada/picks"
NEVER = 1e6  # minutes: only what a test triggers is pushed


@pytest.fixture
def labelled(tmp_path: Path) -> Store:
    """Two batches, two labelers, an edit, an undo, an account, an adjudication."""
    store = open_store(tmp_path / "disk" / "labels.db")
    add_pairs(store, rows(8), "first")
    add_pairs(store, rows(4, "other"), "second")
    save_plan(store, Plan("first", votes_wanted=2, repeat_share=0.2, guidelines="Be <kind>."))
    add_account(store, "Zoe", "lead", "battery staple")
    label(store, "ada", 6)
    label(store, "ben", 5)
    undo(store, "ben")
    return store


def rows(count: int, what: str = "plan") -> list[dict[str, Any]]:
    return [
        {"dialogue": f"#Person1#: {what} {i}?", "a": f"Yes, {what} {i}.", "b": f"No {what} {i}."}
        | {"policy_a": "after", "policy_b": "before", "reward_a": 1.5, "toxicity_b": 0.25}
        for i in range(count)
    ]


def label(store: Store, labeler: str, count: int, seed: int = 0) -> list[str]:
    """Picks of ``labeler``, each of them changed now and then; the ids of all that were saved."""
    rng = random.Random(f"{labeler}:{seed}")
    made = []
    for _ in range(count):
        task = next_pair(store, labeler, rng)
        assert task is not None
        for choice in rng.sample(("left", "right", "tie"), rng.choice((1, 1, 2))):
            made.append(submit(store, task.assignment_id, choice, labeler=labeler).uuid)
    return made


def picks(store: Store) -> list[tuple[Any, ...]]:
    """Every pick ever made, with its labeler, sides and pair, whatever their numbers are."""
    with store.reading() as db:
        found = db.execute(
            "SELECT p.uuid, p.assignment_id, p.choice, p.strength, p.reasons, p.note, p.seconds,"
            " p.picked_at, p.supersedes, p.retracted, p.flagged, p.informed, p.app_version,"
            " l.name, l.pseudonym, a.pair_id, a.left_candidate, a.kind, a.state"
            " FROM picks AS p JOIN assignments AS a ON a.id = p.assignment_id"
            " JOIN labelers AS l ON l.id = a.labeler_id ORDER BY p.uuid"
        ).fetchall()
    return [tuple(row) for row in found]


def named(hub: FakeHub, folder: str) -> list[str]:
    return [name for name in hub.list_repo_files(REPO) if name.startswith(folder)]


Keep = Callable[..., Keeper]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keep]:
    """``keeper(store, hub, folder)`` has pushed what there was when it began."""
    begun: list[Keeper] = []

    def keep(store: Store, hub: FakeHub, folder: Path = tmp_path / "disk" / "kept") -> Keeper:
        begun.append(Keeper(store, REPO, folder, every=NEVER, hub=hub))
        push(begun[-1])  # commits wait for each other: the one it begins with is done as well
        return begun[-1]

    yield keep
    for each in begun:
        each.stop()


def push(made: Keeper) -> Any:
    return made.trigger().result(30)


# the journal


def test_a_journal_alone_brings_every_pick_back(labelled: Store, tmp_path: Path) -> None:
    lines, last, count = lines_since(labelled, 0)
    assert count == len(picks(labelled)) and last > 0
    fresh = open_store(tmp_path / "fresh.db")
    assert replay(fresh, lines).added == count
    assert picks(fresh) == picks(labelled)
    assert check_record(fresh).problems == ()
    again = replay(fresh, lines)
    assert (again.added, again.known, again.orphans) == (0, count, 0)
    assert check_record(fresh).problems == ()
    assert lines_since(labelled, last) == ([], last, 0)


def test_files_may_come_in_any_order_and_overlap(labelled: Store, tmp_path: Path) -> None:
    files, seq = [], 0
    while True:
        lines, seq, count = lines_since(labelled, seq, most=3)
        if not count:
            break
        files.append(lines)
    files.append(lines_since(labelled, 2)[0])
    for seed in range(3):
        random.Random(seed).shuffle(files)
        fresh = open_store(tmp_path / f"fresh-{seed}.db")
        replay(fresh, [line for lines in files for line in lines])
        assert picks(fresh) == picks(labelled)


def test_what_a_row_rests_on_stands_once(labelled: Store) -> None:
    entries = [json.loads(line) for line in lines_since(labelled, 0)[0]]
    ids = [(entry["table"], json.dumps(entry["row"], sort_keys=True)) for entry in entries]
    assert len(ids) == len(set(ids))
    assert {entry["table"] for entry in entries} >= {"prompts", "pairs", "picks", "assignments"}


def test_a_clock_that_goes_back_changes_no_answer(
    labelled: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="microseconds")
    task = next_pair(labelled, "eve", random.Random(0))
    assert task is not None
    submit(labelled, task.assignment_id, "left", labeler="eve")
    for module in (labeling.picks, labeling.records):
        monkeypatch.setattr(module, "now", lambda: back)
    last = submit(labelled, task.assignment_id, "right", labeler="eve")
    assert last.picked_at == back
    fresh = open_store(tmp_path / "fresh.db")
    assert replay(fresh, lines_since(labelled, 0)[0]).orphans == 0
    assert picks(fresh) == picks(labelled)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "Line 1 of the saved picks cannot be read"),
        ('{"version": 1, "table": "users", "row": {}}', "cannot be read"),
        ('{"version": 2, "table": "policies", "row": {}}', "by another version of Detox Arena"),
        ('{"version": 1, "table": "policies", "row": {"id": 1}}', "by another version"),
        ("[]", "cannot be read"),
    ],
)
def test_a_strange_line_is_refused_and_nothing_is_added(
    labelled: Store, tmp_path: Path, line: str, sentence: str
) -> None:
    fresh = open_store(tmp_path / "fresh.db")
    with pytest.raises(UserError, match=sentence):
        replay(fresh, [line, *lines_since(labelled, 0)[0]])
    assert picks(fresh) == []


def test_a_pick_without_its_predecessor_is_told_and_left_out(
    labelled: Store, tmp_path: Path
) -> None:
    lines = lines_since(labelled, 0)[0]
    entries = [json.loads(line) for line in lines]
    chained = next(e["row"] for e in entries if e["table"] == "picks" and e["row"]["supersedes"])
    lost = chained["supersedes"]
    kept = [line for line, e in zip(lines, entries, strict=True) if e["row"].get("uuid") != lost]
    fresh = open_store(tmp_path / "fresh.db")
    assert replay(fresh, kept).orphans >= 1
    assert check_record(fresh).problems == ()


# to the dataset and back


def test_a_lost_disk_is_put_together_again(labelled: Store, tmp_path: Path, keeper: Keep) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    label(labelled, "eve", 3)
    push(made)
    before = picks(labelled)
    folder = tmp_path / "disk" / "kept"
    found = restore(tmp_path / "new" / "labels.db", REPO, tmp_path / "new" / "kept", hub)
    assert found is not None and found.copy.startswith("snapshots/")
    fresh = open_store(tmp_path / "new" / "labels.db")
    assert picks(fresh) == before
    assert check_record(fresh).problems == ()
    with fresh.reading() as db, labelled.reading() as old:
        for table in ("batches", "accounts", "adjudications", "pairs"):
            query = f"SELECT * FROM {table} ORDER BY 1"
            assert list(db.query(query)) == list(old.query(query))
    # what came from the dataset does not go there again
    assert (folder / "pushed.json").is_file()
    files = hub.list_repo_files(REPO)
    keeper(fresh, hub, tmp_path / "new" / "kept")
    assert [f for f in hub.list_repo_files(REPO) if f.startswith("picks/")] == [
        f for f in files if f.startswith("picks/")
    ]
    assert restore(tmp_path / "new" / "labels.db", REPO, folder, hub) is None


def test_nothing_new_is_no_commit_and_copies_do_not_pile_up(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    assert push(made) is None
    for number in range(5):
        save_plan(labelled, Plan("first", votes_wanted=2, guidelines=f"{number}"))
        assert push(made) is not None
    copies = [name for name in hub.list_repo_files(REPO) if name.startswith("snapshots/")]
    assert len(copies) == COPIES
    assert list((tmp_path / "disk" / "kept").glob("copy-*")) == []


def test_files_of_picks_go_once_every_copy_that_is_kept_has_them(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    for number in range(6):
        label(labelled, f"eve {number}", 2)
        save_plan(labelled, Plan("first", votes_wanted=2, guidelines=f"{number}"))
        push(made)
        for damaged in range(len(named(hub, "snapshots/"))):
            other = FakeHub(tmp_path / f"hub-{number}-{damaged}")
            shutil.copytree(hub.root / REPO, other.root / REPO)
            for name in named(other, "snapshots/")[::-1][:damaged]:
                other.files(REPO)[name].write_bytes(b"torn")
            new = tmp_path / f"new-{number}-{damaged}"
            restore(new / "labels.db", REPO, new / "kept", other)
            assert picks(open_store(new / "labels.db")) == picks(labelled)
    assert len(named(hub, "picks/")) == COPIES - 1, "as many as the oldest copy does not have"


def test_files_of_picks_go_after_a_lost_disk_too(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub")
    for number in range(5):
        label(labelled, f"eve {number}", 2)
        push(keeper(labelled, hub, tmp_path / f"kept-{number}"))
        expected = picks(labelled)
        path = tmp_path / f"disk-{number}" / "labels.db"
        restore(path, REPO, tmp_path / f"kept-{number + 1}", hub)
        labelled = open_store(path)
        assert picks(labelled) == expected
    made = keeper(labelled, hub, tmp_path / "kept-5")
    for number in range(COPIES):
        save_plan(labelled, Plan("first", votes_wanted=2, guidelines=f"{number}"))
        push(made)
    assert named(hub, "picks/") == []
    restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    assert picks(open_store(tmp_path / "new.db")) == picks(labelled)


def test_picks_that_rest_on_lost_ones_stay_in_the_dataset(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub")
    keeper(labelled, hub)
    [journal] = named(hub, "picks/")
    file = hub.files(REPO)[journal]
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lost = next(e["row"]["supersedes"] for e in entries if e["row"].get("supersedes"))
    left = [json.dumps(entry) for entry in entries if entry["row"].get("uuid") != lost]
    file.write_text("\n".join(left), encoding="utf-8")
    for name in named(hub, "snapshots/"):
        hub.files(REPO)[name].write_bytes(b"torn")
    path = tmp_path / "new" / "labels.db"
    found = restore(path, REPO, tmp_path / "kept", hub)
    assert found is not None and found.orphans
    made = keeper(open_store(path), hub, tmp_path / "kept")
    for number in range(COPIES + 1):
        save_plan(made.store, Plan("first", guidelines=f"{number}"))
        push(made)
    assert journal in named(hub, "picks/")


def test_picks_are_safe_before_a_copy_is_tried(
    labelled: Store, tmp_path: Path, keeper: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)

    def full(store: Store, path: Path) -> None:
        raise StoreError(f"The disk of '{path}' is full and nothing was saved.")

    monkeypatch.setattr(labeling.durable.keeper, "back_up", full)
    label(labelled, "eve", 2)
    save_plan(labelled, Plan("first", votes_wanted=2, guidelines="new"))
    assert push(made) is None
    assert "is full" in made.trouble
    found = restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    assert found is not None and found.picks
    assert picks(open_store(tmp_path / "new.db")) == picks(labelled)
    monkeypatch.undo()
    push(made)
    assert made.trouble == "" and len(named(hub, "snapshots/")) == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_nothing_is_not_called_a_network(
    labelled: Store,
    tmp_path: Path,
    keeper: Keep,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    label(labelled, "eve", 2)

    def refuses(path: Path, *_: Any, **__: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuses)
    assert push(made) is None
    monkeypatch.undo()
    assert "The disk does not take" in made.trouble and os.strerror(number) in made.trouble
    # the picks went; that they go once more doubles none
    push(made)
    assert made.trouble == ""
    restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    assert picks(open_store(tmp_path / "new.db")) == picks(labelled)


def test_two_processes_may_keep_one_database(labelled: Store, tmp_path: Path, keeper: Keep) -> None:
    hub = FakeHub(tmp_path / "hub")
    one, two = keeper(labelled, hub), keeper(open_store(labelled.path), hub)
    for number in range(4):
        label(labelled, f"eve {number}", 2)
        # at the same time: each has a thread of its own, of one hub that takes one at a time
        pending = [one.trigger(), two.trigger()]
        for each in pending:
            each.result(30)
        assert (one.trouble, two.trouble) == ("", "")
    restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    fresh = open_store(tmp_path / "new.db")
    assert picks(fresh) == picks(labelled)
    assert check_record(fresh).problems == ()


def test_a_damaged_copy_is_passed_over_and_a_damaged_database_moved_aside(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    save_plan(labelled, Plan("first", votes_wanted=2, guidelines="new"))
    push(made)
    newest = sorted(n for n in hub.list_repo_files(REPO) if n.startswith("snapshots/"))[-1]
    hub.files(REPO)[newest].write_bytes(b"SQLite format 3\0 torn" * 50)
    path = tmp_path / "new" / "labels.db"
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 100)
    found = restore(path, REPO, path.parent / "kept", hub)
    assert found is not None and found.copy not in ("", newest)
    assert found.damaged is not None and found.damaged.read_bytes() == b"not a database " * 100
    assert picks(open_store(path)) == picks(labelled)


def test_a_damaged_database_and_an_empty_dataset_are_told_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    path.write_bytes(b"not a database " * 100)
    found = restore(path, REPO, tmp_path / "kept", FakeHub(tmp_path / "hub"))
    assert found is not None and found.damaged is not None and not path.exists()
    told = found.told(path, REPO)
    assert "holds no picks" in told and "begins empty" in told and str(found.damaged) in told
    assert "was made out of" not in told


def test_an_empty_dataset_restores_nothing(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / "hub")
    assert restore(tmp_path / "labels.db", REPO, tmp_path / "kept", hub) is None
    assert not (tmp_path / "labels.db").exists()


def failing(call: str, error: Exception) -> Callable[[str], None]:
    def fails(name: str) -> None:
        if name == call:
            raise error

    return fails


@pytest.mark.parametrize("call", ["create_commit", "after create_commit"])
def test_a_commit_that_fails_is_made_up_for(
    labelled: Store, tmp_path: Path, keeper: Keep, call: str
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    label(labelled, "eve", 3)
    hub.fails = failing(call, ConnectionError("gone"))
    assert push(made) is None
    assert "cannot be reached" in made.trouble
    hub.fails = lambda name: None
    push(made)
    assert made.trouble == ""
    restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    assert picks(open_store(tmp_path / "new.db")) == picks(labelled)


def test_without_the_dataset_nothing_begins_anew(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / "hub", failing("list_repo_files", ConnectionError("gone")))
    with pytest.raises(UserError, match=r"'ada/picks' cannot be reached \(ConnectionError\)"):
        restore(tmp_path / "labels.db", REPO, tmp_path / "kept", hub)
    assert not (tmp_path / "labels.db").exists()


def test_an_app_opens_while_the_hub_is_down_and_catches_up(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub", failing("create_repo", ConnectionError("gone")))
    folder = tmp_path / "disk" / "kept"
    made = keeper(labelled, hub)
    assert restore(labelled.path, REPO, folder, hub) is None, "a whole database needs no hub"
    told = standing(folder)
    assert told is not None and "cannot be reached" in told["trouble"] and told["last"] == ""
    hub.fails = lambda name: None
    push(made)
    told = standing(folder)
    assert told is not None and (told["repo"], told["trouble"]) == (REPO, "") and told["last"]
    restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    assert picks(open_store(tmp_path / "new.db")) == picks(labelled)


@pytest.mark.parametrize("name", ["picks", "a/b/c", "a b/c", "../x", "a/..", ""])
def test_a_name_that_no_dataset_has_is_refused(tmp_path: Path, name: str) -> None:
    hub = FakeHub(tmp_path / "hub")
    store = open_store(tmp_path / "x.db")
    with pytest.raises(UserError, match="write it as OWNER/NAME"):
        Keeper(store, name, tmp_path / "kept", every=NEVER, hub=hub)
    with pytest.raises(UserError, match="write it as OWNER/NAME"):
        restore(tmp_path / "new.db", name, tmp_path / "kept", hub)


def test_a_database_that_breaks_while_it_is_kept_is_told(
    labelled: Store, tmp_path: Path, keeper: Keep
) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    files = hub.list_repo_files(REPO)
    for end in ("-wal", "-shm"):
        labelled.path.with_name(labelled.path.name + end).unlink(missing_ok=True)
    labelled.path.write_bytes(b"not a database " * 100)
    assert push(made) is None
    assert "damaged" in made.trouble
    assert hub.list_repo_files(REPO) == files, "what is safe is not written over"


def test_adjudications_are_in_the_next_copy(labelled: Store, tmp_path: Path, keeper: Keep) -> None:
    hub = FakeHub(tmp_path / "hub")
    made = keeper(labelled, hub)
    with labelled.reading() as db:
        pair = next(db.query("SELECT id, candidate_a FROM pairs ORDER BY id"))
    adjudicate(labelled, "Zoe", pair["id"], "left", pair["candidate_a"])
    push(made)
    restore(tmp_path / "new.db", REPO, tmp_path / "kept", hub)
    with closing(sqlite3.connect(tmp_path / "new.db")) as db:
        assert db.execute("SELECT outcome FROM adjudications").fetchall() == [("a",)]


# at the command line and on the page


def test_the_commands_save_and_restore(
    labelled: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(labeling.durable.keeper, "the_hub", lambda: hub)
    monkeypatch.setattr(labeling.durable.restore, "the_hub", lambda: hub)
    assert cli.main(["keep", REPO, "--db", str(labelled.path)]) == 0
    assert f"All picks up to now are in {REPO}." in capsys.readouterr().out
    new = tmp_path / "new.db"
    assert cli.main(["restore", REPO, "--db", str(new)]) == 0
    assert "was made out of ada/picks: the copy 0000000" in capsys.readouterr().out
    assert picks(open_store(new)) == picks(labelled)
    assert cli.main(["restore", REPO, "--db", str(new)]) == 0
    assert "is whole already" in capsys.readouterr().out
    hub.fails = failing("create_commit", ConnectionError("gone"))
    label(labelled, "eve", 1)
    assert cli.main(["keep", REPO, "--db", str(labelled.path)]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert cli.main(["keep", "nonsense", "--db", str(labelled.path)]) == 2
    assert cli.main(["restore", REPO, "--every", "x", "--db", str(new)]) == 2


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (None, ""),
        ({"repo": "a/b", "last": "2026-11-27T10:00:00.0", "trouble": ""}, "2026-11-27 10:00:00"),
        ({"repo": "a/b", "last": "", "trouble": ""}, "never yet"),
        ({"repo": "a/b", "last": "", "trouble": "<b>gone"}, "&lt;b&gt;gone"),
    ],
)
def test_a_lead_sees_whether_picks_outlive_the_disk(
    kept: dict[str, str] | None, words: str
) -> None:
    shown = kept_html(kept)
    assert words in shown and bool(shown) == bool(kept) and "<b>gone" not in shown
