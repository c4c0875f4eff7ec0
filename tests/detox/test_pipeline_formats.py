"""The pipeline's files: what is written is read back, from anywhere, and wrong lines are named."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.errors import UserError
from detox.pipeline.formats import (
    Preference,
    jsonl,
    parse_predictions,
    parse_preferences,
    parse_prompts,
    prediction_rows,
    preference_rows,
    prompt_rows,
    read_bytes,
    write_bytes,
)

# whatever a file in UTF-8 can hold, line ends of every kind among it
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip() != "")
ANSWERS = TEXTS.map(str.strip)
Row = dict[str, Any]


@given(st.lists(st.tuples(TEXTS, ANSWERS, ANSWERS, st.integers(0, 1)), min_size=1))
def test_preferences_there_and_back(rows: list[tuple[str, str, str, int]]) -> None:
    preferences = [Preference(*row[:3]) for row in rows]
    slots = [row[3] for row in rows]
    content = jsonl(preference_rows(preferences, slots))
    assert parse_preferences(content, "file") == preferences
    written = [json.loads(line) for line in content.decode().split("\n") if line]
    assert [row["choice"] for row in written] == slots
    for row, preference in zip(written, preferences, strict=True):
        assert row[f"candidate_{row['choice']}"] == preference.chosen
        assert set(row) == {"input_text", "candidate_0", "candidate_1", "choice"}


@given(st.lists(st.tuples(TEXTS, st.text(st.characters(codec="utf-8"))), min_size=1))
def test_predictions_there_and_back_through_memory(rows: list[tuple[str, str]]) -> None:
    prompts, responses = [row[0] for row in rows], [row[1] for row in rows]
    write_bytes("memory://predictions/tuned.jsonl", jsonl(prediction_rows(prompts, responses)))
    content = read_bytes("memory://predictions/tuned.jsonl")
    assert parse_predictions(content, "there") == rows
    assert set(json.loads(content.decode().split("\n")[0])) == {"inputs", "prediction"}


def test_prompts_there_and_back_through_a_folder(tmp_path: Path) -> None:
    where = str(tmp_path / "new" / "prompts.jsonl")
    write_bytes(where, jsonl(prompt_rows(["one\n", "two\u2028three", "é"])))
    assert parse_prompts(read_bytes(where), where) == ["one\n", "two\u2028three", "é"]


def test_marks_of_other_systems_are_read_over() -> None:
    content = '\ufeff{"input_text": "one"}\r\n\r\n{"input_text": "two", "more": 1}'.encode()
    assert parse_prompts(content, "file") == ["one", "two"]


GOOD: Row = {"input_text": "p", "candidate_0": "a", "candidate_1": "b", "choice": 1}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "it is not JSON"),
        ("[1]", "it must hold one JSON object"),
        (json.dumps(GOOD | {"choice": 2}), "'choice' must be 0 or 1"),
        (json.dumps(GOOD | {"choice": True}), "'choice' must be 0 or 1"),
        (json.dumps(GOOD | {"choice": "1"}), "'choice' must be 0 or 1"),
        (json.dumps(GOOD | {"choice": 1.0}), "'choice' must be 0 or 1"),
        (json.dumps(GOOD | {"candidate_0": " "}), "'candidate_0' must be a text that is not empty"),
        (json.dumps(GOOD | {"input_text": None}), "'input_text' must be a text that is not empty"),
        (json.dumps(GOOD | {"input_text": "\ud800"}), "'input_text' is not valid Unicode"),
    ],
)
def test_a_wrong_line_is_named(line: str, sentence: str) -> None:
    content = f"{json.dumps(GOOD)}\n\n{line}\n".encode()
    with pytest.raises(UserError) as refused:
        parse_preferences(content, "file.jsonl")
    assert str(refused.value) == f"Line 3 of file.jsonl: {sentence}."


def test_many_wrong_lines_are_counted() -> None:
    content = b"\n".join([b'{"input_text": "fine"}', *[b"{}"] * 8])
    with pytest.raises(UserError) as refused:
        parse_prompts(content, "f")
    assert str(refused.value) == (
        "Line 2 of f: 'input_text' must be a text that is not empty; 7 more lines are wrong "
        "(3, 4, 5, 6, 7, …)."
    )


def test_wrong_predictions_are_named() -> None:
    content = jsonl([{"inputs": {"inputs_pretokenized": "p"}, "prediction": ""}, {"inputs": "p"}])
    with pytest.raises(UserError, match=r"^Line 2 of f: 'inputs' must be an object and"):
        parse_predictions(content, "f")


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"\n \n", "holds no"), (b"\xff", "is not text")]
)
def test_a_file_without_rows(content: bytes, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^f {sentence}"):
        parse_prompts(content, "f")


def test_places_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.jsonl cannot be read \(No such file or direct"):
        read_bytes(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(UserError, match=r"^memory://nowhere cannot be read \("):
        read_bytes("memory://nowhere")
    with pytest.raises(UserError, match=r"^ftpx://there begins with 'ftpx://', which nothing here"):
        read_bytes("ftpx://there")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/x\.jsonl cannot be written \("):
        write_bytes(str(tmp_path / "file" / "x.jsonl"), b"")


@pytest.mark.parametrize(
    ("where", "driver"), [("gs://bucket/a.jsonl", "gcsfs"), ("s3://bucket/a.jsonl", "s3fs")]
)
def test_a_missing_driver_is_named(
    where: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as if it were not installed, whether it is or not
    monkeypatch.setitem(sys.modules, driver, None)
    known = sys.modules["fsspec.registry"]._registry
    monkeypatch.delitem(known, where.split(":")[0], raising=False)
    with pytest.raises(UserError) as refused:
        read_bytes(where)
    protocol = where.split("//")[0]
    assert str(refused.value) == (
        f"Reading {protocol}// needs the package {driver}: run 'pip install {driver}'."
    )
