"""The Results tab: what the picks say so far, how sure that is, and how many are still needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from statistics import NormalDist
from typing import Any

import gradio as gr

from detox.ui.html import empty, percent
from detox.ui.manners import polite
from labeling.agreement import Agreement, agreement
from labeling.ranking import MIN_PROMPTS, WinRate, planned_picks, win_rate
from labeling.store import Store, open_store
from labeling.ui.place import FLAT, SWIFT, current_tab

MARGINS = (0.10, 0.05)
# Below this probability a share of left picks is called a bias.
BIAS_LEVEL = 0.05
MATCHUPS_SHOWN = 3


@dataclass(frozen=True)
class Counts:
    """What is in the project: its pairs, its current picks by choice, and who made them."""

    pairs: int
    labelers: int
    left: int
    right: int
    ties: int
    both_bad: int
    skips: int

    @property
    def picks(self) -> int:
        """All current picks, skips included."""
        return self.left + self.right + self.ties + self.both_bad + self.skips


@dataclass(frozen=True)
class LeftShare:
    """How often the left side won, of the decided picks; ``p`` tests against a fair coin."""

    picks: int
    share: float | None
    p: float | None


@dataclass(frozen=True)
class Report:
    """All that the tab shows; one ``WinRate`` for each two policies compared, most picks first."""

    counts: Counts
    matchups: tuple[WinRate, ...]
    agreement: Agreement
    left: LeftShare

    def answer(self) -> dict[str, Any]:
        """The report for programs, as JSON."""
        plan = {f"{margin:.2f}": planned_picks(margin) for margin in MARGINS}
        return asdict(self) | {"planned_picks": plan}


def report(store: Store) -> Report:
    """The project's results as they stand. Raises ``StoreError`` by the database."""
    counts = count(store)
    return Report(
        counts=counts,
        matchups=tuple(win_rate(store, after, before) for before, after in matchups(store)),
        agreement=agreement(store),
        left=left_share(counts.left, counts.right),
    )


def count(store: Store) -> Counts:
    """Pairs, labelers with a current pick, and current picks by choice."""
    with store.reading() as db:
        choices = {
            row["choice"]: int(row["n"])
            for row in db.query("SELECT choice, count(*) AS n FROM current_picks GROUP BY choice")
        }
        pairs = next(db.query("SELECT count(*) AS n FROM pairs"))["n"]
        labelers = next(
            db.query(
                "SELECT count(DISTINCT a.labeler_id) AS n FROM current_picks AS c"
                " JOIN assignments AS a ON a.id = c.assignment_id"
            )
        )["n"]
    by_choice = {
        name: choices.get(choice, 0)
        for name, choice in (
            ("left", "left"),
            ("right", "right"),
            ("ties", "tie"),
            ("both_bad", "both_bad"),
            ("skips", "skip"),
        )
    }
    return Counts(pairs=int(pairs), labelers=int(labelers), **by_choice)


def matchups(store: Store) -> list[tuple[str, str]]:
    """``(before, after)`` names of the policies compared in current picks, most picks first.

    A pair's first candidate counts as before, unless the other one is called that.
    """
    with store.reading() as db:
        rows = list(
            db.query(
                "SELECT pa.name AS first, pb.name AS second, count(*) AS n"
                " FROM current_picks AS c JOIN assignments AS a ON a.id = c.assignment_id"
                " JOIN pairs AS p ON p.id = a.pair_id"
                " JOIN candidates AS ca ON ca.id = p.candidate_a"
                " JOIN candidates AS cb ON cb.id = p.candidate_b"
                " JOIN policies AS pa ON pa.id = ca.policy_id"
                " JOIN policies AS pb ON pb.id = cb.policy_id"
                " WHERE pa.name <> pb.name GROUP BY pa.name, pb.name ORDER BY n DESC, 1, 2"
            )
        )
    found: dict[frozenset[str], tuple[str, str]] = {}
    for row in rows:
        first, second = row["first"], row["second"]
        if second == "before" or first == "after":
            first, second = second, first
        found.setdefault(frozenset((first, second)), (first, second))
    return list(found.values())[:MATCHUPS_SHOWN]


