"""The report as a page: what people prefer, how sure that is, and what it still takes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from detox.ui.html import empty
from labeling.analysis.plan import Plan
from labeling.analysis.report import Counts, Report
from labeling.analysis.tables import Table, archive, tables
from labeling.analysis.win_rates import WinRate
from labeling.ui.results.labelers import labelers_section
from labeling.ui.results.plots import Mark, Scale, line
from labeling.ui.results.sections import (
    agreement_card,
    holds_section,
    position_card,
    ranking_section,
    rewards_section,
)
from labeling.ui.results.words import (
    decides_words,
    lacking_words,
    plural,
    points,
    span,
    verdict_words,
    worth_words,
)

WHOLE = Scale(0.0, 1.0)


def page(found: Report) -> str:
    """The report as HTML."""
    if found.counts.picks == 0:
        return _nothing(found)
    links = {table.name: download(table) for table in tables(found)}
    return (
        '<div class="lb-results">'
        + _counts(found.counts, _archive(found))
        + "".join(_headline(rate, found.plan, links) for rate in found.matchups[:1])
        + _others(found.matchups[1:])
        + holds_section(found, links.get("where_it_holds", ""))
        + ranking_section(found.ranking, links)
        + '<div class="lb-trust">'
        + agreement_card(found, links.get("agreement", ""))
        + position_card(found.position, links.get("left_side", ""))
        + "</div>"
        + rewards_section(found.rewards, links.get("classifier", ""))
        + labelers_section(found.labelers, links.get("labelers", ""))
        + "</div>"
    )


def download(table: Table) -> str:
    """A link that saves a table as CSV; the table is in the link itself."""
    data = base64.b64encode(table.csv().encode("utf-8")).decode("ascii")
    name = f"{table.name}.csv"
    return (
        f'<a class="lb-save" download="{name}" href="data:text/csv;charset=utf-8;base64,{data}"'
        f' aria-label="Save {name}">CSV</a>'
    )


def _archive(found: Report) -> str:
    data = base64.b64encode(archive(found)).decode("ascii")
    return (
        '<a class="lb-save lb-save-all" download="results.zip"'
        f' href="data:application/zip;base64,{data}">Save all tables</a>'
    )


def _nothing(found: Report) -> str:
    chosen = found.selection
    if chosen.batch or chosen.without or chosen.blind_only or chosen.labeler_kind == "model":
        return empty("No pick matches", "No pick is left with these filters: choose wider ones.")
    start = (
        "Open the <b>Label</b> tab and judge a few pairs."
        if found.counts.pairs
        else "Load pairs with <code>python -m labeling pairs FILE</code>, then judge them in"
        " the <b>Label</b> tab."
    )
    return empty("No picks yet", f"{start} What they say appears here.")


def _counts(counts: Counts, save: str) -> str:
    facts = (
        plural(counts.picks, "pick"),
        plural(counts.labelers, "labeler"),
        plural(counts.pairs, "pair"),
        plural(counts.ties, "tie"),
        f"{counts.both_bad:,} both bad",
        plural(counts.skips, "skip"),
    )
    items = "".join("<li><b>{}</b> {}</li>".format(*fact.split(" ", 1)) for fact in facts)
    return f'<div class="lb-counts"><ul>{items}</ul>{save}</div>'


def _headline(rate: WinRate, plan: Plan | None, links: Mapping[str, str]) -> str:
    title, why = verdict_words(rate)
    return (
        f'<section class="da-card lb-headline {_tone(rate)}"><div class="lb-verdict">'
        f'<h2 class="da-title">{escape(title)}</h2><p class="da-muted">{why}</p>'
        f'{_figure(rate)}<p class="da-muted">{_facts(rate)}</p></div>'
        f"{_plan(plan, rate) if plan else ''}"
        f'<div class="lb-corner">{links.get("win_rates", "")}</div></section>'
    )


def _figure(rate: WinRate) -> str:
    if rate.rate is None or rate.low is None or rate.high is None:
        return ""
    told = span(rate.low, rate.high)
    mark = Mark(rate.after, rate.rate, rate.low, rate.high, points(rate.rate), tone=_tone(rate))
    label = f"Win rate {points(rate.rate)}, 95 % interval {told}, on a scale from 0 to 100 %"
    return (
        f'<div class="lb-rate"><p class="lb-big">{points(rate.rate)}</p>'
        f"<p>win rate of <b>{escape(rate.after)}</b>"
        f'<span class="da-muted">95 % interval {told}</span></p></div>'
        f'<div class="lb-plot">{line(mark, WHOLE, 0.5, label)}'
        f'<div class="lb-ends" aria-hidden="true"><span>all “{escape(rate.before)}”</span>'
        f"<span>50 %</span><span>all “{escape(rate.after)}”</span></div></div>"
    )


def _facts(rate: WinRate) -> str:
    return (
        f"{rate.wins:,} for “{escape(rate.after)}”, {rate.losses:,} for “{escape(rate.before)}”; "
        f"{plural(rate.ties, 'tie')} and {rate.both_bad:,} both bad count half; "
        f"{plural(rate.skips, 'skip')} left out. {plural(rate.n, 'pick')} on"
        f" {plural(rate.prompts, 'prompt')} by {plural(rate.labelers, 'labeler')}."
    )


def _plan(plan: Plan, rate: WinRate) -> str:
    rows = []
    for margin in plan.margins:
        name = f"±{100 * margin.margin:.0f} points"
        wanted = margin.wanted or margin.independent
        rest = "reached" if margin.more == 0 else f"{wanted - rate.n:,} to go"
        share = min(rate.n / wanted, 1) if wanted else 1
        rows.append(
            f"<li><span>{name}</span>{_meter(name, rate.n, wanted, share)}"
            f"<span><b>{rest}</b> {rate.n:,} of {wanted:,}; {margin.independent} if independent"
            "</span></li>"
        )
    figure, sentence = decides_words(plan, rate)
    rows.append(
        f'<li><span>a verdict</span><span class="lb-decides"><b>{figure}</b> {escape(sentence)}'
        "</span></li>"
    )
    notes = " ".join(note for note in (lacking_words(plan, rate), worth_words(plan)) if note)
    return (
        '<div class="lb-plan"><h3 class="lb-label">Picks that it still takes</h3>'
        f'<ul>{"".join(rows)}</ul><p class="da-muted">{escape(notes)}</p></div>'
    )


def _meter(name: str, done: int, wanted: int, share: float) -> str:
    return (
        f'<div class="da-bar" role="meter" aria-label="Picks for {name}" aria-valuemin="0"'
        f' aria-valuemax="{wanted}" aria-valuenow="{min(done, wanted)}"'
        f' style="--value:{100 * share:.1f}%"><i></i></div>'
    )


def _others(rates: Sequence[WinRate]) -> str:
    if not rates:
        return ""
    cards = "".join(
        f'<section class="da-card lb-other {_tone(rate)}">'
        f'<h3 class="da-title">{escape(verdict_words(rate)[0])}</h3>{_figure(rate)}'
        f'<p class="da-muted">{_facts(rate)}</p></section>'
        for rate in rates
    )
    return f'<div class="lb-others">{cards}</div>'


def _tone(rate: WinRate) -> str:
    return {"higher": "da-after", "lower": "da-before"}.get(rate.verdict, "")
