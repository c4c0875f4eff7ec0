"""``python -m labeling keep`` and ``restore``: picks in a private dataset, and back from it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from detox.errors import UserError
from labeling.durable.hub import kept_beside
from labeling.store import open_store

Add = Callable[[str, Callable[..., int | None], str], argparse.ArgumentParser]


def add_commands(add: Add) -> None:
    """Adds both commands through ``add(name, function, help)``."""
    sub = add("keep", _keep, "save new picks to a private dataset on the Hub, once or regularly")
    sub.add_argument("repo", metavar="OWNER/NAME")
    sub.add_argument(
        "--every", type=float, default=0.0, metavar="MINUTES", help="go on until interrupted"
    )
    sub = add("restore", _restore, "make the database again out of such a dataset")
    sub.add_argument("repo", metavar="OWNER/NAME")


def _keep(args: argparse.Namespace) -> None:
    if args.every < 0:
        raise UserError("--every must be a number of minutes above 0.")
    # the Hub's library takes its time to import
    from labeling.durable.keeper import Keeper

    path = Path(args.db)
    # an hour is longer than one commit takes: then the scheduler is stopped
    keeper = Keeper(open_store(path), args.repo, kept_beside(path), every=args.every or 60.0)
    while True:
        keeper.trigger().result()
        if keeper.trouble:
            keeper.stop()
            raise UserError(keeper.trouble)
        print(f"All picks up to now are in {args.repo}.", flush=True)
        if not args.every:
            keeper.stop()
            return
        time.sleep(60 * args.every)


def _restore(args: argparse.Namespace) -> None:
    from labeling.durable.restore import restore

    path = Path(args.db)
    found = restore(path, args.repo, kept_beside(path))
    if found is None:
        there = "is whole already" if path.exists() else "was not made: the dataset holds no picks"
        print(f"{path} {there}.")
        return
    print(found.told(path, args.repo))
