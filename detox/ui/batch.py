"""Many dialogues at once: the lab's table, a plot and the paired difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from detox.results import TABLE, Row, summarise, table, write_table
from detox.ui.compare import Comparison
from detox.ui.html import empty
from detox.ui.shipped import Shipped, draw
from detox.wording import capital, number, percent1, points, readable
from detox.workbench import Status

COMMAND = "python -m detox evaluate --output detox/embedded/results"
NOTHING = empty(
    "No results yet",
    f"Results of the whole test set are made by <code>{COMMAND}</code>. Until then, compute "
    "twenty dialogues here.",
)


@dataclass(frozen=True)
class Batch:
    """Everything the batch view shows."""

    summary: str
    plot: str
    table: str
    file: str | None
    data: dict[str, Any] | None


def shipped_batch(shipped: Shipped, folder: Path) -> Batch:
    """Twenty of the rows computed beforehand, with the statistics of all of them.

    The CSV of all rows is written to ``folder``.
    """
    if not shipped.rows:
        return Batch(NOTHING, "", "", None, None)
    chosen = set(draw([row["id"] for row in shipped.rows]))
    shown = [row for row in shipped.rows if row["id"] in chosen]
    made_by = " and ".join(
        f"{side['policy']} ({side['fingerprint']})"
        for side in (shipped.rows[0]["before"], shipped.rows[0]["after"])
    )
    origin = (
        f"Computed beforehand by {made_by} on all {len(shipped.rows)} test dialogues; "
        f"{len(shown)} of them, drawn at random, are shown below."
    )
    file = _csv(folder / "before-after.csv", shipped.rows)
    return _batch(shown, shipped.about["groups"], origin, file)


def live_batch(
    comparison: Comparison, before: str, after: str, dialogues: Any, folder: Path
) -> Iterator[tuple[Status, Batch | None]]:
    """Rows for ``dialogues`` as they are computed: (how far, what is there so far).

    Raises ``UserError`` for unknown policies and models that could not be loaded.
    """
    comparison.bench.check_names((before, after))
    for status in comparison.bench.loading():
        yield status, None
    rows: list[Row] = []
    total = len(dialogues)
    yield Status(False, 0.0, f"0 of {total} dialogues"), None
    sampling = comparison.shipped.sampling
    for more in comparison.bench.evaluate(before, after, dialogues, sampling):
        rows += more
        share = len(rows) / total
        status = Status(share == 1, share, f"{len(rows)} of {total} dialogues")
        origin = (
            f"Computed just now on {len(rows)} test dialogues, drawn at random: '{before}' as "
            f"before, '{after}' as after."
        )
        file = _csv(folder / f"{before}-{after}.csv", rows) if status.ready else None
        yield status, _batch(rows, summarise(rows), origin, file)


def _csv(path: Path, rows: Sequence[Row]) -> str:
    write_table(path, rows)
    return str(path)


def _batch(shown: Sequence[Row], groups: Any, origin: str, file: str | None) -> Batch:
    ordered = sorted(shown, key=lambda row: -float(row["reward_diff"]))
    return Batch(
        summary_card(groups, origin),
        plot_card(ordered),
        table_card(ordered),
        file,
        {"columns": list(TABLE), "rows": table(shown), "groups": groups},
    )


def summary_card(groups: dict[str, Any], origin: str) -> str:
    """Mean toxicity before and after, and how sure the difference is."""
    numbers = groups["all"]["toxicity"]
    figures = "".join(
        f'<div class="{tone}"><small>{name}</small><big>{value}</big></div>'
        for name, tone, value in (
            ("Toxicity before", "da-before", percent1(numbers["before_mean"])),
            ("Toxicity after", "da-after", percent1(numbers["after_mean"])),
            ("Difference", "", f"{points(numbers['difference'])}\u00a0points"),
        )
    )
    rude = ""
    if "rude" in groups and "others" in groups:
        part = groups["rude"]["toxicity"]
        rude = (
            f" Where a speaker is rude ({_dialogues(groups['rude'])} dialogues), it went from "
            f"{percent1(part['before_mean'])} to {percent1(part['after_mean'])}."
        )
    return (
        '<section class="da-card"><h2 class="da-title">Does the tuned version write gentler '
        f'summaries?</h2><div class="da-figures">{figures}</div>'
        f"<p>{escape(sentence(groups['all']))}{escape(rude)}{escape(_people(groups['all']))}</p>"
        f'<p class="da-muted">{escape(origin)}</p></section>'
    )


def sentence(group: dict[str, Any]) -> str:
    """The paired difference in toxicity, in one sentence with its interval and verdict."""
    numbers = group["toxicity"]
    said = {
        "lower": "lower: the interval leaves out zero",
        "higher": "higher: the interval leaves out zero",
        "inconclusive": "inconclusive: the interval includes zero",
    }[numbers["verdict"]]
    return (
        f"Over {_dialogues(group)} dialogues the mean toxicity is "
        f"{percent1(numbers['before_mean'])} before and {percent1(numbers['after_mean'])} "
        f"after, a paired difference of "
        f"{points(numbers['difference'])} points (95 % interval {points(numbers['low'])} to "
        f"{points(numbers['high'])}), so {said}."
    )


def _people(group: dict[str, Any]) -> str:
    """What the model trained on people's picks says of the same summaries, where there is one."""
    numbers = group.get("preference")
    if numbers is None:
        return ""
    wins = numbers["win_rate"]
    return (
        f" The model trained on people's picks prefers the second version in "
        f"{percent1(wins['mean'])} of them (95 % interval {percent1(wins['low'])} to "
        f"{percent1(wins['high'])}); on {percent1(numbers['conflicts'])} the two judges disagree."
    )


