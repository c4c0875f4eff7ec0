"""How sure a reward model may be: chances out of gaps, the temperature that makes them honest.

A gap is how much higher a model scores the response that people chose; the model is right where
it is above 0. Pure functions of arrays, without a model library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit

Floats = NDArray[np.float64]

# Temperatures that are looked at; beyond them chances are 1/2 or certain to all digits.
LOWEST, HIGHEST = 1e-2, 1e3
BINS = 5


@dataclass(frozen=True)
class Bin:
    """The ``n`` pairs of which a model is sure by ``low`` to ``high`` of its preference.

    ``confidence`` is its mean chance, ``accuracy`` how often it was right; both are shares.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def chances(gaps: Floats, temperature: float) -> Floats:
    """The chance, [n] from 0 to 1, that the first response is preferred: sigmoid(gap / T)."""
    return np.asarray(expit(np.asarray(gaps, float) / temperature), dtype=np.float64)


def chance_of(gap: float, temperature: float | None) -> float:
    """The same for one gap; a model without a temperature is taken at its word."""
    return float(chances(np.array([gap]), temperature or 1.0)[0])


def negative_log_likelihood(gaps: Floats, temperature: float) -> float:
    """Mean of ``-log sigmoid(gap / T)``: what people's choices cost a model of that temperature."""
    return float(-log_expit(np.asarray(gaps, float) / temperature).mean())


def fit_temperature(gaps: Floats) -> float:
    """The temperature of least negative log-likelihood of people's choices, given n ``gaps``.

    Temperature scaling (Guo et al. 2017, "On Calibration of Modern Neural Networks", section
    4.2), with the targets of Platt (1999, "Probabilistic Outputs for Support Vector Machines"),
    ``(n + 1) / (n + 2)`` in place of 1: a model that is right on every one of a few pairs must not
    become certain. The loss is convex in ``1 / T``, so that the least is the only one. Raises
    ``ValueError`` without gaps.
    """
    values = np.asarray(gaps, float)
    if len(values) == 0:
        raise ValueError("fit_temperature needs at least one gap")
    target = (len(values) + 1) / (len(values) + 2)

    def loss(log_temperature: float) -> float:
        scaled = values / np.exp(log_temperature)
        right, wrong = log_expit(scaled).mean(), log_expit(-scaled).mean()
        return float(-(target * right + (1 - target) * wrong))

    found = minimize_scalar(
        loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def places(gaps: Floats, temperature: float, bins: int = BINS) -> NDArray[np.int64]:
    """Which of ``bins`` equal parts of one half to 1 the model's confidence in each pair is in."""
    confidence = chances(np.abs(gaps), temperature)
    return np.minimum(((confidence - 0.5) * 2 * bins).astype(np.int64), bins - 1)


def calibration_curve(gaps: Floats, temperature: float, bins: int = BINS) -> list[Bin]:
    """How often a model is right where it is how sure; parts without pairs are left out.

    A gap of 0 is no preference and counts half.
    """
    values = np.asarray(gaps, float)
    where = places(values, temperature, bins)
    confidence, right = chances(np.abs(values), temperature), 0.5 + 0.5 * np.sign(values)
    return [
        Bin(
            0.5 + place / bins / 2,
            0.5 + (place + 1) / bins / 2,
            int((where == place).sum()),
            float(confidence[where == place].mean()),
            float(right[where == place].mean()),
        )
        for place in range(bins)
        if (where == place).any()
    ]


def expected_error(curve: list[Bin]) -> float:
    """Expected calibration error (Naeini et al. 2015): mean gap between both, weighted by n."""
    n = sum(part.n for part in curve)
    return sum(part.n * abs(part.accuracy - part.confidence) for part in curve) / n if n else 0.0
