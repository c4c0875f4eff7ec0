"""The whole report: its tables, its files, the command, and what is not computed twice."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest

from detox.errors import UserError
from labeling import cli
from labeling.analysis import report as module
from labeling.analysis.report import count, report
from labeling.analysis.selection import Selection
from labeling.analysis.tables import archive, tables, write_tables
from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store, open_store

ANSWERS = {
    "ann": ["after"] * 10 + ["tie", "skip"],
    "ben": ["after"] * 7 + ["before"] * 3,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs of two batches, judged by two people; a topic is a formula."""
    store = open_store(tmp_path_factory.mktemp("judged") / "labels.db")
    for batch, numbers in (("first", range(6)), ("second", range(6, 12))):
        add_pairs(store, [_pair(number) for number in numbers], batch)
    rng = random.Random(0)
    for labeler, answers in ANSWERS.items():
        for wanted in answers:
            task = next_pair(store, labeler, rng)
            assert task is not None
            choice = wanted
            if wanted in ("before", "after"):
                choice = "left" if task.left.startswith(wanted) else "right"
            submit(store, task.assignment_id, choice, labeler=labeler, seconds=9.0)
    with store.writing() as db:
        db.execute("UPDATE labelers SET name = name || 'abella'")
    return store.path


def _pair(number: int) -> dict[str, Any]:
    sides = {
        side: {"policy": side, "text": f"{side} {number} says so.", "reward": reward}
        for side, reward in (("before", -1.0), ("after", 1.0 + number))
    }
    topic = ("=work", "home")[number % 2]
    split = ("train", "validation", "test")[number % 3]
    return {"dialogue": f"A: number {number}", "topic": topic, "split": split, **sides}


@pytest.fixture
def judged(made: Path, tmp_path: Path) -> Store:
    """A copy of that database, to be changed at will."""
    with sqlite3.connect(made) as db:
        db.execute("VACUUM INTO ?", [str(tmp_path / "labels.db")])
    return Store(tmp_path / "labels.db")


def test_a_report_holds_every_part(judged: Store) -> None:
    found = report(judged)
    assert (found.counts.picks, found.counts.pairs, found.counts.labelers) == (22, 12, 2)
    assert found.counts == count(judged)
    assert [(rate.after, rate.n, rate.skips) for rate in found.matchups] == [("after", 21, 1)]
    assert found.plan is not None and found.plan.margins[0].independent == 96
    assert {part.dimension for part in found.slices} == {"topic", "split", "batch"}
    assert found.agreement.labelers == 2
    assert found.position.picks == 20
    assert found.rewards.people.n == 20
    assert [row.picks for row in found.labelers] == [11, 10]
    assert found.batches == ("first", "second")
    assert found.couples == (("after", "before"),)


def test_filters_narrow_every_part(judged: Store) -> None:
    whole = report(judged)
    ben = next(row.labeler for row in whole.labelers if row.picks == 10)
    found = report(judged, Selection(without=("annabella",), batch="second"))
    assert found.counts.pairs == 6
    assert found.counts.labelers == 1
    assert found.matchups[0].n == found.counts.picks < 10
    assert [row.left_out for row in found.labelers if row.labeler != ben] == [True]
    assert found.batches == ("first", "second")


def test_policies_may_be_asked_for_in_either_order(judged: Store) -> None:
    found = report(judged, Selection(policies=("before", "after"))).matchups[0]
    usual = report(judged).matchups[0]
    assert (found.after, found.rate) == ("before", pytest.approx(1 - (usual.rate or 0)))


def test_the_same_picks_are_not_counted_twice(
    judged: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Selection] = []
    work = module.report_of

    def watched(found, selection):  # type: ignore[no-untyped-def]
        made.append(selection)
        return work(found, selection)

    monkeypatch.setattr(module, "report_of", watched)
    first = report(judged)
    assert report(judged) is first and report(judged, Selection()) is first
    report(judged, Selection(blind_only=True))
    assert len(made) == 2
    task = next_pair(judged, "cleo", random.Random(1))
    assert task is not None
    submit(judged, task.assignment_id, "left")
    assert report(judged).counts.picks == 23
    assert len(made) == 3


def test_an_empty_database_has_a_report(fresh_store: Store) -> None:
    found = report(fresh_store)
    assert (found.counts.picks, found.matchups, found.plan, found.slices) == (0, (), None, ())
    assert [table.name for table in tables(found)] == ["counts"]
    assert json.loads(json.dumps(found.answer()))["planned_picks"] == {"0.10": 96, "0.05": 384}


