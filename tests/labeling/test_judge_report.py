"""Agreement of judges with people, and their position bias, against reference implementations."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from detox.errors import UserError
from labeling import cli
from labeling.batches import add_pairs
from labeling.gold import mark_gold
from labeling.judge import Answer, Case, Verdict, combine, record, waiting
from labeling.judge.report import judge_reports
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.records import add_assignment, add_labeler, add_pick
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows

SETTINGS: Mapping[str, Any] = {"kind": "local", "model": "m"}
ANSWERS = ("first", "second", "tie")


def judged(store: Store, said: Mapping[str, Verdict], name: str = "judge:m") -> None:
    """Records the verdicts of ``said`` by pair; of other pairs none."""
    for case in waiting(store, name, SETTINGS):
        if case.pair_id in said:
            record(store, name, SETTINGS, case, said[case.pair_id])


def cases(store: Store) -> list[Case]:
    return waiting(store, "judge:m", SETTINGS)


def verdict(forward: str, backward: str, odds: tuple[float, float] | None = None) -> Verdict:
    one, two = odds or (None, None)
    answers = Answer(forward, one), Answer(backward, two)
    return Verdict(combine(*answers), *answers)


def prefers(case: Case, policy: str | None) -> Verdict:
    if policy is None:
        return verdict("tie", "tie")
    left_is_after = "disagree" in case.left
    return (
        verdict("first", "second")
        if left_is_after == (policy == "after")
        else verdict("second", "first")
    )


def test_agreement_is_that_of_the_reference(fresh_store: Store, rows: Rows, judge: Judge) -> None:
    add_pairs(fresh_store, rows(40), "b")
    rng = random.Random(3)
    people = ["ann", "ben", "cem"]
    for seed, person in enumerate(people):
        answers = rng.choices(["after", "before", "tie", "both_bad", "skip"], [5, 2, 1, 1, 1], k=30)
        judge(fresh_store, person, answers, seed=seed)
    said = {
        case.pair_id: prefers(case, rng.choices(["after", "before", None], [5, 2, 1])[0])
        for case in cases(fresh_store)[:35]
    }
    judged(fresh_store, said)
    (report,) = judge_reports(fresh_store)
    with fresh_store.reading() as db:
        picks = list(db.query("SELECT pair_id, labeler_id, labeler_kind, outcome FROM preferences"))
    neither = {"both_bad": "tie"}
    its = {p["pair_id"]: p["outcome"] for p in picks if p["labeler_kind"] == "model"}
    theirs = [
        (p["pair_id"], p["labeler_id"], neither.get(p["outcome"], p["outcome"]))
        for p in picks
        if p["labeler_kind"] == "person" and p["outcome"] != "skip" and p["pair_id"] in its
    ]
    both = [(its[pair], label) for pair, _, label in theirs]
    found = report.with_people
    assert (found.pairs, found.people) == (len({pair for pair, *_ in theirs}), 3)
    assert found.raw.n == len(theirs) > 50
    assert found.raw.value == pytest.approx(np.mean([a == b for a, b in both]))
    decided = [(a, b) for a, b in both if "tie" not in (a, b)]
    assert found.decided.n == len(decided)
    assert found.decided.value == pytest.approx(np.mean([a == b for a, b in decided]))
    kappa = cohen_kappa_score(*zip(*both, strict=True))
    assert found.kappa.value == pytest.approx(kappa, abs=1e-9)
    for estimate in (found.raw, found.decided, found.kappa, found.among_people):
        assert estimate.value is not None and estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
    pairs = [
        (one, two)
        for i, (pair, _, one) in enumerate(theirs)
        for other, _, two in theirs[:i]
        if pair == other
    ]
    assert found.among_people.value == pytest.approx(np.mean([a == b for a, b in pairs]))


def test_picks_of_one_person_hang_together(fresh_store: Store, rows: Rows, judge: Judge) -> None:
    # One person always agrees and one never does: with two people that says little.
    add_pairs(fresh_store, rows(30), "b")
    judge(fresh_store, "ann", ["after"] * 30)
    judge(fresh_store, "ben", ["before"] * 30)
    judged(fresh_store, {case.pair_id: prefers(case, "after") for case in cases(fresh_store)})
    (report,) = judge_reports(fresh_store)
    raw = report.with_people.raw
    assert (raw.value, raw.n) == (0.5, 60)
    # As if independent it would be ±0.13.
    assert raw.low == 0 and raw.high == 1


def test_a_judge_that_says_what_people_say(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 3 + ["before"] * 3)
    with store.reading() as db:
        ann = {row["pair_id"]: row for row in db.query("SELECT * FROM preferences")}
    said = {
        case.pair_id: prefers(case, str(ann[case.pair_id]["chosen_policy"]))
        for case in cases(store)
    }
    judged(store, said)
    (report,) = judge_reports(store)
    found = report.with_people
    assert found.raw.value == found.decided.value == found.kappa.value == 1
    assert found.raw.low is not None and 0.5 < found.raw.low < 1
    assert (found.kappa.low, found.among_people.value) == (None, None)
    (rate,) = report.win_rates
    assert (rate.after, rate.before, rate.wins, rate.losses) == ("after", "before", 3, 3)


def test_without_people_there_is_no_agreement(store: Store) -> None:
    judged(store, {case.pair_id: prefers(case, "after") for case in cases(store)})
    (report,) = judge_reports(store)
    found = report.with_people
    assert (found.pairs, found.people) == (0, 0)
    assert found.raw.value is found.kappa.value is found.decided.value is None
    assert report.gold.value is None


def test_repeats_gold_and_informed_rules_are_those_of_results(store: Store, judge: Judge) -> None:
    first = cases(store)[0]
    mark_gold(store, first.pair_id, "both_bad")
    judge(store, "ann", ["after"] * 5)
    said = {case.pair_id: prefers(case, "after") for case in cases(store)}
    judged(store, said | {first.pair_id: verdict("tie", "tie")})
    judged(store, said, "judge:wrong")
    one, two = judge_reports(store)
    # People's picks on gold pairs and the judge's are no votes; its tie is right: neither is good.
    assert one.with_people.raw.n == two.with_people.raw.n == 5
    assert (one.gold.value, one.gold.n, two.gold.value) == (1.0, 1, 0.0)
    assert one.gold.low == pytest.approx(0.025) and two.gold.high == pytest.approx(0.975)
    assert one.picks == 6 and one.win_rates[0].n == 5


def test_position_bias_is_tested_over_pairs(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(60), "b")
    rng = random.Random(1)
    both = {
        case.pair_id: (rng.choices(ANSWERS, [6, 2, 1])[0], rng.choices(ANSWERS, [6, 2, 1])[0])
        for case in cases(fresh_store)
    }
    judged(fresh_store, {pair: verdict(*answers) for pair, answers in both.items()})
    (report,) = judge_reports(fresh_store)
    bias = report.position
    assert bias is not None
    flat = [answer for answers in both.values() for answer in answers]
    assert (bias.pairs, bias.first, bias.second, bias.ties) == (
        60,
        flat.count("first"),
        flat.count("second"),
        flat.count("tie"),
    )
    assert bias.share.value == pytest.approx(bias.first / (bias.first + bias.second))
    worth = {"first": 1, "second": -1, "tie": 0}
    scores = [worth[one] + worth[two] for one, two in both.values()]
    leaning, moved = sum(s > 0 for s in scores), sum(s != 0 for s in scores)
    assert bias.p == pytest.approx(binomtest(leaning, moved).pvalue)
    same = [{one, two} == {"first", "second"} or one == two == "tie" for one, two in both.values()]
    assert bias.consistent.value == pytest.approx(np.mean(same))
    for estimate in (bias.share, bias.consistent):
        assert estimate.value is not None and estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
    assert bias.lean is None


def test_a_judge_without_bias_has_none(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(60), "b")
    judged(fresh_store, {case.pair_id: prefers(case, "after") for case in cases(fresh_store)})
    bias = judge_reports(fresh_store)[0].position
    assert bias is not None
    assert (bias.share.value, bias.p, bias.consistent.value) == (0.5, 1.0, 1.0)
    assert bias.share.low is not None and bias.share.high is not None
    # Its answers are no coin: that one half is known far better than from 120 throws.
    assert bias.share.high - bias.share.low < 0.1


def test_a_judge_that_always_says_a_is_found_out(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(20), "b")
    always = verdict("first", "first", (2.0, 1.0))
    judged(fresh_store, {case.pair_id: always for case in cases(fresh_store)})
    (report,) = judge_reports(fresh_store)
    bias = report.position
    assert bias is not None
    assert (bias.share.value, bias.consistent.value, bias.lean) == (1.0, 0.0, 1.5)
    assert bias.p == pytest.approx(2 * 0.5**20)


def test_an_undone_pick_and_other_batches_do_not_count(store: Store, rows: Rows) -> None:
    from labeling.picks import undo

    add_pairs(store, rows(4, start=6), "second")
    judged(store, {case.pair_id: prefers(case, "after") for case in cases(store)})
    assert undo(store, "judge:m") is not None
    (report,) = judge_reports(store)
    assert report.picks == 9 and report.position is not None and report.position.pairs == 9
    both = [judge_reports(store, batch)[0] for batch in ("first", "second")]
    assert sum(report.picks for report in both) == 9
    assert [report.position.pairs for report in both if report.position] == [
        report.picks for report in both
    ]


def test_models_whose_picks_were_imported_are_reported_without_a_version(store: Store) -> None:
    (case, *_) = cases(store)
    with store.writing() as db:
        labeler = add_labeler(db, "elsewhere", kind="model")
        assignment = add_assignment(
            db, case.pair_id, labeler, case.left_candidate, case.right_candidate
        )
        add_pick(db, {"uuid": "u", "assignment_id": assignment, "choice": "tie"})
    judged(store, {case.pair_id: prefers(case, "after") for case in cases(store)})
    mine, other = judge_reports(store)
    assert (mine.judge, mine.settings) == ("judge:m", SETTINGS)
    assert (other.judge, other.version, other.settings, other.position) == (
        "elsewhere",
        None,
        None,
        None,
    )
    assert [r.judge for r in judge_reports(store, judge="elsewhere")] == ["elsewhere"]


def test_people_are_no_judges(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    with pytest.raises(UserError, match="No model has judged"):
        judge_reports(store)
    with pytest.raises(UserError, match="No judge 'ann'"):
        judge_reports(store, judge="ann")
    with pytest.raises(UserError, match="no batch 'none'"):
        judge_reports(store, "none")


def test_the_report_is_told_and_is_json(
    store: Store, judge: Judge, capsys: pytest.CaptureFixture[str]
) -> None:
    mark_gold(store, cases(store)[0].pair_id, "a")
    judge(store, "ann", ["after"] * 5)
    judge(store, "ben", ["after"] * 3)
    judged(store, {case.pair_id: prefers(case, "after") for case in cases(store)})
    arguments = ["judge", "--report", "--db", str(store.path)]
    assert cli.main(arguments) == 0
    told = capsys.readouterr().out
    for part in (
        "judge:m: 6 pairs judged, 0 ties",
        "'after' against 'before': win rate 100.0%",
        "of 8 picks by 2 people on 5 pairs",
        "People among themselves on these pairs: 100.0%",
        "Gold: 0.0%",
        "what stands first wins 50.0%",
        "both orders agree on 100.0%",
    ):
        assert part in told
    assert cli.main([*arguments, "--json", "--name", "judge:m", "--batch", "first"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["judges"]
    assert found["judge"] == "judge:m" and found["settings"] == dict(SETTINGS)
    assert found["with_people"]["raw"]["value"] == 1
    assert set(found["position"]) >= {"share", "p", "consistent", "first", "second", "ties"}
    assert found["win_rates"][0]["rate"] == 1


def test_a_pick_that_a_person_changes_is_counted_once(store: Store) -> None:
    task = next_pair(store, "ann", random.Random(0))
    assert task is not None
    submit(store, task.assignment_id, "left", labeler="ann")
    submit(store, task.assignment_id, "tie", labeler="ann")
    judged(store, {case.pair_id: verdict("tie", "tie") for case in cases(store)})
    found = judge_reports(store)[0].with_people
    assert (found.raw.value, found.raw.n) == (1.0, 1)
