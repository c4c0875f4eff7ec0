"""What is exported and imported again says the same, whatever the texts and the answers."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detox.tasks import SUMMARIZE
from labeling.batches import load_pairs
from labeling.check import check_record
from labeling.export import SUFFIXES, Filters, export
from labeling.imports import import_file
from labeling.picks import submit, undo
from labeling.queue import next_pair
from labeling.records import add_assignment, add_labeler
from labeling.store import Store, open_store
from labeling.text import clean_text

PAIRWISE = [
    "trl-explicit",
    "trl-implicit",
    "trl-conversational",
    "trl-unpaired",
    "vertex-preference",
    "openai-comparisons",
]
RAW = ["csv", "parquet", "folder"]
EXAMPLES = settings(max_examples=8, deadline=None)

# As they are, and as spreadsheets fear them.
TEXTS = st.builds(
    "{}{}".format,
    st.sampled_from(["", "", "", "=", "'=", "''+", "-", "@", "'", "\n=1", ";", '"']),
    st.text(min_size=1, max_size=30),
).filter(clean_text)
ROWS = st.lists(
    st.tuples(TEXTS, TEXTS, TEXTS).filter(lambda t: clean_text(t[1]) != clean_text(t[2])),
    min_size=1,
    max_size=4,
)
NOTES = st.lists(TEXTS, min_size=1, max_size=5)


def _plain(dialogue: str) -> str:
    return f"Say: d {dialogue}\nSo:"


def _filled(
    path: Path,
    rows: list[tuple[str, str, str]],
    seed: int,
    notes: list[str] | None = None,
    prompt: Any = _plain,
) -> Store:
    """Three labelers judge every pair in all ways there are, and change their minds."""
    store, rng, notes = open_store(path), random.Random(seed), notes or [""]
    load_pairs(
        store,
        [
            {
                "dialogue": f"d {dialogue}",
                "prompt": prompt(dialogue),
                "topic": rng.choice([None, "=1+1"]),
                "source": f"row {place}",
                "a": a,
                "b": b,
                "policy_a": {"name": "before", "base": "tiny", "fingerprint": "f0"},
                "policy_b": {"name": "after", "base": "tiny", "adapter": "runs/ppo"},
                "reward_a": rng.choice([None, rng.uniform(-5, 5)]),
                "toxicity_b": rng.random(),
                "sampling_b": {"temperature": 0.3},
            }
            for place, (dialogue, a, b) in enumerate(rows)
        ],
        "=batch",
    )
    for labeler in ("ann", "ben", "cem"):
        while task := next_pair(store, labeler, rng):
            _judge(store, task.assignment_id, labeler, rng, notes)
            if rng.random() < 0.2:
                _judge(store, task.assignment_id, labeler, rng, notes)
        if rng.random() < 0.3:
            undo(store, labeler)
    _judge_again(store, rng, notes)
    return store


def _judge(
    store: Store, assignment: str, labeler: str, rng: random.Random, notes: list[str]
) -> None:
    submit(
        store,
        assignment,
        rng.choice(["left", "right", "tie", "both_bad", "skip"]),
        labeler=labeler,
        strength=rng.choice([None, "slightly", "clearly"]),
        reasons=rng.choice([[], ["gentler; kinder", "[x]"]]),
        note=rng.choice(notes)[:40],
        seconds=rng.choice([None, rng.uniform(0, 60)]),
        flagged=rng.random() < 0.2,
    )


def _judge_again(store: Store, rng: random.Random, notes: list[str]) -> None:
    """A repeat by one of the labelers, and a gold answer by somebody else."""
    with store.writing() as db:
        pair = next(db.query("SELECT * FROM pairs ORDER BY id"))
        sides = (pair["candidate_b"], pair["candidate_a"])
        assignments = {
            name: add_assignment(db, pair["id"], add_labeler(db, name, who), *sides, kind=kind)
            for name, who, kind in (("ann", "person", "repeat"), ("bot", "model", "gold"))
        }
    for name, assignment in assignments.items():
        _judge(store, assignment, name, rng, notes)


def _said(store: Store) -> Counter[tuple[str, str, str, str]]:
    """How often each text was preferred to another for each prompt, or both were bad."""
    with store.reading() as db:
        rows = list(db.query("SELECT * FROM preferences WHERE kind = 'regular'"))
    said: Counter[tuple[str, str, str, str]] = Counter()
    for row in rows:
        if row["choice"] in ("left", "right"):
            said[row["prompt"].strip(), "better", row["chosen"], row["rejected"]] += 1
        elif row["choice"] == "both_bad":
            texts = sorted((row["left_text"], row["right_text"]))
            said[row["prompt"].strip(), "both_bad", texts[0], texts[1]] += 1
    return said


def _holds(format: str, said: Counter[tuple[str, str, str, str]]) -> Counter[Any]:
    """The part of what was said that a format can hold."""
    if format == "trl-unpaired":
        return said
    return Counter({what: count for what, count in said.items() if what[1] == "better"})


def _dump(store: Store) -> list[str]:
    with closing(sqlite3.connect(store.path)) as connection:
        return list(connection.iterdump())


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("format", PAIRWISE)
@EXAMPLES
@given(rows=ROWS, seed=st.integers(0, 99))
def test_preferences_come_back(format: str, rows: list[tuple[str, str, str]], seed: int) -> None:
    with _folder() as folder:
        # An implicit prompt is only found where it is known or made by a template.
        prompt = SUMMARIZE.prompt if format == "trl-implicit" else _plain
        store = _filled(folder / "one.db", rows, seed, prompt=prompt)
        wanted = _holds(format, _said(store))
        if not wanted:
            return
        file = folder / "out.jsonl"
        export(store, format, file, Filters(margin=bool(seed % 2)))
        other = open_store(folder / "two.db")
        first = import_file(other, file)
        assert first.format == format
        assert first.picks == wanted.total() and first.alone == 0
        assert _said(other) == wanted
        assert check_record(other).problems == ()
        before = _dump(other)
        again = import_file(other, file)
        assert (again.pairs, again.picks, again.known) == (0, 0, wanted.total())
        assert _dump(other) == before


@pytest.mark.parametrize("format", [*PAIRWISE, *RAW])
@EXAMPLES
@given(rows=ROWS, seed=st.integers(0, 99))
def test_what_comes_home_is_there_already(
    format: str, rows: list[tuple[str, str, str]], seed: int
) -> None:
    with _folder() as folder:
        store = _filled(folder / "one.db", rows, seed)
        if not _holds(format, _said(store)):
            return
        export(store, format, folder / f"out{SUFFIXES[format]}")
        before = _dump(store)
        home = import_file(store, folder / f"out{SUFFIXES[format]}")
        assert (home.pairs, home.picks, home.edits) == (0, 0, 0)
        assert _dump(store) == before


def _picks(store: Store) -> list[dict[str, Any]]:
    """Every current pick with all that is known of it, but for the order of its pair."""
    with store.reading() as db:
        rows = db.query(
            "SELECT p.*, a.assigned_at, a.revealed_at, l.base, l.adapter, l.fingerprint,"
            " c.sampling FROM preferences AS p JOIN assignments AS a ON a.id = p.assignment_id"
            " JOIN policies AS l ON l.id = p.left_policy_id"
            " JOIN candidates AS c ON c.id = p.left_candidate ORDER BY p.picked_at, p.pick"
        )
        own = ("seq", "outcome", "labeler_id")
        return [{name: row[name] for name in row if name not in own} for row in rows]


@pytest.mark.parametrize("format", [*RAW, "zip"])
@EXAMPLES
@given(rows=ROWS, seed=st.integers(0, 99), notes=NOTES)
def test_raw_picks_are_restored_whole(
    format: str, rows: list[tuple[str, str, str]], seed: int, notes: list[str]
) -> None:
    with _folder() as folder:
        store = _filled(folder / "one.db", rows, seed, notes)
        kind = "folder" if format == "zip" else format
        if kind == "folder" and not _holds("trl-explicit", _said(store)):
            return
        out = folder / f"out{SUFFIXES[kind]}"
        export(store, kind, out)
        given_file = out
        if format == "zip":
            given_file = Path(shutil.make_archive(str(folder / "packed"), "zip", root_dir=out))
        other = open_store(folder / "two.db")
        report = import_file(other, given_file)
        assert report.format == "picks" and report.ignored == ()
        wanted = _picks(store)
        assert report.picks == len(wanted)
        assert _picks(other) == wanted
        assert check_record(other).problems == ()
        before = _dump(other)
        assert import_file(other, given_file).known == len(wanted)
        assert _dump(other) == before
        if format == "csv":
            export(other, "csv", folder / "again.csv")
            assert (folder / "again.csv").read_bytes() == out.read_bytes()


@EXAMPLES
@given(rows=ROWS, seed=st.integers(0, 99))
def test_prompts_and_responses_come_back(rows: list[tuple[str, str, str]], seed: int) -> None:
    with _folder() as folder:
        store = _filled(folder / "one.db", rows, seed)
        other = open_store(folder / "two.db")
        for format, policy in (("vertex-prompts", None), ("vertex-bulk-inference", "before")):
            export(store, format, folder / "one.jsonl")
            report = import_file(other, folder / "one.jsonl", policy=policy)
            assert report.format == format
            before = _dump(other)
            again = import_file(other, folder / "one.jsonl", policy=policy)
            assert again.known == again.rows == report.rows
            assert _dump(other) == before
            export(other, format, folder / "two.jsonl")
            lines = [(folder / name).read_text("utf-8") for name in ("one.jsonl", "two.jsonl")]
            # Responses that two policies share are one policy's now.
            assert set(lines[0].split("\n")) == set(lines[1].split("\n"))


def test_openai_comparisons_keep_policies_labelers_and_splits(tmp_path: Path) -> None:
    store = _filled(tmp_path / "one.db", [("x", "one", "two"), ("y", "three", "four")], 1)
    export(store, "openai-comparisons", tmp_path / "out.jsonl")
    other = open_store(tmp_path / "two.db")
    import_file(other, tmp_path / "out.jsonl")
    query = (
        "SELECT split, batch, choice, left_text, left_policy, strength, note, labeler"
        " FROM preferences WHERE kind = 'regular' AND chosen NOT NULL ORDER BY seq"
    )
    with store.reading() as db:
        wanted = list(db.query(query))
    with other.reading() as db:
        assert list(db.query(query)) == wanted
    assert wanted


def test_a_file_that_was_shuffled_says_the_same(tmp_path: Path) -> None:
    store = _filled(tmp_path / "one.db", [(f"x{i}", f"a{i}", f"b{i}") for i in range(9)], 3)
    with store.reading() as db:
        pairs = [row["pair_id"] for row in db.query("SELECT * FROM preferences")]
    one_vote = Filters(aggregation="majority")
    assert pairs
    manifest = export(store, "trl-unpaired", tmp_path / "out.jsonl", one_vote)
    lines = (tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    random.Random(0).shuffle(lines)
    (tmp_path / "shuffled.jsonl").write_text("\n".join(lines), "utf-8")
    other = open_store(tmp_path / "two.db")
    report = import_file(other, tmp_path / "shuffled.jsonl")
    assert (report.picks, report.alone) == (manifest.rows // 2, 0)
    straight = open_store(tmp_path / "three.db")
    import_file(straight, tmp_path / "out.jsonl")
    assert _said(other) == _said(straight)
    assert {json.loads(line)["label"] for line in lines} == {True, False}
