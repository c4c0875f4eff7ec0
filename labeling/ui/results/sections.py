"""The parts of the Results page below its headline, except the labelers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from labeling.analysis.adjudicated import Adjudicated
from labeling.analysis.breakdown import Slice
from labeling.analysis.position import Position
from labeling.analysis.ranking import Ranking
from labeling.analysis.report import Report
from labeling.analysis.rewards import Band, RewardAgreement
from labeling.ui.results.plots import (
    Mark,
    Scale,
    forest,
    line,
    share_scale,
    share_ticks,
    steps,
    wide_scale,
)
from labeling.ui.results.words import plain, plural, points, side_words, signed, span

_DIMENSIONS = {
    "topic": "Topic",
    "tone": "Tone",
    "length": "Length of “{after}”",
    "split": "Split",
    "batch": "Batch",
}
_LENGTHS = {
    "shorter": "over 20 % shorter",
    "similar": "about as long",
    "longer": "over 20 % longer",
}


def section(title: str, text: str, body: str, save: str = "", kind: str = "") -> str:
    """A card with a title, a sentence (HTML), and its content."""
    return (
        f'<section class="da-card lb-section {kind}"><header><h3 class="da-title">{title}</h3>'
        f"{save}</header>"
        + (f'<p class="da-muted">{text}</p>' if text else "")
        + f"{body}</section>"
    )


def holds_section(found: Report, save: str) -> str:
    """Win rates by topic, tone, length and so on, as a forest plot."""
    parts = [part for part in found.slices if part.share.rate is not None]
    if not parts:
        return ""
    rate = found.matchups[0]
    ends = [
        value for part in parts for value in (part.share.low, part.share.high) if value is not None
    ]
    scale = share_scale(ends)
    groups: dict[str, list[Mark]] = {}
    for part in parts:
        title = _DIMENSIONS[part.dimension].format(after=rate.after)
        groups.setdefault(title, []).append(_slice(part))
    clear = sum(part.verdict != "inconclusive" for part in parts)
    text = (
        f"Win rate of <b>{escape(rate.after)}</b> in each part of the picks. {clear} of"
        f" {len(parts)} parts are clear after allowing for how many there are (Holm); the others"
        " are grey."
    )
    plots = "".join(
        f'<div class="lb-part">{forest([group], scale, 0.5, share_ticks(scale))}</div>'
        for group in groups.items()
    )
    return section("Where it holds", text, f'<div class="lb-parts">{plots}</div>', save)


def _slice(part: Slice) -> Mark:
    share = part.share
    name = _LENGTHS.get(part.name, part.name) if part.dimension == "length" else part.name
    return Mark(
        name,
        share.rate or 0.0,
        share.low or 0.0,
        share.high or 0.0,
        points(share.rate or 0.0),
        plural(share.n, "pick"),
        {"higher": "da-after", "lower": "da-before"}.get(part.verdict, ""),
    )


def ranking_section(found: Ranking, links: Mapping[str, str]) -> str:
    """Policies on one scale and a table of every two of them; nothing for two policies."""
    names = list(dict.fromkeys(duel.policy for duel in found.duels))
    if len(names) < 3:
        return ""
    table = _duels(found, names) + _corner(links.get("every_two_policies", ""))
    if not found.ratings:
        return section("Policies", escape(found.why), table, links.get("ranking", ""))
    scale = wide_scale([value for r in found.ratings for value in (r.low, r.high)])
    marks = [
        Mark(
            rating.policy,
            rating.strength,
            rating.low,
            rating.high,
            signed(rating.strength),
            plural(rating.picks, "pick"),
        )
        for rating in found.ratings
    ]
    ticks = [(0.0, "average")]
    text = (
        "Bradley–Terry strengths: log-odds against the average policy, with 95 % intervals. One"
        " point more means winning 73 % of the time."
    )
    plot = forest([("", marks)], scale, 0.0, ticks)
    body = f'<div class="lb-two"><div>{plot}</div><div>{table}</div></div>'
    return section("Policies", text, body, links.get("ranking", ""))


def _corner(save: str) -> str:
    return f'<div class="lb-corner">{save}</div>' if save else ""


def _duels(found: Ranking, names: list[str]) -> str:
    order = [rating.policy for rating in found.ratings] or names
    rates = {(duel.policy, duel.other): duel for duel in found.duels}
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in order)
    rows = []
    for name in order:
        cells = []
        for other in order:
            duel = rates.get((name, other))
            if duel is None:
                cells.append('<td class="lb-blank"></td>')
                continue
            tone = "da-after" if duel.rate > 0.5 else "da-before"
            shade = min(1.0, abs(duel.rate - 0.5) * 3)
            cells.append(
                f'<td class="{tone}" style="--shade:{100 * shade:.0f}%"'
                f' title="{plural(duel.picks, "pick")}">{points(duel.rate)}</td>'
            )
        rows.append(f"<tr><th scope=row>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        '<div class="lb-wide" role="region" aria-label="Every two policies" tabindex="0">'
        '<table class="lb-matrix"><caption class="lb-label">How often the row'
        f" beats the column</caption><thead><tr><td></td>{head}</tr></thead><tbody>"
        f"{''.join(rows)}</tbody></table></div>"
    )


def agreement_card(found: Report, save: str) -> str:
    """Agreement between labelers, measure by measure, and what adjudication made of it."""
    shared = found.agreement
    if shared.pairs == 0 or shared.raw is None:
        return section(
            "Agreement",
            "Nobody has judged a pair that another labeler judged too. Agreement shows once two"
            " people meet on the same pairs.",
            "",
        )
    sure = f" ({span(*shared.raw_interval)})" if shared.raw_interval else ""
    raw = (
        f'<p class="lb-fact"><b class="lb-big">{points(shared.raw)}</b><span>of the time{sure},'
        f" two of {shared.labelers:,} labelers said the same on the"
        f" {plural(shared.pairs, 'pair')} they share. On summaries, careful people agree on"
        " 73–77 %.</span></p>"
    )
    rows = []
    for name, value, interval in (
        ("Cohen's κ", shared.cohen, shared.cohen_interval),
        ("Fleiss' κ", shared.fleiss, shared.fleiss_interval),
        ("Krippendorff's α", shared.alpha, shared.alpha_interval),
    ):
        if value is None:
            continue
        beside = plain(value)
        low, high = interval or (value, value)
        note = f"{plain(low)} to {plain(high)}" if interval else ""
        rows.append(Mark(name, value, low, high, beside, note))
    scale = Scale(min(0.0, *(mark.low for mark in rows), 0.0), 1.0)
    plot = forest([("", rows)], scale, 0.0, [(0.0, "chance"), (1.0, "always")]) if rows else ""
    return section("Agreement", "", f"{raw}{plot}{_adjudicated(found.adjudicated)}", save)


def _adjudicated(found: Adjudicated) -> str:
    if found.pairs == 0:
        return ""
    return (
        f'<p class="da-muted">Of {plural(found.pairs, "adjudicated pair")}, the label kept what'
        f" most picks said in {found.kept:,}, changed it in {found.changed:,} and settled"
        f" {found.settled:,} without a majority.</p>"
    )


def position_card(found: Position, save: str) -> str:
    """The share of left picks."""
    if found.share is None or found.low is None or found.high is None or found.p is None:
        return section("Left side", side_words(found), "")
    mark = Mark("left", found.share, found.low, found.high, points(found.share))
    scale = share_scale([found.low, found.high])
    label = f"Left {points(found.share)}, 95 % interval {span(found.low, found.high)}"
    ends = f"<span>{points(scale.low)}</span><span></span><span>{points(scale.high)}</span>"
    body = (
        f'<p class="lb-fact"><b class="lb-big">{points(found.share)}</b><span>of'
        f" {plural(found.picks, 'decided pick')} went left; interval over labelers"
        f" {span(found.low, found.high)}, exact binomial p {_p(found.p)}.</span></p>"
        f'<div class="lb-plot">{line(mark, scale, 0.5, label)}'
        f'<div class="lb-ends" aria-hidden="true">{ends}</div></div>'
        f'<p class="da-muted">{side_words(found)}</p>'
    )
    return section("Left side", "", body, save)


def _p(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"= {p:.3f}"


def rewards_section(found: RewardAgreement, save: str) -> str:
    """How often the classifier's reward prefers what people prefer, by how sure it is."""
    people = found.people
    if people.rate is None:
        return ""
    marks = [_band(Band("all", None, None, people), "")]
    marks += [_band(band, _between(band)) for band in found.bands]
    levels = [(0.5, "a coin")]
    if found.one_other is not None:
        levels.append((found.one_other, "one other person"))
    if found.majority is not None:
        levels.append((found.majority, "most other people"))
    ends = [value for mark in marks for value in (mark.low, mark.high)]
    scale = share_scale([*ends, *(value for value, _ in levels)])
    plot = steps(marks, scale, levels, share_ticks(scale))
    text = (
        f"Of {plural(people.n, 'pick')} that prefer a side, the response with the higher reward"
        f" was picked in <b>{points(people.rate)}</b>. The lines say how well people predict a"
        " pick: no reward can be expected to do better."
    )
    return section(
        "Does the classifier agree with people?",
        text,
        f"{plot}{_levels(levels)}{_ruled(found)}{_left_out(found)}",
        save,
    )


