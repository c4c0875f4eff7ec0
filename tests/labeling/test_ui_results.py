"""The Results tab: its words, its plots, its filters, and what a lead can take away."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from detox.errors import UserError
from labeling.analysis.frame import Person
from labeling.analysis.plan import Margin, Plan
from labeling.analysis.position import Position
from labeling.analysis.report import Report, report, report_of
from labeling.analysis.selection import Selection
from labeling.analysis.win_rates import win_rate
from labeling.batches import add_pairs
from labeling.store import Store
from labeling.ui.results import page, results_tab, tab
from labeling.ui.results.plots import Scale, share_scale, share_ticks
from labeling.ui.results.words import (
    decides_words,
    lacking_words,
    side_words,
    span,
    verdict_words,
    worth_words,
)
from tests.labeling.conftest import Judge, Rows
from tests.labeling.frames import make_frame, make_pairs
from tests.labeling.test_ui_pages import Elements
from tests.serving import served


def text(store: Store) -> str:
    return told(report(store))


def told(found: Report) -> str:
    return " ".join(Elements(page(found)).text.split())


def test_an_empty_project_says_what_to_do(fresh_store: Store, store: Store) -> None:
    assert "No picks yet" in text(store)
    assert "judge a few pairs" in text(store)


def test_a_project_without_pairs(fresh_store: Store) -> None:
    assert "python -m labeling pairs FILE" in text(fresh_store)


def test_filters_that_leave_nothing_say_so(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    assert "No pick matches" in told(report(store, Selection(labeler_kind="model")))


def test_counts(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "skip"])
    judge(store, "bob", ["after"])
    counts = report(store).counts
    assert (counts.pairs, counts.picks, counts.labelers) == (6, 6, 2)
    assert (counts.ties, counts.both_bad, counts.skips) == (1, 1, 1)
    assert counts.left + counts.right == 3
    assert "6 picks 2 labelers 6 pairs 1 tie 1 both bad 1 skip" in text(store)


def test_the_win_rate_with_its_interval_and_the_plan(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    said = text(store)
    rate = win_rate(store)
    assert rate.verdict == "higher" and rate.low is not None
    assert "People prefer “after”" in said
    assert "100 % win rate of after" in said
    assert f"95 % interval {100 * rate.low:.0f} % to 100 %" in said
    assert "6 for “after”, 0 for “before”" in said
    assert re.search(r"±10 points \d+ to go 6 of \d+; 96 if independent", said)
    assert re.search(r"±5 points \d+ to go 6 of \d+; 384 if independent", said)
    assert "a verdict decided the interval leaves out one half" in said
    assert "With one labeler" in said


@pytest.mark.parametrize(
    ("answers", "title"),
    [
        (["before"] * 6, "People prefer “before”"),
        (["after", "before"] * 3, "No clear preference yet"),
        (["after"] * 2, "Too early to say"),
        (["skip"] * 2, "No picks between these two"),
    ],
)
def test_verdicts_in_words(store: Store, judge: Judge, answers: list[str], title: str) -> None:
    judge(store, "ann", answers)
    assert verdict_words(report(store).matchups[0])[0] == title
    assert title in text(store)


def _plan(**known: Any) -> Plan:
    rows = (Margin(0.1, 96, 200, 0), Margin(0.05, 384, 800, 600))
    plain = {"design_effect": 2.5, "decides": 50, "lacking": "picks", "floor": 0.03}
    return Plan(**({"margins": rows} | plain | known))


def test_what_is_needed_in_words(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "before"])
    judge(store, "bob", ["after", "before"])
    rate = report(store).matchups[0]
    assert decides_words(_plan(), rate) == (
        "50 more",
        "decide with a chance of 80\u00a0%, if 50\u00a0% is the true rate",
    )
    assert decides_words(_plan(decides=None), rate)[0] == "not yet known"
    assert decides_words(_plan(decides=0), rate)[0] == "decided"
    assert "More picks are what is lacking" in lacking_words(_plan(), rate)
    many = lacking_words(_plan(lacking="labelers"), rate)
    assert "More labelers are lacking" in many and "stays above ±3.0 points" in many
    assert "More dialogues are lacking" in lacking_words(_plan(lacking="dialogues"), rate)
    assert lacking_words(_plan(lacking=None), rate) == ""
    assert worth_words(_plan()).startswith("2.5 of these picks tell as much as one")
    assert worth_words(_plan(design_effect=1.1)).startswith("Each pick counts")
    assert worth_words(_plan(design_effect=None)) == ""
    reached = replace(report(store), plan=_plan())
    assert "±10 points reached" in told(reached)


def test_agreement_needs_two_labelers(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    assert "Nobody has judged a pair that another labeler judged too" in text(store)
    judge(store, "bob", ["after"] * 5 + ["before"])
    said = text(store)
    assert re.search(r"Agreement CSV 83 % of the time \(\d+ % to \d+ %\), two of 2 labelers", said)
    assert "on the 6 pairs they share" in said
    assert "Krippendorff's α" in said


def test_a_side_that_is_favoured_is_pointed_out(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["left"] * 6)
    said = text(store)
    assert "100 % of 6 decided picks went left" in said
    assert "somebody may favour a side" in said


def test_a_side_in_words() -> None:
    assert "about one half is expected" in side_words(Position(9, 5, 0.55, 0.4, 0.7, 0.6))
    assert "comes from a few labelers" in side_words(Position(900, 500, 0.55, 0.4, 0.7, 1e-4))
    assert "may favour a side" in side_words(Position(900, 600, 0.66, 0.6, 0.7, 1e-9))
    assert "Nobody has picked a side" in side_words(Position(0, 0, None, None, None, None))


def test_each_two_policies_have_their_own_rate(store: Store, judge: Judge, rows: Rows) -> None:
    judge(store, "ann", ["after"] * 6)
    other = rows(2, start=20)
    for row in other:
        row["before"]["policy"], row["after"]["policy"] = "after", "later"
    # The sides of a pair of rows may be named the other way round.
    swapped = rows(1, start=30)
    swapped[0]["before"]["policy"], swapped[0]["after"]["policy"] = "after", "before"
    add_pairs(store, [*other, *swapped], "second")
    judge(store, "ann", ["tie"] * 3)
    found = report(store)
    assert [(rate.after, rate.before, rate.n) for rate in found.matchups] == [
        ("after", "before", 7),
        ("after", "later", 2),
    ]
    assert "Bradley–Terry strengths" in told(found)
    assert "How often the row beats the column" in told(found)


def test_names_are_escaped(fresh_store: Store, judge: Judge, rows: Rows) -> None:
    data = rows(6)
    for row in data:
        row["after"]["policy"] = "<script>x</script>"
        row["topic"] = f"<b>{row['id']}"
        row["tone"] = '"><i>' + row["id"]
    add_pairs(fresh_store, data, "<u>batch")
    judge(fresh_store, "ann", ["tie"] * 6)
    shown = page(report(fresh_store))
    assert "<script>" not in shown and "&lt;script&gt;" in shown
    assert "<b>d0" not in shown and "&lt;b&gt;d0" in shown
    assert "<i>d0" not in shown and "<u>batch" not in shown


def test_labelers_are_pseudonyms_with_their_flags(fresh_store: Store) -> None:
    n = 60
    people = [Person(i + 1, f"Secret{i}", f"labeler-{i}", "person") for i in range(3)]
    found = make_frame(
        [*range(n)] * 3,
        [0] * n + [1] * n + [2] * n,
        ["a", "b"] * (n // 2) * 3,
        people=people,
        a_left=[True, False] * (n // 2) + [True] * 2 * n,
        seconds=[1.0] * n + [12.0] * 2 * n,
    )
    made = report_of(found, Selection())
    said = told(made)
    assert made.flagged == ("labeler-0",)
    assert "1 labeler of 3 should be looked at" in said
    assert "Picks the left side in 100 % of 60 decided picks" in said
    assert said.index("labeler-0") < said.index("labeler-1")
    assert "Secret" not in page(made)
    without = told(report_of(found, Selection(without=("labeler-0",))))
    assert "labeler-0 left out" in without


def test_models_are_marked() -> None:
    people = [Person(1, "j", "labeler-j", "model")]
    found = make_frame(range(6), [0] * 6, ["a"] * 6, people=people)
    assert "labeler-j model" in told(report_of(found, Selection(labeler_kind="model")))


def test_the_classifier_beside_people() -> None:
    n = 90
    gap = [((-1) ** i) * (1 + i / 30) for i in range(n)]
    pairs = make_pairs(n, reward_a=gap, reward_b=[0] * n, adjudicated=[0] * 10 + [-1] * 80)
    found = make_frame(
        [*range(n)] * 2, [0] * n + [1] * n, ["a" if g > 0 else "b" for g in gap] * 2, pairs
    )
    said = told(report_of(found, Selection()))
    assert "Does the classifier agree with people?" in said
    assert "the response with the higher reward was picked in 100 %" in said
    assert "surest third rewards 3.0 to 4.0 apart" in said
    assert "Lines: a coin 50 %, one other person 100 %, most other people 100 %" in said
    assert "Against 10 adjudicated labels: 50 %" in said


def test_adjudications_are_told() -> None:
    pairs = make_pairs(7, adjudicated=[0, 1, -1, -1, -1, -1, -1])
    found = make_frame([*range(7)] * 2, [0] * 7 + [1] * 7, ["a"] * 14, pairs)
    said = told(report_of(found, Selection()))
    assert (
        "Of 2 adjudicated pairs, the label kept what most picks said in 1, changed it in 1" in said
    )


def test_every_table_is_a_link_that_saves_it(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    judge(store, "bob", ["after"] * 6)
    links = re.findall(r'download="([^"]+)" href="data:([^;]+)[^,]*,([^"]+)"', page(report(store)))
    names = [name for name, _, _ in links]
    assert {"win_rates.csv", "labelers.csv", "where_it_holds.csv", "results.zip"} <= set(names)
    for name, kind, data in links:
        content = base64.b64decode(data)
        if name.endswith(".csv"):
            assert kind == "text/csv" and content.count(b"\n") >= 2
        else:
            assert kind == "application/zip" and content.startswith(b"PK")


def test_intervals_are_told_as_fine_as_they_are_narrow() -> None:
    assert span(0.512, 0.634) == "51\u00a0% to 63\u00a0%"
    assert span(0.5121, 0.5268) == "51.2\u00a0% to 52.7\u00a0%"


def test_a_scale_holds_what_is_on_it_and_one_half() -> None:
    scale = share_scale([0.62, 0.78])
    assert (scale.low, scale.high) == (0.4, 0.8)
    assert [text_ for _, text_ in share_ticks(scale)] == [
        f"{n}\u00a0%" for n in (40, 50, 60, 70, 80)
    ]
    assert share_scale([0.0, 1.0]) == Scale(0.0, 1.0)
    assert scale.place(0.5) == pytest.approx(25)
    assert (scale.place(0.1), scale.place(0.9)) == (0, 100)


def test_filters_of_the_page() -> None:
    assert tab.selection("all", [], False, "person", "all") == Selection()
    assert tab.selection(None, None, False, None, None) == Selection(labeler_kind=None)
    assert tab.selection("b", ["x"], True, "model", '["after", "before"]') == Selection(
        batch="b",
        without=("x",),
        blind_only=True,
        labeler_kind="model",
        policies=("after", "before"),
    )
    for nonsense in ("after", "[1]", '{"a": 1}', "3"):
        with pytest.raises(UserError, match="two policies as a JSON list"):
            tab.selection("all", [], False, "person", nonsense)


@pytest.fixture
def client(store: Store, judge: Judge) -> Iterator[Client]:
    judge(store, "ann", ["after"] * 4 + ["skip"])
    judge(store, "bob", ["before"] * 2)
    with gr.Blocks(analytics_enabled=False) as blocks, gr.Tab("Results"):
        results_tab(store.path)
    with served(blocks) as address:
        yield Client(address, verbose=False)


def test_programs_get_the_report_and_may_filter(client: Client) -> None:
    answer, shown, *_ = client.predict(api_name="/results")
    assert answer["counts"]["skips"] == 1
    assert [rate["n"] for rate in answer["matchups"]] == [6]
    assert "lb-results" in shown
    bob = next(row["labeler"] for row in answer["labelers"] if row["picks"] == 2)
    less = client.predict("first", [bob], True, "person", "all", api_name="/results")[0]
    assert (less["matchups"][0]["n"], less["counts"]["labelers"]) == (4, 1)
    assert next(row for row in less["labelers"] if row["labeler"] == bob)["left_out"]
    assert (
        client.predict("all", [], False, "model", "all", api_name="/results")[0]["counts"][
            "labelers"
        ]
        == 0
    )


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        (["nowhere", [], False, "person", "all"], "There is no batch"),
        (["all", ["nobody"], False, "person", "all"], "There is no labeler"),
        (["all", [], False, "person", '["x", "y"]'], "There is no policy"),
        (["all", [], False, "person", "x"], "two policies as a JSON list"),
    ],
)
def test_bad_filters_get_one_sentence(client: Client, filters: list[Any], sentence: str) -> None:
    with pytest.raises(AppError, match=sentence):
        client.predict(*filters, api_name="/results")


def test_the_tab_adds_nothing_else_for_programs(client: Client) -> None:
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/results"}


def test_a_damaged_database(client: Client, store: Store) -> None:
    for path in Path(store.path.parent).glob("labels.db-*"):
        path.unlink()
    store.path.write_bytes(b"not a database at all " * 1000)
    with pytest.raises(AppError, match="damaged or not a labeling database"):
        client.predict(api_name="/results")
