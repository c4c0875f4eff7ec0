"""Preference datasets out of the record, each with a manifest of what is in it and what is not."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
import uuid as uuids
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from detox import __version__
from detox.errors import UserError
from labeling.agreement import measure
from labeling.files import sha256, write_csv, write_jsonl, write_parquet
from labeling.formats import (
    CONVERTERS,
    Converter,
    Row,
    raw,
    trl_explicit,
    vertex_preference,
    with_margin,
)
from labeling.records import add_export, now
from labeling.schema import CHOICES, SPLITS
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


@dataclass(frozen=True)
class Filters:
    """Which picks an export takes; None takes all. ``labelers`` are names or pseudonyms."""

    batch: str | None = None
    split: str | None = None
    labelers: tuple[str, ...] | None = None
    labeler_kind: str | None = None
    # ISO 8601 times or dates in UTC: from `since` on, before `until`.
    since: str | None = None
    until: str | None = None
    # Adds TRL's margin column, from the strength of each pick.
    margin: bool = False
    # Draws the slots of the Vertex AI format.
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split is not None and self.split not in SPLITS:
            raise UserError(f"Unknown split '{self.split}': use one of {', '.join(SPLITS)}.")
        if self.labeler_kind not in (None, "person", "model"):
            raise UserError(f"Unknown kind of labeler '{self.labeler_kind}': person or model.")


@dataclass(frozen=True)
class Manifest:
    """What an export holds; written beside it and recorded in the database."""

    id: str
    format: str
    path: str
    # Rows written, and picks that matched the filters.
    rows: int
    picks: int
    rows_by_split: dict[str, int]
    # Picks the format cannot hold, by choice.
    left_out: dict[str, int]
    filters: dict[str, Any]
    prompts: int
    labelers: int
    agreement: dict[str, Any]
    # SHA-256 of the picks that matched, in order: equal for equal data.
    snapshot: str
    # SHA-256 of each file written, by name.
    files: dict[str, str]
    created: str
    app_version: str = __version__


@dataclass(frozen=True)
class _Content:
    rows: list[Row]
    by_split: dict[str, int]
    left_out: dict[str, int] = field(default_factory=dict)


def export(
    store: Store, format: str, out_path: str | Path, filters: Filters = Filters()
) -> Manifest:
    """Writes the current picks as ``format`` to ``out_path`` and its manifest beside it.

    ``folder`` makes a folder that ``datasets.load_dataset`` reads (configurations ``preferences``
    and ``picks``) with a dataset card and ``manifest.json``; every other format is one file with
    ``<file>.manifest.json``. Nothing is left behind when it fails.

    Raises ``UserError`` for an unknown format, when nothing matches, and when the path cannot be
    written; ``StoreError`` by the database.
    """
    if format not in FORMATS:
        raise UserError(f"Unknown format '{format}': use one of {', '.join(FORMATS)}.")
    out = Path(out_path)
    with store.reading() as db:
        preferences = select(db, filters)
        content = _content(db, format, preferences, filters)
    if not content.rows:
        raise UserError(
            "There is nothing to export: no pick matches"
            + (f" (left out: {_counts(content.left_out)})." if content.left_out else ".")
        )
    manifest = _manifest(format, out, preferences, content, filters)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as scratch:
            if format == "folder":
                manifest = _write_folder(Path(scratch) / "new", preferences, content, manifest)
            else:
                manifest = _write_file(Path(scratch) / "new", content, manifest)
            with store.writing() as db:
                add_export(db, _record(manifest))
                _put(Path(scratch), out)
    except OSError as error:
        raise UserError(f"'{out}' cannot be written ({error.strerror}): choose another.") from error
    return manifest


def select(db: Database, filters: Filters = Filters()) -> list[Row]:
    """The rows of ``preferences`` that match ``filters``, in the order of the picks."""
    names = list(filters.labelers or ())
    marks = ", ".join("?" * len(names))
    conditions: list[tuple[str, Sequence[object] | None]] = [
        ("batch = ?", [filters.batch] if filters.batch is not None else None),
        ("split = ?", [filters.split] if filters.split is not None else None),
        ("labeler_kind = ?", [filters.labeler_kind] if filters.labeler_kind else None),
        ("picked_at >= ?", [filters.since] if filters.since else None),
        ("picked_at < ?", [filters.until] if filters.until else None),
        (
            f"labeler_id IN (SELECT id FROM labelers WHERE name IN ({marks})"
            f" OR pseudonym IN ({marks}))",
            [*names, *names] if filters.labelers is not None else None,
        ),
    ]
    used = [(sql, values) for sql, values in conditions if values is not None]
    where = " AND ".join(sql for sql, _ in used) or "1"
    values = [value for _, some in used for value in some]
    return list(db.query(f"SELECT * FROM preferences WHERE {where} ORDER BY seq", values))


def snapshot_hash(preferences: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the picks' uuids, pairs and outcomes, in order."""
    digest = hashlib.sha256()
    for row in preferences:
        digest.update(f"{row['pick']} {row['pair_id']} {row['outcome']}\n".encode())
    return digest.hexdigest()


