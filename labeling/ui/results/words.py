"""What the numbers of a report mean, in words. Names are as they came: the page escapes them."""

from __future__ import annotations

from labeling.analysis.bootstrap import MIN_PROMPTS
from labeling.analysis.plan import POWER, Plan
from labeling.analysis.position import Position
from labeling.analysis.win_rates import WinRate

# Below this probability a share of left picks is called a bias.
BIAS_LEVEL = 0.05


def plural(count: int, noun: str) -> str:
    """``1 pick``, ``2 picks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def points(share: float, digits: int = 0) -> str:
    """A share from 0 to 1 as percent, with a space that does not break before the sign."""
    return f"{100 * share:.{digits}f}\u00a0%"


def span(low: float, high: float) -> str:
    """An interval of shares: one decimal where whole percents would hide its width."""
    digits = 0 if high - low >= 0.04 else 1
    return f"{points(low, digits)} to {points(high, digits)}"


def signed(value: float) -> str:
    """A number with two decimals, a sign and a real minus."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "\u2212")


def plain(value: float) -> str:
    """A number with two decimals and a real minus."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\u2212")


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


def decides_words(plan: Plan, rate: WinRate) -> tuple[str, str]:
    """What a verdict still takes: a figure, and a sentence about it."""
    if plan.decides == 0:
        return "decided", "the interval leaves out one half"
    if plan.decides is None or rate.rate is None:
        return "not yet known", "the present rate is one half, or there is no interval"
    return (
        f"{plan.decides:,} more",
        f"decide with a chance of {points(POWER)}, if {points(rate.rate)} is the true rate",
    )


def lacking_words(plan: Plan, rate: WinRate) -> str:
    """Whether picks, labelers or dialogues would narrow the interval most; empty if unknown."""
    if plan.lacking is None:
        return ""
    if rate.labelers == 1:
        return (
            "With one labeler the interval speaks of other pairs, not of other people:"
            " ask more people."
        )
    if plan.lacking == "labelers":
        floor = (
            f" With these {rate.labelers} the interval stays above ±{100 * plan.floor:.1f} points,"
            " however many pairs they judge."
            if plan.floor
            else ""
        )
        return (
            f"More labelers are lacking, not more picks: people differ more than pairs do.{floor}"
        )
    if plan.lacking == "dialogues":
        return (
            "More dialogues are lacking, not more picks of the same ones: the preference depends"
            " on the dialogue."
        )
    return "More picks are what is lacking; labelers and dialogues are varied enough."


def worth_words(plan: Plan) -> str:
    """How much a pick tells, beside an independent one; empty before there is an interval."""
    effect = plan.design_effect
    if effect is None:
        return ""
    if effect <= 1.15:
        return "Each pick counts as much as an independent one."
    return (
        f"{effect:.1f} of these picks tell as much as one independent pick: picks of one labeler,"
        " and of one dialogue, are alike."
    )


def side_words(found: Position) -> str:
    """What the share of left picks means."""
    if found.p is None or found.low is None or found.high is None:
        return "Nobody has picked a side yet."
    if found.p >= BIAS_LEVEL:
        return "Sides are drawn at random, so about one half is expected."
    if found.low <= 0.5 <= found.high:
        return (
            "Were all picks independent, that would be a bias; it comes from a few labelers, and"
            " the interval over labelers contains one half."
        )
    return "That is further from one half than chance explains: somebody may favour a side."
