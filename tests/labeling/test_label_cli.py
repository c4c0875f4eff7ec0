"""Judging in the terminal: strength, reasons, notes, flags, changes and the practice round."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling import cli
from labeling.batches import add_pairs
from labeling.cli_label import Said, understood
from labeling.picks import PICK_REASONS, SKIP_REASONS
from labeling.practice import examples
from labeling.store import open_store
from tests.labeling.conftest import Rows

Capture = pytest.CaptureFixture[str]
Label = Callable[..., str]


@pytest.fixture
def db(tmp_path: Path, rows: Rows) -> str:
    path = tmp_path / "labels.db"
    add_pairs(open_store(path), rows(4), "b")
    return str(path)


@pytest.fixture
def label(db: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Label:
    """Types lines into ``labeling label`` and returns what it printed."""

    def run(*lines: str, options: tuple[str, ...] = ()) -> str:
        typed = iter(lines)

        def answer(prompt: str) -> str:
            line = next(typed, None)
            if line is None:
                raise EOFError
            return line

        monkeypatch.setattr("builtins.input", answer)
        command = ["label", "--labeler", "ann", "--seed", "1", "--db", db, *options]
        assert cli.main(command) == 0
        return capsys.readouterr().out

    return run


def rows_of(db: str) -> list[tuple[object, ...]]:
    names = ("choice", "strength", "reasons", "note", "flagged", "informed")
    with open_store(Path(db)).reading() as connection:
        return [
            tuple(row[name] for name in names)
            for row in connection.query("SELECT * FROM picks ORDER BY seq")
        ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a", Said("left")),
        (" B! ", Said("right", "clearly")),
        ("a?", Said("left", "slightly")),
        ("a!31", Said("left", "clearly", (PICK_REASONS[0], PICK_REASONS[2]))),
        ("b4", Said("right", None, (PICK_REASONS[3],))),
        ("t", Said("tie")),
        ("x", Said("both_bad")),
        ("s", Said("skip")),
        ("s2", Said("skip", None, (SKIP_REASONS[1],))),
    ],
)
def test_a_line_says_what_is_meant(line: str, said: Said) -> None:
    assert understood(line) == said


@pytest.mark.parametrize("line", ["", "?", "!", "t!", "x1", "s!", "s22", "a5", "a!!", "ab", "1"])
def test_anything_else_says_nothing(line: str) -> None:
    assert understood(line) is None


@given(
    side=st.sampled_from("ab"),
    mark=st.sampled_from(["", "!", "?"]),
    digits=st.lists(st.sampled_from("1234"), max_size=6),
)
def test_reasons_are_each_said_once_in_order(side: str, mark: str, digits: list[str]) -> None:
    said = understood(f"{side}{mark}{''.join(digits)}")
    assert said is not None
    assert list(said.reasons) == [
        reason for number, reason in enumerate(PICK_REASONS, 1) if str(number) in digits
    ]


def test_everything_is_recorded(db: str, label: Label) -> None:
    out = label("f", "n Keeps the Date", "a!1", "s3", "f", "f", "n", "x", "q")
    assert "Flagged as broken." in out and "No longer flagged." in out and "Noted." in out
    assert rows_of(db) == [
        ("left", "clearly", '["gentler"]', "Keeps the Date", 1, 0),
        ("skip", None, json.dumps([SKIP_REASONS[2]]), "", 0, 0),
        ("both_bad", None, "[]", "", 0, 0),
    ]


def test_help_tells_all_of_it(label: Label) -> None:
    out = label("?", "q")
    for word in (*PICK_REASONS, *SKIP_REASONS, "a!", "n TEXT", "e 2"):
        assert word in out


def test_an_earlier_pick_is_listed_and_changed(db: str, label: Label) -> None:
    out = label("h", "a", "b?", "h", "e 2", "t", "e 1", "k", "e 9", "e x", "q")
    assert "You have not picked anything yet." in out
    assert "1  #Person1#: Your plan number" in out and "B is better; slightly" in out
    assert "[You said: A is better]" in out
    assert out.count("Give a number from 1 to 2: h lists them.") == 2
    assert [(row[0], row[5]) for row in rows_of(db)] == [("left", 0), ("right", 0), ("tie", 1)]


def test_picks_of_a_closed_batch_stay(db: str, rows: Rows, label: Label) -> None:
    label("a", "q")
    store = open_store(Path(db))
    with store.writing() as connection:
        connection.execute("UPDATE batches SET status = 'closed'")
    add_pairs(store, rows(1, start=50), "open")
    out = label("h", "e 1", "q")
    assert "closed" in out and "can no longer change" in out
    assert len(rows_of(db)) == 1


def test_the_practice_round_gives_feedback_and_no_picks(db: str, label: Label) -> None:
    out = label("b", "what", "a", "t", "x", "q", options=("--practice",))
    assert out.count("We see it the same way.") == 3
    assert "We would say: B is better or both bad." in out
    assert all(example.why.split()[0] in out for example in examples())
    assert "[1 of 4]" in out
    label("p", "l", "a", "q")
    assert [row[0] for row in rows_of(db)] == ["left"]
    with open_store(Path(db)).reading() as connection:
        assert connection["practice"].count == 4
    assert "[1 of 4]" not in label("q", options=("--practice",))


def test_why_there_is_nothing_is_said(db: str, label: Label) -> None:
    with open_store(Path(db)).writing() as connection:
        connection.execute("UPDATE batches SET status = 'paused'")
    assert "There are no pairs to judge" in label("a")
