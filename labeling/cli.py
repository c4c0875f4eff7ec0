"""``python -m labeling …``: the whole of labeling from a terminal.

Exit codes: 0 done, 2 an expected problem (one sentence on standard error), 130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detox import __version__
from detox.errors import UserError
from detox.terminal import run_command
from labeling.analysis import command as results_command
from labeling.batches import load_pairs
from labeling.cli_durable import add_commands as add_durable
from labeling.cli_judge import add_commands as add_judge
from labeling.cli_label import add_commands as add_label
from labeling.cli_lead import add_commands
from labeling.cli_tune import add_command
from labeling.export import command as export_command
from labeling.files import read_jsonl
from labeling.imports import command as import_command
from labeling.store import open_store

DEFAULT_DB = "data/labels.db"


def run() -> None:
    """The console command ``labeling``."""
    run_command(lambda: main(sys.argv[1:]))


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
    add_label(add)
    results_command.add_arguments(
        add("results", results_command.run, "win rates with intervals, agreement, labelers")
    )
    export_command.add_arguments(
        add("export", export_command.run, "write a preference dataset, and push it to the hub")
    )
    import_command.add_arguments(
        add("import", import_command.run, "read preferences or pairs made elsewhere")
    )
    add_commands(add)
    add_judge(add)
    add_command(add)
    add_durable(add)
    reward = add("reward", _reward, "train a reward model from the picks")
    if "reward" in argv:
        _reward_module().add_arguments(reward)
    return top


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
