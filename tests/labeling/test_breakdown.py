"""Where a preference holds: slices, their order, and verdicts that allow for their number."""

from __future__ import annotations

import numpy as np
import pytest

from labeling.analysis import breakdown as module
from labeling.analysis.breakdown import breakdown, length_codes
from labeling.analysis.frame import Frame
from labeling.analysis.judged import judged
from labeling.analysis.selection import select
from labeling.analysis.win_rates import matchup
from tests.labeling.frames import make_frame, make_pairs


def _slices(found: Frame):
    return breakdown(matchup(judged(select(found), resamples=2000), "after", "before"))


def test_slices_by_topic_and_tone() -> None:
    pairs = make_pairs(
        60,
        topic=np.arange(60) % 2,
        tone=np.full(60, -1),
        topics=("work", "home"),
    )
    pair = np.arange(60)
    # "after" is the second candidate: it wins at work and loses at home.
    outcome = np.where(pair % 2 == 0, 1, 0)
    outcome[:4] = 1
    found = {part.name: part for part in _slices(make_frame(pair, [0] * 60, outcome, pairs))}
    assert set(found) == {"work", "home"}
    assert found["work"].dimension == "topic"
    assert (found["work"].share.rate, found["work"].share.n) == (1.0, 30)
    assert found["home"].share.rate == pytest.approx(2 / 30)
    assert (found["work"].verdict, found["home"].verdict) == ("higher", "lower")


def test_slices_without_a_topic_are_told_last() -> None:
    pairs = make_pairs(12, topic=[0, -1] * 6, topics=("work",))
    found = _slices(make_frame(range(12), [0] * 12, ["b"] * 12, pairs))
    assert [part.name for part in found] == ["work", module.UNKNOWN]


def test_small_slices_are_put_together() -> None:
    n = 40
    pairs = make_pairs(n, topic=np.arange(n) % 20, topics=tuple(f"t{i}" for i in range(20)))
    pair = np.concatenate([np.arange(n), np.arange(10)])
    labeler = np.concatenate([np.zeros(n, int), np.ones(10, int)])
    found = _slices(make_frame(pair, labeler, ["b", "a"] * 25, pairs))
    assert len(found) == module.SLICES_SHOWN
    assert found[-1].name == module.OTHER
    assert {f"t{i}" for i in range(10)} <= {part.name for part in found}
    assert sum(part.share.n for part in found) == 50


def test_verdicts_allow_for_the_number_of_slices() -> None:
    rng = np.random.default_rng(0)
    n, k = 12 * 40, 12
    topic = np.arange(n) % k
    pairs = make_pairs(n, topic=topic, topics=tuple(f"t{i}" for i in range(k)))
    clear = 0
    alone = 0
    for _ in range(15):
        found = _slices(make_frame(np.arange(n), np.zeros(n, int), rng.integers(0, 2, n), pairs))
        clear += any(part.verdict != "inconclusive" for part in found)
        alone += any(part.share.verdict != "inconclusive" for part in found)
    # Nothing is to be found; of twelve slices one or another looks clear by itself in half of all
    # projects.
    assert clear <= 3 < alone


@pytest.mark.parametrize(
    ("words_after", "words_before", "wanted"),
    [(8, 10, 1), (7, 10, 0), (12, 10, 1), (13, 10, 2), (0, 0, 1), (1, 0, 2)],
)
def test_lengths_are_compared_in_words(words_after: int, words_before: int, wanted: int) -> None:
    for oriented, a, b in ((1, words_after, words_before), (0, words_before, words_after)):
        found = make_frame([0], [0], ["a"], make_pairs(1, words_a=[a], words_b=[b]))
        assert length_codes(found, np.array([oriented], dtype=np.int8)).tolist() == [wanted]


def test_length_is_a_dimension() -> None:
    pairs = make_pairs(20, words_b=[5] * 10 + [30] * 10)
    found = _slices(make_frame(range(20), [0] * 20, ["b"] * 10 + ["a"] * 10, pairs))
    rates = {part.name: part.share.rate for part in found if part.dimension == "length"}
    assert rates == {"shorter": 1.0, "longer": 0.0}


def test_many_clear_slices_of_many_prompts_stay_clear() -> None:
    # The smallest p-value that the draws can give must survive the adjustment for all slices.
    rng = np.random.default_rng(1)
    n, k = 12_000, 12
    pairs = make_pairs(
        n,
        topic=rng.integers(0, k, n),
        tone=rng.integers(0, k, n),
        batch=rng.integers(0, k, n),
        split=rng.integers(0, 3, n),
        words_b=rng.choice([5, 10, 30], n),
        topics=tuple(f"t{i}" for i in range(k)),
        tones=tuple(f"o{i}" for i in range(k)),
        batches=tuple(f"b{i}" for i in range(k)),
    )
    outcome = (rng.random(n) < 0.8).astype(int)
    found = breakdown(
        matchup(
            judged(select(make_frame(np.arange(n), np.arange(n) % 9, outcome, pairs))),
            "after",
            "before",
        )
    )
    assert len(found) == 42
    assert {part.verdict for part in found} == {"higher"}
