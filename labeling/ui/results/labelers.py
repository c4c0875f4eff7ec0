"""The labelers on the Results page: who works how, and who should be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from labeling.analysis.labelers import Reliability
from labeling.ui.results.plots import Dot, Scale, scatter, share_scale, share_ticks
from labeling.ui.results.sections import section
from labeling.ui.results.words import plural, points

# Fewer dots than these are read better in the table.
_DOTS = 5
_SECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_COLUMNS = (
    ("Labeler", ""),
    ("Picks", "regular ones, skips besides"),
    ("Seconds", "median, and the fastest 5 %"),
    ("Others", "share that agrees with the majority of the others"),
    ("Gold", "share of right answers on gold pairs"),
    ("Repeats", "share of equal answers when a pair came back"),
    ("Left", "share of left among decided picks"),
    ("Run", "longest run of one side"),
    ("Too fast", "share of picks faster than the summaries can be read"),
    ("Practice", "share of right first tries"),
)


def labelers_section(rows: Sequence[Reliability], save: str) -> str:
    """A table of all labelers, those with a flag first, and a plot of pace and agreement."""
    if not rows:
        return ""
    flagged = [row for row in rows if row.flags]
    text = (
        f"{plural(len(flagged), 'labeler')} of {len(rows):,} should be looked at. A flag is a hint"
        " with its reason; leaving somebody out is a filter, and nothing is deleted."
        if flagged
        else f"None of {plural(len(rows), 'labeler')} gives reason for doubt."
    )
    ordered = [*flagged, *(row for row in rows if not row.flags)]
    head = "".join(
        f"<th scope=col{_title(about)}{' class=da-number' if name != 'Labeler' else ''}>{name}</th>"
        for name, about in _COLUMNS
    )
    body = "".join(_row(row) for row in ordered)
    table = (
        '<div class="da-table-box lb-people" role="region" aria-label="Labelers" tabindex="0">'
        '<table class="da-table"><thead><tr>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return section("Labelers", text, f"{_plot(rows)}{table}", save, "lb-labelers")


def _title(about: str) -> str:
    return f' title="{escape(about)}"' if about else ""


def _row(row: Reliability) -> str:
    cells = (
        (
            "Picks",
            f"{row.picks:,}" + (f"<small>{row.skips:,} skipped</small>" if row.skips else ""),
        ),
        ("Seconds", _seconds(row)),
        ("Others", _share(row.agreement, row.compared)),
        ("Gold", _share(row.gold, row.gold_pairs)),
        ("Repeats", _share(row.consistency, row.repeats)),
        ("Left", _share(row.left, row.decided, row.left_p)),
        ("Run", f"{row.longest_run:,}" if row.longest_run else "–"),
        ("Too fast", _share(row.fast, row.timed)),
        ("Practice", _share(row.practice, row.practised)),
    )
    numbers = "".join(
        f'<td class="da-number" data-name="{name}">{told}</td>' for name, told in cells
    )
    kind = "" if row.kind == "person" else f' <span class="da-pill da-plain">{row.kind}</span>'
    out = ' <span class="da-pill da-plain">left out</span>' if row.left_out else ""
    flags = "".join(f"<li>{escape(flag)}</li>" for flag in row.flags)
    name = f"<b>{escape(row.labeler)}</b>{kind}{out}" + (f"<ul>{flags}</ul>" if flags else "")
    classes = " ".join(
        name for name, so in (("lb-flagged", row.flags), ("lb-out", row.left_out)) if so
    )
    return f'<tr class="{classes}"><td class="lb-person">{name}</td>{numbers}</tr>'


def _seconds(row: Reliability) -> str:
    if row.median_seconds is None:
        return "–"
    return f"{row.median_seconds:.1f}<small>{row.p05_seconds or 0:.1f}</small>"


def _share(value: float | None, of: int, p: float | None = None) -> str:
    if value is None:
        return "–"
    note = f"of {of:,}" if p is None or p >= 0.05 else f"of {of:,}, p {_p(p)}"
    return f"{points(value)}<small>{note}</small>"


def _p(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"= {p:.3f}"


def _plot(rows: Sequence[Reliability]) -> str:
    known = [row for row in rows if row.median_seconds and row.agreement is not None]
    if len(known) < _DOTS:
        return ""
    paces = [math.log10(row.median_seconds or 1) for row in known]
    across = Scale(min(paces) - 0.1, max(paces) + 0.1)
    up = share_scale([row.agreement or 0.0 for row in known])
    dots = [
        Dot(
            pace,
            row.agreement or 0.0,
            f"{row.labeler}: {row.median_seconds:.1f} s, agrees on {points(row.agreement or 0)}",
            "da-before" if row.flags else "",
        )
        for pace, row in zip(paces, known, strict=True)
    ]
    ticks = [
        (math.log10(value), f"{value} s")
        for value in _SECONDS
        if across.low <= math.log10(value) <= across.high
    ]
    legend = (
        '<p class="da-legend"><span>labeler</span><span class="da-before">with a flag</span></p>'
    )
    return (
        scatter(
            dots,
            across,
            up,
            ("median seconds a pick", "agreement with most others"),
            (ticks, share_ticks(up)),
        )
        + legend
    )
