"""A lead's commands, from a terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from labeling import cli
from labeling.people import password_is_right
from labeling.plans import find_plan
from labeling.store import Store
from tests.labeling.conftest import Judge

Capture = pytest.CaptureFixture[str]


def run(store: Store, *argv: str) -> int:
    return cli.main([*argv, "--db", str(store.path)])


def test_batches_are_planned_and_listed(store: Store, tmp_path: Path, capsys: Capture) -> None:
    guide = tmp_path / "guide.txt"
    guide.write_text("Mind the tone.", encoding="utf-8")
    options = ["--votes", "3", "--repeats", "0.1", "--gold", "0.05", "--hold", "5", "--no-reveal"]
    assert run(store, "batches", "first", *options, "--guidelines", str(guide), "--pause") == 0
    said = capsys.readouterr().out
    assert "first: paused; 6 pairs, 0 of 18 votes by 0 labelers" in said
    assert "3 labelers a pair, 10% repeats, 5% gold (0 pairs)" in said
    plan = find_plan(store, "first")
    assert (plan.reveal, plan.guidelines, plan.hold_minutes) == (False, "Mind the tone.", 5)
    assert run(store, "batches", "first", "--votes", "0", "--open", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["status"], told["plan"]["votes_wanted"]) == ("open", None)
    assert run(store, "batches", "first", "--repeats", "2") == 2
    assert "between 0 and 1" in capsys.readouterr().err


def test_an_empty_project_says_how_to_begin(fresh_store: Store, capsys: Capture) -> None:
    assert run(fresh_store, "batches") == 0
    assert "`labeling generate`" in capsys.readouterr().out
    assert run(fresh_store, "people") == 0
    assert "There are no accounts" in capsys.readouterr().out
    assert run(fresh_store, "gold") == 0
    assert "No pair is gold" in capsys.readouterr().out


def test_generation_from_the_command_line(
    fresh_store: Store, tiny_t5: Path, tiny_causal: Path, capsys: Capture
) -> None:
    policies = f"small={tiny_t5};other={tiny_causal}"
    options = ["--policies", policies, "--limit", "3", "--max-new-tokens", "4", "--seed", "1"]
    assert run(fresh_store, "generate", "made", *options, "--temperature", "1") == 0
    said = capsys.readouterr().out
    assert "3 of 3 dialogues" in said and "pairs in 'made'" in said
    assert run(fresh_store, "generate", "made", "--limit", "0") == 2
    assert "--limit must be 1 or more" in capsys.readouterr().err
    assert run(fresh_store, "generate", "made", "--policies", "small") == 2
    assert "two different policies" in capsys.readouterr().err


def test_priorities_from_the_command_line(store: Store, capsys: Capture) -> None:
    assert run(store, "prioritise", "first") == 2
    assert "balanced and has no priorities" in capsys.readouterr().err
    assert run(store, "batches", "first", "--strategy", "uncertainty") == 0
    assert run(store, "prioritise", "first") == 0
    assert "6 pairs ordered; 0 have no score" in capsys.readouterr().out


def test_gold_from_the_command_line(store: Store, capsys: Capture) -> None:
    with store.reading() as db:
        (pair,) = db.query("SELECT id FROM pairs LIMIT 1")
    assert run(store, "gold", pair["id"][:16], "b", "--note", "obvious") == 0
    assert run(store, "gold", "--batch", "first") == 0
    assert f"{pair['id']}  b         first  lead  obvious" in capsys.readouterr().out
    assert run(store, "gold", pair["id"]) == 2
    assert "Say what the right answer is" in capsys.readouterr().err
    assert run(store, "gold", pair["id"], "--remove") == 0
    assert run(store, "gold", pair["id"], "--remove") == 2


def test_adjudicating_in_the_terminal(
    store: Store, judge: Judge, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    judge(store, "ann", ["after"] * 6)
    judge(store, "ben", ["before"] * 6)
    keys = iter("?alxbq")
    monkeypatch.setattr("builtins.input", lambda _: next(keys))
    assert run(store, "adjudicate", "--lead", "lea", "--seed", "1", "--gold") == 0
    said = capsys.readouterr().out
    assert said.count("Saved.") == 3 and "[6 to decide]" in said and "[2 to decide]" in said
    assert "before" not in said and "after" not in said
    with store.reading() as db:
        rows = list(db.query("SELECT outcome FROM adjudications ORDER BY seq"))
        assert len(rows) == 3 and rows[1]["outcome"] == "both_bad"
        assert next(db.query("SELECT count(*) AS n FROM gold"))["n"] == 3


def test_people_from_the_command_line(
    fresh_store: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long password\n"))
    assert run(fresh_store, "people", "Ada", "--role", "lead", "--password-stdin") == 0
    assert password_is_right(fresh_store, "Ada", "a long password")
    typed = iter(["another password", "another password", "one", "two"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(typed))
    assert run(fresh_store, "people", "Ada", "--password") == 0
    assert password_is_right(fresh_store, "Ada", "another password")
    assert run(fresh_store, "people", "Ada", "--password") == 2
    assert "two passwords differ" in capsys.readouterr().err
    assert run(fresh_store, "people", "Eve") == 2
    assert "Give 'Eve' a role" in capsys.readouterr().err
    assert run(fresh_store, "people", "Eve", "--role", "viewer") == 0
    assert run(fresh_store, "people", "Ada", "--disable") == 0
    assert run(fresh_store, "people") == 0
    assert "Ada: lead, disabled\nEve: viewer, Hugging Face\n" in capsys.readouterr().out


def test_history_and_check_from_the_command_line(
    store: Store, judge: Judge, capsys: Capture
) -> None:
    judge(store, "ann", ["after"])
    with store.reading() as db:
        (row,) = db.query("SELECT pair_id FROM assignments")
    assert run(store, "history", row["pair_id"][:20]) == 0
    said = capsys.readouterr().out
    assert "assigned: left was" in said and "picked: b" in said
    assert run(store, "history", row["pair_id"], "--json") == 0
    assert json.loads(capsys.readouterr().out)["pair"] == row["pair_id"]
    assert run(store, "history", "nothing") == 2
    assert run(store, "check") == 0
    assert "All is well." in capsys.readouterr().out
    with store.writing() as db:
        db.execute("UPDATE pairs SET votes = 7")
    assert run(store, "check") == 2
    assert "6 pairs have wrong counts" in capsys.readouterr().err
