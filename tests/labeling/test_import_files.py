"""Files of unknown origin: every encoding, shape and size is read, or refused by line."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detox.errors import UserError
from labeling.files import open_table, read_jsonl
from labeling.files import read as reading
from labeling.files import text as limits
from labeling.formats import alive, inert
from labeling.imports import import_file
from labeling.store import Store

ROWS = [
    {"prompt": f"Tell: {i}", "chosen": f" Nice {i}, “ä”.", "rejected": f" Rude; {i}\nreally."}
    for i in range(3)
]


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: list[dict[str, Any]], delimiter: str = ",", line_end: str = "\r\n") -> str:
    import io

    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _texts(store: Store) -> list[tuple[str, str, str]]:
    with store.reading() as db:
        rows = db.query("SELECT prompt, chosen, rejected FROM preferences ORDER BY seq")
        return [(row["prompt"], row["chosen"], row["rejected"]) for row in rows]


WANTED = [(f"Tell: {i} ", f"Nice {i}, “ä”.", f"Rude; {i}\nreally.") for i in range(3)]


@pytest.mark.parametrize(
    "content",
    [
        _jsonl(ROWS).encode(),
        b"\xef\xbb\xbf" + _jsonl(ROWS).encode(),
        _jsonl(ROWS).replace("\n", "\r\n").encode(),
        _jsonl(ROWS).replace("\n", "\r").encode(),
        _jsonl(ROWS).encode("utf-16"),
        b"\xfe\xff" + _jsonl(ROWS).encode("utf-16-be"),
        ("\n \n" + _jsonl(ROWS)).encode(),
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2, ensure_ascii=False).encode("utf-16"),
        (" [" + ",\n\n".join(json.dumps(row) for row in ROWS) + " ] \n").encode(),
        _csv(ROWS).encode(),
        _csv(ROWS, line_end="\n").encode("utf-8-sig"),
        _csv(ROWS, delimiter=";").encode(),
        # As Excel's "Unicode text".
        _csv(ROWS, delimiter="\t").encode("utf-16"),
        (_csv(ROWS) + ",,\r\n\r\n").encode(),
    ],
)
def test_each_encoding_and_shape_is_read(
    fresh_store: Store, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "prefs"
    path.write_bytes(content)
    report = import_file(fresh_store, path)
    assert (report.format, report.picks, report.ignored) == ("trl-explicit", 3, ())
    assert _texts(fresh_store) == WANTED


def test_parquet_is_read(fresh_store: Store, tmp_path: Path) -> None:
    pd.DataFrame(ROWS).assign(extra=[[1], [2], [3]]).to_parquet(tmp_path / "prefs.bin")
    report = import_file(fresh_store, tmp_path / "prefs.bin")
    assert (report.format, report.picks, report.ignored) == ("trl-explicit", 3, ("extra",))
    assert _texts(fresh_store) == WANTED


def test_messages_in_parquet_are_read(fresh_store: Store, tmp_path: Path) -> None:
    row = {
        key: [{"role": "assistant" if key != "prompt" else "user", "content": value}]
        for key, value in ROWS[0].items()
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "prefs.parquet")
    assert import_file(fresh_store, tmp_path / "prefs.parquet").format == "trl-conversational"
    assert _texts(fresh_store)[0][1:] == WANTED[0][1:]


def test_columns_that_are_not_read_are_named(fresh_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    path.write_text(_jsonl([ROWS[0] | {"score": 1}, ROWS[1] | {"id": 2}]), "utf-8")
    assert import_file(fresh_store, path).ignored == ("score", "id")
    path.write_text(_csv([row | {"mark": 1} for row in ROWS]), "utf-8")
    assert import_file(fresh_store, path).ignored == ("mark",)


def test_every_format_with_cells_of_text_is_read_from_csv(
    fresh_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "prefs.csv"
    vertex = {"input_text": "Tell: x", "candidate_0": "a", "candidate_1": "b", "choice": 1}
    path.write_text(_csv([vertex]), "utf-8")
    assert import_file(fresh_store, path).format == "vertex-preference"
    rated = [{"prompt": "Tell: y", "completion": c, "label": c == "b"} for c in "ab"]
    path.write_text(_csv(rated), "utf-8")
    assert import_file(fresh_store, path).format == "trl-unpaired"
    assert [texts[1:] for texts in _texts(fresh_store)] == [("b", "a")] * 2


def test_pairs_to_judge_keep_their_scores_in_csv(fresh_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    row = {"dialogue": "d", "a": "x", "b": "y", "policy_a": "p", "reward_a": -1.5, "reward_b": ""}
    path.write_text(_csv([row]), "utf-8")
    assert import_file(fresh_store, path).pairs == 1
    with fresh_store.reading() as db:
        rewards = {r["text"]: r["reward"] for r in db.query("SELECT text, reward FROM candidates")}
    assert rewards == {"x": -1.5, "y": None}
    path.write_text(_csv([row | {"a": "z", "reward_a": "high"}]), "utf-8")
    with pytest.raises(UserError, match=r"Line 2 of .*`reward_a` must be a number"):
        import_file(fresh_store, path)


def test_a_choice_that_a_table_made_a_float_is_read(fresh_store: Store, tmp_path: Path) -> None:
    row = {"input_text": "Tell: x", "candidate_0": "a", "candidate_1": "b", "choice": 1.0}
    pd.DataFrame([row]).to_parquet(tmp_path / "p.parquet")
    import_file(fresh_store, tmp_path / "p.parquet")
    assert _texts(fresh_store)[0][1:] == ("b", "a")


def test_formulas_of_other_tools_are_text(fresh_store: Store, tmp_path: Path) -> None:
    row = {"prompt": "=1+1", "chosen": "'=SUM(A1)", "rejected": "@cmd"}
    (tmp_path / "prefs.csv").write_text(_csv([row]), "utf-8")
    import_file(fresh_store, tmp_path / "prefs.csv")
    assert _texts(fresh_store) == [("=1+1", "'=SUM(A1)", "@cmd")]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n a＝－"), max_size=8) | st.text(max_size=8))
def test_what_was_made_inert_comes_alive_exactly(text: str) -> None:
    cell = inert(text)
    assert isinstance(cell, str)
    assert not cell.lstrip(" \n").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert not cell.startswith(("\t", "\r"))
    assert alive(cell) == text


def _dump(store: Store) -> list[str]:
    with closing(sqlite3.connect(store.path)) as connection:
        return list(connection.iterdump())


GOOD = _jsonl(ROWS).encode()
HEAD = b"prompt,chosen,rejected\r\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (GOOD + '{"prompt": "café"}'.encode("latin-1"), "Line 4 of .* is not UTF-8: save"),
        (HEAD + b"a,b,c\r\n" + "é,b,c".encode("cp1252"), "Line 3 of .* is not UTF-8: save"),
        (HEAD + b'"a\n\xff",b,c', "Line 3 of .* is not UTF-8"),
        (GOOD.decode().encode("utf-16-le"), "Line 1 of .* is not UTF-8"),
        (GOOD.decode().encode("utf-32"), "Line 1 of .* is not UTF-8"),
        (GOOD.decode().encode("utf-16") + b"\x00", "Line 4 of .* is not UTF-8"),
        (GOOD.decode().encode("utf-16") + b"\x00\xd8\n\x00", "Line 4 of .* is not UTF-8"),
        (GOOD + b"\x00", "Line 4 of .* is not UTF-8"),
        (json.dumps(ROWS, indent=1).encode() + b"\xff", "Line 17 of .* is not UTF-8"),
        (GOOD + b"{", "Line 4 of .* is not JSON"),
        (GOOD + b"7\n", "Line 4 of .* is not a JSON object"),
        (GOOD + b'{"prompt": "p", "chosen": "c"}\n', "Line 4 of .*: `rejected` is missing"),
        (b"[\n{}, 7]", "Line 2 of .* is not a JSON object|looks like|is not known"),
        (json.dumps(ROWS).encode()[:-1] + b",\n 7]", "Line 2 of .* is not a JSON object"),
        (json.dumps(ROWS).encode()[:-1], "Line 1 of .* is where a comma"),
        (json.dumps(ROWS).encode() + b"\n]", "Line 2 of .* goes on after the end"),
        (json.dumps(ROWS).encode()[:-1] + b"\n{}]", "Line 2 of .* is where a comma"),
        (b"[" + json.dumps(ROWS[0]).encode() + b',\n{"prompt": nonsense}]', "Line 2 .* not JSON"),
        (b"[]", "is empty"),
        (HEAD, "is empty"),
        (HEAD + b"a,b\r\n", "Line 2 of .*: `rejected` is missing"),
        (HEAD + b"a,b,\r\n", "Line 2 of .*: `rejected` must be a text that is not empty"),
        (HEAD + b'"a\nb",b,c\r\na,b,c,d\r\n', "Line 4 of .* has 4 cells where the first line"),
        (HEAD + b'a,b,c\r\n"a"x,b,c\r\n', "The row on line 3 of .* is not CSV"),
        (HEAD + b'a,b,c\r\n"a,b,c\r\n' + b"x\r\n" * 9, "The row on line 3 of .* without an end"),
        (HEAD + b'a,b,c\r\n"' + b"x" * 1_000_001 + b'",b,c\r\n', "line 3 .* 1,000,000 characters"),
        (b"prompt,chosen,prompt\r\na,b,c\r\n", "Line 1 of .* names the column 'prompt' twice"),
        (
            b"prompt,chosen\r\na,b\r\n",
            "Line 1 of .* looks like trl-explicit, but `rejected` is missing",
        ),
        (
            b'\n{"prompt": "a", "completion": "b"}\n',
            "Line 2 of .* looks like trl-unpaired, but `label` is missing",
        ),
        (b"PAR1nothing like it", "not a whole Parquet file"),
        (b"PK\x03\x04nothing like it", "not a whole ZIP file"),
        (b"\x1f\x8b\x08", "is compressed: unpack it"),
        # found by fuzzing: half a character, and space that JSON does not know
        (b"\xff\xfez", "Line 1 of .* is not UTF-8"),
        (b"\x0c\t", "is empty"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_kept(
    fresh_store: Store, tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "prefs"
    path.write_bytes(content)
    before = _dump(fresh_store)
    with pytest.raises(UserError, match=sentence) as caught:
        import_file(fresh_store, path)
    assert "\n" not in str(caught.value)
    assert _dump(fresh_store) == before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (GOOD + b'{"x": "' + b"y" * 2_000 + b'"}\n', "Line 4 of .* more than 1,000 characters"),
        (b'[{"x": "' + b"y" * 300_000 + b'"}]', "Line 1 of .* longer than 1,000 characters"),
    ],
)
def test_lines_that_are_absurdly_long_are_refused(
    fresh_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    sentence: str,
) -> None:
    for module in (limits, reading):
        monkeypatch.setattr(module, "LINE_LIMIT", 1_000)
    path = tmp_path / "prefs.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        import_file(fresh_store, path)


def test_cells_of_parquet_have_a_limit_too(
    fresh_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CELL_LIMIT", 100)
    pd.DataFrame([ROWS[0], ROWS[1] | {"chosen": "x" * 101}]).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(UserError, match=r"Row 2 of .* more than 100 characters in `chosen`"):
        import_file(fresh_store, tmp_path / "p.parquet")


def test_files_that_are_absurdly_large_are_refused_unread(
    fresh_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.write(GOOD)
        os.truncate(path, 3_000_000_000)
    with pytest.raises(UserError, match=r"has 3\.0 GB: give files of at most 1 GB"):
        import_file(fresh_store, path)


def test_a_zip_or_parquet_that_unpacks_to_too_much_is_refused(
    fresh_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"prompt": "p" * 50_000, "chosen": "c", "rejected": "r"}
    (tmp_path / "picks").mkdir()
    part = tmp_path / "picks" / "train.parquet"
    pd.DataFrame([row | {"rejected": f"{i}" * 5_000} for i in range(300)]).to_parquet(part)
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(part, "picks/train.parquet")
    assert part.stat().st_size < 200_000
    monkeypatch.setattr(limits, "FILE_LIMIT", 200_000)
    with pytest.raises(UserError, match=r"train.parquet' has .* GB"):
        import_file(fresh_store, part)
    monkeypatch.setattr(limits, "FILE_LIMIT", part.stat().st_size - 1)
    with pytest.raises(UserError, match=r"p.zip' has .* GB"):
        import_file(fresh_store, tmp_path / "p.zip")


def test_a_zip_writes_nothing_outside_of_its_place(fresh_store: Store, tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "x.parquet")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(tmp_path / "x.parquet", "../../preferences/train.parquet")
        archive.write(tmp_path / "x.parquet", "other/evil.parquet")
    report = import_file(fresh_store, tmp_path / "p.zip")
    assert (report.format, report.picks) == ("trl-explicit", 3)
    assert not list(tmp_path.parent.glob("preferences"))


def test_a_problem_inside_a_zip_names_the_zip(fresh_store: Store, tmp_path: Path) -> None:
    pd.DataFrame([ROWS[0] | {"chosen": None}]).to_parquet(tmp_path / "x.parquet")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(tmp_path / "x.parquet", "preferences/train.parquet")
    with pytest.raises(UserError) as caught:
        import_file(fresh_store, tmp_path / "p.zip")
    place = tmp_path / "p.zip" / "preferences" / "train.parquet"
    assert str(caught.value) == f"Row 1 of '{place}': `chosen` must be a text that is not empty."


def test_pickles_are_never_loaded(fresh_store: Store, tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path}/sprung",)

    (tmp_path / "prefs.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match=r"Line 1 of .* is not UTF-8"):
        import_file(fresh_store, tmp_path / "prefs.pkl")
    assert not (tmp_path / "sprung").exists()


def test_a_dry_run_tells_the_same_and_changes_nothing(fresh_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    path.write_text(_jsonl(ROWS), "utf-8")
    before = _dump(fresh_store)
    dry = import_file(fresh_store, path, dry_run=True)
    assert _dump(fresh_store) == before
    assert import_file(fresh_store, path) == dry
    assert import_file(fresh_store, path, dry_run=True).known == 3
    path.write_text(_jsonl([*ROWS, {"prompt": "x"}]), "utf-8")
    with pytest.raises(UserError, match="Line 4 of"):
        import_file(fresh_store, path, dry_run=True)


def test_a_dry_run_does_not_make_labelers_wait(fresh_store: Store, tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    path.write_text(_jsonl(ROWS), "utf-8")
    with fresh_store.writing():
        assert import_file(fresh_store, path, dry_run=True).picks == 3


def test_lines_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "prefs.jsonl"
    path.write_text(_jsonl(ROWS) + "not json\n", "utf-8")
    rows = read_jsonl(path)
    assert [next(rows) for _ in range(3)] == list(enumerate(ROWS, start=1))
    with pytest.raises(UserError, match="Line 4"):
        next(rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(), min_size=1),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([None, 1, 4]),
)
def test_a_json_list_is_read_as_the_json_module_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("json") / "rows.json"
    path.write_text(json.dumps(rows, indent=indent), "utf-8")
    table = open_table(path)
    assert table.kind == "json"
    found = list(table.rows(None))
    assert [row for _, row in found] == rows
    lines = path.read_text("utf-8").split("\n")
    assert all(lines[number - 1].lstrip(" [").startswith("{") for number, _ in found)


def _import_elsewhere(db: Path, file: Path) -> float:
    """Peak memory in MB of a process of its own that imports ``file``."""
    script = (
        "import sys; from pathlib import Path; from labeling.imports import import_file, run;"
        "from labeling.store import open_store; run._CACHE_KIB = 1024;"
        "import_file(open_store(sys.argv[1]), sys.argv[2]);"
        # Not getrusage: a child's peak begins with what its parent had when it forked.
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", script, str(db), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read there")
@pytest.mark.parametrize("shape", ["jsonl", "json", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, shape: str) -> None:
    def write(path: Path, megabytes: int) -> Path:
        rows = [
            {"prompt": f"Tell {i}: " + "word " * 8_000, "chosen": f" n{i}", "rejected": f" r{i}"}
            for i in range(megabytes * 25)
        ]
        made = {"jsonl": _jsonl, "json": json.dumps, "csv": _csv}[shape](rows)
        path.write_text(made, "utf-8")
        return path

    small = _import_elsewhere(tmp_path / "a.db", write(tmp_path / "small", 1))
    large = _import_elsewhere(tmp_path / "b.db", write(tmp_path / "large", 21))
    assert (tmp_path / "large").stat().st_size > 20_000_000
    assert large - small < 10