def _levels(levels: list[tuple[float, str]]) -> str:
    told = ", ".join(f"{name} {points(value)}" for value, name in levels)
    return f'<p class="da-muted">Lines: {told}.</p>'


def _band(band: Band, note: str) -> Mark:
    share = band.share
    rate, low, high = share.rate or 0.0, share.low or 0.0, share.high or 0.0
    tone = {"higher": "da-after", "lower": "da-before"}.get(share.verdict, "")
    return Mark(band.name, rate, low, high, points(rate), note or plural(share.n, "pick"), tone)


def _between(band: Band) -> str:
    return f"rewards {band.from_ or 0:.1f} to {band.to or 0:.1f} apart"


def _ruled(found: RewardAgreement) -> str:
    share = found.adjudicated
    if share.rate is None or share.low is None or share.high is None:
        return ""
    bands = ", ".join(
        f"{band.name} {points(band.share.rate)}"
        for band in found.adjudicated_bands
        if band.share.rate is not None
    )
    return (
        f'<p class="da-muted">Against {plural(share.n, "adjudicated label")}:'
        f" <b>{points(share.rate)}</b> ({span(share.low, share.high)})"
        + (f"; {bands}" if bands else "")
        + ".</p>"
    )


def _left_out(found: RewardAgreement) -> str:
    told = (
        [f"{plural(found.undecided, 'pick')} that prefer neither side"] if found.undecided else []
    )
    if found.without_reward:
        told.append(f"{plural(found.without_reward, 'pair')} without two different rewards")
    return f'<p class="da-muted">Left out: {" and ".join(told)}.</p>' if told else ""