def test_the_answer_for_programs_is_json(judged: Store) -> None:
    told = json.loads(json.dumps(report(judged).answer(), allow_nan=False))
    assert told["matchups"][0]["wins"] == 17
    assert told["selection"]["labeler_kind"] == "person"
    assert told["labelers"][0]["flags"] == []
    assert "abella" not in json.dumps(told)


def test_tables_hold_what_the_report_says(judged: Store) -> None:
    found = report(judged)
    by_name = {
        table.name: list(csv.DictReader(io.StringIO(table.csv()))) for table in tables(found)
    }
    rate = by_name["win_rates"][0]
    assert (rate["after"], rate["n"], rate["wins"]) == ("after", "21", "17")
    assert float(rate["rate"]) == pytest.approx(found.matchups[0].rate, abs=1e-5)
    assert [row["goal"] for row in by_name["picks_needed"]] == [
        "interval of ±10 points",
        "interval of ±5 points",
        "verdict",
    ]
    assert [row["measure"] for row in by_name["agreement"]] == ["raw", "cohen", "fleiss", "alpha"]
    assert [row["where"] for row in by_name["classifier"]] == [
        "all",
        "least sure third",
        "middle third",
        "surest third",
        "people: one other",
        "people: most others",
    ]
    assert {row["labeler"] for row in by_name["labelers"]} == {
        row.labeler for row in found.labelers
    }
    assert len(by_name["where_it_holds"]) == len(found.slices)


def test_no_cell_is_a_formula(judged: Store) -> None:
    text = next(table for table in tables(report(judged)) if table.name == "where_it_holds").csv()
    assert ",'=work," in text and ",=work," not in text


def test_one_archive_holds_everything_and_is_the_same_twice(judged: Store) -> None:
    found = report(judged)
    with zipfile.ZipFile(io.BytesIO(archive(found))) as file:
        assert file.namelist() == [f"{table.name}.csv" for table in tables(found)] + ["report.json"]
        assert json.loads(file.read("report.json"))["counts"]["pairs"] == 12
    assert archive(found) == archive(found)


def test_files_in_a_folder(judged: Store, tmp_path: Path) -> None:
    written = write_tables(report(judged), tmp_path / "deep" / "out")
    assert all(path.is_file() for path in written)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_tables(report(judged), tmp_path / "file" / "out")


def run(capsys: pytest.CaptureFixture[str], store: Store, *options: str) -> str:
    assert cli.main(["results", "--db", str(store.path), *options]) == 0
    return capsys.readouterr().out


def test_the_command_tells_the_report(judged: Store, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, judged)
    assert "'after' against 'before': 17 wins, 3 losses, 1 ties, 0 both bad; 1 skipped" in told
    assert "(21 picks, 12 prompts, 2 labelers)" in told
    assert "more for ±5 points" in told
    assert "topic home:" in told
    assert re.search(r"Agreement on \d+ pairs: raw 0\.\d+ \(", told)
    assert "The classifier's reward agrees with 85.0% of 20 decided picks" in told
    assert "2 labelers, 0 flagged" in told


def test_the_command_filters(judged: Store, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(run(capsys, judged, "--json", "--without", "annabella", "--batch", "first"))
    assert told["win_rate"]["n"] == told["counts"]["left"] + told["counts"]["right"]
    assert told["selection"] | {"batch": "first", "without": ["annabella"]} == told["selection"]
    assert "No pick matches" in run(capsys, judged, "--kind", "model")
    assert "No pick matches" in run(capsys, judged, "--until", "2020-01-01")
    assert json.loads(run(capsys, judged, "--json", "--kind", "model"))["win_rate"] is None
    turned = json.loads(run(capsys, judged, "--json", "--before", "after", "--after", "before"))
    assert turned["win_rate"]["wins"] == 3
    assert "22 picks" not in run(capsys, judged, "--blind-only", "--since", "2020-01-01")


def test_the_command_writes_tables(
    judged: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = run(capsys, judged, "--csv", str(tmp_path / "out"))
    assert "files in" in told
    assert (tmp_path / "out" / "labelers.csv").read_text().startswith("labeler,kind,picks")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch", "third"], "There is no batch 'third': use one of 'first', 'second'."),
        (["--without", "zoe"], "There is no labeler 'zoe'"),
        (["--after", "best"], "There is no policy 'best'"),
        (["--since", "soon"], "'soon' is not a time"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    judged: Store, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert cli.main(["results", "--db", str(judged.path), *options]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1
