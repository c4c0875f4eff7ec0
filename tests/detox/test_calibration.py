"""How sure a reward model may be: temperature, curve and error, against other ways to find them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from detox.calibration import (
    HIGHEST,
    LOWEST,
    calibration_curve,
    chance_of,
    chances,
    expected_error,
    fit_temperature,
    negative_log_likelihood,
    places,
)
from detox.classifier import calibration_error

GAPS = st.lists(
    st.floats(-20, 20, allow_nan=False).filter(lambda gap: abs(gap) > 1e-3), min_size=1, max_size=40
).map(np.array)


def drawn(n: int, temperature: float, seed: int = 0) -> np.ndarray:
    """Gaps of a model whose chances are right at ``temperature``."""
    rng = np.random.default_rng(seed)
    size = rng.normal(0, 3 * temperature, n)
    return np.where(rng.random(n) < expit(size / temperature), size, -size)


def test_chances_by_hand() -> None:
    assert chances(np.array([0.0, 2.0, -2.0]), 2.0).tolist() == pytest.approx(
        [0.5, 1 / (1 + math.exp(-1)), 1 / (1 + math.e)]
    )
    assert chance_of(2.0, 2.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert chance_of(2.0, None) == pytest.approx(1 / (1 + math.exp(-2)))


def test_the_likelihood_by_hand() -> None:
    gaps = np.array([1.0, -3.0])
    expected = (math.log1p(math.exp(-0.5)) + math.log1p(math.exp(1.5))) / 2
    assert negative_log_likelihood(gaps, 2.0) == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0])
def test_the_temperature_that_made_the_choices_is_found(temperature: float) -> None:
    assert fit_temperature(drawn(20_000, temperature)) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_slope_of_a_logistic_regression() -> None:
    gaps = drawn(500, 2.0)
    n = len(gaps)
    target = (n + 1) / (n + 2)  # Platt's
    model = LogisticRegression(C=1e12, fit_intercept=False, tol=1e-10)
    values, labels = np.concatenate([gaps, gaps])[:, None], np.repeat([1, 0], n)
    model.fit(values, labels, np.repeat([target, 1 - target], n))
    assert fit_temperature(gaps) == pytest.approx(1 / float(model.coef_[0, 0]), rel=1e-3)


@given(GAPS)
def test_no_other_temperature_fits_better(gaps: np.ndarray) -> None:
    n = len(gaps)
    target = (n + 1) / (n + 2)

    def loss(temperature: float) -> float:
        right = negative_log_likelihood(gaps, temperature)
        wrong = negative_log_likelihood(-gaps, temperature)
        return target * right + (1 - target) * wrong

    found = fit_temperature(gaps)
    assert LOWEST <= found <= HIGHEST
    assert loss(found) <= min(map(loss, np.geomspace(LOWEST, HIGHEST, 60))) + 1e-6


def test_a_model_that_is_right_on_a_few_pairs_does_not_become_certain() -> None:
    few, many = np.full(5, 3.0), np.full(500, 3.0)
    sure = [float(chances(gaps, fit_temperature(gaps))[0]) for gaps in (few, many)]
    assert sure == pytest.approx([6 / 7, 501 / 502], abs=1e-3)


def test_a_model_that_is_mostly_wrong_is_sure_of_nothing() -> None:
    gaps = -drawn(200, 1.0)
    assert chances(gaps, fit_temperature(gaps)) == pytest.approx(0.5, abs=0.03)


def test_without_pairs_there_is_no_temperature() -> None:
    with pytest.raises(ValueError, match="at least one gap"):
        fit_temperature(np.array([]))


@given(GAPS, st.floats(0.1, 10))
def test_the_error_is_that_of_the_classifiers_measure(gaps: np.ndarray, temperature: float) -> None:
    curve = calibration_curve(gaps, temperature)
    assert sum(part.n for part in curve) == len(gaps)
    expected = calibration_error(gaps > 0, chances(np.abs(gaps), temperature), bins=10)
    assert expected_error(curve) == pytest.approx(expected, abs=1e-9)


def test_the_curve_by_hand() -> None:
    log9 = math.log(9)  # a chance of 0.9
    curve = calibration_curve(np.array([log9, log9, log9, -log9, 0.0]), 1.0)
    assert [part.n for part in curve] == [1, 4] and curve[0].low == 0.5
    assert curve[0].accuracy == 0.5  # no preference counts half
    assert (curve[1].confidence, curve[1].accuracy) == (pytest.approx(0.9), 0.75)
    assert expected_error(curve) == pytest.approx(0.8 * 0.15)


def test_a_calibrated_model_has_hardly_any_error() -> None:
    gaps = drawn(20_000, 3.0)
    before, after = (expected_error(calibration_curve(gaps, t)) for t in (1.0, 3.0))
    assert after < 0.01 < before


def test_certainty_is_in_the_last_part() -> None:
    assert places(np.array([0.0, 1e9, -1e9]), 1.0).tolist() == [0, 4, 4]


def test_nothing_has_no_error() -> None:
    assert expected_error([]) == 0.0