def left_share(left: int, right: int) -> LeftShare:
    """The share of left among ``left + right`` decided picks, tested against a half.

    The two-sided binomial test in its normal approximation, with continuity correction.
    """
    picks = left + right
    if picks == 0:
        return LeftShare(0, None, None)
    distance = max(abs(left - picks / 2) - 0.5, 0.0) / (picks**0.5 / 2)
    return LeftShare(picks, left / picks, 2 * (1 - NormalDist().cdf(distance)))


def page(found: Report) -> str:
    """The report as HTML."""
    if found.counts.picks == 0:
        start = (
            "Open the <b>Label</b> tab and judge a few pairs."
            if found.counts.pairs
            else "Load pairs with <code>python -m labeling pairs FILE</code>, then judge them in"
            " the <b>Label</b> tab."
        )
        return empty("No picks yet", f"{start} What they say appears here.")
    wins = "".join(_matchup(rate) for rate in found.matchups)
    return (
        f'<div class="lb-results">{_counts(found.counts)}{wins}<div class="da-grid">'
        f"{_agreement(found.agreement)}{_left(found.left)}</div></div>"
    )


def verdict_words(rate: WinRate) -> tuple[str, str]:
    """A headline and a sentence for what the interval says."""
    if rate.rate is None:
        return "No picks between these two", "Every pair of theirs was skipped so far."
    if rate.verdict == "higher":
        return (
            f"People prefer “{rate.after}”",
            "The whole interval lies above one half: this is unlikely to be luck.",
        )
    if rate.verdict == "lower":
        return (
            f"People prefer “{rate.before}”",
            "The whole interval lies below one half: this is unlikely to be luck.",
        )
    if rate.prompts < MIN_PROMPTS:
        return (
            "Too early to say",
            f"An interval means something from {MIN_PROMPTS} judged pairs on; there"
            f" {'is' if rate.prompts == 1 else 'are'} {rate.prompts}.",
        )
    return (
        "No clear preference yet",
        "The interval contains one half: more picks may decide it, or the two are alike.",
    )


