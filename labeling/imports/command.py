"""``python -m labeling import``: its options, and what it tells."""

from __future__ import annotations

import argparse
from pathlib import Path

from labeling.imports.rows import LABELER
from labeling.imports.run import IMPORT_FORMATS, ImportReport, import_file
from labeling.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m labeling import``."""
    add = parser.add_argument
    add("file", type=Path, help="JSONL, JSON, CSV, Parquet, or an exported folder or its ZIP")
    add("--format", choices=IMPORT_FORMATS, help="default: by the first row")
    add("--batch", help="name of the batch (default: the file's name)")
    add("--labeler", default=LABELER, help="whose picks rows without a worker are")
    add("--policy", help="whose responses `vertex-bulk-inference` holds")
    add("--dry-run", action="store_true", help="only say what would be added")


def run(args: argparse.Namespace) -> None:
    """Imports the file. Raises as ``import_file`` does."""
    report = import_file(
        open_store(args.db),
        args.file,
        args.format,
        batch=args.batch,
        labeler=args.labeler,
        policy=args.policy,
        dry_run=args.dry_run,
    )
    print(told(report, dry_run=args.dry_run))


def told(report: ImportReport, *, dry_run: bool = False) -> str:
    """What became of the rows of a file, in one or more sentences."""
    verb = "would be added" if dry_run else "added"
    added = {"prompts": report.prompts, "responses": report.candidates}
    parts = [f"{count} {name}" for name, count in added.items() if count]
    if not parts:
        parts = [f"{report.pairs} pairs", f"{report.picks} picks"]
    sentences = [
        f"{report.format}: {' and '.join(parts)} {verb}, {report.known} known already, "
        f"{report.identical} skipped because both texts are the same."
    ]
    if report.edits:
        sentences.append(f"{report.edits} picks replace an earlier answer of the same labeler.")
    if report.alone:
        sentences.append(f"{report.alone} rows without a partner were left out.")
    if report.ignored:
        sentences.append(f"Columns not read: {', '.join(report.ignored)}.")
    return " ".join(sentences)
