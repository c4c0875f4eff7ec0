"""The record of picks can only grow, whoever writes to it and however."""

from __future__ import annotations

import sqlite3

import pytest

from labeling.store import Store
from tests.labeling.conftest import Judge


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE picks SET choice = 'tie'",
        "DELETE FROM picks",
        "REPLACE INTO picks (uuid, assignment_id, choice, picked_at)"
        " SELECT uuid, assignment_id, 'tie', picked_at FROM picks LIMIT 1",
        "REPLACE INTO picks (seq, uuid, assignment_id, choice, picked_at, supersedes)"
        " SELECT seq, 'new', assignment_id, 'tie', picked_at, uuid FROM picks LIMIT 1",
        "REPLACE INTO picks (uuid, assignment_id, choice, picked_at)"
        " SELECT 'new', assignment_id, 'tie', picked_at FROM picks LIMIT 1",
    ],
    ids=["update", "delete", "replace-uuid", "replace-seq", "replace-chain"],
)
def test_no_statement_changes_a_pick(store: Store, judge: Judge, statement: str) -> None:
    judge(store, "ann", ["after", "before"])
    # A plain connection, without our pragmas.
    other = sqlite3.connect(store.path)
    kept = other.execute("SELECT * FROM picks").fetchall()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(statement)
    other.rollback()
    assert other.execute("SELECT * FROM picks").fetchall() == kept
    assert len(kept) == 2


def test_a_pick_is_superseded_once_and_by_its_own_assignment(store: Store, judge: Judge) -> None:
    first, second = judge(store, "ann", ["after", "after"])
    insert = (
        "INSERT INTO picks (uuid, assignment_id, choice, picked_at, supersedes)"
        " VALUES (?, ?, 'tie', '2026-01-01', ?)"
    )
    other = sqlite3.connect(store.path)
    with pytest.raises(sqlite3.IntegrityError, match="its own assignment"):
        other.execute(insert, ["x", second.assignment_id, first.uuid])
    other.execute(insert, ["y", first.assignment_id, first.uuid])
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(insert, ["z", first.assignment_id, first.uuid])
