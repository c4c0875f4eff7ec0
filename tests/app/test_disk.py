"""A disk that is full, read-only or damaged under a running app, and a clock that goes back.

The app says so, serves what it can, and calls no pick saved that it did not store.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

import labeling.picks
import labeling.records
import labeling.store
from hosting.settings import Settings
from labeling.check import check_record
from labeling.picks import NOTE_LENGTH, submit
from labeling.queue import next_pair
from labeling.store import Store, StoreError, open_store
from tests.app.conftest import Visit, app_of
from tests.app.label_desk import picks, project

DIALOGUE = "#Person1#: You clown!\n#Person2#: I am sorry."


@pytest.fixture
def running(tiny_settings: Settings, tmp_path: Path) -> Iterator[Visit]:
    settings = replace(tiny_settings, database=tmp_path / "picks.db", results=tmp_path / "none")
    project(settings.database, pairs=30)
    with app_of(settings) as visit:
        visit.bench.wait(120)
        yield visit


@pytest.fixture
def client(running: Visit) -> Client:
    return Client(running.url, verbose=False)


def pick(client: Client, assignment: str, id: str, note: str = "") -> dict[str, Any]:
    sent = {"choice": "left", "assignment": assignment, "seconds": 2.0, "labeler": "Ada"}
    answer: dict[str, Any] = client.predict(**sent, uuid=id, note=note, api_name="/pick")[0]
    return answer


def compared(client: Client) -> int:
    *_, data = client.predict(DIALOGUE, "before", "after", 0.0, 1.0, 8, 0, api_name="/compare")
    return len(data["sides"])


@pytest.mark.parametrize(
    ("pragma", "said"),
    [
        ("query_only = ON", "is read-only and nothing was saved"),
        ("max_page_count = 1", "is full and nothing was saved"),
    ],
)
def test_nothing_is_called_saved_that_was_not(
    running: Visit, client: Client, monkeypatch: pytest.MonkeyPatch, pragma: str, said: str
) -> None:
    assignment = client.predict("Ada", api_name="/sign_in")[0]["pair"]["assignment_id"]
    mine, note = str(uuid.uuid4()), "x" * NOTE_LENGTH
    store = open_store(running.settings.database)
    given = _given(store)
    connect = labeling.store._connect

    def poor(path: Path, create: bool) -> sqlite3.Connection:
        connection = connect(path, create)
        connection.execute(f"PRAGMA {pragma}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(labeling.store, "_connect", poor)
        _fill_up(store, given)
        others = picks(store)
        with pytest.raises(AppError, match=said):
            pick(client, assignment, mine, note)
        assert compared(client) == 2, "what needs no disk goes on"
        assert client.predict(api_name="/results") is not None
    assert picks(store) == others
    assert pick(client, assignment, mine, note)["progress"]["done"] == 1
    pick(client, assignment, mine, note)  # sent again, as a page does that heard nothing
    assert picks(store) == [*others, ("left", 0)]
    assert check_record(store).problems == ()


def _given(store: Store) -> dict[str, str]:
    """An assignment of each of ten labelers."""
    tasks = {f"Bob {n}": next_pair(store, f"Bob {n}", random.Random(n)) for n in range(10)}
    return {name: task.assignment_id for name, task in tasks.items() if task is not None}


def _fill_up(store: Store, given: dict[str, str]) -> None:
    """Picks for as long as there is room."""
    with pytest.raises(StoreError, match="nothing was saved"):
        for name, assignment in given.items():
            submit(store, assignment, "right", labeler=name, note="x" * NOTE_LENGTH)


def test_a_database_that_is_damaged_while_the_app_runs(running: Visit, client: Client) -> None:
    path = running.settings.database
    assignment = client.predict("Ada", api_name="/sign_in")[0]["pair"]["assignment_id"]
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.with_suffix(".whole")
    shutil.copyfile(path, whole)
    path.write_bytes(b"not a database " * 5_000)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    with pytest.raises(AppError, match="damaged or not a labeling database"):
        pick(client, assignment, str(uuid.uuid4()))
    with pytest.raises(AppError, match="damaged or not a labeling database"):
        client.predict(api_name="/results")
    assert compared(client) == 2
    shutil.copyfile(whole, path)  # somebody restores a backup, and nobody restarts the app
    assert pick(client, assignment, str(uuid.uuid4()))["progress"]["done"] == 1


def test_a_clock_that_goes_back_loses_no_pick(
    running: Visit, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.predict("Ada", api_name="/sign_in")[0]["pair"]["assignment_id"]
    then = pick(client, first, str(uuid.uuid4()))
    back = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="microseconds")
    for module in (labeling.picks, labeling.records):
        monkeypatch.setattr(module, "now", lambda: back)
    after = pick(client, then["pair"]["assignment_id"], str(uuid.uuid4()))
    assert after["progress"]["done"] == 2
    store = open_store(running.settings.database)
    assert len(picks(store)) == 2 and check_record(store).problems == ()
