"""Which picks an export takes, and what it makes of several votes on one pair."""

from __future__ import annotations

import json
import random
import statistics
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detox.errors import UserError
from detox.tasks import SENTIMENT, SUMMARIZE, TASKS
from labeling.adjudication import adjudicate
from labeling.batches import load_pairs
from labeling.export import Filters, export, preview, select, task_of
from labeling.export.aggregation import majority, verdicts, vote_margin
from labeling.imports import import_file
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.records import add_assignment, add_labeler
from labeling.store import Store, open_store
from tests.labeling.conftest import Judge

OUTCOMES = st.sampled_from(["a", "b", "tie", "both_bad"])


@pytest.fixture
def voted(store: Store) -> Store:
    """Five labelers on six pairs: outcomes of the first pair to the last, a labeler a row."""
    votes = {
        "ann": ["a", "a", "a", "tie", "both_bad", "skip"],
        "ben": ["a", "a", "b", "tie", "both_bad", "skip"],
        "cem": ["a", "a", "a", "tie", "a", "skip"],
        "dot": ["a", "b", "b", "a", "b", "skip"],
        "eve": ["a", "skip", "tie", "a", "both_bad", "skip"],
    }
    for labeler, outcomes in votes.items():
        vote(store, labeler, outcomes)
    return store


def vote(store: Store, labeler: str, outcomes: list[str], kind: str = "regular") -> None:
    """Judges the pairs of the record in order; sides follow the labeler's name."""
    with store.writing() as db:
        pairs = list(db.query("SELECT * FROM pairs ORDER BY rowid"))
        known = next(db.query("SELECT id FROM labelers WHERE name = ?", [labeler]), None)
        labeler_id = known["id"] if known else add_labeler(db, labeler)
        assignments = []
        for pair, outcome in zip(pairs, outcomes, strict=False):
            sides = ["a", "b"] if labeler < "c" else ["b", "a"]
            candidates = [pair[f"candidate_{side}"] for side in sides]
            names = dict(zip(sides, ("left", "right"), strict=True))
            assignment = add_assignment(db, pair["id"], labeler_id, *candidates, kind=kind)
            assignments.append((assignment, names.get(outcome, outcome)))
    for assignment, choice in assignments:
        submit(store, assignment, choice, labeler=labeler)


def _pairs(store: Store) -> list[str]:
    with store.reading() as db:
        return [row["id"] for row in db.query("SELECT id FROM pairs ORDER BY rowid")]


def _rows(store: Store, tmp_path: Path, format: str = "trl-explicit", **chosen: Any) -> Any:
    out = tmp_path / "out.jsonl"
    manifest = export(store, format, out, Filters(**chosen))
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()], manifest


def test_a_row_per_pair_where_most_votes_agree(voted: Store, tmp_path: Path) -> None:
    rows, manifest = _rows(voted, tmp_path, aggregation="majority", margin=True)
    # The third pair is two to two and a tie, the fourth and fifth are no preference.
    assert [(row["chosen"], row["margin"]) for row in rows] == [
        ("\nPlan 0 is dumb.", 1.0),
        ("\nPlan 1 is dumb.", 0.5),
    ]
    assert manifest.left_out == {"tie": 1, "both_bad": 1, "no_majority": 1, "no_votes": 1}
    assert (manifest.rows, manifest.picks, manifest.pairs) == (2, 30, 6)
    assert (manifest.aggregation, manifest.rows_by_split) == (
        "majority",
        {"train": 1, "validation": 1},
    )


def test_a_lead_comes_before_the_votes(voted: Store, tmp_path: Path) -> None:
    pairs = _pairs(voted)
    with voted.reading() as db:
        sides = {row["id"]: row["candidate_a"] for row in db.query("SELECT * FROM pairs")}
    plain = _rows(voted, tmp_path, aggregation="majority")[1]
    # Against everybody; where votes were divided; where nobody voted; and no preference.
    for place, choice in ((0, "right"), (2, "left"), (5, "left"), (1, "tie")):
        adjudicate(voted, "lea", pairs[place], choice, sides[pairs[place]])
    rows, manifest = _rows(voted, tmp_path, aggregation="adjudicated", margin=True)
    found = {row["chosen"]: row["margin"] for row in rows}
    assert found == {
        "\nThey disagree about plan 0.": 0.0,
        "\nPlan 2 is dumb.": 0.0,
        "\nPlan 5 is dumb.": 0.0,
    }
    assert manifest.left_out == {"tie": 2, "both_bad": 1}
    # The same picks, but what leads said counts, and changes the hash.
    assert _rows(voted, tmp_path, aggregation="majority")[1].snapshot == plain.snapshot
    assert manifest.snapshot != plain.snapshot
    # A pair that a lead decided counts whatever the votes are.
    strict = _rows(voted, tmp_path, aggregation="adjudicated", minimum_agreement=1.0)[1]
    assert strict.rows == 3
    assert _rows(voted, tmp_path, aggregation="majority", minimum_agreement=1.0)[1].rows == 1


