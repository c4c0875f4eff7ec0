"""What is exported and imported again says the same, whatever the texts."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.batches import load_pairs
from labeling.export import export
from labeling.imports import import_file
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store, open_store
from labeling.text import clean_text

FORMATS = ["trl-explicit", "trl-conversational", "vertex-preference", "openai-comparisons"]
TEXTS = st.text(min_size=1, max_size=30).filter(clean_text)
ROWS = st.lists(
    st.tuples(TEXTS, TEXTS, TEXTS).filter(lambda t: clean_text(t[1]) != clean_text(t[2])),
    min_size=1,
    max_size=4,
)


def _said(store: Store) -> Counter[tuple[str, str, str]]:
    """How often each text was preferred to another for each prompt."""
    with store.reading() as db:
        rows = db.query("SELECT prompt, chosen, rejected FROM preferences WHERE chosen NOT NULL")
        return Counter((r["prompt"].strip(), r["chosen"], r["rejected"]) for r in rows)


def _filled(path: Path, rows: list[tuple[str, str, str]], seed: int) -> Store:
    store, rng = open_store(path), random.Random(seed)
    load_pairs(
        store,
        [
            {"dialogue": f"d {dialogue}", "prompt": f"Say: d {dialogue}\nSo:", "a": a, "b": b}
            for dialogue, a, b in rows
        ],
        "batch",
    )
    for labeler in ("ann", "ben", "cem"):
        while task := next_pair(store, labeler, rng):
            submit(store, task.assignment_id, rng.choice(["left", "right", "tie"]))
    return store


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=12, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_export_then_import(format: str, rows: list[tuple[str, str, str]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = _filled(Path(folder) / "one.db", rows, seed)
        wanted = _said(store)
        if not wanted:
            return
        file = Path(folder) / "out.jsonl"
        export(store, format, file)
        other = open_store(Path(folder) / "two.db")
        first = import_file(other, file)
        assert first.picks == wanted.total()
        assert _said(other) == wanted
        again = import_file(other, file)
        assert (again.pairs, again.picks, again.known) == (0, 0, wanted.total())
        # Into the project it came from: everything is there already.
        home = import_file(store, file)
        assert (home.pairs, home.picks) == (0, 0)
        assert _said(store) == wanted


def test_openai_comparisons_keep_policies_labelers_and_splits(tmp_path: Path) -> None:
    store = _filled(tmp_path / "one.db", [("x", "one", "two"), ("y", "three", "four")], 1)
    export(store, "openai-comparisons", tmp_path / "out.jsonl")
    other = open_store(tmp_path / "two.db")
    import_file(other, tmp_path / "out.jsonl")
    query = "SELECT split, batch, choice, left_text, left_policy FROM preferences ORDER BY seq"
    with store.reading() as db:
        wanted = [r for r in db.query(query) if r["choice"] in ("left", "right")]
    with other.reading() as db:
        assert list(db.query(query)) == wanted
        names = {r["name"] for r in db.query("SELECT name FROM labelers")}
    with store.reading() as db:
        pseudonyms = {
            r["labeler"] for r in db.query("SELECT labeler FROM preferences WHERE chosen NOT NULL")
        }
    assert names == pseudonyms
