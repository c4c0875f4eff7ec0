"""Labelers are pseudonymous, and reward models say what they were trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labeling.records import add_labeler, add_reward_model
from labeling.store import Store, open_store


def test_a_pseudonym_is_stable_in_a_project_and_differs_between_projects(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        store = open_store(tmp_path / name)
        for _ in range(2):
            with store.writing() as db:
                labeler_id = add_labeler(db, "Ann")
                row = next(db.query("SELECT * FROM labelers WHERE id = ?", [labeler_id]))
                found.append(row["pseudonym"])
    assert found[0] == found[1] != found[2] == found[3]
    assert all("ann" not in pseudonym.lower() for pseudonym in found)


def test_a_labeler_is_a_person_unless_said(fresh_store: Store) -> None:
    with fresh_store.writing() as db:
        add_labeler(db, "Ann")
        add_labeler(db, "judge", kind="model")
    with fresh_store.reading() as db:
        kinds = {r["name"]: r["kind"] for r in db.query("SELECT * FROM labelers")}
    assert kinds == {"Ann": "person", "judge": "model"}


def test_a_reward_model_is_recorded_with_its_picks(fresh_store: Store) -> None:
    model_id = add_reward_model(
        fresh_store,
        "rm",
        Path("runs/rm"),
        base="minilm",
        snapshot="abc",
        picks=42,
        metrics={"accuracy": 0.75},
    )
    with fresh_store.reading() as db:
        (row,) = db.query("SELECT * FROM reward_models")
    assert (row["id"], row["path"], row["snapshot"], row["picks"]) == (
        model_id,
        "runs/rm",
        "abc",
        42,
    )
    assert json.loads(row["metrics"]) == {"accuracy": pytest.approx(0.75)}