def test_aggregated_comparisons_name_no_labeler_and_come_back(voted: Store, tmp_path: Path) -> None:
    rows, _ = _rows(voted, tmp_path, "openai-comparisons", aggregation="majority")
    assert [row["worker"] for row in rows] == [None, None]
    for row in rows:
        assert row["summaries"][row["choice"]]["policy"] == "before"
    other = open_store(tmp_path / "other.db")
    assert import_file(other, tmp_path / "out.jsonl").picks == 2
    assert import_file(voted, tmp_path / "out.jsonl").known == 2


def test_the_sides_of_aggregated_rows_tell_nothing(fresh_store: Store, tmp_path: Path) -> None:
    load_pairs(
        fresh_store, [{"dialogue": f"d{i}", "a": f"a{i}", "b": f"b{i}"} for i in range(80)], "b"
    )
    vote(fresh_store, "ann", ["a"] * 80)
    rows, _ = _rows(fresh_store, tmp_path, "openai-comparisons", aggregation="majority")
    assert 20 < sum(row["choice"] for row in rows) < 60


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_raw_picks_are_never_joined(voted: Store, tmp_path: Path, format: str) -> None:
    with pytest.raises(UserError, match="holds every pick as it was made"):
        export(voted, format, tmp_path / "out", Filters(aggregation="majority"))


def test_a_folder_joins_preferences_and_keeps_picks(voted: Store, tmp_path: Path) -> None:
    manifest = export(voted, "folder", tmp_path / "out", Filters(aggregation="majority"))
    other = open_store(tmp_path / "other.db")
    assert manifest.rows == 2
    assert import_file(other, tmp_path / "out").picks == 30


@pytest.mark.parametrize(
    ("votes", "wanted"),
    [
        ({"a": 2, "b": 1}, "a"),
        ({"a": 2, "b": 1, "tie": 1}, "a"),
        ({"a": 1, "b": 1}, None),
        ({"tie": 3, "a": 2}, "tie"),
        ({}, None),
    ],
)
def test_a_majority_has_most_votes_alone(votes: dict[str, int], wanted: str | None) -> None:
    assert majority(Counter(votes)) == wanted


@pytest.mark.parametrize(
    ("votes", "outcome", "wanted"),
    [
        ({"a": 3}, "a", 1.0),
        ({"a": 3, "b": 1}, "a", 0.5),
        ({"b": 3, "tie": 1}, "b", 0.75),
        ({"a": 3, "b": 1}, "b", 0.0),
        ({}, "a", 0.0),
    ],
)
def test_the_margin_of_votes(votes: dict[str, int], outcome: str, wanted: float) -> None:
    assert vote_margin(Counter(votes), outcome) == pytest.approx(wanted)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.sampled_from("pqr"), OUTCOMES | st.just("skip"))))
def test_majorities_by_another_way(picks: list[tuple[str, str]]) -> None:
    rows = [
        {"pair_id": pair, "outcome": o, "choice": o, "kind": "regular", "split": "train"}
        for pair, o in picks
    ]
    found, left_out = verdicts(rows)
    for pair in {pair for pair, _ in picks}:
        votes = [outcome for name, outcome in picks if name == pair and outcome != "skip"]
        modes = statistics.multimode(votes)
        if len(modes) == 1:
            assert found[pair].outcome == modes[0]
            assert 0 < found[pair].margin <= 1
        else:
            assert pair not in found
    assert len(found) + left_out.total() == len({pair for pair, _ in picks})


def _chosen(store: Store, **filters: Any) -> set[str]:
    with store.reading() as db:
        return {row["pair_id"] for row in select(db, Filters(**filters))}