def plural(count: int, noun: str) -> str:
    """``1 pick``, ``2 picks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _counts(counts: Counts) -> str:
    tiles = (
        ("Pairs", counts.pairs),
        ("Picks", counts.picks),
        ("Labelers", counts.labelers),
        ("Ties", counts.ties),
        ("Both bad", counts.both_bad),
        ("Skips", counts.skips),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{value:,}</dd></div>" for name, value in tiles)
    return f'<dl class="da-card lb-counts">{items}</dl>'


def _matchup(rate: WinRate) -> str:
    title, why = verdict_words(rate)
    tone = {"higher": "da-after", "lower": "da-before"}.get(rate.verdict, "")
    if rate.rate is None or rate.low is None or rate.high is None:
        figure = ""
    else:
        span = f"{percent(rate.low)} to {percent(rate.high)}"
        figure = (
            f'<div class="lb-rate"><p class="lb-big">{percent(rate.rate)}</p>'
            f"<p>win rate of <b>{escape(rate.after)}</b>"
            f'<span class="da-muted">95 % interval {span}</span></p></div>'
            f"{_interval(rate.rate, rate.low, rate.high, rate)}"
        )
    facts = (
        f"{rate.wins} for “{escape(rate.after)}”, {rate.losses} for “{escape(rate.before)}”; "
        f"{plural(rate.ties, 'tie')} and {rate.both_bad} both bad count half; "
        f"{plural(rate.skips, 'skip')} left out. {plural(rate.n, 'pick')} on"
        f" {plural(rate.prompts, 'prompt')} by {plural(rate.labelers, 'labeler')}."
    )
    alone = (
        " With one labeler the interval speaks of other pairs, not of other people."
        if rate.labelers == 1
        else ""
    )
    return (
        f'<section class="da-card lb-matchup {tone}"><div class="lb-verdict">'
        f'<h2 class="da-title">{escape(title)}</h2><p class="da-muted">{why}</p></div>{figure}'
        f'<p class="da-muted">{facts}{alone}</p>{_plan(rate.n)}</section>'
    )


def _interval(rate: float, low: float, high: float, names: WinRate) -> str:
    label = (
        f"Win rate {percent(rate)}, 95 % interval {percent(low)} to {percent(high)}, "
        "on a scale from 0 to 100 %"
    )
    return (
        f'<div class="lb-plot" role="img" aria-label="{label}">'
        f'<div class="lb-scale"><i class="lb-band" style="left:{100 * low:.2f}%;'
        f'width:{100 * (high - low):.2f}%"></i><i class="lb-half"></i>'
        f'<i class="lb-dot" style="left:{100 * rate:.2f}%"></i></div>'
        f'<div class="lb-ends" aria-hidden="true"><span>all “{escape(names.before)}”</span>'
        f"<span>50 %</span><span>all “{escape(names.after)}”</span></div></div>"
    )


def _plan(picks: int) -> str:
    rows = []
    for margin in MARGINS:
        wanted = planned_picks(margin)
        share = min(picks / wanted, 1)
        rest = f"{wanted - picks} to go" if picks < wanted else "reached"
        rows.append(
            f"<li><span>±{100 * margin:.0f} points</span>"
            f'<div class="da-bar" role="meter" aria-label="Picks for ±{100 * margin:.0f} points"'
            f' aria-valuemin="0" aria-valuemax="{wanted}" aria-valuenow="{min(picks, wanted)}"'
            f' style="--value:{100 * share:.1f}%"><i></i></div>'
            f"<span>{picks} of {wanted}, {rest}</span></li>"
        )
    return (
        '<div class="lb-plan"><h3 class="lb-label">How many picks it takes</h3>'
        f"<ul>{''.join(rows)}</ul></div>"
    )


def _agreement(found: Agreement) -> str:
    if found.pairs == 0 or found.raw is None:
        return _fact(
            "Agreement",
            "–",
            "Nobody has judged a pair that another labeler judged too. Agreement shows once two"
            " people meet on the same pairs.",
        )
    measures = "".join(
        f"<div><dt>{name}</dt><dd>{value:.2f}</dd></div>".replace("-", "−")
        for name, value in (
            ("Cohen's κ", found.cohen),
            ("Fleiss' κ", found.fleiss),
            ("Krippendorff's α", found.alpha),
        )
        if value is not None
    )
    return _fact(
        "Agreement",
        percent(found.raw),
        f"of the time, {found.labelers} labelers said the same on the"
        f" {plural(found.pairs, 'pair')} they share. On summaries, careful people agree on"
        " 73–77 %.",
        f'<dl class="lb-measures">{measures}</dl>' if measures else "",
    )


def _left(found: LeftShare) -> str:
    if found.share is None or found.p is None:
        return _fact("Left side", "–", "Nobody has picked a side yet.")
    bias = (
        "That is further from one half than chance explains: somebody may favour a side."
        if found.p < BIAS_LEVEL
        else "Sides are drawn at random, so about one half is expected."
    )
    return _fact(
        "Left side",
        percent(found.share),
        f"of {plural(found.picks, 'decided pick')} went left. {bias}",
    )


def _fact(title: str, figure: str, text: str, more: str = "") -> str:
    return (
        f'<section class="da-card lb-fact"><h3 class="lb-label">{title}</h3>'
        f'<p class="lb-big">{figure}</p><p class="da-muted">{text}</p>{more}</section>'
    )


def results_tab(database: Path) -> None:
    """Builds the tab inside the current ``gr.Tab``; it refreshes each time it is opened."""
    shown = gr.HTML(empty("Results", "One moment."), elem_id="results-page", label="page", **FLAT)
    with gr.Row(elem_classes="lb-foot"):
        refresh = gr.Button("Refresh", size="sm", elem_id="results-refresh", scale=0)
    with gr.Row(visible=False):
        answer = gr.JSON(label="answer")

    @polite
    def results() -> tuple[dict[str, Any], str]:
        found = report(open_store(database))
        return found.answer(), page(found)

    triggers: list[Callable[..., Any]] = [refresh.click]
    if (tab := current_tab()) is not None:
        triggers.append(tab.select)
    gr.on(triggers, results, None, [answer, shown], api_name="results", **SWIFT)
