"""``python -m labeling reward``: its options, and what it does with them."""

from __future__ import annotations

import argparse

from detox.config import RewardConfig
from labeling.export import AGGREGATIONS, Filters
from labeling.reward_model.train import train_reward_model
from labeling.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m labeling reward``."""
    from detox.cli import add_options

    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    some = parser.add_argument_group("which picks")
    some.add_argument("--batch", help="only this batch")
    some.add_argument("--labeler", action="append", metavar="NAME", help="only theirs; repeatable")
    some.add_argument("--without", action="append", metavar="NAME", help="not theirs; repeatable")
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

    train_reward_model(
        open_store(arguments.db),
        chosen_options(arguments, RewardConfig()),
        lambda text: print(text, flush=True),
        _filters(arguments),
        arguments.resume,
    )
    return 0


def _filters(arguments: argparse.Namespace) -> Filters:
    return Filters(
        batch=arguments.batch,
        labelers=tuple(arguments.labeler) if arguments.labeler else None,
        without=tuple(arguments.without or ()),
        labeler_kind="all" if arguments.with_models else "person",
        blind_only=arguments.blind_only,
        aggregation=arguments.aggregation,
    )
