"""Whether the left side wins more often than it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from labeling.analysis.judged import judged
from labeling.analysis.position import fair_coin, position
from labeling.analysis.selection import select
from tests.labeling.frames import make_frame


@given(st.integers(1, 400), st.data())
def test_the_exact_test_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    assert float(fair_coin(k, n)) == pytest.approx(binomtest(k, n).pvalue, rel=1e-6)


def test_no_throws_prove_nothing() -> None:
    assert fair_coin([0, 3], [0, 3]).tolist() == [1.0, 0.25]


def test_only_decided_picks_have_a_side() -> None:
    # The first candidate stands left in the even rows.
    found = position(
        judged(select(make_frame(range(6), [0] * 6, ["a", "a", "b", "tie", "a", "skip"])))
    )
    assert (found.picks, found.left) == (4, 2)
    assert found.share == 0.5
    assert found.p == 1.0


def test_one_labelers_habit_is_no_law() -> None:
    n = 400
    labeler = np.arange(n) % 4
    left = np.where(labeler == 0, True, np.arange(n) // 4 % 2 == 0)
    a_left = np.ones(n, bool)
    found = position(
        judged(select(make_frame(np.arange(n) // 4, labeler, np.where(left, 0, 1), a_left=a_left)))
    )
    assert found.share == pytest.approx(0.625)
    assert found.p is not None and found.p < 1e-6
    # Over labelers the interval is wide: three of four have no such habit.
    assert found.low is not None and found.high is not None
    assert found.low <= 0.5 < found.high


def test_nobody_has_picked_a_side() -> None:
    found = position(judged(select(make_frame([0], [0], ["tie"]))))
    assert (found.picks, found.share, found.p) == (0, None, None)