def test_a_pair_counts_with_enough_votes_that_agree(voted: Store) -> None:
    pairs = _pairs(voted)
    # Agreement: 5/5, 3/4, 2/5, 3/5, 3/5, no vote.
    assert _chosen(voted, minimum_agreement=0.75) == set(pairs[:2])
    assert _chosen(voted, minimum_agreement=0.6) == {*pairs[:2], *pairs[3:5]}
    assert _chosen(voted, minimum_votes=5) == {pairs[0], *pairs[2:5]}
    assert _chosen(voted, minimum_votes=5, minimum_agreement=0.7) == {pairs[0]}
    # Without those who see it differently, the others agree.
    assert _chosen(voted, minimum_agreement=1.0, without=("dot", "eve")) == {
        pairs[0],
        pairs[1],
        pairs[3],
    }


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_agreement_is_a_share(value: float) -> None:
    with pytest.raises(UserError, match="a share from 0 to 1"):
        Filters(minimum_agreement=value)


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"minimum_votes": -1}, "0 or more"),
        ({"aggregation": "mean"}, "Unknown aggregation 'mean'"),
        ({"kinds": ("odd",)}, "Unknown kind of pick 'odd'"),
        ({"task": "translate"}, "Unknown task 'translate'"),
        ({"since": "soon"}, "'soon' is not a time"),
        ({"until": "2026-13-01"}, "is not a time"),
        ({"labeler_kind": "cat"}, "Unknown kind of labeler"),
    ],
)
def test_filters_that_cannot_be(filters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Filters(**filters)


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"batch": "none"}, "There is no batch 'none'"),
        ({"labelers": ("zoe",)}, "There is no labeler 'zoe'"),
        ({"without": ("zoe",)}, "There is no labeler 'zoe'"),
    ],
)
def test_names_that_are_not_there(voted: Store, filters: dict[str, Any], sentence: str) -> None:
    for format in ("trl-explicit", "csv", "vertex-prompts"):
        with pytest.raises(UserError, match=sentence):
            preview(voted, format, Filters(**filters))


def test_labelers_can_be_left_out_by_name_or_pseudonym(voted: Store, tmp_path: Path) -> None:
    with voted.reading() as db:
        (row,) = db.query("SELECT pseudonym FROM labelers WHERE name = 'ben'")
    with voted.reading() as db:
        by_name = select(db, Filters(without=("ben", "ann")))
        by_pseudonym = select(db, Filters(without=(row["pseudonym"], "ann")))
    assert by_name == by_pseudonym
    assert len(by_name) == 18
    _, manifest = _rows(voted, tmp_path, without=("ben",), labelers=("ben", "ann"))
    assert manifest.filters["without"] == [row["pseudonym"]]
    told = (tmp_path / "out.jsonl.manifest.json").read_text("utf-8")
    assert "ben" not in told and "ann" not in told


def test_only_regular_picks_are_preferences_unless_asked_for(voted: Store, tmp_path: Path) -> None:
    vote(voted, "ann", ["b"], kind="repeat")
    vote(voted, "zoe", ["b", "b"], kind="gold")
    rows, manifest = _rows(voted, tmp_path)
    assert manifest.left_out == {"tie": 4, "both_bad": 3, "skip": 6, "repeat": 1, "gold": 2}
    assert (len(rows), manifest.picks) == (17, 33)
    assert _rows(voted, tmp_path, kinds=("gold",))[1].rows == 2
    assert _rows(voted, tmp_path, kinds=("regular", "repeat"))[1].rows == 18
    # Agreement and majorities are of the regular ones.
    assert manifest.agreement["pairs"] == 5
    assert _rows(voted, tmp_path, aggregation="majority")[1].rows == 2
    raw = export(voted, "csv", tmp_path / "picks.csv")
    assert raw.rows == 33
    assert raw.snapshot == manifest.snapshot


