"""Each labeler in numbers, and flags that careful people do not get."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from labeling.analysis.flags import MIN_PICKS, flagged, run_p_value
from labeling.analysis.frame import GOLD, REPEAT, Frame, Person
from labeling.analysis.labelers import (
    SAME,
    UNKNOWN,
    Reliability,
    _longest_runs,
    reliability,
    said_by_others,
)
from labeling.analysis.selection import Selection, select
from tests.labeling.frames import make_frame, make_pairs


def _one(found: Frame, labeler: str = "labeler-0", selection: Selection = Selection()):
    return next(row for row in reliability(found, selection) if row.labeler == labeler)


def test_picks_skips_and_seconds() -> None:
    found = make_frame(
        range(5),
        [0] * 5,
        ["a", "skip", "b", "tie", "a"],
        seconds=[1.0, 99.0, 3.0, np.nan, 8.0],
    )
    row = _one(found)
    assert (row.picks, row.skips) == (4, 1)
    assert row.median_seconds == 3.0
    assert row.p05_seconds == pytest.approx(np.percentile([1, 3, 8], 5), abs=0.01)
    assert row.timed == 3


def test_agreement_is_with_the_majority_of_the_others() -> None:
    # Pair 0: a a b; pair 1: a b; pair 2: only one; pair 3: a b tie; pair 4: b b b.
    found = make_frame(
        [0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4, 4],
        [0, 1, 2, 0, 1, 0, 0, 1, 2, 0, 1, 2],
        ["a", "a", "b", "a", "b", "a", "a", "b", "tie", "b", "b", "b"],
    )
    # Of pair 0 the others of labelers 0 and 1 are divided; in pair 3 they always are.
    assert [(row.labeler, row.agreement, row.compared) for row in reliability(found)] == [
        ("labeler-0", 0.5, 2),
        ("labeler-1", 0.5, 2),
        ("labeler-2", 0.5, 2),
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40), st.data()
)
def test_what_the_others_say_is_counted_without_the_pick_itself(
    picks: list[tuple[int, int]], data: st.DataObject
) -> None:
    pair, outcome = np.array(picks).T
    counted = np.array(data.draw(st.lists(st.booleans(), min_size=len(pair), max_size=len(pair))))
    found = select(make_frame(pair, np.arange(len(pair)), outcome))
    said = said_by_others(found, counted)
    for i in range(len(pair)):
        others = [
            outcome[j] for j in range(len(pair)) if j != i and pair[j] == pair[i] and counted[j]
        ]
        counts = sorted((others.count(label) for label in range(4)), reverse=True)
        if counts[0] == counts[1]:
            assert said[i] == UNKNOWN
        else:
            assert (said[i] == SAME) == (others.count(outcome[i]) == counts[0])


def test_those_left_out_are_told_but_have_no_vote() -> None:
    found = make_frame([0] * 4, range(4), ["a", "b", "b", "a"])
    without = Selection(without=("labeler-3",))
    row = _one(found, selection=without)
    assert (row.agreement, row.compared) == (0.0, 1)
    out = _one(found, "labeler-3", without)
    assert out.left_out and (out.agreement, out.compared) == (0.0, 1)


def test_gold_and_repeats_measure_labelers() -> None:
    pairs = make_pairs(4, gold=[0, 1, -1, -1])
    found = make_frame(
        [0, 1, 2, 3, 2, 3, 0],
        [0] * 7,
        ["a", "a", "a", "b", "a", "tie", "b"],
        pairs,
        kind=[GOLD, GOLD, 0, 0, REPEAT, REPEAT, REPEAT],
    )
    row = _one(found)
    assert (row.gold, row.gold_pairs) == (0.5, 2)
    # The repeat of the gold pair is compared with its first answer, too.
    assert (row.consistency, row.repeats) == (pytest.approx(1 / 3), 3)
    assert row.picks == 2


def test_a_repeat_without_its_first_pick_is_not_compared() -> None:
    found = make_frame([0, 1], [0, 0], ["a", "b"], kind=[REPEAT, 0])
    assert _one(found).repeats == 0
    assert _one(make_frame([0, 0], [0, 0], ["skip", "b"], kind=[0, REPEAT])).repeats == 0
    # Somebody else's pick of the pair is none of theirs.
    other = make_frame([0, 0], [0, 1], ["a", "b"], kind=[0, REPEAT])
    assert _one(other, "labeler-1").repeats == 0


@pytest.mark.parametrize(
    ("words", "seconds", "fast"),
    [(10, 1.9, 1), (10, 2.1, 0), (100, 11.9, 1), (100, 12.1, 0)],
)
def test_reading_takes_its_time(words: int, seconds: float, fast: int) -> None:
    # 2 x 10 words could be read in 1.2 s, but nobody decides in under two; 2 x 100 take 12 s.
    pairs = make_pairs(1, words_a=[words], words_b=[words])
    row = _one(make_frame([0], [0], ["a"], pairs, seconds=[seconds]))
    assert (row.fast, row.timed) == (fast, 1)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60))
def test_the_longest_run_of_each_labeler(picks: list[tuple[int, bool]]) -> None:
    picks.sort(key=lambda pick: pick[0])
    sides = np.array([side for _, side in picks], dtype=bool)
    labelers = np.array([who for who, _ in picks], dtype=np.int32)
    wanted = [
        max((len(list(run)) for _, run in groupby(s for w, s in picks if w == who)), default=0)
        for who in range(3)
    ]
    assert _longest_runs(sides, labelers, 3).tolist() == wanted


def test_runs_are_of_one_labeler_in_the_order_of_their_picks() -> None:
    found = make_frame(
        range(8),
        [0, 1, 0, 1, 0, 1, 0, 1],
        ["a", "b", "a", "tie", "a", "b", "b", "b"],
        a_left=[True] * 8,
    )
    assert _one(found).longest_run == 3
    # The tie in between is no side.
    assert _one(found, "labeler-1").longest_run == 3


def test_a_run_is_at_most_as_likely_as_it_is() -> None:
    rng = np.random.default_rng(0)
    throws = rng.random((20_000, 60)) < 0.5
    longest = np.array([max(len(list(run)) for _, run in groupby(row)) for row in throws.tolist()])
    for r in (8, 10, 12):
        assert (longest >= r).mean() <= run_p_value(r, 60) * 1.15
    assert run_p_value(10, 60) == pytest.approx((longest >= 10).mean(), rel=0.35)
    assert run_p_value(61, 60) == 0.0
    assert run_p_value(1, 60) == 1.0


def _row(**known) -> Reliability:
    plain = dict.fromkeys(
        [
            "median_seconds",
            "p05_seconds",
            "agreement",
            "gold",
            "consistency",
            "left",
            "left_p",
            "fast",
            "practice",
        ]
    )
    counts = dict.fromkeys(
        [
            "picks",
            "skips",
            "compared",
            "gold_pairs",
            "repeats",
            "decided",
            "longest_run",
            "timed",
            "practised",
        ],
        0,
    )
    return Reliability(
        **(plain | counts | {"labeler": "labeler-x", "kind": "person", "left_out": False} | known)
    )


CAREFUL = {"agreement": 0.78, "compared": 400, "consistency": 0.85, "repeats": 40}


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({"left": 0.9, "decided": 60}, "Picks the left side in 90 % of 60 decided picks"),
        ({"left": 0.05, "decided": 60}, "Picks the right side in 95 %"),
        ({"left": 0.5, "decided": 60, "longest_run": 25}, "same side 25 times in a row"),
        (
            {"fast": 0.6, "timed": 50, "median_seconds": 1.5},
            "60 % of 50 timed picks were faster than the two summaries can be read; the median is"
            " 1.5 s",
        ),
        ({"gold": 0.2, "gold_pairs": 15}, "known answer on 20 % of 15 gold pairs"),
        ({"agreement": 0.5, "compared": 400}, "on 50 % of 400 pairs, nearer to a coin than to the"),
        ({"consistency": 0.4, "repeats": 60}, "again on 40 % of 60 repeated pairs"),
    ],
)
def test_flags_say_why(known: dict, sentence: str) -> None:
    others = [_row(**CAREFUL) for _ in range(3)]
    found = flagged([_row(**known), *others])
    assert len(found[0].flags) == 1
    assert sentence in found[0].flags[0]
    assert all(row.flags == () for row in found[1:])


@pytest.mark.parametrize(
    "known",
    [
        {"left": 1.0, "decided": MIN_PICKS - 1, "longest_run": MIN_PICKS - 1},
        {"fast": 1.0, "timed": MIN_PICKS - 1, "median_seconds": 0.3},
        {"gold": 0.0, "gold_pairs": 7},
        {"agreement": 0.0, "compared": MIN_PICKS - 1},
        {"consistency": 0.0, "repeats": 7},
        # Sure, but small: 52 % of very many picks.
        {"left": 0.52, "decided": 100_000},
    ],
)
def test_few_picks_and_small_effects_condemn_nobody(known: dict) -> None:
    assert flagged([_row(**known), _row(**CAREFUL), _row(**CAREFUL)])[0].flags == ()


def test_where_everybody_fails_the_gold_answers_are_in_doubt() -> None:
    wrong = [_row(gold=0.4, gold_pairs=60) for _ in range(4)]
    assert all(row.flags == () for row in flagged(wrong))
    assert flagged([_row(gold=0.4, gold_pairs=60)])[0].flags != ()


def test_a_model_may_be_as_fast_as_it_is() -> None:
    row = _row(fast=1.0, timed=500, median_seconds=0.2, kind="model")
    assert flagged([row])[0].flags == ()


def test_where_pairs_are_hard_nobody_is_blamed() -> None:
    hard = [_row(agreement=0.49, compared=2000, consistency=0.5, repeats=300) for _ in range(4)]
    assert all(row.flags == () for row in flagged(hard))


def test_a_single_labeler_has_nobody_to_be_compared_with() -> None:
    assert flagged([_row(agreement=0.1, compared=500, consistency=0.2, repeats=90)])[0].flags == ()


def _project(seed: int, people: int, pairs: int, careless: int = 0) -> Frame:
    """`careless` of the labelers pick sides without reading; the others are right 8 in 10."""
    rng = np.random.default_rng(seed)
    pair = np.tile(np.arange(pairs), people)
    labeler = np.repeat(np.arange(people), pairs)
    truth = rng.integers(0, 2, pairs)[pair]
    guessed = labeler < careless
    right = rng.random(len(pair)) < np.where(guessed, 0.5, 0.8)
    outcome = np.where(right, truth, 1 - truth)
    return make_frame(
        pair,
        labeler,
        outcome,
        a_left=rng.random(len(pair)) < 0.5,
        seconds=rng.lognormal(2.3, 0.4, len(pair)),
    )


def test_careful_people_are_hardly_ever_flagged() -> None:
    projects = [flagged(reliability(_project(seed, 10, 80))) for seed in range(60)]
    assert sum(any(row.flags for row in rows) for rows in projects) <= 3


def test_those_who_guess_are_found() -> None:
    found = flagged(reliability(_project(3, 8, 400, careless=2)))
    assert {row.labeler for row in found if row.flags} == {"labeler-0", "labeler-1"}


def test_left_p_values_are_adjusted_for_all_labelers() -> None:
    found = make_frame(
        range(40),
        [0] * 20 + [1] * 20,
        ["a"] * 40,
        a_left=[True] * 16 + [False] * 4 + [True, False] * 10,
    )
    row = _one(found)
    assert row.left == 0.8
    assert row.left_p == pytest.approx(2 * binomtest(16, 20).pvalue)


def test_models_are_rows_of_their_own() -> None:
    people = (Person(1, "ann", "p", "person"), Person(2, "judge", "m", "model"))
    found = make_frame([0, 1], [0, 1], ["a", "b"], people=people)
    assert [row.labeler for row in reliability(found)] == ["p"]
    both = reliability(found, Selection(labeler_kind=None))
    assert {(row.labeler, row.kind) for row in both} == {("p", "person"), ("m", "model")}
