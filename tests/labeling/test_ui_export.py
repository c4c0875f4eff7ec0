"""The Export tab's files and its summary."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from detox.errors import UserError
from labeling.export import FORMATS
from labeling.store import Store
from labeling.ui.export import NAMES, overview, summary, write_export
from labeling.ui.results import count
from tests.labeling.conftest import Judge
from tests.labeling.test_ui_pages import Elements


def text(html: str) -> str:
    return " ".join(Elements(html).text.split())


def test_every_format_has_a_name_people_understand() -> None:
    assert set(NAMES) == set(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_written(store: Store, judge: Judge, tmp_path: Path, format: str) -> None:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "skip"])
    done = write_export(store, tmp_path, format, "all")
    assert done.path.is_file() and done.path.name.startswith(f"detox-arena-{format}")
    told = json.loads(done.manifest_path.read_text())
    assert told["path"] == done.path.name
    assert str(tmp_path) not in done.manifest_path.read_text()
    assert told["snapshot"] == done.manifest.snapshot
    assert done.path.name in text(summary(done))


def test_the_folder_is_a_zip_with_card_and_manifest(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["after"] * 6)
    # Written twice, as a second visitor would.
    for _ in range(2):
        done = write_export(store, tmp_path, "folder", "all")
    with zipfile.ZipFile(done.path) as archive:
        assert {"README.md", "manifest.json", "preferences/train.parquet"} <= set(
            archive.namelist()
        )
        assert str(tmp_path).encode() not in archive.read("manifest.json")


def test_the_summary_says_what_is_in_it_and_what_is_not(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["after", "before", "tie", "tie", "both_bad", "skip"])
    done = write_export(store, tmp_path, "trl-explicit", "all")
    told = text(summary(done))
    assert "Rows 2 (" in told
    assert "From 6 picks by 1 labeler" in told
    assert "Left out 2 ties, 1 both bad, 1 skip" in told
    assert "Agreement no pair was judged twice" in told
    assert done.manifest.snapshot[:16] in told


def test_a_split_is_a_filter_and_part_of_the_name(
    store: Store, judge: Judge, tmp_path: Path
) -> None:
    judge(store, "ann", ["after"] * 6)
    done = write_export(store, tmp_path, "csv", "test")
    assert done.path.name == "detox-arena-csv-test.csv"
    assert done.manifest.rows == 2 and done.manifest.rows_by_split == {"test": 2}


def test_what_cannot_be_exported_is_said(store: Store, judge: Judge, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to export: no pick matches"):
        write_export(store, tmp_path, "trl-explicit", "all")
    judge(store, "ann", ["tie"])
    with pytest.raises(UserError, match=r"left out: 1 tie"):
        write_export(store, tmp_path, "trl-explicit", "all")
    with pytest.raises(UserError, match="Unknown format 'xml'"):
        write_export(store, tmp_path, "xml", "all")
    with pytest.raises(UserError, match="Unknown split 'dev'"):
        write_export(store, tmp_path, "csv", "dev")
    assert list(tmp_path.glob("detox-arena-*")) == []


def test_the_overview_counts_or_says_what_to_do(store: Store, judge: Judge) -> None:
    assert "Nothing to export yet" in text(overview(count(store)))
    judge(store, "ann", ["after", "tie", "skip"])
    told = text(overview(count(store)))
    assert "3 picks so far: 1 decided, 1 tie, 0 both bad, 1 skipped." in told
