"""`python -m labeling`: every command, its exit code, and no traceback."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from labeling import cli
from labeling.store import open_store
from tests.labeling.conftest import Rows

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def pairs_file(tmp_path: Path, rows: Rows) -> Path:
    path = tmp_path / "compare.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(3)), encoding="utf-8")
    return path


@pytest.fixture
def db(tmp_path: Path, pairs_file: Path, capsys: Capture) -> str:
    path = str(tmp_path / "labels.db")
    assert cli.main(["pairs", str(pairs_file), "--batch", "b", "--db", path]) == 0
    assert "3 pairs added, 0 known already, 0 skipped" in capsys.readouterr().out
    return path


def _type(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    typed: Iterator[str] = iter(keys)

    def answer(prompt: str) -> str:
        key = next(typed, None)
        if key is None:
            raise EOFError
        if key == "!":
            raise KeyboardInterrupt
        return key

    monkeypatch.setattr("builtins.input", answer)


def _choices(db: str) -> list[str]:
    with open_store(db).reading() as connection:
        return [r["choice"] for r in connection.query("SELECT choice FROM current_picks")]


def test_labeling_in_the_terminal(
    db: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _type(monkeypatch, "?autx")
    assert cli.main(["label", "--labeler", "ann", "--seed", "1", "--db", db]) == 0
    assert _choices(db) == ["tie", "both_bad"]
    out = capsys.readouterr().out
    assert "Taken back." in out
    assert "[3 of 3]" in out
    before_first_pick = out.split("Saved.")[0]
    assert "A was" not in before_first_pick
    _type(monkeypatch, "sq")
    assert cli.main(["label", "--labeler", "ann", "--db", db]) == 0
    assert _choices(db) == ["tie", "both_bad", "skip"]
    assert "every pair is judged" in capsys.readouterr().out


def test_keys_mean_the_side_they_name(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _type(monkeypatch, "aBa")
    cli.main(["label", "--labeler", "ann", "--db", db])
    assert _choices(db) == ["left", "right", "left"]


def test_stopping_keeps_every_pick(
    db: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _type(monkeypatch, "a!")
    assert cli.main(["label", "--labeler", "ann", "--db", db]) == 130
    assert _choices(db) == ["left"]
    assert "saved" in capsys.readouterr().err


def test_undo(db: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    _type(monkeypatch, "x")
    cli.main(["label", "--labeler", "ann", "--db", db])
    assert cli.main(["undo", "--labeler", "ann", "--db", db]) == 0
    assert cli.main(["undo", "--labeler", "ann", "--db", db]) == 0
    assert capsys.readouterr().out.endswith("Taken back: both bad.\nThere is nothing to undo.\n")
    assert _choices(db) == []


def test_results(db: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    _type(monkeypatch, "abt")
    cli.main(["label", "--labeler", "ann", "--db", db])
    capsys.readouterr()
    assert cli.main(["results", "--json", "--db", db]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["win_rate"]["n"] == 3
    assert found["agreement"]["pairs"] == 0
    assert cli.main(["results", "--db", db]) == 0
    out = capsys.readouterr().out
    assert "inconclusive (3 picks, 3 prompts, 1 labelers)" in out
    assert "±10 points need about 96 picks, ±5 about 384" in out


def test_export_and_import(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    _type(monkeypatch, "abt")
    cli.main(["label", "--labeler", "ann", "--db", db])
    out = tmp_path / "prefs.jsonl"
    assert cli.main(["export", "--out", str(out), "--margin", "--db", db]) == 0
    assert "2 rows in" in (printed := capsys.readouterr().out)
    assert "left out: 1 tie" in printed
    assert [json.loads(line)["margin"] for line in out.read_text("utf-8").splitlines()] == (
        pytest.approx([2 / 3] * 2)
    )
    other = str(tmp_path / "other.db")
    assert cli.main(["import", str(out), "--db", other]) == 0
    assert "trl-explicit: 2 pairs and 2 picks added" in capsys.readouterr().out


def test_the_database_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETOX_DB", str(tmp_path / "env.db"))
    assert cli.main(["init"]) == 0
    assert (tmp_path / "env.db").is_file()


def test_the_default_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DETOX_DB")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init"]) == 0
    assert (tmp_path / "data" / "labels.db").is_file()


@pytest.mark.parametrize(
    "argv",
    [
        ["init", "--db", "/proc/nowhere/labels.db"],
        ["pairs", "missing.jsonl"],
        ["export", "--out", "x.jsonl"],
        ["results", "--before", "after"],
        ["import", "missing.jsonl"],
        ["label", "--labeler", ""],
        ["label", "--labeler", "ann", "--batch", "none"],
    ],
)
def test_expected_problems_are_one_sentence_and_exit_code_2(
    argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("labeling: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["export"], ["export", "--format", "xml"]])
def test_wrong_usage_is_exit_code_2(argv: list[str], capsys: Capture) -> None:
    assert cli.main(argv) == 2
    assert "usage: labeling" in capsys.readouterr().err


def test_help_is_exit_code_0(capsys: Capture) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for command in ("init", "pairs", "label", "undo", "results", "export", "import", "reward"):
        assert command in out


def test_reward_is_run_by_its_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    module = types.ModuleType("labeling.reward_model")
    module.add_arguments = lambda parser: parser.add_argument("--steps", type=int)  # type: ignore[attr-defined]

    def run(args: argparse.Namespace) -> int:
        ran.append((args.steps, args.db))
        return 7

    module.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "labeling.reward_model", module)
    assert cli.main(["reward", "--steps", "3", "--db", "x.db"]) == 7
    assert ran == [(3, "x.db")]


def test_python_m_labeling(db: str) -> None:
    command = [sys.executable, "-m", "labeling", "results", "--before", "after", "--db", db]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "labeling: A policy cannot be compared with itself ('after'): name two.\n"
