"""``python -m labeling results``: its options, and what it tells."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from labeling.analysis.labelers import Reliability
from labeling.analysis.plan import planned_picks
from labeling.analysis.report import Report, report
from labeling.analysis.selection import LABELER_KINDS, Selection
from labeling.analysis.tables import write_tables
from labeling.schema import SPLITS
from labeling.store import open_store

# Slices and labelers that a terminal shows; files hold all.
_LINES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m labeling results``."""
    add = parser.add_argument
    add("--after", help="policy whose wins count (default: the two compared most)")
    add("--before", help="policy it is compared with")
    add("--json", action="store_true", help="everything, for programs")
    add("--csv", type=Path, metavar="DIR", help="write every table and the report into this folder")
    some = parser.add_argument_group("which picks")
    add = some.add_argument
    add("--batch")
    add("--split", choices=SPLITS)
    add(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="none of this labeler's, a name or pseudonym; may be repeated",
    )
    add("--blind-only", action="store_true", help="only by labelers who could not know the sides")
    add(
        "--kind",
        choices=(*LABELER_KINDS, "all"),
        default="person",
        help="kind of labeler (default: %(default)s)",
    )
    add("--since", metavar="TIME", help="ISO 8601, UTC")
    add("--until", metavar="TIME", help="ISO 8601, UTC; not included")


def run(args: argparse.Namespace) -> None:
    """Prints the results. Raises ``UserError`` for what is not in the database."""
    asked = args.after or args.before
    selection = Selection(
        batch=args.batch,
        split=args.split,
        policies=(args.after or "after", args.before or "before") if asked else None,
        without=tuple(args.without),
        labeler_kind=None if args.kind == "all" else args.kind,
        since=args.since,
        until=args.until,
        blind_only=args.blind_only,
    )
    found = report(open_store(args.db), selection)
    written = write_tables(found, args.csv) if args.csv else []
    if args.json:
        answer = found.answer()
        answer["win_rate"] = answer["matchups"][0] if found.matchups else None
        print(json.dumps(answer, indent=2))
        return
    print("\n".join(_lines(found)))
    if written:
        print(f"{len(written)} files in {args.csv}.")


def _lines(found: Report) -> list[str]:
    if found.counts.picks == 0:
        return ["No pick matches: judge pairs with `labeling label`, or choose other filters."]
    return [
        *_win_rates(found),
        *_slices(found),
        *_ranking(found),
        *_agreement(found),
        *_position(found),
        *_rewards(found),
        *_labelers(found.labelers),
    ]


def _win_rates(found: Report) -> list[str]:
    lines = []
    for rate in found.matchups:
        lines.append(
            f"'{rate.after}' against '{rate.before}': {rate.wins:,} wins, {rate.losses:,} losses, "
            f"{rate.ties:,} ties, {rate.both_bad:,} both bad; {rate.skips:,} skipped"
        )
        if rate.rate is not None:
            lines.append(
                f"Win rate {rate.rate:.1%}, 95 % interval {rate.low:.1%} to {rate.high:.1%}: "
                f"{rate.verdict} ({rate.n:,} picks, {rate.prompts:,} prompts, "
                f"{rate.labelers:,} labelers)"
            )
    plan = f"±10 points need about {planned_picks(0.1)} picks, ±5 about {planned_picks(0.05)}"
    lines.append(f"Plan, if every pick told something new: {plan}")
    if found.plan is not None and found.plan.design_effect is not None:
        rest = ", ".join(
            f"{row.more:,} more for ±{100 * row.margin:.0f} points" for row in found.plan.margins
        )
        lines.append(
            f"As these picks are (design effect {found.plan.design_effect:.1f}): {rest}"
            + (f", {found.plan.decides:,} more for a verdict" if found.plan.decides else "")
            + f"; most is gained by more {found.plan.lacking}."
        )
    return lines


def _slices(found: Report) -> list[str]:
    shown = sorted(found.slices, key=lambda part: -part.share.n)[:_LINES]
    return [
        f"  {part.dimension} {part.name}: {part.share.rate:.1%} "
        f"({part.share.low:.1%} to {part.share.high:.1%}, {part.share.n:,} picks), {part.verdict}"
        for part in found.slices
        if part in shown and part.share.rate is not None
    ]


def _ranking(found: Report) -> list[str]:
    return [
        f"Ranking: {rating.policy} {rating.strength:+.2f} ({rating.low:+.2f} to {rating.high:+.2f})"
        for rating in found.ranking.ratings
    ]


def _agreement(found: Report) -> list[str]:
    shared = found.agreement
    if shared.pairs == 0:
        return []
    return [
        f"Agreement on {shared.pairs:,} pairs: raw {_measure(shared.raw, shared.raw_interval)}, "
        f"kappa {_measure(shared.cohen, shared.cohen_interval)}, "
        f"alpha {_measure(shared.alpha, shared.alpha_interval)}"
    ]


def _measure(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:.2f}" + (f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else "")


def _position(found: Report) -> list[str]:
    side = found.position
    if side.share is None:
        return []
    return [f"Left side: {side.share:.1%} of {side.picks:,} decided picks (p = {side.p:.3g})"]


def _rewards(found: Report) -> list[str]:
    people = found.rewards.people
    if people.rate is None:
        return []
    bands = ", ".join(
        f"{band.name} {band.share.rate:.1%}"
        for band in found.rewards.bands
        if band.share.rate is not None
    )
    return [
        f"The classifier's reward agrees with {people.rate:.1%} of {people.n:,} decided picks "
        f"({people.low:.1%} to {people.high:.1%})" + (f": {bands}" if bands else "")
    ]


def _labelers(rows: tuple[Reliability, ...]) -> list[str]:
    flagged = [row for row in rows if row.flags]
    lines = [f"{len(rows):,} labelers, {len(flagged):,} flagged"]
    return lines + [f"  {row.labeler}: {flag}" for row in flagged[:_LINES] for flag in row.flags]
