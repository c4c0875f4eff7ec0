"""The Export tab's files and words, and the tab itself over HTTP."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from detox.errors import UserError
from labeling.analysis.report import count
from labeling.export import AGGREGATIONS, FORMATS, Filters, preview
from labeling.store import Store, open_store
from labeling.ui import CSS, Entrance
from labeling.ui.export import (
    NAMES,
    check_import,
    do_import,
    export_tab,
    forecast,
    import_report,
    overview,
    refused,
    summary,
    write_export,
)
from labeling.ui.export.files import last_day
from labeling.ui.export.form import JOINED, chosen_filters, fitting
from labeling.ui.export.words import button
from tests.labeling.conftest import Judge
from tests.labeling.test_ui_pages import Elements
from tests.serving import served

TRL = {"prompt": "Tell: x", "chosen": " Nice.", "rejected": " Rude.", "score": 1}


def text(html: str) -> str:
    return " ".join(Elements(html).text.split())


def _file(tmp_path: Path, *rows: Any, name: str = "team picks.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def test_every_format_and_aggregation_has_a_name_people_understand() -> None:
    assert set(NAMES) == set(FORMATS)
    assert {value for _, value in JOINED} == set(AGGREGATIONS)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written(store: Store, judge: Judge, tmp_path: Path, format: str) -> None:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "skip"])
    done = write_export(store, tmp_path, format)
    assert done.path.is_file() and done.path.name.startswith(f"detox-arena-{format}")
    told = json.loads(done.manifest_path.read_text())
    assert told["path"] == done.path.name == done.answer()["file"]
    assert str(tmp_path) not in done.manifest_path.read_text()
    assert told["snapshot"] == done.manifest.snapshot
    assert done.path.name in text(summary(done))


def test_the_folder_is_a_zip_with_card_and_manifest(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["after"] * 6)
    # Written twice, as a second visitor would.
    for _ in range(2):
        done = write_export(store, tmp_path, "folder")
    with zipfile.ZipFile(done.path) as archive:
        assert {"README.md", "manifest.json", "preferences/train.parquet"} <= set(
            archive.namelist()
        )
        assert str(tmp_path).encode() not in archive.read("manifest.json")
    other = open_store(tmp_path / "other.db")
    assert do_import(other, str(done.path)).report.picks == 6


def test_the_summary_says_what_is_in_it_and_what_is_not(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["after", "before", "tie", "tie", "both_bad", "skip"])
    done = write_export(store, tmp_path, "trl-explicit")
    told = text(summary(done))
    assert "Rows 2 (" in told
    assert "From 6 picks on 6 pairs by 1 labeler" in told
    assert "Left out 2 ties, 1 both bad, 1 skip" in told
    assert "Agreement no pair was judged twice" in told
    assert done.manifest.snapshot[:16] in told


def test_a_split_is_a_filter_and_part_of_the_name(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["after"] * 6)
    done = write_export(store, tmp_path, "csv", Filters(split="test"))
    assert done.path.name == "detox-arena-csv-test.csv"
    assert done.manifest.rows == 2 and done.manifest.rows_by_split == {"test": 2}


def test_what_cannot_be_exported_is_said(store: Store, judge: Judge, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to export: no pick matches"):
        write_export(store, tmp_path, "trl-explicit")
    judge(store, "ann", ["tie"])
    with pytest.raises(UserError, match=r"left out: 1 tie"):
        write_export(store, tmp_path, "trl-explicit")
    with pytest.raises(UserError, match="Unknown format 'xml'"):
        write_export(store, tmp_path, "xml")
    assert list(tmp_path.glob("detox-arena-*")) == []


def test_the_overview_counts_or_says_what_to_do(store: Store, judge: Judge) -> None:
    assert "Nothing to export yet" in text(overview(count(store)))
    judge(store, "ann", ["after", "tie", "skip"])
    told = text(overview(count(store)))
    assert "3 picks so far: 1 decided, 1 tie, 0 both bad, 1 skipped." in told


def test_a_forecast_counts_rows_before_they_are_written(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "skip"])

    def told(format: str, **chosen: Any) -> str:
        return text(forecast(preview(store, format, Filters(**chosen))))

    assert told("trl-explicit").startswith("3 rows")
    assert "left out: 1 tie, 1 both bad, 1 skip" in told("trl-explicit")
    assert told("trl-unpaired").startswith("8 rows")
    assert told("csv").startswith("6 rows")
    assert told("csv").endswith("every pick as it was made")
    assert told("vertex-prompts").startswith("6 prompts")
    joined = told("trl-explicit", aggregation="majority")
    assert "1 without a vote" in joined
    nothing = told("trl-explicit", until="2020-01-01")
    assert nothing == "Nothing matches no pick does"
    judge(open_store(store.path), "ben", ["tie"])
    assert "1 tie cannot be held" in told("trl-explicit", labelers=("ben",))


def test_the_form_asks_for_what_it_shows() -> None:
    assert chosen_filters() == Filters()
    wanted = Filters(
        split="test",
        batch="b",
        aggregation="majority",
        margin=True,
        minimum_agreement=0.7,
        minimum_votes=3,
        task="summarize",
        since="2026-01-02",
        until="2026-02-01",
        without=("labeler-1",),
        blind_only=True,
        notes=False,
        labeler_kind="person",
    )
    found = chosen_filters(
        "test",
        "b",
        "majority",
        True,
        0.7,
        3.0,
        "summarize",
        "2026-01-02",
        "2026-01-31",
        ["labeler-1"],
        True,
        False,
        "person",
    )
    assert found == wanted


@pytest.mark.parametrize(
    ("day", "after"),
    [
        ("2026-01-31", "2026-02-01"),
        ("2024-02-28 10:00:00", "2024-02-29"),
        (" ", None),
        (None, None),
    ],
)
def test_the_last_day_counts(day: str | None, after: str | None) -> None:
    assert last_day(day) == after


@pytest.mark.parametrize("day", ["soon", "2026-02-30", "9999-12-31"])
def test_a_day_that_is_none_is_refused(day: str) -> None:
    with pytest.raises(UserError, match="is not a day"):
        last_day(day)


def test_parts_of_the_form_that_a_format_lacks_are_off() -> None:
    joins, margin = fitting("csv")
    assert (joins["value"], joins["interactive"], margin["interactive"]) == ("every", False, False)
    joins, margin = fitting("vertex-preference")
    assert joins["interactive"] and (margin["value"], margin["interactive"]) == (False, False)
    joins, margin = fitting("trl-explicit")
    assert joins["interactive"] and margin["interactive"] and "value" not in margin


def test_a_file_is_looked_at_before_it_is_imported(fresh_store: Store, tmp_path: Path) -> None:
    file = _file(tmp_path, TRL, TRL | {"rejected": "Nice."})
    dry = check_import(fresh_store, file)
    told = text(import_report(dry))
    assert "Read as TRL, explicit prompt" in told and "Would add 1 pick and 1 pair" in told
    assert "Passed over 1 with the same text twice" in told and "Not read score" in told
    assert "Nothing has been changed yet" in told
    assert button(dry) == "Add 1 pick" and dry.adds
    done = do_import(fresh_store, file, batch="theirs", labeler="team")
    assert "Added 1 pick and 1 pair" in text(import_report(done))
    assert replace(done.report, known=1, pairs=0, picks=0) == check_import(fresh_store, file).report
    again = check_import(fresh_store, file)
    assert "Would add nothing new" in text(import_report(again))
    assert button(again) == "Nothing new to add" and not again.adds
    with fresh_store.reading() as db:
        (row,) = db.query("SELECT p.batch, l.name FROM preferences AS p JOIN labelers AS l"
                          " ON l.id = p.labeler_id")  # fmt: skip
    assert row == {"batch": "theirs", "name": "team"}


def test_buttons_say_what_they_add(fresh_store: Store, tmp_path: Path) -> None:
    assert button(None) == "Add to the project"
    prompts = _file(tmp_path, {"input_text": "a"}, {"input_text": "b"})
    assert button(check_import(fresh_store, prompts)) == "Add 2 prompts"
    row = {"inputs": {"inputs_pretokenized": "a"}, "prediction": "x"}
    responses = _file(tmp_path, row)
    assert button(check_import(fresh_store, responses, policy="after")) == "Add 1 response"
    pairs = _file(tmp_path, {"dialogue": "d", "a": "x", "b": "y"}, name="pairs.jsonl")
    assert button(check_import(fresh_store, pairs)) == "Add 1 pair"
    with pytest.raises(UserError, match="Say with “Whose responses” whose responses these are"):
        check_import(fresh_store, responses)


def test_a_refused_file_is_named_as_its_owner_names_it(fresh_store: Store, tmp_path: Path) -> None:
    file = _file(tmp_path, TRL, {"prompt": "<b>"})
    with pytest.raises(UserError) as caught:
        check_import(fresh_store, file)
    assert str(caught.value) == "Line 2 of 'team picks.jsonl': `chosen` is missing."
    assert "<b>" not in refused("<b>") and "&lt;b&gt;" in refused("<b>")
    with pytest.raises(UserError, match="Choose a file first"):
        check_import(fresh_store, None)


def test_names_in_files_are_escaped(fresh_store: Store, tmp_path: Path) -> None:
    file = _file(tmp_path, TRL | {"<script>": 1}, name="<b>.jsonl")
    told = import_report(check_import(fresh_store, file))
    assert "<script>" not in told and "<b>" not in told


@pytest.fixture
def database(store: Store, judge: Judge) -> Path:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "skip"])
    judge(store, "ben", ["after", "after", "after"])
    return store.path


@pytest.fixture
def client(database: Path, tmp_path: Path) -> Iterator[Client]:
    yield from _served(database, tmp_path, Entrance())


def _served(database: Path, tmp_path: Path, entrance: Entrance) -> Iterator[Client]:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), gr.Tab("Export"):
        export_tab(database, entrance=entrance)
    with served(page, css=CSS) as address:
        yield Client(address, verbose=False, download_files=str(tmp_path / "downloads"))


def test_programs_export_by_name(client: Client) -> None:
    counted, told = client.predict("trl-explicit", aggregation="majority", api_name="/export_count")
    manifest, file, *_ = client.predict(
        "trl-explicit", aggregation="majority", margin=True, api_name="/export"
    )
    rows = [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]
    assert counted["rows"] == manifest["rows"] == len(rows)
    assert str(len(rows)) in told
    assert all("margin" in row for row in rows)
    assert manifest["aggregation"] == "majority"
    with pytest.raises(AppError, match="holds every pick as it was made"):
        client.predict("csv", aggregation="majority", api_name="/export")
    with pytest.raises(AppError, match="There is no batch 'second'"):
        client.predict("csv", batch="second", api_name="/export")
    assert client.predict("csv", batch="first", api_name="/export_count")[0]["rows"] == 9
    assert client.predict("csv", labeler_kind="model", api_name="/export_count")[0]["rows"] == 0
    refusal, told = client.predict("csv", since="soon", api_name="/export_count")
    assert "is not a time" in refusal["refused"] and "is not a time" in told


def test_the_tab_offers_the_projects_own_batches_and_pseudonyms(client: Client) -> None:
    overview, *_, batch, without = client.predict(api_name="/export_overview")
    assert "9 picks so far" in overview
    assert ["first", "first"] in [list(choice) for choice in batch["choices"]]
    names = [value for _, value in without["choices"]]
    assert len(names) == 2 and all(name.startswith("labeler-") for name in names)
    left, *_ = client.predict("csv", without=[names[0]], api_name="/export_count")
    # The busiest labeler comes first.
    assert left["rows"] == 3


def test_programs_import_what_they_looked_at(
    client: Client, database: Path, tmp_path: Path
) -> None:
    file = handle_file(_file(tmp_path, TRL, name="theirs.jsonl"))
    found, told = client.predict(file, api_name="/import_check")
    assert (found["picks"], found["done"], found["ignored"]) == (1, False, ["score"])
    assert "theirs.jsonl" in told
    with open_store(database).reading() as db:
        assert next(db.query("SELECT count(*) AS n FROM picks"))["n"] == 9
    done, *_ = client.predict(file, batch="theirs", api_name="/import_file")
    assert (done["picks"], done["done"]) == (1, True)
    with open_store(database).reading() as db:
        assert next(db.query("SELECT count(*) AS n FROM picks"))["n"] == 10
    bad = handle_file(_file(tmp_path, TRL, {"prompt": "x"}, name="bad.jsonl"))
    refusal, told = client.predict(bad, api_name="/import_check")
    assert refusal["refused"] == "Line 2 of 'bad.jsonl': `chosen` is missing."
    assert "Line 2 of" in told
    with pytest.raises(AppError, match=r"Line 2 of 'bad\.jsonl'"):
        client.predict(bad, api_name="/import_file")
    with pytest.raises(AppError, match="xml is not in the list of choices"):
        client.predict(file, format="xml", api_name="/import_file")


def test_only_leads_export_and_import(database: Path, tmp_path: Path) -> None:
    for client in _served(database, tmp_path, Entrance(public=True)):
        told = client.predict(api_name="/export_overview")
        assert "For those who lead" in told[0]
        assert "first" not in json.dumps(told[1:])
        file = handle_file(_file(tmp_path, TRL))
        for arguments, name in (
            ([], "/export"),
            ([file], "/import_check"),
            ([file], "/import_file"),
        ):
            with pytest.raises(AppError):
                client.predict(*arguments, api_name=name)
        refusal, *_ = client.predict(api_name="/export_count")
        assert "rows" not in refusal
        with open_store(database).reading() as db:
            assert next(db.query("SELECT count(*) AS n FROM picks"))["n"] == 9
