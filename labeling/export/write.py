"""Writes an export: into a scratch folder first, then into place, whole or not at all."""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from sqlite_utils import Database

from detox.errors import UserError
from labeling.export.card import dataset_card
from labeling.export.filters import Filters
from labeling.export.manifest import Manifest, counts, describe, record, sealed
from labeling.export.plan import Plan, generated, plan_export, preferences, raw_picks
from labeling.files import Write, csv_writer, jsonl_writer, parquet_writer, sha256
from labeling.formats import (
    CONVERTERS,
    UNLABELED,
    WITH_MARGIN,
    Converter,
    raw,
    vertex_preference,
    with_margin,
)
from labeling.records import add_export
from labeling.store import Store

SUFFIXES = {
    "trl-explicit": ".jsonl",
    "trl-implicit": ".jsonl",
    "trl-conversational": ".jsonl",
    "trl-unpaired": ".jsonl",
    "vertex-preference": ".jsonl",
    "vertex-prompts": ".jsonl",
    "vertex-bulk-inference": ".jsonl",
    "openai-comparisons": ".jsonl",
    "csv": ".csv",
    "parquet": ".parquet",
    "folder": "",
}
FORMATS = tuple(SUFFIXES)


def export(
    store: Store, format: str, out_path: str | Path, filters: Filters = Filters()
) -> Manifest:
    """Writes the current picks as ``format`` to ``out_path`` and its manifest beside it.

    ``folder`` makes a folder that ``datasets.load_dataset`` reads (configurations ``preferences``
    and ``picks``) with a dataset card and ``manifest.json``; every other format is one file with
    ``<file>.manifest.json``. Nothing is left behind when it fails.

    Raises ``UserError`` for an unknown format, batch or labeler, when nothing matches, and when
    the path cannot be written; ``StoreError`` by the database.
    """
    _refuse_unknown(format)
    out = Path(out_path)
    try:
        with store.reading() as db:
            plan = plan_export(db, format, filters)
            if not plan.rows:
                raise _nothing(plan)
            out.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as scratch:
                write = _write_folder if format == "folder" else _write_file
                manifest = write(db, plan, Path(scratch) / "new", describe(plan, out))
                with store.writing() as writable:
                    add_export(writable, record(manifest, out))
                    _put(Path(scratch), out)
    except OSError as error:
        raise UserError(f"'{out}' cannot be written ({error.strerror}): choose another.") from error
    return manifest


def preview(store: Store, format: str, filters: Filters = Filters()) -> Plan:
    """What ``export`` would write, without writing it. Raises as ``export`` does."""
    _refuse_unknown(format)
    with store.reading() as db:
        return plan_export(db, format, filters)


def _refuse_unknown(format: str) -> None:
    if format not in FORMATS:
        raise UserError(f"Unknown format '{format}': use one of {', '.join(FORMATS)}.")


def _nothing(plan: Plan) -> UserError:
    why = f" (left out: {counts(plan.left_out)})." if plan.left_out else "."
    return UserError(f"There is nothing to export: no pick matches{why}")


def _write_file(db: Database, plan: Plan, path: Path, manifest: Manifest) -> Manifest:
    writers = {"csv": csv_writer, "parquet": parquet_writer}
    with writers.get(plan.format, jsonl_writer)(path) as write:
        if plan.format in UNLABELED:
            for row in generated(db, plan):
                write(
                    {"input_text": row["prompt"]}
                    if plan.format == "vertex-prompts"
                    else {
                        "inputs": {"inputs_pretokenized": row["prompt"]},
                        "prediction": row["text"],
                    }
                )
        else:
            convert = _converter(plan)
            for preference in preferences(db, plan):
                for row in convert(preference):
                    write(row)
    return sealed(path.with_name("manifest.json"), manifest, {manifest.path: sha256(path)})


def _converter(plan: Plan) -> Converter:
    if plan.format == "vertex-preference":
        return partial(vertex_preference, rng=random.Random(plan.filters.seed))
    convert = CONVERTERS["trl-explicit" if plan.format == "folder" else plan.format]
    if not plan.filters.margin or plan.format not in WITH_MARGIN:
        return convert
    return lambda preference: [with_margin(row, preference) for row in convert(preference)]


def _write_folder(db: Database, plan: Plan, folder: Path, manifest: Manifest) -> Manifest:
    """``preferences`` per split as TRL explicit rows, ``picks`` per split with every raw pick."""
    converters = {"preferences": (preferences, _converter(plan)), "picks": (raw_picks, raw)}
    for config, (read, convert) in converters.items():
        (folder / config).mkdir(parents=True)
        with ExitStack() as stack:
            writers: dict[str, Write] = {}
            for preference in read(db, plan):
                split = preference["split"]
                if split not in writers:
                    target = folder / config / f"{split}.parquet"
                    writers[split] = stack.enter_context(parquet_writer(target))
                for row in convert(preference):
                    writers[split](row)
    written = sorted(folder.rglob("*.parquet"))
    card = dataset_card(manifest, [path.relative_to(folder).as_posix() for path in written])
    (folder / "README.md").write_text(card, encoding="utf-8")
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in written}
    return sealed(folder / "manifest.json", manifest, files)


def _put(scratch: Path, out: Path) -> None:
    """Moves what was written into place, replacing an earlier export."""
    new = scratch / "new"
    if new.is_dir():
        if out.exists():
            # Only what looks like an export of ours may be thrown away.
            if not (out / "manifest.json").is_file() and any(out.iterdir()):
                raise UserError(f"'{out}' is a folder with other files: choose a new one.")
            shutil.move(out, scratch / "old")
        new.rename(out)
    else:
        new.replace(out)
        (scratch / "manifest.json").replace(out.with_name(out.name + ".manifest.json"))
