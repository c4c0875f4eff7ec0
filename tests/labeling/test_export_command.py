"""`labeling export` and `labeling import` with all their options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from labeling import cli
from labeling.export import Filters
from labeling.export.command import filters
from labeling.imports import ImportReport
from labeling.imports.command import told
from labeling.store import Store, open_store
from tests.labeling.conftest import Judge

Capture = pytest.CaptureFixture[str]


def _parsed(*options: str) -> Filters:
    return filters(cli.parser().parse_args(["export", "--out", "x", *options]))


def test_no_option_takes_every_pick() -> None:
    assert _parsed() == Filters()


def test_every_filter_has_an_option() -> None:
    options: dict[str, tuple[list[str], Any]] = {
        "batch": (["--batch", "b"], "b"),
        "split": (["--split", "test"], "test"),
        "labelers": (["--labeler", "ann", "--labeler", "ben"], ("ann", "ben")),
        "labeler_kind": (["--kind", "person"], "person"),
        "since": (["--since", "2026-01-01"], "2026-01-01T00:00:00.000000+00:00"),
        "until": (["--until", "2026-02-01T10:00+01:00"], "2026-02-01T09:00:00.000000+00:00"),
        "margin": (["--margin"], True),
        "seed": (["--seed", "7"], 7),
        "without": (["--without", "cem", "--without", "dot"], ("cem", "dot")),
        "kinds": (["--pick-kind", "gold", "--pick-kind", "repeat"], ("gold", "repeat")),
        "task": (["--task", "sentiment"], "sentiment"),
        "blind_only": (["--blind-only"], True),
        "minimum_votes": (["--minimum-votes", "3"], 3),
        "minimum_agreement": (["--minimum-agreement", "0.7"], 0.7),
        "aggregation": (["--aggregation", "majority"], "majority"),
        "notes": (["--without-notes"], False),
    }
    assert set(options) == set(Filters.__dataclass_fields__)
    for name, (words, value) in options.items():
        assert _parsed(*words) == Filters(**{name: value})


def test_the_commands_move_picks_from_one_project_to_another(
    store: Store, judge: Judge, tmp_path: Path, capsys: Capture
) -> None:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "skip"])
    out, other = str(tmp_path / "picks.csv"), str(tmp_path / "other.db")
    assert cli.main(["export", "--format", "csv", "--out", out, "--db", str(store.path)]) == 0
    assert "6 rows in" in capsys.readouterr().out
    assert cli.main(["import", out, "--dry-run", "--db", other]) == 0
    assert "picks: 6 pairs and 6 picks would be added" in capsys.readouterr().out
    assert cli.main(["import", out, "--db", other]) == 0
    assert "picks: 6 pairs and 6 picks added, 0 known" in capsys.readouterr().out
    assert cli.main(["import", out, "--db", other]) == 0
    assert "0 pairs and 0 picks added, 6 known already" in capsys.readouterr().out
    bulk = str(tmp_path / "bulk.jsonl")
    command = ["export", "--format", "vertex-bulk-inference", "--out", bulk]
    assert cli.main([*command, "--db", str(store.path)]) == 0
    capsys.readouterr()
    assert cli.main(["import", bulk, "--db", other]) == 2
    assert "Say with --policy whose responses these are" in capsys.readouterr().err
    assert cli.main(["import", bulk, "--policy", "new", "--db", other]) == 0
    assert "vertex-bulk-inference: 12 responses added" in capsys.readouterr().out


def test_the_format_and_the_names_can_be_told(tmp_path: Path, capsys: Capture) -> None:
    file, db = tmp_path / "theirs.jsonl", tmp_path / "labels.db"
    row = {"prompt": "Tell: x", "chosen": " a", "rejected": " b", "input_text": "Tell: y"}
    file.write_text(json.dumps(row) + "\n", "utf-8")
    options = ["--db", str(db), "--batch", "b", "--labeler", "team"]
    assert cli.main(["import", str(file), "--format", "vertex-prompts", *options]) == 0
    out = capsys.readouterr().out
    assert "vertex-prompts: 1 prompts added" in out
    assert "Columns not read: prompt, chosen, rejected." in out
    assert cli.main(["import", str(file), *options]) == 0
    with open_store(db).reading() as connection:
        (row,) = connection.query(
            "SELECT p.batch, l.name FROM preferences AS p JOIN labelers AS l ON l.id = p.labeler_id"
        )
    assert row == {"batch": "b", "name": "team"}


def test_what_became_of_the_rows_is_told() -> None:
    report = ImportReport("trl-unpaired", 1, 2, 3, 4, edits=5, alone=6, ignored=("x", "y"))
    assert told(report) == (
        "trl-unpaired: 1 pairs and 2 picks added, 3 known already, 4 skipped because both texts "
        "are the same. 5 picks replace an earlier answer of the same labeler. 6 rows without a "
        "partner were left out. Columns not read: x, y."
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--minimum-agreement", "7"], "a share from 0 to 1"),
        (["--since", "soon"], "is not a time"),
        (["--without", "zoe"], "There is no labeler 'zoe'"),
        (["--batch", "none"], "There is no batch 'none'"),
        (["--format", "csv", "--aggregation", "majority"], "holds every pick as it was made"),
    ],
)
def test_options_that_cannot_be_are_one_sentence(
    store: Store, tmp_path: Path, capsys: Capture, options: list[str], sentence: str
) -> None:
    out = tmp_path / "out.jsonl"
    assert cli.main(["export", "--out", str(out), "--db", str(store.path), *options]) == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count("\n") == 1
    assert not out.exists()
