"""Win rates of the record: counts, filters, and no verdict without grounds."""

from __future__ import annotations

import pytest

from detox.errors import UserError
from labeling.analysis.selection import select
from labeling.analysis.win_rates import matchups, win_rate
from labeling.batches import add_pairs
from labeling.picks import undo
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows
from tests.labeling.frames import make_frame, make_pairs


def test_the_win_rate_of_the_record(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "after", "before", "tie", "both_bad", "skip"], seed=2)
    judge(store, "ben", ["after"], seed=3)
    rate = win_rate(store)
    counts = (rate.wins, rate.losses, rate.ties, rate.both_bad, rate.skips)
    assert counts == (3, 1, 1, 1, 1)
    assert rate.n == 6
    assert rate.rate == pytest.approx((3 + 0.5 + 0.5) / 6)
    assert rate.labelers == 2
    assert rate.verdict == "inconclusive"
    mirrored = win_rate(store, "before", "after")
    assert mirrored.rate == pytest.approx(1 - (4 / 6))
    assert (mirrored.wins, mirrored.losses) == (1, 3)


def test_undone_picks_do_not_count(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "after"])
    undo(store, "ann")
    assert win_rate(store).n == 1


def test_a_win_rate_is_of_one_batch_and_two_policies(
    store: Store, rows: Rows, judge: Judge
) -> None:
    judge(store, "ann", ["after"] * 6)
    assert win_rate(store, batch="first").n == 6
    with pytest.raises(UserError, match="no batch 'other': use one of 'first'"):
        win_rate(store, batch="other")
    empty = win_rate(store, after="ppo-2")
    assert (empty.n, empty.rate, empty.low, empty.verdict) == (0, None, None, "inconclusive")
    with pytest.raises(UserError, match="with itself"):
        win_rate(store, "after", "after")


def test_unanimous_labelers_of_enough_pairs_decide(
    fresh_store: Store, judge: Judge, rows: Rows
) -> None:
    add_pairs(fresh_store, rows(12), "b")
    judge(fresh_store, "ann", ["after"] * 12)
    rate = win_rate(fresh_store)
    assert (rate.rate, rate.verdict) == (1.0, "higher")
    assert rate.low == pytest.approx(0.025 ** (1 / 12))


def test_repeats_and_models_are_no_votes(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 3)
    judge(store, "ben", ["before"] * 2)
    with store.writing() as db:
        db.execute("UPDATE labelers SET kind = 'model' WHERE name = 'ben'")
    assert (win_rate(store).n, win_rate(store).rate) == (3, 1.0)


def test_which_policies_were_compared_most() -> None:
    pairs = make_pairs(
        4, policy_a=[0, 1, 2, 1], policy_b=[1, 0, 1, 1], policies=("before", "after", "later")
    )
    found = make_frame([0, 1, 1, 2, 3], [0, 0, 1, 0, 0], ["b", "b", "a", "a", "b"], pairs)
    assert matchups(select(found)) == [("after", "before"), ("after", "later")]


def test_two_texts_of_one_policy_are_no_comparison() -> None:
    found = make_frame([0], [0], ["a"], make_pairs(1, policy_b=[0]))
    assert matchups(select(found)) == []