def _content(db: Database, format: str, preferences: list[Row], filters: Filters) -> _Content:
    if format in ("vertex-prompts", "vertex-bulk-inference"):
        return _unlabeled(db, format, filters)
    if format == "vertex-preference":
        convert: Converter = partial(vertex_preference, rng=random.Random(filters.seed))
    else:
        convert = CONVERTERS["trl-explicit" if format == "folder" else format]
    margin = filters.margin and format in ("trl-explicit", "trl-implicit", "trl-conversational")
    rows: list[Row] = []
    splits: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for preference in preferences:
        converted = convert(preference)
        rows += [with_margin(row, preference) if margin else row for row in converted]
        splits[preference["split"]] += len(converted)
        if not converted:
            left_out[preference["choice"]] += 1
    return _Content(
        rows,
        {split: splits[split] for split in SPLITS if splits[split]},
        {choice: left_out[choice] for choice in CHOICES if left_out[choice]},
    )


def _unlabeled(db: Database, format: str, filters: Filters) -> _Content:
    """Prompts or candidates of the pairs that match; they need no picks."""
    where = "(:batch IS NULL OR p.batch = :batch) AND (:split IS NULL OR r.split = :split)"
    values = {"batch": filters.batch, "split": filters.split}
    if format == "vertex-prompts":
        query = (
            "SELECT DISTINCT r.id, r.prompt, r.split FROM pairs AS p"
            f" JOIN prompts AS r ON r.id = p.prompt_id WHERE {where} ORDER BY r.rowid"
        )
    else:
        query = (
            "SELECT DISTINCT c.id, r.prompt, r.split, c.text FROM pairs AS p"
            " JOIN prompts AS r ON r.id = p.prompt_id"
            " JOIN candidates AS c ON c.id IN (p.candidate_a, p.candidate_b)"
            f" WHERE {where} ORDER BY c.rowid"
        )
    found = list(db.query(query, values))
    splits = Counter(row["split"] for row in found)
    rows = [
        {"input_text": row["prompt"]}
        if format == "vertex-prompts"
        else {"inputs": {"inputs_pretokenized": row["prompt"]}, "prediction": row["text"]}
        for row in found
    ]
    return _Content(rows, {split: splits[split] for split in SPLITS if splits[split]})


def _manifest(
    format: str, out: Path, preferences: list[Row], content: _Content, filters: Filters
) -> Manifest:
    judged = [row for row in preferences if row["choice"] != "skip"]
    agreement = measure((row["pair_id"], row["labeler_id"], row["outcome"]) for row in judged)
    return Manifest(
        id=uuids.uuid4().hex,
        format=format,
        path=str(out.absolute()),
        rows=len(content.rows),
        picks=len(preferences),
        rows_by_split=content.by_split,
        left_out=content.left_out,
        filters=asdict(filters),
        prompts=len({row["prompt_id"] for row in preferences}),
        labelers=len({row["labeler_id"] for row in preferences}),
        agreement=asdict(agreement),
        snapshot=snapshot_hash(preferences),
        files={},
        created=now(),
    )


