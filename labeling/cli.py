"""``python -m labeling …``: the whole of labeling from a terminal.

Exit codes: 0 done, 2 an expected problem (one sentence on standard error), 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detox import __version__
from detox.errors import UserError
from labeling.agreement import agreement
from labeling.batches import load_pairs
from labeling.cli_lead import add_commands
from labeling.export import FORMATS, Filters, export
from labeling.files import read_jsonl
from labeling.imports import LABELER, READERS, import_file
from labeling.picks import reveal, submit, undo
from labeling.queue import Task, next_pair, progress
from labeling.ranking import planned_picks, win_rate
from labeling.store import Store, open_store

DEFAULT_DB = "data/labels.db"
KEYS = {"a": "left", "b": "right", "t": "tie", "x": "both_bad", "s": "skip"}
HELP = "a: A is better   b: B   t: tie   x: both bad   s: skip   u: undo   q: quit"


def run() -> None:
    """The console command ``labeling``."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Runs one command; returns its exit code and never raises for an expected problem."""
    try:
        args = parser(argv).parse_args(argv)
        command: Callable[[argparse.Namespace], int | None] = args.command
        return command(args) or 0
    except UserError as error:
        print(f"labeling: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped; every pick made so far is saved.", file=sys.stderr)
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2


def parser(argv: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The argument parser; the options of ``reward`` are loaded only if ``argv`` asks for it."""
    top = argparse.ArgumentParser(prog="labeling", description="Collect and use preferences.")
    top.add_argument("--version", action="version", version=__version__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--db",
        default=os.environ.get("DETOX_DB") or DEFAULT_DB,
        metavar="PATH",
        help="the labeling database (default: $DETOX_DB or %(default)s)",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[..., int | None], help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=help, description=help)
        sub.set_defaults(command=command)
        return sub

    add("init", _init, "create the database, or bring it up to date")
    sub = add("pairs", _pairs, "load pairs that were generated beforehand")
    sub.add_argument("file", type=Path, help="JSONL, as `detox evaluate` writes compare.jsonl")
    sub.add_argument("--batch", help="name of the batch (default: the file's name)")
    sub = add("label", _label, "judge pairs in the terminal")
    _add_labeler(sub)
    sub.add_argument("--batch", help="only this batch")
    sub.add_argument("--seed", type=int, help="makes order and sides repeatable")
    sub = add("undo", _undo, "take back a labeler's last pick")
    _add_labeler(sub)
    sub = add("results", _results, "counts, win rate with interval, agreement")
    sub.add_argument("--before", default="before", help="policy (default: %(default)s)")
    sub.add_argument("--after", default="after", help="policy (default: %(default)s)")
    sub.add_argument("--batch", help="only this batch")
    sub.add_argument("--json", action="store_true", help="for programs")
    _add_export(add("export", _export, "write a preference dataset"))
    sub = add("import", _import, "read preferences or pairs made elsewhere")
    sub.add_argument("file", type=Path)
    sub.add_argument("--format", choices=[*READERS, "pairs"], help="default: by the first row")
    sub.add_argument("--batch", help="name of the batch (default: the file's name)")
    sub.add_argument("--labeler", default=LABELER, help="whose picks rows without a worker are")
    add_commands(add)
    reward = add("reward", _reward, "train a reward model from the picks")
    if "reward" in argv:
        _reward_module().add_arguments(reward)
    return top


def _add_labeler(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--labeler", default=os.environ.get("USER"), help="your name (default: %(default)s)"
    )


def _add_export(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--format", choices=FORMATS, default="trl-explicit")
    sub.add_argument("--out", type=Path, required=True, help="file, or folder for `folder`")
    sub.add_argument("--batch")
    sub.add_argument("--split", choices=("train", "validation", "test"))
    sub.add_argument("--labeler", action="append", metavar="NAME", help="may be repeated")
    sub.add_argument("--kind", choices=("person", "model"), help="kind of labeler")
    sub.add_argument("--since", metavar="TIME", help="ISO 8601, UTC")
    sub.add_argument("--until", metavar="TIME", help="ISO 8601, UTC; not included")
    sub.add_argument("--margin", action="store_true", help="TRL's margin, from the strength")
    sub.add_argument("--seed", type=int, default=0, help="of the Vertex AI slots")


def _init(args: argparse.Namespace) -> None:
    open_store(args.db)
    print(f"Ready: {args.db}")


def _pairs(args: argparse.Namespace) -> None:
    store = open_store(args.db)
    rows = (row for _, row in read_jsonl(args.file))
    report = load_pairs(store, rows, args.batch or args.file.stem)
    print(
        f"{report.added} pairs added, {report.known} known already, "
        f"{report.identical} skipped because both texts are the same."
    )


def _label(args: argparse.Namespace) -> None:
    store, rng = open_store(args.db), random.Random(args.seed)
    labeler = _named(args)
    while task := next_pair(store, labeler, rng, args.batch):
        if not _judge(store, task, labeler):
            return
    total = progress(store, labeler, args.batch).total
    print("Thank you: every pair is judged." if total else "There are no pairs: `labeling pairs`.")


def _judge(store: Store, task: Task, labeler: str) -> bool:
    """Shows one pair and records the answer; False when the labeler wants to stop."""
    print(f"\n[{task.progress.done + 1} of {task.progress.total}]\n\n{_wrapped(task.dialogue)}\n")
    print(f"A:\n{_wrapped(task.left)}\n\nB:\n{_wrapped(task.right)}\n")
    started = time.monotonic()
    while True:
        try:
            key = input(f"{HELP}\n> ").strip().lower()
        except EOFError:
            return False
        if key == "q":
            return False
        if key == "u":
            print("Taken back." if undo(store, labeler) else "There is nothing to undo.")
            return True
        if key in KEYS:
            seconds = time.monotonic() - started
            pick = submit(store, task.assignment_id, KEYS[key], labeler=labeler, seconds=seconds)
            sides = reveal(store, pick)
            behind = f" A was {sides.left.policy}, B was {sides.right.policy}." if sides else ""
            print(f"Saved.{behind}")
            return True


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, 88) for line in text.splitlines())


def _undo(args: argparse.Namespace) -> None:
    pick = undo(open_store(args.db), _named(args))
    print(f"Taken back: {pick.choice.replace('_', ' ')}." if pick else "There is nothing to undo.")


def _named(args: argparse.Namespace) -> str:
    if not args.labeler:
        raise UserError("Say who you are with --labeler NAME.")
    return str(args.labeler)


def _results(args: argparse.Namespace) -> None:
    store = open_store(args.db)
    rate = win_rate(store, args.after, args.before, args.batch)
    overlap = agreement(store, args.batch)
    if args.json:
        print(json.dumps({"win_rate": asdict(rate), "agreement": asdict(overlap)}, indent=2))
        return
    print(
        f"'{rate.after}' against '{rate.before}': {rate.wins} wins, {rate.losses} losses, "
        f"{rate.ties} ties, {rate.both_bad} both bad; {rate.skips} skipped"
    )
    if rate.rate is not None and rate.low is not None and rate.high is not None:
        print(
            f"Win rate {rate.rate:.1%}, 95 % interval {rate.low:.1%} to {rate.high:.1%}: "
            f"{rate.verdict} ({rate.n} picks, {rate.prompts} prompts, {rate.labelers} labelers)"
        )
    print(f"Plan: ±10 points need about {planned_picks(0.1)} picks, ±5 about {planned_picks(0.05)}")
    if overlap.pairs:
        print(
            f"Agreement on {overlap.pairs} pairs: raw {_share(overlap.raw)}, "
            f"kappa {_share(overlap.cohen)}, alpha {_share(overlap.alpha)}"
        )


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _export(args: argparse.Namespace) -> None:
    filters = Filters(
        batch=args.batch,
        split=args.split,
        labelers=tuple(args.labeler) if args.labeler else None,
        labeler_kind=args.kind,
        since=args.since,
        until=args.until,
        margin=args.margin,
        seed=args.seed,
    )
    manifest = export(open_store(args.db), args.format, args.out, filters)
    left_out = ", ".join(f"{n} {choice}" for choice, n in manifest.left_out.items()) or "nothing"
    print(f"{manifest.rows} rows in {args.out}; left out: {left_out}.")


def _import(args: argparse.Namespace) -> None:
    report = import_file(
        open_store(args.db), args.file, args.format, batch=args.batch, labeler=args.labeler
    )
    print(
        f"{report.format}: {report.pairs} pairs and {report.picks} picks added, {report.known} "
        f"known already, {report.identical} skipped because both texts are the same."
    )


def _reward(args: argparse.Namespace) -> int | None:
    result: int | None = _reward_module().run(args)
    return result


def _reward_module() -> Any:
    try:
        return importlib.import_module("labeling.reward_model")
    except ModuleNotFoundError as error:
        if error.name != "labeling.reward_model":
            raise
        raise UserError("This installation cannot train reward models: update it.") from error
