"""Each format is exactly what its tool documents, and a manifest says what is in it."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.export import FORMATS, Filters, Manifest, export
from labeling.formats import RAW_COLUMNS, inert, split_prompt
from labeling.picks import submit, undo
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows

ANSWERS = ["after", "before", "tie", "both_bad", "skip", "after"]
BARE = "\nSummarize the following conversation.\n\n{dialogue}\n\nSummary:"


@pytest.fixture
def judged(store: Store, judge: Judge) -> Store:
    judge(store, "ann", ANSWERS, seed=5)
    return store


def _preferences(store: Store) -> list[dict[str, Any]]:
    with store.reading() as db:
        return list(db.query("SELECT * FROM preferences ORDER BY seq"))


def _prompts(store: Store) -> list[str]:
    with store.reading() as db:
        return [r["prompt"] for r in db.query("SELECT prompt FROM prompts ORDER BY rowid")]


def _write(
    store: Store, tmp_path: Path, format: str, filters: Filters = Filters()
) -> tuple[list[dict[str, Any]], Manifest]:
    out = tmp_path / "out.jsonl"
    manifest = export(store, format, out, filters)
    return [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]], manifest


def test_trl_explicit(judged: Store, tmp_path: Path) -> None:
    rows, manifest = _write(judged, tmp_path, "trl-explicit")
    wanted = [
        {
            "prompt": BARE.format(dialogue=p["dialogue"]),
            "chosen": "\n" + p["chosen"],
            "rejected": "\n" + p["rejected"],
        }
        for p in _preferences(judged)
        if p["choice"] in ("left", "right")
    ]
    assert rows == wanted
    assert len(rows) == manifest.rows == 3
    assert manifest.left_out == {"tie": 1, "both_bad": 1, "skip": 1}
    # Prompt and completion join to what the policy itself read and wrote.
    assert rows[0]["prompt"] + rows[0]["chosen"] == (
        _preferences(judged)[0]["prompt"] + _preferences(judged)[0]["chosen"]
    )


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [("Summary:\n", ("Summary:", "\n")), ("Summary: ", ("Summary:", " ")), ("S:", ("S:", " "))],
)
def test_the_separator_belongs_to_the_completion(prompt: str, parts: tuple[str, str]) -> None:
    assert split_prompt(prompt) == parts


def test_trl_implicit(judged: Store, tmp_path: Path) -> None:
    explicit, _ = _write(judged, tmp_path, "trl-explicit")
    rows, _ = _write(judged, tmp_path, "trl-implicit")
    assert rows == [
        {key: row["prompt"] + row[key] for key in ("chosen", "rejected")} for row in explicit
    ]


def test_trl_conversational(judged: Store, tmp_path: Path) -> None:
    rows, _ = _write(judged, tmp_path, "trl-conversational")
    first = _preferences(judged)[0]
    assert rows[0] == {
        "prompt": [{"role": "user", "content": first["prompt"].strip()}],
        "chosen": [{"role": "assistant", "content": first["chosen"]}],
        "rejected": [{"role": "assistant", "content": first["rejected"]}],
    }


def test_trl_unpaired_holds_both_bad_as_two_bad_completions(judged: Store, tmp_path: Path) -> None:
    rows, manifest = _write(judged, tmp_path, "trl-unpaired")
    wanted: list[tuple[str, bool]] = []
    for p in _preferences(judged):
        texts = ("\n" + p["left_text"], "\n" + p["right_text"])
        labels = {"left": (True, False), "right": (False, True), "both_bad": (False, False)}
        wanted += zip(texts, labels.get(p["choice"], ()), strict=False)
    assert [(row["completion"], row["label"]) for row in rows] == wanted
    assert {tuple(row) for row in rows} == {("prompt", "completion", "label")}
    assert len(rows) == 8
    assert manifest.left_out == {"tie": 1, "skip": 1}


def test_margins_follow_the_strength(store: Store, tmp_path: Path) -> None:
    rng = random.Random(0)
    for strength in ("clearly", None, "slightly"):
        task = next_pair(store, "ann", rng)
        assert task is not None
        submit(store, task.assignment_id, "left", strength=strength)
    rows, _ = _write(store, tmp_path, "trl-explicit", Filters(margin=True))
    assert [row["margin"] for row in rows] == pytest.approx([1, 2 / 3, 1 / 3])


def test_vertex_preferences_in_random_slots(
    fresh_store: Store, rows: Rows, judge: Judge, tmp_path: Path
) -> None:
    add_pairs(fresh_store, rows(40), "b")
    judge(fresh_store, "ann", ["after"] * 40)
    written, _ = _write(fresh_store, tmp_path, "vertex-preference")
    for row, p in zip(written, _preferences(fresh_store), strict=True):
        assert list(row) == ["input_text", "candidate_0", "candidate_1", "choice"]
        assert row["input_text"] == p["prompt"]
        assert row[f"candidate_{row['choice']}"] == p["chosen"]
        assert row[f"candidate_{1 - row['choice']}"] == p["rejected"]
    assert 8 < sum(row["choice"] for row in written) < 32
    assert _write(fresh_store, tmp_path, "vertex-preference")[0] == written
    assert _write(fresh_store, tmp_path, "vertex-preference", Filters(seed=1))[0] != written


def test_vertex_prompts_and_bulk_inference_need_no_picks(store: Store, tmp_path: Path) -> None:
    prompts, manifest = _write(store, tmp_path, "vertex-prompts", Filters(split="test"))
    assert prompts == [{"input_text": _prompts(store)[i]} for i in (2, 5)]
    assert manifest.rows_by_split == {"test": 2}
    bulk, _ = _write(store, tmp_path, "vertex-bulk-inference")
    assert len(bulk) == 12
    assert bulk[0]["prediction"] == "Plan 0 is dumb."
    assert bulk[0]["inputs"] == {"inputs_pretokenized": _prompts(store)[0]}


def test_openai_comparisons(judged: Store, tmp_path: Path) -> None:
    rows, _ = _write(judged, tmp_path, "openai-comparisons")
    p = _preferences(judged)[0]
    assert rows[0] == {
        "info": {
            "id": p["prompt_id"],
            "post": p["dialogue"],
            "prompt": p["prompt"],
            "topic": "work",
        },
        "summaries": [
            {"text": p["left_text"], "policy": p["left_policy"], "note": None},
            {"text": p["right_text"], "policy": p["right_policy"], "note": None},
        ],
        "choice": 0 if p["choice"] == "left" else 1,
        "worker": p["labeler"],
        "batch": "first",
        "split": p["split"],
        "extra": {"confidence": None, "strength": None, "note": ""},
    }


def test_csv_holds_every_pick_and_runs_nothing(store: Store, tmp_path: Path) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    submit(store, task.assignment_id, "skip", note='=HYPERLINK("x")', reasons=["a", "b"])
    out = tmp_path / "picks.csv"
    manifest = export(store, "csv", out)
    with out.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == RAW_COLUMNS
    assert (row["choice"], row["reasons"]) == ("skip", '["a", "b"]')
    assert row["note"] == '\'=HYPERLINK("x")'
    assert manifest.left_out == {}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_cells_are_made_inert(start: str) -> None:
    assert inert(start + "1") == f"'{start}1"


def test_other_cells_are_left_alone() -> None:
    assert [inert(cell) for cell in ("a=1", "", -2.5, None)] == ["a=1", "", -2.5, None]


def test_parquet_keeps_numbers_as_numbers(judged: Store, tmp_path: Path) -> None:
    export(judged, "parquet", tmp_path / "picks.parquet")
    frame = pd.read_parquet(tmp_path / "picks.parquet")
    assert tuple(frame.columns) == RAW_COLUMNS
    assert Counter(frame["choice"].replace({"left": "one", "right": "one"})) == {
        "one": 3,
        "tie": 1,
        "both_bad": 1,
        "skip": 1,
    }
    assert set(frame["left_reward"]) == {-1.0, 2.0}


def test_a_folder_loads_with_datasets(judged: Store, tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = tmp_path / "dataset"
    manifest = export(judged, "folder", folder)
    cache = str(tmp_path / "cache")
    preferences = load_dataset(str(folder), "preferences", cache_dir=cache)
    picks = load_dataset(str(folder), "picks", cache_dir=cache)
    assert sum(len(split) for split in preferences.values()) == manifest.rows == 3
    assert sum(len(split) for split in picks.values()) == manifest.picks == 6
    explicit, _ = _write(judged, tmp_path, "trl-explicit")
    loaded = [row for split in preferences.values() for row in split]
    assert sorted(loaded, key=str) == sorted(explicit, key=str)
    for split, rows in picks.items():
        assert set(rows["split"]) == {split}
    card = (folder / "README.md").read_text("utf-8")
    assert "1 tie, 1 both bad, 1 skip" in card
    assert manifest.snapshot in card
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["files"] == manifest.files


def test_no_dialogue_is_in_two_splits(store: Store, judge: Judge, tmp_path: Path) -> None:
    for labeler in ("ann", "ben", "cem"):
        judge(store, labeler, ["after"] * 6)
    _, manifest = _write(store, tmp_path, "trl-explicit")
    seen = {(p["dialogue"], p["split"]) for p in _preferences(store)}
    assert len(seen) == 6
    assert manifest.rows_by_split == {"train": 6, "validation": 6, "test": 6}


def test_the_manifest_is_beside_the_file_and_in_the_record(judged: Store, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "prefs.jsonl"
    manifest = export(judged, "trl-explicit", out, Filters(batch="first"))
    written = json.loads(out.with_name("prefs.jsonl.manifest.json").read_text("utf-8"))
    with judged.reading() as db:
        (recorded,) = db.query("SELECT * FROM exports")
    assert json.loads(recorded["manifest"]) == written
    assert written["filters"]["batch"] == "first"
    assert written["files"] == {"prefs.jsonl": hashlib.sha256(out.read_bytes()).hexdigest()}
    assert (written["picks"], written["rows"], written["prompts"], written["labelers"]) == (
        6,
        3,
        6,
        1,
    )
    assert recorded["snapshot"] == manifest.snapshot
    assert recorded["path"] == str(out)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "prefs.jsonl",
        "prefs.jsonl.manifest.json",
    ]


def test_the_snapshot_changes_with_the_picks_only(judged: Store, tmp_path: Path) -> None:
    first = export(judged, "csv", tmp_path / "a.csv").snapshot
    assert export(judged, "parquet", tmp_path / "a.parquet").snapshot == first
    undo(judged, "ann")
    assert export(judged, "csv", tmp_path / "b.csv").snapshot != first


def test_names_of_labelers_never_leave(judged: Store, tmp_path: Path) -> None:
    for format in FORMATS:
        export(judged, format, tmp_path / format)
    pseudonym = _preferences(judged)[0]["labeler"]
    files = [p for p in tmp_path.rglob("*") if p.is_file() and "labels.db" not in p.name]
    everything = b"".join(path.read_bytes() for path in files)
    assert b'"ann"' not in everything
    assert pseudonym.encode() in everything
    assert pseudonym.startswith("labeler-")


def test_filters(store: Store, judge: Judge, tmp_path: Path) -> None:
    judge(store, "ann", ["after"] * 6)
    judge(store, "ben", ["before"] * 3)
    ann = next(p for p in _preferences(store) if p["chosen_policy"] == "after")["labeler"]

    def count(**chosen: Any) -> int:
        return _write(store, tmp_path, "trl-explicit", Filters(**chosen))[1].rows

    assert count() == 9
    assert count(labelers=("ben",)) == 3
    assert count(labelers=(ann,)) == 6
    assert count(labelers=("ben", "ann"), split="train") < 9
    assert count(since="2020-01-01") == 9
    assert count(until="2100-01-01") == 9
    last = _preferences(store)[-1]["picked_at"]
    assert count(until=last) == 8
    assert count(since=last) == 1
    with pytest.raises(UserError, match="nothing to export"):
        count(labeler_kind="model")
    with pytest.raises(UserError, match="nothing to export"):
        count(labelers=())
    with pytest.raises(UserError, match="Unknown split"):
        count(split="holdout")


def test_nothing_to_export_says_why_and_writes_nothing(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["tie", "skip"])
    with pytest.raises(UserError, match=r"no pick matches \(left out: 1 tie, 1 skip\)"):
        export(store, "trl-explicit", tmp_path / "new" / "x.jsonl")
    assert not (tmp_path / "new").exists()


def test_bad_formats_and_paths(judged: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown format 'xml'"):
        export(judged, "xml", tmp_path / "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be written"):
        export(judged, "csv", tmp_path / "file" / "x.csv")
    with judged.reading() as db:
        assert db.table("exports").count == 0


def test_a_folder_with_other_files_is_left_alone(judged: Store, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="other files"):
        export(judged, "folder", folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    with judged.reading() as db:
        assert db.table("exports").count == 0


def test_an_export_replaces_its_predecessor(judged: Store, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    export(judged, "folder", folder)
    undo(judged, "ann")
    export(judged, "folder", folder)
    total = sum(len(pd.read_parquet(path)) for path in folder.glob("picks/*.parquet"))
    assert total == 5
