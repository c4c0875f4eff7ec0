"""Raw picks from elsewhere: joined to what the project knows, never counted twice."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.check import check_record
from labeling.export import Filters, export, select
from labeling.imports import ImportReport, import_file
from labeling.picks import submit, undo
from labeling.queue import next_pair
from labeling.store import Store, open_store
from tests.labeling.conftest import Judge, Rows

Picks = Callable[[Store], list[dict[str, Any]]]
BARE = {"prompt": "Tell: x", "left_text": "Nice.", "right_text": "Rude.", "choice": "left"}


@pytest.fixture
def judged(store: Store, judge: Judge) -> Store:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "skip", "after"], seed=5)
    return store


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return open_store(tmp_path / "other.db")


def _current(store: Store) -> list[tuple[str, str]]:
    with store.reading() as db:
        rows = db.query("SELECT pick, choice FROM preferences ORDER BY pick")
        return [(row["pick"], row["choice"]) for row in rows]


def _file(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "picks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _exported(store: Store, path: Path) -> Path:
    export(store, "csv", path)
    return path


def test_an_answer_that_was_changed_replaces_the_earlier(
    judged: Store, other: Store, tmp_path: Path
) -> None:
    import_file(other, _exported(judged, tmp_path / "early.csv"))
    with judged.reading() as db:
        assignment = next(db.query("SELECT * FROM preferences"))["assignment_id"]
    submit(judged, assignment, "tie", note="on second thought")
    report = import_file(other, _exported(judged, tmp_path / "late.csv"))
    assert (report.edits, report.picks, report.known) == (1, 0, 5)
    assert _current(other) == _current(judged)
    assert check_record(other).problems == ()
    # The earlier file says nothing new, in whatever order they come.
    assert import_file(other, tmp_path / "early.csv").known == 6
    assert _current(other) == _current(judged)


def test_an_answer_taken_back_stays_so(judged: Store, tmp_path: Path) -> None:
    file = _exported(judged, tmp_path / "picks.csv")
    undo(judged, "ann")
    assert import_file(judged, file).known == 6
    assert len(_current(judged)) == 5


def test_a_labeler_who_judged_in_two_places_has_one_answer(
    judged: Store, rows: Rows, judge: Judge, other: Store, tmp_path: Path
) -> None:
    # The same pairs and person, with sides and answers of their own.
    add_pairs(other, rows(6), "first")
    judge(other, "ann", ["tie"] * 4, seed=6)
    picks = select_raw(judged)
    report = import_file(judged, _renamed(other, tmp_path, "ann"))
    # One of the four was a tie here too.
    ties = [row["outcome"] for row in picks].count("tie")
    assert (report.edits + report.known, report.picks) == (4, 0)
    assert report.edits >= 4 - ties
    found = select_raw(judged)
    assert len(found) == len(picks) == 6
    assert [row["outcome"] for row in found].count("tie") == report.edits + ties


def select_raw(store: Store) -> list[dict[str, Any]]:
    with store.reading() as db:
        return select(db, Filters(kinds=("regular", "repeat", "gold"), labeler_kind="all"))


def _renamed(store: Store, tmp_path: Path, name: str) -> Path:
    """The raw picks of ``store``, all by the labeler called ``name``."""
    frame = pd.read_csv(_exported(store, tmp_path / "other.csv"), dtype=str, keep_default_na=False)
    frame.assign(labeler=name).to_csv(tmp_path / "renamed.csv", index=False)
    return tmp_path / "renamed.csv"


@pytest.mark.parametrize("wanted", ["before", "after"])
def test_a_pair_that_lies_open_is_answered_on_the_sides_that_were_shown(
    store: Store, rows: Rows, judge: Judge, other: Store, tmp_path: Path, wanted: str
) -> None:
    add_pairs(other, rows(1), "first")
    judge(other, "ann", [wanted], seed=1)
    file = _renamed(other, tmp_path, "ann")
    for seed in range(4):
        here = open_store(tmp_path / f"{seed}.db")
        add_pairs(here, rows(1), "first")
        task = next_pair(here, "ann", random.Random(seed))
        assert task is not None
        assert import_file(here, file).picks == 1
        (row,) = select_raw(here)
        assert row["assignment_id"] == task.assignment_id
        assert row["left_text"] == task.left
        assert row["chosen_policy"] == wanted
    assert check_record(here).problems == ()
    with here.reading() as db:
        (pair,) = db.query("SELECT votes, holds FROM pairs")
    assert (pair["votes"], pair["holds"]) == (1, 0)


def test_the_counts_of_pairs_and_labelers_follow(
    judged: Store, other: Store, tmp_path: Path
) -> None:
    import_file(other, _exported(judged, tmp_path / "picks.csv"))
    queries = (
        "SELECT id, votes, holds FROM pairs ORDER BY id",
        "SELECT name, pairs, votes FROM batches",
        "SELECT batch, done FROM tallies",
    )
    for query in queries:
        with judged.reading() as db:
            wanted = list(db.query(query))
        with other.reading() as db:
            found = list(db.query(query))
        if "holds" in query:
            # Pairs that nobody judged are in no pick.
            found_ids = {row["id"] for row in found}
            wanted = [row for row in wanted if row["id"] in found_ids]
        if "name, pairs" not in query:
            assert found == wanted


def test_only_prompt_texts_and_choice_are_needed(fresh_store: Store, tmp_path: Path) -> None:
    path = _file(tmp_path, BARE, BARE | {"choice": "both_bad", "labeler": "Ada"})
    assert import_file(fresh_store, path) == ImportReport("picks", 1, 2, 0, 0, rows=2)
    assert import_file(fresh_store, path).known == 2
    first, second = select_raw(fresh_store)
    assert (first["choice"], first["left_text"], first["labeler"][:8]) == (
        ("left", "Nice.", "labeler-")
    )
    assert second["choice"] == "both_bad"
    with fresh_store.reading() as db:
        assert [r["name"] for r in db.query("SELECT name FROM labelers ORDER BY id")] == [
            "import",
            "Ada",
        ]


def test_what_pandas_made_of_a_file_is_read(judged: Store, other: Store, tmp_path: Path) -> None:
    export(judged, "parquet", tmp_path / "picks.parquet")
    frame = pd.read_parquet(tmp_path / "picks.parquet")
    frame["picked_at"] = pd.to_datetime(frame["picked_at"])
    frame["strength"] = frame["strength"].astype("category")
    frame["index"] = range(len(frame))
    frame.to_parquet(tmp_path / "pandas.parquet")
    report = import_file(other, tmp_path / "pandas.parquet")
    assert (report.picks, report.ignored) == (6, ("index",))
    assert select_raw(other)[0]["picked_at"] == select_raw(judged)[0]["picked_at"]


def test_reasons_of_an_earlier_version_are_read(fresh_store: Store, tmp_path: Path) -> None:
    import_file(fresh_store, _file(tmp_path, BARE | {"reasons": "gentler; more faithful"}))
    assert json.loads(select_raw(fresh_store)[0]["reasons"]) == ["gentler", "more faithful"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"choice": "middle"}, "`choice` must be one of left, right, tie, both_bad, skip"),
        ({"choice": ""}, "`choice` must be one of"),
        ({"left_text": ""}, "`left_text` must be a text"),
        ({"left_text": "<pad>"}, "summary is empty"),
        ({"prompt": None}, "`prompt` must be a text"),
        ({"kind": "odd"}, "`kind` must be one of regular, repeat, gold"),
        ({"strength": "very"}, "`strength` must be one of"),
        ({"labeler_kind": "cat"}, "`labeler_kind` must be one of person, model"),
        ({"seconds": -1}, "`seconds` must be a number, zero or more"),
        ({"seconds": "soon"}, "`seconds` must be a number"),
        ({"left_reward": "1e999"}, "`left_reward` must be a number"),
        ({"flagged": "maybe"}, "`flagged` must be true or false"),
        ({"reasons": "[1]"}, "`reasons` must be a list of texts"),
        ({"reasons": "[x"}, "`reasons` must be JSON"),
        ({"left_sampling": "[1]"}, "`left_sampling` must be an object"),
        ({"pick": "a b"}, "`pick` must be an id"),
        ({"picked_at": "yesterday"}, "`picked_at` must be a time"),
        ({"picked_at": 7}, "`picked_at` must be a time"),
        ({"split": "holdout"}, "Unknown split"),
        ({"labeler": "x" * 101}, "labeler name of 1 to 100"),
        ({"note": ["x"]}, "`note` must be a text"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_line(
    fresh_store: Store, tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    row = BARE | {"prompt": "Tell: y"} | change
    with pytest.raises(UserError, match=f"^Line 2 of .*{sentence}"):
        import_file(fresh_store, _file(tmp_path, BARE, row))
    assert select_raw(fresh_store) == []


def test_an_assignment_of_somebody_else_is_refused(
    judged: Store, rows: Rows, judge: Judge, other: Store, tmp_path: Path
) -> None:
    with judged.reading() as db:
        taken = next(db.query("SELECT assignment_id FROM preferences"))["assignment_id"]
    row = BARE | {"pick": "new-1", "assignment_id": taken, "labeler": "Ada"}
    with pytest.raises(UserError, match="`assignment_id` belongs to another pair or labeler"):
        import_file(judged, _file(tmp_path, row))


def test_a_person_is_not_taken_for_a_model(judged: Store, tmp_path: Path) -> None:
    row = BARE | {"labeler": "ann", "labeler_kind": "model"}
    with pytest.raises(UserError, match="'ann' is a person in this project: rename one"):
        import_file(judged, _file(tmp_path, row))
    assert import_file(judged, _file(tmp_path, row | {"labeler": "judge"})).picks == 1
    assert select_raw(judged)[-1]["labeler_kind"] == "model"


def test_whoever_could_read_the_file_is_informed_from_then_on(
    fresh_store: Store, tmp_path: Path
) -> None:
    import_file(fresh_store, _file(tmp_path, BARE | {"labeler": "Ada"}))
    (row,) = select_raw(fresh_store)
    assert not row["informed"]
    assert submit(fresh_store, row["assignment_id"], "tie", labeler="Ada").informed


def test_a_time_in_another_zone_is_kept_as_utc(fresh_store: Store, tmp_path: Path) -> None:
    moment = datetime.now(UTC) - timedelta(days=1)
    local = moment.astimezone(tz=datetime.now().astimezone().tzinfo)
    import_file(fresh_store, _file(tmp_path, BARE | {"pick": "p1", "picked_at": local.isoformat()}))
    (row,) = select_raw(fresh_store)
    assert row["picked_at"] == moment.isoformat(timespec="microseconds")


def test_notes_can_be_left_out_and_labelers_have_pseudonyms(judged: Store, tmp_path: Path) -> None:
    with judged.reading() as db:
        assignment = next(db.query("SELECT * FROM preferences"))["assignment_id"]
    submit(judged, assignment, "left", note="Ann from work wrote this")
    for format in ("csv", "parquet", "folder", "openai-comparisons"):
        for notes in (True, False):
            out = tmp_path / f"{format}-{notes}"
            export(judged, format, out, replace(Filters(), notes=notes))
            files = [out] if out.is_file() else list(out.rglob("*.parquet"))
            told = "".join(
                f.read_text("utf-8")
                if format in ("csv", "openai-comparisons")
                else pd.read_parquet(f).to_json()
                for f in files
            )
            assert ("Ann from work" in told) == notes
            assert '"ann"' not in told
    with (tmp_path / "csv-False").open(encoding="utf-8", newline="") as file:
        assert {row["note"] for row in csv.DictReader(file)} == {""}
