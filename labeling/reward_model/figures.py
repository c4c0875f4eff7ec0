"""How good a reward model is: accuracy, calibration, length, each with its interval.

All of it is measured on pairs of dialogues that nothing was learned from. Intervals are 95 %
percentile intervals of a bootstrap: of shares clustered by dialogue and labeler
(``labeling.analysis.bootstrap``), of correlations by dialogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detox.calibration import BINS, calibration_curve, chances, expected_error, places
from labeling.analysis.bootstrap import RESAMPLES, clustered_interval
from labeling.reward_model.ceiling import noise_ceiling
from labeling.reward_model.material import Row

if TYPE_CHECKING:
    from detox.rewards import PreferenceReward

Floats = NDArray[np.float64]
# Margins from 0 to 1 in three equal parts; those of single picks are one strength each.
STRENGTHS = ("slightly better", "better, strength not said", "clearly better")
MAJORITIES = ("up to a third of the votes ahead", "up to two thirds ahead", "more than that")


def figures(
    judge: PreferenceReward,
    held_out: Sequence[Row],
    held_out_votes: Sequence[Row],
    votes: Sequence[Row],
    joined: bool,
) -> dict[str, Any]:
    """All figures of ``judge``; JSON types only, None where there is nothing to measure.

    ``held_out`` are rows as it learned from, ``held_out_votes`` the single decided votes on the
    same dialogues, ``votes`` those of all dialogues, which tell the noise ceiling. ``joined``
    says whether a row joins several votes.
    """
    from detox.reward_model import scores

    rows = [row for row in held_out if row["target"] == 1]
    ceiling = noise_ceiling((vote["dialogue"], vote["pair"], vote["chosen"]) for vote in votes)
    result: dict[str, Any] = {"ceiling": asdict(ceiling) if ceiling else None}
    if not rows:
        return result | {"accuracy": None, "single_votes": None}
    chosen, rejected = (side.double().numpy() for side in scores(judge, rows))
    gaps = chosen - rejected
    right = 0.5 + 0.5 * np.sign(gaps)
    result["accuracy"] = share(right, rows)
    if joined and held_out_votes:
        single = scores(judge, held_out_votes)
        alone = 0.5 + 0.5 * np.sign((single[0] - single[1]).double().numpy())
        result["single_votes"] = share(alone, held_out_votes)
    else:
        result["single_votes"] = result["accuracy"]
    result["by_margin"] = _by_margin(right, rows, MAJORITIES if joined else STRENGTHS)
    result["calibration"] = _calibration(gaps, rows, judge.temperature)
    result["length"] = _length(chosen, rejected, rows)
    return result


def share(values: Floats, rows: Sequence[Row]) -> dict[str, Any]:
    """The mean of ``values`` [n] in [0, 1], its clustered interval, and what it is based on."""
    dialogues = codes([row["dialogue"] for row in rows])
    labelers = codes([row["labeler"] for row in rows])
    interval = clustered_interval(values, dialogues, labelers)
    low, high = interval if interval else (None, None)
    return {
        "rate": _round(values.mean()) if len(values) else None,
        "low": _round(low),
        "high": _round(high),
        "n": len(values),
        "dialogues": int(dialogues.max(initial=-1)) + 1,
        "labelers": int(labelers.max(initial=-1)) + 1,
    }


def leaks(found: dict[str, Any]) -> str | None:
    """A warning where accuracy on single votes, interval and all, lies above the noise ceiling.

    The ceiling counts with the upper end of its own interval: few shared pairs warn of nothing.
    """
    single, ceiling = found["single_votes"], found["ceiling"]
    if not single or not ceiling or single["low"] is None or single["low"] <= ceiling["high"]:
        return None
    return (
        f"Accuracy on single held-out votes, {_percent(single)}, lies above the "
        f"{ceiling['upper']:.0%} [{ceiling['low']:.0%}, {ceiling['high']:.0%}] that labelers' own "
        "agreement allows. Look for a leak before you trust it: the same texts on both sides of "
        "the split, or labelers who saw what they should not have."
    )


def _percent(found: dict[str, Any]) -> str:
    return f"{found['rate']:.0%} [{found['low']:.0%}, {found['high']:.0%}]"


def _by_margin(right: Floats, rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    margins = np.array([row["margin"] for row in rows])
    where = np.clip(np.ceil(margins * len(names) - 1e-9).astype(int) - 1, 0, len(names) - 1)
    return [
        {"margin": name, **share(right[where == place], _of(rows, where == place))}
        for place, name in enumerate(names)
        if (where == place).any()
    ]


def _calibration(gaps: Floats, rows: Sequence[Row], temperature: float | None) -> dict[str, Any]:
    known = temperature or 1.0
    where = places(gaps, known)
    right = 0.5 + 0.5 * np.sign(gaps)
    curve = calibration_curve(gaps, known)
    bins = []
    for part in curve:
        inside = where == round((part.low - 0.5) * 2 * BINS)
        interval = share(right[inside], _of(rows, inside))
        bins.append(
            {key: _round(value) for key, value in asdict(part).items()}
            | {"n": part.n, "accuracy_low": interval["low"], "accuracy_high": interval["high"]}
        )
    low, high = _error_interval(gaps, known, codes([row["dialogue"] for row in rows]))
    return {
        "temperature": temperature,
        "bins": bins,
        "error": _round(expected_error(curve)),
        "error_low": _round(low),
        "error_high": _round(high),
        "error_before": _round(expected_error(calibration_curve(gaps, 1.0))),
    }


def _error_interval(
    gaps: Floats, temperature: float, clusters: NDArray[np.int64]
) -> tuple[float, float]:
    """Of the expected calibration error, from a bootstrap over ``clusters`` [n].

    A resample's error is larger than the whole's, as chance alone moves every part of the curve:
    the interval lies rather too high than too low.
    """
    where, right = places(gaps, temperature), 0.5 + 0.5 * np.sign(gaps)
    excess = right - chances(np.abs(gaps), temperature)
    n = int(clusters.max()) + 1
    sums = np.zeros((n, BINS))
    np.add.at(sums, (clusters, where), excess)
    counts = np.bincount(clusters, minlength=n)
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    errors = np.abs(drawn @ sums).sum(axis=1) / (drawn @ counts)
    low, high = np.percentile(errors, [2.5, 97.5])
    return float(low), float(high)


def _length(chosen: Floats, rejected: Floats, rows: Sequence[Row]) -> dict[str, Any]:
    words = np.array([[len(row[side].split()) for row in rows] for side in ("chosen", "rejected")])
    dialogues = codes([row["dialogue"] for row in rows])
    rewards, longer = np.concatenate([chosen, rejected]), words[0] - words[1]
    told = np.flatnonzero(longer)
    some = [rows[i] for i in told.tolist()]
    first_longer = longer[told] > 0
    model = np.where(first_longer, chosen[told] > rejected[told], chosen[told] < rejected[told])
    return {
        "correlation": correlation(rewards, words.ravel(), np.concatenate([dialogues] * 2)),
        "within_pairs": correlation(chosen - rejected, longer, dialogues, centred=False),
        "people_prefer_longer": share(first_longer.astype(float), some) if some else None,
        "model_prefers_longer": share(model.astype(float), some) if some else None,
    }


def correlation(
    one: Floats,
    other: NDArray,
    clusters: NDArray[np.int64],
    *,
    centred: bool = True,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, float] | None:
    """Pearson's r of two columns [n], with an interval from a bootstrap over ``clusters`` [n].

    Differences within pairs have no first and second side: uncentred, about 0, they correlate
    the same whichever way round each pair is. None where one of the columns does not vary.
    """
    x, y = np.asarray(one, float), np.asarray(other, float)
    moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    sums = np.stack([np.bincount(clusters, weights=column) for column in moments.T], axis=1)
    n = len(sums)
    rng = np.random.default_rng(seed)
    drawn = np.asarray(rng.multinomial(n, np.full(n, 1 / n), size=resamples) @ sums, float)
    whole = _pearson(sums.sum(axis=0)[None], centred)[0]
    if np.isnan(whole):
        return None
    spread = _pearson(drawn, centred)
    low, high = np.nanpercentile(spread, [2.5, 97.5])
    return {"r": float(round(whole, 4)), "low": float(round(low, 4)), "high": float(round(high, 4))}


def _pearson(sums: Floats, centred: bool) -> Floats:
    n, x, y, xx, yy, xy = sums.T
    if centred:
        xx, yy, xy = xx - x * x / n, yy - y * y / n, xy - x * y / n
    below = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
    # what is left of a column that does not vary is rounding
    varies = below > 1e-9 * np.maximum(1.0, np.sqrt(np.abs(sums[:, 3] * sums[:, 4])))
    return np.divide(xy, below, out=np.full_like(xy, np.nan), where=varies)


def codes(values: Sequence[object]) -> NDArray[np.int64]:
    """``values`` as integers ``0..k-1`` by first appearance, [n]."""
    known: dict[object, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)


def _of(rows: Sequence[Row], wanted: NDArray[np.bool_]) -> list[Row]:
    return [row for row, want in zip(rows, wanted.tolist(), strict=True) if want]


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
