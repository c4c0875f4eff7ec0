"""Plots of a reward model, as SVG in the page's own colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from detox.plots import AFTER, BEFORE, INK, LINE, MUTED, chart


def calibration(found: Mapping[str, Any]) -> str:
    """How often the model is right where it is how sure; ``found`` is a figure's calibration."""
    bins = found["bins"]

    def draw(axes: Axes) -> None:
        axes.plot([0.5, 1], [0.5, 1], color=MUTED, lw=0.9, ls="--", label="as sure as right")
        _spread(axes, [part["confidence"] for part in bins], bins, "accuracy")
        axes.set(xlabel="how sure the model is", ylabel="how often it is right", xlim=(0.48, 1.02))
        axes.legend(frameon=False, labelcolor="linecolor")

    return chart(draw, "Calibration: how often the model is right where it is how sure")


def by_margin(found: Sequence[Mapping[str, Any]], ceiling: Mapping[str, Any] | None) -> str:
    """Accuracy by how clear the choice was, and the noise ceiling where it is known."""

    def draw(axes: Axes) -> None:
        axes.axhline(0.5, color=MUTED, lw=0.9, ls="--", label="chance")
        if ceiling:
            axes.axhspan(ceiling["low"], ceiling["high"], color=LINE, alpha=0.5, lw=0)
            axes.axhline(ceiling["upper"], color=BEFORE, lw=1, label="noise ceiling")
        places = list(range(len(found)))
        _spread(axes, [float(place) for place in places], found, "rate", "low", "high")
        labels = [f"{part['margin']}\nn = {part['n']}" for part in found]
        axes.set_xticks(places, labels=labels, fontsize=8)
        axes.set(ylabel="accuracy", xlim=(-0.5, len(found) - 0.5), ylim=(0, 1.03))
        axes.legend(frameon=False, labelcolor="linecolor", loc="lower left")

    return chart(draw, "Accuracy by how clear the choice was")


def _spread(
    axes: Axes,
    at: Sequence[float],
    found: Sequence[Mapping[str, Any]],
    key: str,
    low: str = "accuracy_low",
    high: str = "accuracy_high",
) -> None:
    values = [part[key] for part in found]
    below = [value - part[low] for value, part in zip(values, found, strict=True)]
    above = [part[high] - value for value, part in zip(values, found, strict=True)]
    axes.errorbar(
        at,
        values,
        yerr=[[max(0.0, gap) for gap in below], [max(0.0, gap) for gap in above]],
        fmt="o",
        ms=5,
        color=AFTER,
        ecolor=INK,
        elinewidth=1,
        capsize=3,
    )