def _record(manifest: Manifest) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "format": manifest.format,
        "path": manifest.path,
        "rows": manifest.rows,
        "filters": json.dumps(manifest.filters),
        "left_out": json.dumps(manifest.left_out),
        "snapshot": manifest.snapshot,
        "manifest": json.dumps(asdict(manifest)),
        "created": manifest.created,
    }


def _write_file(path: Path, content: _Content, manifest: Manifest) -> Manifest:
    writers = {"csv": write_csv, "parquet": write_parquet}
    writers.get(manifest.format, write_jsonl)(path, content.rows)
    files = {Path(manifest.path).name: sha256(path)}
    return _sealed(path.with_name("manifest.json"), manifest, files)


def _write_folder(
    folder: Path, preferences: list[Row], content: _Content, manifest: Manifest
) -> Manifest:
    """``preferences`` per split as TRL explicit rows, ``picks`` per split with every raw pick."""
    for split in SPLITS:
        picks = [row for row in preferences if row["split"] == split]
        tables = {
            "preferences": [
                with_margin(row, pick) if manifest.filters["margin"] else row
                for pick in picks
                for row in trl_explicit(pick)
            ],
            "picks": [row for pick in picks for row in raw(pick)],
        }
        for config, rows in tables.items():
            if rows:
                target = folder / config / f"{split}.parquet"
                target.parent.mkdir(parents=True, exist_ok=True)
                write_parquet(target, rows)
    written = sorted(folder.rglob("*.parquet"))
    card = dataset_card(manifest, [path.relative_to(folder).as_posix() for path in written])
    (folder / "README.md").write_text(card, encoding="utf-8")
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in written}
    return _sealed(folder / "manifest.json", manifest, files)


def _sealed(path: Path, manifest: Manifest, files: dict[str, str]) -> Manifest:
    """``manifest`` with the hashes of ``files``, written to ``path``."""
    sealed = Manifest(**(asdict(manifest) | {"files": files}))
    path.write_text(json.dumps(asdict(sealed), indent=2) + "\n", encoding="utf-8")
    return sealed


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


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def dataset_card(manifest: Manifest, files: Sequence[str]) -> str:
    """The ``README.md`` of an exported folder, with the configurations ``datasets`` reads."""
    lines = ["---", "language: en", "pretty_name: Detox Arena preferences", "tags:"]
    lines += [f"- {tag}" for tag in ("preferences", "rlhf", "summarization")] + ["configs:"]
    for config in ("preferences", "picks"):
        found = [name for name in files if name.startswith(f"{config}/")]
        if found:
            lines += [f"- config_name: {config}", "  data_files:"]
        for name in found:
            lines += [f"  - split: {Path(name).stem}", f"    path: {name}"]
    agreement = manifest.agreement
    raw_share = agreement["raw"]
    lines += [
        "---",
        "",
        "# Preferences between summaries",
        "",
        "Blind, side-randomised picks between two summaries of a dialogue, made with Detox Arena.",
        "",
        f"- `preferences`: {manifest.rows} rows `prompt`, `chosen`, `rejected` (TRL, explicit"
        " prompt; the separator belongs to the completion).",
        f"- `picks`: all {manifest.picks} picks as they were made, with sides, policies and times.",
        f"- Left out of `preferences`: {_counts(manifest.left_out) or 'nothing'}.",
        f"- {manifest.prompts} prompts, {manifest.labelers} labelers (pseudonyms); splits are by"
        " dialogue.",
        f"- Agreement on {agreement['pairs']} pairs judged twice or more: "
        + (f"{raw_share:.0%}." if raw_share is not None else "none to measure yet."),
        f"- Filters: `{json.dumps(manifest.filters)}`.",
        f"- Snapshot `{manifest.snapshot}`, written {manifest.created} by Detox Arena"
        f" {manifest.app_version}.",
        "",
        "Some dialogues and summaries are rude on purpose: they serve to teach a model not to be.",
        "",
    ]
    return "\n".join(lines)
