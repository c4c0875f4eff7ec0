"""``python -m labeling reward``: its options, and what it does with them."""

from __future__ import annotations

import argparse

from detox.config import RewardConfig
from labeling.analysis.suspects import left_out
from labeling.export import AGGREGATIONS, Filters
from labeling.reward_model.train import train_reward_model
from labeling.store import Store, open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m labeling reward``."""
    from detox.cli import add_options

    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    some = parser.add_argument_group("which picks")
    some.add_argument("--batch", help="only this batch")
    some.add_argument("--labeler", action="append", metavar="NAME", help="only theirs; repeatable")
    some.add_argument("--without", action="append", metavar="NAME", help="not theirs; repeatable")
    some.add_argument(
        "--without-flagged", action="store_true", help="not theirs whom `labeling results` flags"
    )
    some.add_argument(
        "--blind-only", action="store_true", help="only by labelers who could not know the sides"
    )
    some.add_argument(
        "--with-models", action="store_true", help="AI feedback too, which is left out otherwise"
    )
    some.add_argument(
        "--aggregation",
        choices=AGGREGATIONS,
        default="every",
        help="every pick, the majority of each pair's votes, or what a lead said first (default: "
        "%(default)s)",
    )
    add_options(parser, RewardConfig)


def run(arguments: argparse.Namespace) -> int:
    """``python -m labeling reward``."""
    from detox.cli import chosen_options

    store = open_store(arguments.db)
    train_reward_model(
        store,
        chosen_options(arguments, RewardConfig()),
        lambda text: print(text, flush=True),
        _filters(store, arguments),
        arguments.resume,
    )
    return 0


def _filters(store: Store, arguments: argparse.Namespace) -> Filters:
    without = tuple(arguments.without or ())
    return Filters(
        batch=arguments.batch,
        labelers=tuple(arguments.labeler) if arguments.labeler else None,
        without=left_out(store, without, arguments.without_flagged, arguments.batch),
        labeler_kind="all" if arguments.with_models else "person",
        blind_only=arguments.blind_only,
        aggregation=arguments.aggregation,
    )
