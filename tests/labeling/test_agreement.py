"""Agreement measures against published and hand-computed numbers."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from labeling.analysis import agreement as measures
from labeling.analysis import cohen
from labeling.analysis.agreement import (
    Rating,
    agreement,
    agreement_of,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    measure,
    raw_agreement,
    raw_of,
)
from labeling.analysis.bootstrap import drawn
from labeling.analysis.selection import select
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Judge
from tests.labeling.frames import make_frame

# Fleiss (1971), as worked through on Wikipedia, "Fleiss' kappa": 10 subjects, 14 raters.
FLEISS = np.array(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


def _ratings(*raters: str) -> list[Rating]:
    """One string of labels per rater; a dot is a unit they did not rate."""
    return [
        (unit, rater, label)
        for rater, labels in enumerate(raters)
        for unit, label in enumerate(labels)
        if label != "."
    ]


def test_cohen_kappa_of_the_grant_proposals() -> None:
    # Wikipedia, "Cohen's kappa": 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no.
    first = "y" * 25 + "n" * 25
    second = "y" * 20 + "n" * 5 + "y" * 10 + "n" * 15
    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_cohen_kappa_where_it_is_undefined_or_misused() -> None:
    assert cohen_kappa("aaa", "aaa") is None
    assert cohen_kappa("", "") is None
    with pytest.raises(ValueError, match="3 != 2"):
        cohen_kappa("aaa", "aa")


def test_fleiss_kappa_of_the_published_example() -> None:
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_fleiss_kappa_needs_even_ratings() -> None:
    with pytest.raises(ValueError, match="same number of ratings"):
        fleiss_kappa(np.array([[2, 0], [2, 1]]))
    with pytest.raises(ValueError, match="two or more"):
        fleiss_kappa(np.array([[1, 0]]))
    assert fleiss_kappa(np.array([[2, 0], [2, 0]])) is None


def test_krippendorff_alpha_of_two_observers() -> None:
    # Krippendorff (2011), section A.
    assert krippendorff_alpha(_ratings("0100000010", "1110010000")) == pytest.approx(
        0.095, abs=5e-4
    )


def test_krippendorff_alpha_with_missing_ratings() -> None:
    # Krippendorff (2011), section C: four observers, 12 units, nominal.
    ratings = _ratings(
        "123321412...", "1233224125.3", ".3332342251.", "1233244125 1.".replace(" ", "")
    )
    assert krippendorff_alpha(ratings) == pytest.approx(0.743, abs=5e-4)


def test_krippendorff_alpha_where_it_is_undefined() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha(_ratings("aaa", "aaa")) is None
    assert krippendorff_alpha(_ratings("ab.", "..a")) is None


def test_raw_agreement_is_over_pairs_of_raters() -> None:
    # Unit 0: 1 of 3 pairs agrees; unit 1: the one pair agrees; unit 2 has one rater.
    assert raw_agreement(_ratings("aba", "ab.", "b..")) == pytest.approx(2 / 4)
    assert raw_agreement(_ratings("ab", "..")) is None


def test_all_measures_of_the_record(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after", "after", "after", "before", "tie", "skip"], seed=1)
    with store.reading() as db:
        wanted = {
            r["dialogue"]: r["chosen_policy"] or r["choice"]
            for r in db.query("SELECT * FROM preferences")
        }
    # Ben sees the pairs in another order and on other sides; he differs on one pair only.
    differing = next(name for name, answer in wanted.items() if answer == "before")
    rng = random.Random(9)
    while task := next_pair(store, "ben", rng):
        answer = "after" if task.dialogue == differing else wanted[task.dialogue]
        if answer in ("before", "after"):
            left_is_after = task.left.startswith("They disagree")
            answer = "left" if left_is_after == (answer == "after") else "right"
        submit(store, task.assignment_id, answer)
    found = agreement(store)
    assert (found.pairs, found.labelers) == (5, 2)
    assert found.raw == pytest.approx(4 / 5)
    # Ann: 3 after, 1 before, 1 tie; Ben: 4 after, 1 tie. Expected (12 + 1) / 25.
    assert found.cohen == pytest.approx((0.8 - 0.52) / 0.48)
    # Labels 7 after, 1 before, 2 tie: D_o = 2, D_e = 100 - 54 = 46, alpha = 1 - 9 * 2 / 46.
    assert found.alpha == pytest.approx(1 - 18 / 46)
    # Fleiss: expected (49 + 1 + 4) / 100.
    assert found.fleiss == pytest.approx((0.8 - 0.54) / 0.46)


def test_nobody_overlaps(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"])
    found = agreement(store)
    assert (found.pairs, found.raw, found.alpha, found.cohen) == (0, None, None, None)


def test_uneven_overlap_has_no_fleiss_kappa() -> None:
    found = measure(_ratings("abab", "abaa", "a..."))
    assert found.fleiss is None
    assert found.alpha is not None


def _random_ratings(seed: int, units: int, raters: int, share: float, k: int = 3) -> list[Rating]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, units)
    return [
        (unit, rater, int(truth[unit] if rng.random() < 0.6 else rng.integers(0, k)))
        for unit in range(units)
        for rater in range(raters)
        if rng.random() < share
    ]


def _alpha_by_coincidences(ratings: list[Rating]) -> float:
    """Krippendorff (2011), section C, from its matrix of coincidences."""
    by_unit: dict[object, list[object]] = {}
    for unit, _, label in ratings:
        by_unit.setdefault(unit, []).append(label)
    together: Counter[tuple[object, object]] = Counter()
    for labels in by_unit.values():
        for first, second in permutations(range(len(labels)), 2):
            together[labels[first], labels[second]] += 1 / (len(labels) - 1)
    n_c: Counter[object] = Counter()
    for (first, _), count in together.items():
        n_c[first] += count
    n = sum(n_c.values())
    observed = sum(count for (a, b), count in together.items() if a != b)
    expected = sum(n_c[a] * n_c[b] for a, b in permutations(n_c, 2)) / (n - 1)
    return 1 - observed / expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 6), st.floats(0.3, 1))
def test_alpha_is_that_of_the_coincidence_matrix(
    seed: int, units: int, raters: int, share: float
) -> None:
    ratings = _random_ratings(seed, units, raters, share)
    found = measure(ratings)
    if found.alpha is not None:
        assert found.alpha == pytest.approx(_alpha_by_coincidences(ratings))


def test_cohen_kappa_is_the_mean_over_raters_weighted_by_what_they_share() -> None:
    ratings = _random_ratings(4, 60, 5, 0.6)
    given_ = {(unit, rater): label for unit, rater, label in ratings}
    total = weight = 0.0
    for first, second in combinations(range(5), 2):
        shared = [u for u in range(60) if (u, first) in given_ and (u, second) in given_]
        kappa = cohen_kappa_score(
            [given_[u, first] for u in shared], [given_[u, second] for u in shared]
        )
        total, weight = total + kappa * len(shared), weight + len(shared)
    assert measure(ratings).cohen == pytest.approx(total / weight, abs=1e-6)


def test_raters_who_only_used_one_label_do_not_count_for_kappa() -> None:
    # Raters 0 and 1 agree on nothing but one label; 0 and 2 have a kappa.
    ratings = _ratings("aaaabb", "aaaa..", "aabbbb")
    shared = cohen_kappa_score(list("aaaabb"), list("aabbbb"))
    found = measure(ratings).cohen
    both = cohen_kappa_score(list("aaaa"), list("aabb"))
    assert found == pytest.approx((6 * shared + 4 * both) / 10, abs=1e-6)


def test_of_many_raters_those_with_most_ratings_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ratings = _random_ratings(7, 40, 6, 0.7)
    counts = Counter(rater for _, rater, _ in ratings)
    monkeypatch.setattr(cohen, "RATERS_COMPARED", 3)
    most = sorted(counts, key=lambda rater: (-counts[rater], rater))[:3]
    few = measure([rating for rating in ratings if rating[1] in most])
    found = measure(ratings).cohen
    # Units that only one of the three rated are no part of either.
    assert found == pytest.approx(few.cohen, abs=1e-6)


def test_of_many_units_a_part_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    ratings = _random_ratings(3, 1500, 3, 1.0)
    whole = measure(ratings)
    monkeypatch.setattr(cohen, "UNITS_COMPARED", 900)
    part = measure(ratings)
    assert part.cohen != whole.cohen
    assert part.cohen == pytest.approx(whole.cohen, abs=0.03)
    # Fewer units, and an interval that says so.
    widths = [found.cohen_interval[1] - found.cohen_interval[0] for found in (part, whole)]
    assert widths[0] / widths[1] == pytest.approx((1500 / 900) ** 0.5, abs=0.25)


def test_intervals_are_those_of_resampled_units_written_out() -> None:
    ratings = _random_ratings(11, 25, 4, 0.8)
    found = measure(ratings)
    by_unit: dict[object, list[Rating]] = {}
    for rating in ratings:
        by_unit.setdefault(rating[0], []).append(rating)
    shared = [unit for unit, some in by_unit.items() if len(some) > 1]
    counts = drawn(len(shared), 10_000)
    raws, alphas, kappas = [], [], []
    for r in range(300):
        again = [
            ((unit, copy), rater, label)
            for place, unit in enumerate(shared)
            for copy in range(counts[place, r])
            for _, rater, label in by_unit[unit]
        ]
        point = _points(again)
        raws.append(point[0])
        alphas.append(point[1])
        kappas.append(point[2])
    for values, interval in (
        (raws, found.raw_interval),
        (alphas, found.alpha_interval),
        (kappas, found.cohen_interval),
    ):
        assert interval is not None
        # 300 of the 10,000 resamples find the interval's ends to about a tenth of its width.
        wanted = np.percentile(values, [2.5, 97.5])
        assert interval == pytest.approx(tuple(wanted), abs=0.15 * (interval[1] - interval[0]))


def _points(ratings: list[Rating]) -> tuple[float, float, float]:
    """Raw agreement, alpha and kappa without their intervals."""
    units = measures._places([rating[0] for rating in ratings])
    raters = measures._places([rating[1] for rating in ratings])
    labels = measures._places([rating[2] for rating in ratings])
    counts = np.zeros((units.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (units, labels), 1)
    whole = measures._totals(counts).sum(axis=0)[:, None]
    tables = cohen._confusions(units, raters, labels, raters.max() + 1, labels.max() + 1, 1)
    kappa = cohen._weighted_kappa(tables.sum(axis=0, keepdims=True))[0]
    return measures._raw(whole)[0], measures._alpha(whole)[0], kappa


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # Two raters who agree on each unit with 0.7.
    covered = 0
    for seed in range(60):
        agreed = np.random.default_rng(seed).random(120) < 0.7
        ratings = [(u, r, "a" if r == 0 or agreed[u] else "b") for u in range(120) for r in (0, 1)]
        low, high = measure(ratings).raw_interval or (0, 0)
        covered += low <= 0.7 <= high
    assert 52 <= covered <= 60


def test_perfect_agreement_is_not_certainty() -> None:
    found = measure(_ratings("abababab", "abababab"))
    assert (found.raw, found.cohen, found.alpha, found.fleiss) == (1.0, 1.0, 1.0, 1.0)
    assert found.raw_interval == pytest.approx((0.025 ** (1 / 8), 1.0))
    assert found.alpha_interval is None and found.cohen_interval is None


def test_groups_of_units_give_the_interval_of_single_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pair, labeler = np.repeat(np.arange(3000), 3), np.tile(np.arange(3), 3000)
    outcome = np.where(rng.random(9000) < 0.7, (pair % 2), rng.integers(0, 4, 9000))
    picks = select(make_frame(pair, labeler, outcome))
    grouped = agreement_of(picks)
    monkeypatch.setattr(measures, "EXACT_PROMPTS", 3000)
    monkeypatch.setattr(cohen, "_GROUPS", (3000, 3000))
    exact = agreement_of(picks)
    assert grouped.raw_interval != exact.raw_interval
    for name in ("raw", "fleiss", "alpha", "cohen"):
        assert getattr(grouped, name) == pytest.approx(getattr(exact, name), abs=1e-6)
        one, other = (getattr(found, f"{name}_interval") for found in (grouped, exact))
        assert (one[1] - one[0]) / (other[1] - other[0]) == pytest.approx(1, abs=0.15)


def test_raw_agreement_alone_is_the_same() -> None:
    rng = np.random.default_rng(1)
    picks = select(
        make_frame(rng.permutation(np.repeat(np.arange(20), 3)), [0] * 60, rng.integers(0, 5, 60))
    )
    assert raw_of(picks) == agreement_of(picks).raw
    assert raw_of(select(make_frame([0, 1], [0, 0], ["a", "b"]))) is None
