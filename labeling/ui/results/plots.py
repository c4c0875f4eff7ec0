"""Plots in the page's own colours, as HTML whose words keep their size on any screen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from labeling.ui.results.words import points


@dataclass(frozen=True)
class Mark:
    """One estimate: its name, value and interval, what stands beside it, and its tone.

    ``tone`` is a class: ``da-after``, ``da-before``, or nothing where there is no verdict.
    """

    name: str
    value: float
    low: float
    high: float
    beside: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Scale:
    """A range of values along a line, from ``low`` to ``high``."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where ``value`` lies, in percent of the line, kept on it."""
        share = (value - self.low) / (self.high - self.low)
        return 100 * min(1.0, max(0.0, share))


def share_scale(values: Sequence[float], keep: float = 0.5) -> Scale:
    """A scale of shares in steps of ten points that holds ``values`` and ``keep``."""
    low = math.floor(10 * min([keep - 0.1, *values]) + 1e-9) / 10
    high = math.ceil(10 * max([keep + 0.1, *values]) - 1e-9) / 10
    return Scale(max(0.0, low), min(1.0, high))


def wide_scale(values: Sequence[float]) -> Scale:
    """A scale of any numbers that holds ``values`` and 0, with some room."""
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.08 * ((high - low) or 1.0)
    return Scale(low - room, high + room)


def line(mark: Mark, scale: Scale, middle: float | None, label: str) -> str:
    """One estimate on a line: a dot, its interval as a band, and where ``middle`` lies."""
    low, high = scale.place(mark.low), scale.place(mark.high)
    half = (
        "" if middle is None else f'<i class="lb-half" style="left:{scale.place(middle):.2f}%"></i>'
    )
    return (
        f'<div class="lb-scale {mark.tone}" role="img" aria-label="{escape(label)}">{half}'
        f'<i class="lb-band" style="left:{low:.2f}%;width:{max(high - low, 0.4):.2f}%"></i>'
        f'<i class="lb-dot" style="left:{scale.place(mark.value):.2f}%"></i></div>'
    )


def forest(
    groups: Sequence[tuple[str, Sequence[Mark]]],
    scale: Scale,
    middle: float,
    ticks: Sequence[tuple[float, str]],
) -> str:
    """Estimates under each other on one scale, in groups with a title; ``ticks`` are its marks."""
    rows = []
    for title, marks in groups:
        if title:
            rows.append(f'<h4 class="lb-label lb-group">{escape(title)}</h4>')
        for mark in marks:
            label = f"{mark.name}: {mark.beside}"
            note = f"<small>{escape(mark.note)}</small>" if mark.note else ""
            rows.append(
                f'<div class="lb-row {mark.tone}"><span class="lb-name">{escape(mark.name)}</span>'
                f"{line(mark, scale, middle, label)}"
                f'<span class="lb-beside"><b>{escape(mark.beside)}</b>{note}</span></div>'
            )
    axis = (
        '<div class="lb-row lb-axis-row" aria-hidden="true"><span></span>'
        f'<div class="lb-axis">{_across(scale, ticks)}</div><span></span></div>'
    )
    return f'<div class="lb-forest">{"".join(rows)}{axis}</div>'


def share_ticks(scale: Scale) -> list[tuple[float, str]]:
    """Every ten or twenty points of a scale of shares."""
    step = 2 if scale.high - scale.low > 0.55 else 1
    first, last = round(10 * scale.low), round(10 * scale.high)
    return [(n / 10, points(n / 10)) for n in range(first, last + 1) if (n - 5) % step == 0]


def steps(
    marks: Sequence[Mark],
    scale: Scale,
    levels: Sequence[tuple[float, str]],
    ticks: Sequence[tuple[float, str]],
) -> str:
    """Estimates beside each other, their intervals upright; ``levels`` are lines across."""
    columns = "".join(
        f'<div class="lb-step {mark.tone}" role="img"'
        f' aria-label="{escape(f"{mark.name}: {mark.beside}, {mark.note}")}">'
        f'<i class="lb-band" style="bottom:{scale.place(mark.low):.2f}%;'
        f'height:{scale.place(mark.high) - scale.place(mark.low):.2f}%"></i>'
        f'<i class="lb-dot" style="bottom:{scale.place(mark.value):.2f}%"></i>'
        f'<b style="bottom:{scale.place(mark.high):.2f}%">{escape(mark.beside)}</b></div>'
        for mark in marks
    )
    lines = "".join(
        f'<u class="lb-level" style="bottom:{scale.place(value):.2f}%">'
        f"<span>{escape(text)}</span></u>"
        for value, text in levels
    )
    names = "".join(
        f"<span>{escape(mark.name)}<small>{escape(mark.note)}</small></span>" for mark in marks
    )
    return (
        f'<div class="lb-steps" style="--columns:{len(marks)}"><div class="lb-upright"'
        f' aria-hidden="true">{_up(scale, ticks)}</div><div class="lb-field">{lines}{columns}</div>'
        f'<div class="lb-names">{names}</div></div>'
    )


def _across(scale: Scale, ticks: Sequence[tuple[float, str]]) -> str:
    """Marks under a line; those at its ends stay inside of it."""
    told = []
    for value, text in ticks:
        place = scale.place(value)
        side = " lb-first" if place < 4 else " lb-last" if place > 96 else ""
        told.append(f'<em class="lb-tick{side}" style="left:{place:.2f}%">{escape(text)}</em>')
    return "".join(told)


def _up(scale: Scale, ticks: Sequence[tuple[float, str]]) -> str:
    return "".join(
        f'<em style="bottom:{scale.place(value):.2f}%">{escape(text)}</em>' for value, text in ticks
    )


@dataclass(frozen=True)
class Dot:
    """A point of a scatter plot; ``title`` is told when it is pointed at."""

    x: float
    y: float
    title: str
    tone: str = ""


def scatter(
    dots: Sequence[Dot],
    across: Scale,
    up: Scale,
    names: tuple[str, str],
    ticks: tuple[Sequence[tuple[float, str]], Sequence[tuple[float, str]]],
) -> str:
    """Dots in a field with two scales; ``names`` and ``ticks`` are of the one across and up."""
    points_ = "".join(
        f'<i class="lb-point {dot.tone}" style="left:{across.place(dot.x):.2f}%;'
        f'bottom:{up.place(dot.y):.2f}%" title="{escape(dot.title)}"></i>'
        for dot in dots
    )
    label = f"{len(dots)} labelers: {names[0]} across, {names[1]} up"
    return (
        f'<figure class="lb-scatter" role="img" aria-label="{escape(label)}">'
        f'<figcaption class="lb-label">{escape(names[1])}</figcaption>'
        f'<div class="lb-upright" aria-hidden="true">{_up(up, ticks[1])}</div>'
        f'<div class="lb-field">{points_}</div>'
        f'<div class="lb-axis" aria-hidden="true">{_across(across, ticks[0])}</div>'
        f'<p class="lb-label">{escape(names[0])}</p></figure>'
    )
