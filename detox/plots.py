"""Plots of a report as SVG that takes its colours from the page around it, light or dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

matplotlib.rcParams |= {
    "svg.fonttype": "none",  # words stay words: searchable, and in the page's font
    "svg.hashsalt": "detox-arena",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

ASSETS = Path(__file__).parent / "assets"
# matplotlib draws in these, and the page's own variables take their place.
INK, MUTED, LINE = "#010203", "#040506", "#070809"
BEFORE, AFTER = "#0a0b0c", "#0d0e0f"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", BEFORE: "before", AFTER: "after"}

Row = dict[str, Any]
Draw = Callable[[Axes], None]


def histograms(rows: Sequence[Row], key: str, label: str, bins: int = 20) -> str:
    """How ``key`` is distributed over the responses, before and after."""
    values = {side: _known(rows, side, key) for side in ("before", "after")}
    low = min(0.0, *(min(v) for v in values.values()))
    high = max(max(v) for v in values.values())
    edges = np.linspace(low, high if high > low else low + 1, bins + 1).tolist()

    def draw(axes: Axes) -> None:
        for side, colour in (("before", BEFORE), ("after", AFTER)):
            axes.hist(values[side], edges, color=colour, alpha=0.28)
            axes.hist(values[side], edges, color=colour, histtype="step", lw=1.6, label=side)
        axes.set(xlabel=label, ylabel="responses")
        _legend(axes)

    return chart(draw, f"Distribution of {label} before and after")


def differences(rows: Sequence[Row], key: str, label: str) -> str:
    """The difference after − before of each pair, sorted: how many gained, and how much."""
    gaps = sorted(
        row["after"][key] - row["before"][key]
        for row in rows
        if row["before"].get(key) is not None and row["after"].get(key) is not None
    )

    def draw(axes: Axes) -> None:
        places, heights = np.arange(len(gaps)), np.array(gaps)
        for lower, colour in ((True, AFTER), (False, BEFORE)):
            side = np.minimum(heights, 0) if lower else np.maximum(heights, 0)
            axes.fill_between(places, side, step="mid", color=colour, lw=0)
        axes.axhline(0, color=MUTED, lw=0.8)
        axes.set(xlabel="pairs, sorted", ylabel=f"{label}, after − before")
        axes.margins(x=0.01)

    return chart(draw, f"Paired differences in {label}")


def curves(steps: Sequence[Row]) -> list[str]:
    """Reward, KL and response length of a PPO run, step by step: a plot each."""
    return [
        curve(steps, "env/reward_mean", "mean reward", AFTER),
        curve(steps, "objective/kl", "KL, nats a response", BEFORE),
        curve(steps, "tokens/response_mean", "response, tokens", INK),
    ]


def curve(steps: Sequence[Row], key: str, label: str, colour: str, time: str = "PPO step") -> str:
    """``key`` of a run over ``time``, step by step and smoothed."""
    at = [row["step"] for row in steps]
    values = [np.nan if row.get(key) is None else row[key] for row in steps]

    def draw(axes: Axes) -> None:
        axes.plot(at, values, color=colour, alpha=0.35, lw=1)
        axes.plot(at, _smooth(values), color=colour, lw=1.8)
        axes.set(xlabel=time, ylabel=label)
        # there is no half step
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))

    return chart(draw, f"Training curve: {label}")


def losses(steps: Sequence[Row]) -> list[str]:
    """Loss, validation loss and accuracy of a supervised run: a plot for each that was logged."""
    found = []
    for key, label in (
        ("loss", "loss"),
        ("validation_loss", "validation loss"),
        ("accuracy", "accuracy of a batch"),
        ("validation_accuracy", "validation accuracy"),
        ("held_out_accuracy", "held-out accuracy"),
    ):
        known = [row for row in steps if row.get(key) is not None]
        if len(known) > 1:
            found.append(curve(known, key, label, AFTER, "step"))
    return found


def search(trials: Sequence[Row], label: str, lower: bool) -> str:
    """Each trial's ``value`` by its ``number``, the best so far, and where ``pruned`` ended."""
    ended = [row for row in trials if not row["pruned"]]

    def draw(axes: Axes) -> None:
        axes.scatter(*_points(ended), color=AFTER, s=24, label="ended")
        axes.scatter(
            *_points([row for row in trials if row["pruned"]]),
            color=BEFORE,
            marker="x",
            s=24,
            label="cut short, its last value",
        )
        if ended:
            best = (np.minimum if lower else np.maximum).accumulate([r["value"] for r in ended])
            axes.step(_points(ended)[0], best, where="post", color=AFTER, lw=1, label="best so far")
        axes.set(xlabel="trial", ylabel=label)
        _legend(axes)

    return chart(draw, f"Search: {label} of each trial")


def _points(trials: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [row["number"] for row in trials], [row["value"] for row in trials]


def frontier(steps: Sequence[Row]) -> str:
    """Reward against KL over a PPO run: what each nat of distance bought."""
    known = [row for row in steps if row.get("objective/kl") is not None]

    def draw(axes: Axes) -> None:
        kl = [row["objective/kl"] for row in known]
        reward = [row["env/reward_mean"] for row in known]
        axes.plot(_smooth(kl), _smooth(reward), color=AFTER, lw=1.8)
        axes.scatter(kl, reward, color=AFTER, alpha=0.35, s=14)
        axes.set(xlabel="KL from the reference, nats a response", ylabel="mean reward")

    return chart(draw, "Reward against KL")


def standalone(svg: str) -> str:
    """``svg`` as a file of its own, in the colours of the light page."""
    light = (ASSETS / "colours.css").read_text("utf-8").partition(".dark {")[0]
    for name in _VARIABLES.values():
        found = re.search(rf"--da-{name}: (#\w+);", light)
        assert found, f"colours.css has no --da-{name}"
        svg = svg.replace(f"var(--da-{name})", found[1])
    return svg


def _known(rows: Sequence[Row], side: str, key: str) -> list[float]:
    return [row[side][key] for row in rows if row[side].get(key) is not None]


def _smooth(values: Sequence[float], window: int = 5) -> list[float]:
    return [float(np.nanmean(values[max(0, i - window + 1) : i + 1])) for i in range(len(values))]


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, labelcolor="linecolor")


def chart(draw: Draw, title: str) -> str:
    """What ``draw`` puts on the axes as SVG, in the page's variables; ``title`` is read aloud."""
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=MUTED, labelcolor=MUTED)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for spine in axes.spines.values():
        spine.set_color(LINE)
    draw(axes)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = re.sub(r".*?(?=<svg)", "", buffer.getvalue(), count=1, flags=re.DOTALL)
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--da-{name})")
    # its own size in points would keep it from fitting a phone
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" ([^>]*?)height="[^"]*"', r"<svg \1\2", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # and its style sheet would reach the whole page
    svg = re.sub(r"<style.*?</style>|font-family: [^;]*;", "", svg, flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" class="da-chart" ', 1)
