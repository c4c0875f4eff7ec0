"""``python -m labeling tune``: a policy tuned on the picks directly, without a reward model."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from detox.cli import add_options, chosen_options
from detox.config import DpoConfig
from detox.errors import UserError
from labeling.analysis.suspects import left_out
from labeling.export import AGGREGATIONS, Filters, export, preview
from labeling.formats import decided
from labeling.schema import SPLITS
from labeling.store import Store, open_store

Add = Callable[[str, Callable[..., int | None], str], argparse.ArgumentParser]
PICKS = "picks.jsonl"  # what the run learns from, in its folder
KINDS = ("person", "model", "all")
MIN_PICKS, MIN_PROMPTS = 20, 5
ADVISED_PICKS = 100


def tune(
    store: Store,
    config: DpoConfig,
    filters: Filters = Filters(labeler_kind="person"),
    resume: bool = False,
    tell: Callable[[str], None] = print,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Tunes an adapter on the decided picks that match ``filters``; writes it to ``config.output``.

    The picks are exported into that folder, so that the run can be told, checked and resumed from
    what it learned from, whatever is picked later. ``config.data`` is not looked at;
    ``should_stop`` is asked after every step.

    Returns the adapter's lineage, which names the picks' snapshot. Raises ``UserError`` with fewer
    than ``MIN_PICKS`` pairs to learn from or ``MIN_PROMPTS`` prompts, and as ``export`` and
    ``detox.preference.train_dpo`` do.
    """
    # The model libraries take seconds to import; the rest of the package does without them.
    from detox.preference import train_dpo

    file = Path(config.output) / PICKS
    if not resume:
        _check(store, filters, tell)
        manifest = export(store, "trl-explicit", file, replace(filters, margin=config.margin > 0))
        tell(f"{manifest.rows} pairs of {manifest.picks} picks by {manifest.labelers} labelers")
        if tested := manifest.rows_by_split.get("test"):
            tell(
                f"{tested} of them are on test dialogues: judge the result on others, or learn "
                "from --split train."
            )
    elif not file.is_file():
        raise UserError(f"There is no run in {config.output} to resume: start without it.")
    return train_dpo(replace(config, data=str(file)), resume, tell, should_stop)


def _check(store: Store, filters: Filters, tell: Callable[[str], None]) -> None:
    plan = preview(store, "trl-explicit", filters)
    prompts = len({pick["prompt_id"] for pick in plan.picks if decided(pick)})
    if plan.rows < MIN_PICKS or prompts < MIN_PROMPTS:
        raise UserError(
            f"There are {plan.rows} decided picks on {prompts} prompts; tuning needs at least "
            f"{MIN_PICKS} on {MIN_PROMPTS}: label more pairs first."
        )
    if plan.rows < ADVISED_PICKS:
        tell(f"Only {plan.rows} picks: expect little, {ADVISED_PICKS} or more are advised.")


def add_command(add: Add) -> None:
    """Adds ``tune`` through ``add(name, function, help)``."""
    sub = add("tune", _tune, "tune a policy on the picks directly (DPO), without a reward model")
    sub.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    some = sub.add_argument_group("which picks")
    some.add_argument("--batch", help="only this batch")
    some.add_argument("--split", choices=SPLITS, help="only of these dialogues")
    some.add_argument(
        "--kind", choices=KINDS, default="person", help="kind of labeler (default: %(default)s)"
    )
    some.add_argument("--labeler", action="append", metavar="NAME", help="only theirs")
    some.add_argument("--without", action="append", metavar="NAME", help="none of theirs")
    some.add_argument(
        "--without-flagged", action="store_true", help="not theirs whom `labeling results` flags"
    )
    some.add_argument(
        "--aggregation",
        choices=AGGREGATIONS,
        default="every",
        help="every pick, or one pair of several votes (default: %(default)s)",
    )
    add_options(sub, DpoConfig, without=("data",))


def _tune(args: argparse.Namespace) -> None:
    store, without = open_store(args.db), tuple(args.without or ())
    filters = Filters(
        batch=args.batch,
        split=args.split,
        labelers=tuple(args.labeler) if args.labeler else None,
        labeler_kind=args.kind,
        without=left_out(store, without, args.without_flagged, args.batch),
        aggregation=args.aggregation,
    )
    config = chosen_options(args, DpoConfig())
    tune(store, config, filters, args.resume, lambda text: print(text, flush=True))