def test_models_are_not_taken_for_people(voted: Store, tmp_path: Path) -> None:
    pairs = _pairs(voted)
    before = _chosen(voted, minimum_agreement=0.75)
    with voted.writing() as db:
        add_labeler(db, "bot", "model")
    vote(voted, "bot", ["b", "b", "b", "b", "b", "b"], kind="regular")
    rows, manifest = _rows(voted, tmp_path, aggregation="majority")
    assert len(rows) == 2
    assert manifest.left_out["by_models"] == 6
    assert manifest.agreement["labelers"] == 5
    assert _chosen(voted, minimum_agreement=0.75) == before == set(pairs[:2])
    # With models, three of six votes on the third pair say the same, and on the last all do.
    both = _rows(voted, tmp_path, aggregation="majority", labeler_kind="all")[1]
    assert "by_models" not in both.left_out and both.agreement["labelers"] == 6
    assert both.rows == 4
    assert _rows(voted, tmp_path, labeler_kind="model")[1].rows == 6
    # Raw picks are all there, and the same picks have one hash in every format.
    folder = export(voted, "folder", tmp_path / "folder")
    assert folder.picks == export(voted, "csv", tmp_path / "raw.csv").rows == 36
    assert folder.snapshot == manifest.snapshot
    assert import_file(open_store(tmp_path / "other.db"), tmp_path / "folder").picks == 36


def test_picks_that_were_no_longer_blind_can_be_left_out(store: Store, judge: Judge) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    submit(store, task.assignment_id, "left", labeler="ann")
    assert preview(store, "csv", Filters(blind_only=True)).rows == 1
    submit(store, task.assignment_id, "right", labeler="ann")
    assert preview(store, "csv", Filters(blind_only=True)).rows == 0
    assert preview(store, "csv").rows == 1


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_task_is_told_by_the_template(name: str) -> None:
    task = TASKS[name]
    for wording in task.templates:
        for examples in ([], [("A: x", "y"), ("B: z", "w")]):
            prompt = task.prompt("#Person1#: Hi.", wording, examples)
            assert task_of(prompt) == task_of(prompt.strip()) == name
    assert task_of("Tell me a joke.") == "other"
    assert task_of("Summary:") == "other"


def test_a_task_is_a_filter(fresh_store: Store, tmp_path: Path) -> None:
    rows = [
        {"dialogue": "d", "prompt": SUMMARIZE.prompt("d"), "a": "x", "b": "y"},
        {"dialogue": "t", "prompt": SENTIMENT.prompt("t", "choice"), "a": "x", "b": "y"},
        {"dialogue": "o", "prompt": "Other: o", "a": "x", "b": "y"},
    ]
    load_pairs(fresh_store, rows, "mixed")
    vote(fresh_store, "ann", ["a", "a", "a"])
    for place, name in enumerate(("summarize", "sentiment", "other")):
        found, manifest = _rows(fresh_store, tmp_path, task=name)
        assert [row["prompt"] for row in found] == [rows[place]["prompt"].rstrip()]
        assert manifest.picks == 1
        prompts, _ = _rows(fresh_store, tmp_path, "vertex-prompts", task=name)
        assert prompts == [{"input_text": rows[place]["prompt"]}]


def test_prompts_and_responses_follow_filters_on_picks(voted: Store, tmp_path: Path) -> None:
    assert len(_rows(voted, tmp_path, "vertex-prompts", minimum_agreement=0.75)[0]) == 2
    bulk, _ = _rows(voted, tmp_path, "vertex-bulk-inference", minimum_agreement=0.75)
    assert [row["prediction"] for row in bulk] == [
        "Plan 0 is dumb.",
        "They disagree about plan 0.",
        "Plan 1 is dumb.",
        "They disagree about plan 1.",
    ]


def test_times_may_have_a_zone(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    with store.reading() as db:
        picked = next(db.query("SELECT picked_at FROM picks"))["picked_at"]
    east = datetime.fromisoformat(picked).astimezone(timezone(timedelta(hours=9)))
    assert preview(store, "csv", Filters(since=east.isoformat())).rows == 1
    assert preview(store, "csv", Filters(until=east.isoformat())).rows == 0
    assert Filters(since="2026-01-31").since == "2026-01-31T00:00:00.000000+00:00"


@pytest.mark.parametrize("aggregation", ["every", "majority", "adjudicated"])
def test_a_preview_counts_what_is_written(voted: Store, tmp_path: Path, aggregation: str) -> None:
    for format in ("trl-explicit", "trl-unpaired", "vertex-preference", "folder"):
        filters = Filters(aggregation=aggregation, split="train")
        plan = preview(voted, format, filters)
        manifest = export(voted, format, tmp_path / f"{format}-{aggregation}", filters)
        assert (plan.rows, plan.rows_by_split) == (manifest.rows, manifest.rows_by_split)
        if format != "folder":
            written = (tmp_path / f"{format}-{aggregation}").read_text("utf-8").count("\n")
            assert written == plan.rows
