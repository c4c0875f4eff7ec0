"""The Results tab's numbers and words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from labeling.batches import add_pairs
from labeling.ranking import win_rate
from labeling.store import Store
from labeling.ui.results import left_share, matchups, page, report, verdict_words
from tests.labeling.conftest import Judge, Rows
from tests.labeling.test_ui_pages import Elements


def text(store: Store) -> str:
    return " ".join(Elements(page(report(store))).text.split())


def test_an_empty_project_says_what_to_do(fresh_store: Store, store: Store) -> None:
    assert "No picks yet" in text(store)
    assert "judge a few pairs" in text(store)


def test_a_project_without_pairs(fresh_store: Store) -> None:
    assert "python -m labeling pairs FILE" in text(fresh_store)


def test_counts(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "skip"])
    judge(store, "bob", ["after"])
    counts = report(store).counts
    assert (counts.pairs, counts.picks, counts.labelers) == (6, 6, 2)
    assert (counts.ties, counts.both_bad, counts.skips) == (1, 1, 1)
    assert counts.left + counts.right == 3


def test_the_win_rate_with_its_interval_and_the_plan(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    told = text(store)
    rate = win_rate(store)
    assert rate.verdict == "higher" and rate.low is not None
    assert "People prefer “after”" in told
    assert "100 % win rate of after" in told
    assert f"95 % interval {100 * rate.low:.0f} % to 100 %" in told
    assert "6 for “after”, 0 for “before”" in told
    assert "±10 points 6 of 96, 90 to go" in told
    assert "±5 points 6 of 384, 378 to go" in told
    assert "With one labeler" in told


def test_a_plan_that_is_reached(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    found = report(store)
    many = replace(found, matchups=(replace(found.matchups[0], n=100, labelers=2),))
    told = " ".join(Elements(page(many)).text.split())
    assert "100 of 96, reached" in told
    assert "With one labeler" not in told


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


def test_agreement_needs_two_labelers(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    assert "Nobody has judged a pair that another labeler judged too" in text(store)
    judge(store, "bob", ["after"] * 5 + ["before"])
    told = text(store)
    assert "Agreement 83 % of the time, 2 labelers said the same on the 6 pairs" in told
    assert "Krippendorff's α" in told


def test_the_share_of_left_picks() -> None:
    assert left_share(0, 0).share is None
    fair, biased = left_share(26, 24), left_share(40, 10)
    assert fair.share == 0.52 and fair.p == pytest.approx(0.888, abs=0.01)
    # Exactly, 2 * P(X >= 40) for X ~ Binomial(50, 1/2) is 2.4e-5; far out the normal
    # approximation is on the careful side.
    assert biased.p is not None and 2.4e-5 < biased.p < 5e-5
    assert left_share(1, 0).p == 1.0


def test_a_side_that_is_favoured_is_pointed_out(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["left"] * 6)
    told = text(store)
    assert "100 % of 6 decided picks went left" in told
    assert "somebody may favour a side" in told


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
    assert matchups(store) == [("before", "after"), ("later", "after")]
    assert [rate.n for rate in report(store).matchups] == [7, 2]


def test_names_are_escaped(fresh_store: Store, judge: Judge, rows: Rows) -> None:
    data = rows(6)
    for row in data:
        row["after"]["policy"] = "<script>x</script>"
    add_pairs(fresh_store, data, "b")
    judge(fresh_store, "ann", ["tie"] * 6)
    shown = page(report(fresh_store))
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_the_answer_for_programs_is_json(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "tie"])
    told = json.loads(json.dumps(report(store).answer()))
    assert told["planned_picks"] == {"0.10": 96, "0.05": 384}
    assert told["matchups"][0]["wins"] == 1
    assert told["counts"]["ties"] == 1
