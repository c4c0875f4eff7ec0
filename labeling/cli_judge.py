"""``python -m labeling judge``: models that label pairs, and how far they agree with people."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from detox.errors import UserError
from labeling.judge import (
    MOST_FAILURES,
    TIE_MARGIN,
    Judge,
    Judged,
    Question,
    judge_pairs,
    read_question,
)
from labeling.store import open_store

if TYPE_CHECKING:
    from labeling.judge.report import Estimate, JudgeReport

Add = Callable[[str, Callable[..., int | None], str], argparse.ArgumentParser]
# Options that only one of the two sorts of judges has.
_LOCAL = ("tie_margin", "chat", "batch_size")
_REMOTE = ("key_env", "timeout", "concurrency", "attempts", "body")


def add_commands(add: Add) -> None:
    """Adds ``judge`` through ``add(name, function, help)``."""
    sub = add(
        "judge", _judge, "let a model judge pairs, or report how far models agree with people"
    )
    sub.add_argument("model", nargs="?", help="a policy as in `detox`, or the endpoint's own name")
    sub.add_argument("--batch", help="only this batch")
    sub.add_argument("--limit", type=int, metavar="N", help="at most so many pairs")
    sub.add_argument("--voted", action="store_true", help="only pairs that people judged, and gold")
    sub.add_argument("--name", help="the judge's name (default: judge:MODEL@VERSION)")
    sub.add_argument("--question", type=Path, metavar="FILE", help="with {dialogue}, {first} …")
    sub.add_argument("--explain", action="store_true", help="a short reason, kept as the note")
    sub.add_argument(
        "--max-failures",
        type=int,
        default=MOST_FAILURES,
        metavar="N",
        help="stop after so many in a row (default: %(default)s)",
    )
    sub.add_argument("--report", action="store_true", help="judge nothing, tell how judges do")
    sub.add_argument("--json", action="store_true", help="the report for programs")
    some = sub.add_argument_group("a causal model on this machine")
    some.add_argument(
        "--tie-margin",
        type=float,
        metavar="P",
        help=f"a tie within so much of one half (default: {TIE_MARGIN})",
    )
    some.add_argument(
        "--chat",
        action=argparse.BooleanOptionalAction,
        help="ask in the chat template (default: where there is one and no adapter)",
    )
    some.add_argument("--batch-size", type=int, metavar="N", help="pairs at a time (default: 8)")
    some = sub.add_argument_group("an OpenAI-compatible endpoint")
    some.add_argument("--url", help="such as http://localhost:8000/v1; model is its name there")
    some.add_argument("--key-env", metavar="NAME", help="environment variable that holds the key")
    some.add_argument("--timeout", type=float, metavar="SECONDS", help="a reply (default: 60)")
    some.add_argument("--concurrency", type=int, metavar="N", help="pairs at a time (default: 4)")
    some.add_argument("--attempts", type=int, metavar="N", help="a question (default: 5)")
    some.add_argument(
        "--body", metavar="JSON", help="more fields of each request; kept, so no secrets"
    )


def _judge(args: argparse.Namespace) -> None:
    store = open_store(args.db)
    if args.report:
        from labeling.judge.report import judge_reports

        reports = judge_reports(store, args.batch, args.name)
        if args.json:
            told = {"judges": [asdict(report) for report in reports]}
            print(json.dumps(told, indent=2, ensure_ascii=False))
        else:
            print("\n\n".join(_told(report) for report in reports))
        return
    if not args.model:
        raise UserError("Name the model that judges, or ask for --report.")
    judge = _made(args)
    print(f"{judge.name} judges.", flush=True)

    def tell(done: int, total: int) -> None:
        if done == total or done % 10 == 0:
            print(f"{done} of {total} pairs", file=sys.stderr, flush=True)

    _say(
        judge_pairs(
            store,
            judge,
            args.batch,
            limit=args.limit,
            voted=args.voted,
            most_failures=args.max_failures,
            tell=tell,
        )
    )


def _made(args: argparse.Namespace) -> Judge:
    question = read_question(args.question) if args.question else Question()
    mine, others = (_REMOTE, _LOCAL) if args.url else (_LOCAL, _REMOTE)
    for option in others:
        if getattr(args, option) is not None:
            _refuse(option, remote=not args.url)
    given = {name: value for name in mine if (value := getattr(args, name)) is not None}
    # The libraries of either sort take long to load.
    if args.url:
        from labeling.judge.endpoint import Access, Endpoint

        given["key"] = _key(given.pop("key_env", None))
        given["body"] = _body(given.pop("body", "{}"))
        access = Access(args.url, args.model, **given)
        return Endpoint(access, question, explain=args.explain, name=args.name)
    from labeling.judge.local import load_judge

    if "tie_margin" in given:
        given["margin"] = given.pop("tie_margin")
    return load_judge(args.model, question, args.name, explain=args.explain, **given)


def _refuse(option: str, *, remote: bool) -> NoReturn:
    name = "--" + option.replace("_", "-")
    if remote:
        raise UserError(f"{name} is for an endpoint: add --url, or leave it out.")
    raise UserError(f"{name} is for a model on this machine: leave it, or --url, out.")


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(f"The environment variable {variable} is not set: put the key there.")
    return key


def _body(text: str) -> Mapping[str, Any]:
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError('--body must be JSON, such as {"max_tokens": 200}.') from error
    if not isinstance(body, dict):
        raise UserError('--body must be a JSON object, such as {"max_tokens": 200}.')
    return body


def _say(done: Judged) -> None:
    if not done.asked:
        print("Every pair is judged by this judge already.")
        return
    print(f"{done.judged} pairs judged, {done.ties} of them ties.")
    if done.failed or done.unfit:
        why = "; ".join(f"{reason} ({count})" for reason, count in done.reasons.items())
        again = " Run the same command again to go on." if done.failed else ""
        print(f"{done.failed + done.unfit} pairs have no verdict: {why}.{again}")


def _told(report: JudgeReport) -> str:
    lines = [f"{report.judge}: {report.picks} pairs judged, {report.ties} ties"]
    for rate in report.win_rates:
        if rate.rate is not None and rate.low is not None and rate.high is not None:
            lines.append(
                f"'{rate.after}' against '{rate.before}': win rate {rate.rate:.1%}, 95 % interval "
                f"{rate.low:.1%} to {rate.high:.1%}: {rate.verdict} ({rate.n} pairs)"
            )
    people = report.with_people
    if people.raw.n:
        lines += [
            f"Says what people say: {_share(people.raw)} of {people.raw.n} picks by "
            f"{people.people} people on {people.pairs} pairs; where both prefer a side "
            f"{_share(people.decided)} of {people.decided.n}; kappa {_number(people.kappa)}",
            f"People among themselves on these pairs: {_share(people.among_people)}",
        ]
    else:
        lines.append("No pair was judged by people as well: no agreement to report.")
    if report.gold.n:
        lines.append(f"Gold: {_share(report.gold)} of {report.gold.n} pairs right")
    bias = report.position
    if bias is not None and bias.pairs:
        p = "" if bias.p is None else f", exact sign test p = {bias.p:.3g}"
        lines.append(
            f"Position: what stands first wins {_share(bias.share)} of {bias.share.n} answers{p}; "
            f"both orders agree on {_share(bias.consistent)} of {bias.pairs} pairs"
        )
    return "\n  ".join(lines)


def _share(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1%}"
    return f"{estimate.value:.1%} ({estimate.low:.1%} to {estimate.high:.1%})"


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return "undefined"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
