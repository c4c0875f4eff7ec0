"""Files made elsewhere: understood, added once, or refused by line."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from detox.errors import UserError
from labeling.imports import ImportReport, import_file
from labeling.store import Store
from tests.labeling.conftest import Rows

TRL = {"prompt": "Tell: x", "chosen": " Nice.", "rejected": " Rude."}
VERTEX = {"input_text": "Tell: x", "candidate_0": "Rude.", "candidate_1": "Nice.", "choice": 1}
OPENAI = {
    "info": {"id": "t3_1", "post": "A post.", "title": "T", "subreddit": "r"},
    "summaries": [
        {"text": " Nice.", "policy": "sup4", "note": "ok"},
        {"text": " Rude.", "policy": "ref", "note": None},
    ],
    "choice": 0,
    "worker": "w1",
    "batch": "batch3",
    "split": "valid2",
    "extra": {"confidence": 7},
}


def _file(tmp_path: Path, *rows: Any, name: str = "prefs.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _picks(store: Store) -> list[tuple[str, str, str]]:
    with store.reading() as db:
        return [
            (r["prompt"], r["chosen"], r["rejected"]) for r in db.query("SELECT * FROM preferences")
        ]


@pytest.mark.parametrize(
    ("row", "format"),
    [(TRL, "trl-explicit"), (VERTEX, "vertex-preference"), (OPENAI, "openai-comparisons")],
)
def test_each_format_is_recognised(
    fresh_store: Store, tmp_path: Path, row: dict[str, Any], format: str
) -> None:
    report = import_file(fresh_store, _file(tmp_path, row))
    assert report == ImportReport(format, pairs=1, picks=1, known=0, identical=0, rows=1)
    ((_, chosen, rejected),) = _picks(fresh_store)
    assert (chosen, rejected) == ("Nice.", "Rude.")


def test_conversational_rows(fresh_store: Store, tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "Tell: x"}],
        "chosen": [{"role": "assistant", "content": "Nice."}],
        "rejected": [{"role": "assistant", "content": "Rude."}],
    }
    import_file(fresh_store, _file(tmp_path, row))
    assert _picks(fresh_store) == [("Tell: x", "Nice.", "Rude.")]


def test_openai_fields_are_kept(fresh_store: Store, tmp_path: Path) -> None:
    import_file(fresh_store, _file(tmp_path, OPENAI))
    with fresh_store.reading() as db:
        (row,) = db.query("SELECT * FROM preferences")
        (labeler,) = db.query("SELECT name FROM labelers")
    assert (row["dialogue"], row["split"], row["batch"]) == ("A post.", "validation", "batch3")
    assert (row["left_policy"], row["right_policy"], row["choice"]) == ("sup4", "ref", "left")
    assert labeler["name"] == "w1"


def test_the_sides_of_trl_rows_do_not_tell_the_answer(fresh_store: Store, tmp_path: Path) -> None:
    rows = [TRL | {"prompt": f"p{i}", "chosen": f" c{i}", "rejected": f" r{i}"} for i in range(60)]
    import_file(fresh_store, _file(tmp_path, *rows))
    with fresh_store.reading() as db:
        left = next(db.query("SELECT count(*) AS n FROM picks WHERE choice = 'left'"))["n"]
    assert 12 < left < 48


def test_a_longer_version_of_a_file_adds_only_what_is_new(
    fresh_store: Store, tmp_path: Path
) -> None:
    flipped = TRL | {"chosen": " Rude.", "rejected": " Nice."}
    import_file(fresh_store, _file(tmp_path, TRL))
    longer = import_file(fresh_store, _file(tmp_path, TRL, TRL, flipped, name="renamed.jsonl"))
    assert (longer.pairs, longer.picks, longer.known) == (0, 2, 1)
    with fresh_store.reading() as db:
        raters = [r["labeler_id"] for r in db.query("SELECT labeler_id FROM preferences")]
    # Three judgements of one pair are three raters.
    assert len(set(raters)) == 3
    assert sorted(chosen for _, chosen, _ in _picks(fresh_store)) == ["Nice.", "Nice.", "Rude."]


def test_rows_with_and_without_worker_do_not_hide_each_other(
    fresh_store: Store, tmp_path: Path
) -> None:
    path = _file(tmp_path, OPENAI, OPENAI | {"worker": None}, OPENAI | {"worker": "w2"})
    assert import_file(fresh_store, path).picks == 3
    assert import_file(fresh_store, path).picks == 0


def test_the_dialogue_is_found_in_the_prompt(fresh_store: Store, tmp_path: Path) -> None:
    prompt = "\nSummarize the following conversation.\n\n#Person1#: Hi.\n\nSummary:"
    row = {"prompt": prompt, "chosen": "\nA.", "rejected": "\nB."}
    import_file(fresh_store, _file(tmp_path, row))
    with fresh_store.reading() as db:
        (stored,) = db.query("SELECT dialogue, prompt FROM prompts")
    assert stored == {"dialogue": "#Person1#: Hi.", "prompt": prompt + "\n"}


def test_pairs_become_a_batch(fresh_store: Store, rows: Rows, tmp_path: Path) -> None:
    flat = {"dialogue": "D", "prompt": "P", "a": "x", "b": "y", "policy_a": "1", "policy_b": "2"}
    same = flat | {"b": "x "}
    report = import_file(fresh_store, _file(tmp_path, flat, same, name="night.jsonl"))
    assert report == ImportReport("pairs", pairs=1, picks=0, known=0, identical=1, rows=2)
    assert import_file(fresh_store, _file(tmp_path, *rows(2))).pairs == 2
    with fresh_store.reading() as db:
        batches = [r["batch"] for r in db.query("SELECT batch FROM pairs ORDER BY rowid")]
    assert batches == ["night", "prefs", "prefs"]


def test_windows_files_are_fine(fresh_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(TRL).encode() + b"\r\n\r\n")
    assert import_file(fresh_store, path).picks == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "Line 1 of .* is not UTF-8: save the file as UTF-8"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"not json\n", "has no rows|is empty"),
        (b"not json\nat all\n", "format of .* is not known"),
        (b'{"x": 1}\nnot json\n', "format of .* is not known"),
        (b"{not json}\n", "Line 1 of .* is not JSON"),
        (b"[1]\n", "Line 1 of .* is not a JSON object"),
        (b'{"x": 1}\n', "format of .* is not known"),
        (b"[" * 100_000, "Line 1 of .* is not JSON"),
    ],
)
def test_wrong_files_get_one_sentence(
    fresh_store: Store, tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence) as caught:
        import_file(fresh_store, path)
    assert "\n" not in str(caught.value)


def test_unreadable_paths(fresh_store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        import_file(fresh_store, tmp_path / "missing.jsonl")
    with pytest.raises(UserError, match="has no folder `picks` or `preferences`"):
        import_file(fresh_store, tmp_path)


@pytest.mark.parametrize(
    ("good", "change", "sentence"),
    [
        (TRL, {"chosen": None}, "`chosen` must be a text"),
        (TRL, {"chosen": "<pad>"}, "summary is empty"),
        (VERTEX, {"choice": 2}, "`choice` must be 0 or 1"),
        (VERTEX, {"choice": True}, "`choice` must be 0 or 1"),
        (VERTEX, {"choice": None}, "`choice` must be 0 or 1"),
        (VERTEX, {"candidate_0": 5}, "`candidate_0` must be a text"),
        (OPENAI, {"summaries": []}, "list of two objects"),
        (OPENAI, {"summaries": [1, 2]}, "list of two objects"),
        (OPENAI, {"info": None}, "`info` and `extra` must be objects"),
        (OPENAI, {"info": {}}, "`info.post` must be a text"),
        (OPENAI, {"split": "holdout"}, "Unknown split"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_kept(
    fresh_store: Store,
    tmp_path: Path,
    good: dict[str, Any],
    change: dict[str, Any],
    sentence: str,
) -> None:
    other = json.loads(json.dumps(good).replace("Tell: x", "Tell: y").replace("A post", "B post"))
    path = _file(tmp_path, good, other | change)
    before = list(sqlite3.connect(fresh_store.path).iterdump())
    with pytest.raises(UserError, match=f"^Line 2 of .*{sentence}"):
        import_file(fresh_store, path)
    assert list(sqlite3.connect(fresh_store.path).iterdump()) == before


def test_an_unknown_format_is_refused(fresh_store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Unknown format 'xml'"):
        import_file(fresh_store, _file(tmp_path, TRL), "xml")


def test_identical_texts_are_counted(fresh_store: Store, tmp_path: Path) -> None:
    report = import_file(fresh_store, _file(tmp_path, TRL, TRL | {"rejected": "Nice."}))
    assert (report.picks, report.identical) == (1, 1)
