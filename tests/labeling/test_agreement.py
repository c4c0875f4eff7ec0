"""Agreement measures against published and hand-computed numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from labeling.agreement import (
    Rating,
    agreement,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    measure,
    raw_agreement,
)
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store
from tests.labeling.conftest import Judge

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
