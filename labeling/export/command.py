"""``python -m labeling export``: its options, and what it tells."""

from __future__ import annotations

import argparse
from pathlib import Path

from detox.errors import UserError
from detox.tasks import TASKS
from labeling.export.filters import AGGREGATIONS, OTHER_TASK, Filters
from labeling.export.hub import check_name, push_to_hub
from labeling.export.manifest import counts
from labeling.export.write import FORMATS, export
from labeling.schema import KINDS, SPLITS
from labeling.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m labeling export``."""
    add = parser.add_argument
    add("--format", choices=FORMATS, default="trl-explicit", help="default: %(default)s")
    add("--out", type=Path, required=True, help="file, or folder for `folder`")
    add(
        "--aggregation",
        choices=AGGREGATIONS,
        default="every",
        help="every pick, the majority of each pair's votes, or what a lead said first (default: "
        "%(default)s)",
    )
    add("--margin", action="store_true", help="TRL's margin, from the strength or the votes")
    add("--without-notes", action="store_true", help="notes may hold names: leave them empty")
    add("--seed", type=int, default=0, help="of the Vertex AI slots")
    some = parser.add_argument_group("which picks")
    add = some.add_argument
    add("--batch")
    add("--split", choices=SPLITS)
    add("--task", choices=(*TASKS, OTHER_TASK), help="the task the prompts were made with")
    add("--labeler", action="append", metavar="NAME", help="only theirs; may be repeated")
    add("--without", action="append", metavar="NAME", help="none of theirs; may be repeated")
    add(
        "--kind",
        choices=("person", "model", "all"),
        help="kind of labeler (default: person, and all for raw picks)",
    )
    add(
        "--pick-kind",
        action="append",
        choices=KINDS,
        help="may be repeated (default: regular, and all for raw picks)",
    )
    add("--blind-only", action="store_true", help="only by labelers who could not know the sides")
    add("--minimum-votes", type=int, default=0, metavar="N", help="votes a pair must have")
    add(
        "--minimum-agreement",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="of a pair's votes that agree with most of them, 0 to 1",
    )
    add("--since", metavar="TIME", help="ISO 8601, UTC")
    add("--until", metavar="TIME", help="ISO 8601, UTC; not included")
    hub = parser.add_argument_group("the Hugging Face hub")
    hub.add_argument("--push", metavar="OWNER/NAME", help="upload the folder as this dataset")
    hub.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="for your eyes only (the default)",
    )


def run(args: argparse.Namespace) -> None:
    """Writes the export and pushes it if asked to. Raises as ``export`` and ``push_to_hub`` do."""
    if args.push is not None:
        check_name(args.push)
        if args.format != "folder":
            raise UserError("Only a folder can be pushed: add --format folder.")
    manifest = export(open_store(args.db), args.format, args.out, filters(args))
    left_out = counts(manifest.left_out) or "nothing"
    print(f"{manifest.rows} rows in {args.out}; left out: {left_out}.")
    if args.push is not None:
        print(f"Uploaded to {push_to_hub(args.out, args.push, private=args.private)}")


def filters(args: argparse.Namespace) -> Filters:
    """What the options ask for. Raises ``UserError`` for a value that cannot be."""
    return Filters(
        batch=args.batch,
        split=args.split,
        labelers=tuple(args.labeler) if args.labeler else None,
        labeler_kind=args.kind,
        since=args.since,
        until=args.until,
        margin=args.margin,
        seed=args.seed,
        without=tuple(args.without or ()),
        kinds=tuple(args.pick_kind) if args.pick_kind else None,
        task=args.task,
        blind_only=args.blind_only,
        minimum_votes=args.minimum_votes,
        minimum_agreement=args.minimum_agreement,
        aggregation=args.aggregation,
        notes=not args.without_notes,
    )