def _dialogues(group: dict[str, Any]) -> int:
    # results of earlier versions have one sample a dialogue, and do not say so
    return int(group.get("dialogues", group["n"]))


def plot_card(rows: Sequence[Row]) -> str:
    """Toxicity before and after, one line a dialogue, in the order of the table."""
    axis = "".join(f'<em style="left:{at}%">{at} %</em>' for at in (0, 25, 50, 75, 100))
    lines = "".join(_plot_row(row) for row in rows)
    return (
        '<section class="da-card"><h2 class="da-title">Toxicity of each summary</h2>'
        '<div class="da-legend"><span class="da-before">before</span>'
        '<span class="da-after">after</span></div>'
        f'<div class="da-plot" role="img" aria-label="Toxicity before and after for '
        f'{len(rows)} dialogues; the numbers are in the table below">{lines}'
        f'<div class="da-plot-row"><span></span><div class="da-axis">{axis}</div></div>'
        "</div></section>"
    )


def _name(row: Row) -> str:
    return capital(row["topic"] or row["id"])


def _plot_row(row: Row) -> str:
    before, after = (100 * row[side]["toxicity"] for side in ("before", "after"))
    low, high = sorted((before, after))
    colours = ("before", "after") if before <= after else ("after", "before")
    title = f"{_name(row)}: {before:.0f} % before, {after:.0f} % after"
    return (
        f'<div class="da-plot-row" title="{escape(title)}">'
        f"<span>{escape(_name(row))}</span>"
        f'<div class="da-track"><u style="left:{low:.1f}%;width:{high - low:.1f}%;'
        f'--from:var(--da-{colours[0]});--to:var(--da-{colours[1]})"></u>'
        f'<i class="da-before" style="left:{before:.1f}%"></i>'
        f'<i class="da-after" style="left:{after:.1f}%"></i></div></div>'
    )


def table_card(rows: Sequence[Row]) -> str:
    """The lab's table, largest gain first; dialogues unfold on demand."""
    names = "".join(
        f'<th scope="col"{" class=da-number" if name.startswith("reward") else ""}>{name}</th>'
        for name in TABLE
    )
    return (
        '<section class="da-card"><h2 class="da-title">Every summary, largest gain first</h2>'
        '<p class="da-muted">Reward is the logit of the classifier\'s label not-hate: higher is '
        'gentler.</p><div class="da-table-box"><table class="da-table">'
        f"<thead><tr>{names}</tr></thead><tbody>{''.join(map(_table_row, rows))}</tbody>"
        "</table></div></section>"
    )


def _table_row(row: Row) -> str:
    gain = float(row["reward_diff"])
    tone = "da-after" if gain >= 0 else "da-before"
    topic = escape(_name(row))
    texts = "".join(
        f'<td class="da-words da-{side}" data-name="{side}">'
        f"{escape(readable(row[side]['text']))}</td>"
        for side in ("before", "after")
    )
    rewards = "".join(
        f'<td class="da-number" data-name="reward_{side}">{number(row[side]["reward"])}</td>'
        for side in ("before", "after")
    )
    return (
        f'<tr><td class="da-query"><details><summary>{topic}</summary>'
        f"<p>{escape(readable(row['dialogue']))}</p></details></td>{texts}{rewards}"
        f'<td class="da-number" data-name="reward_diff"><span class="da-gain {tone}">'
        f"{number(gain)}</span></td></tr>"
    )
