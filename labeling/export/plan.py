"""What an export would hold, worked out before any text is read: its rows, counted and chosen."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.export.aggregation import Verdict, preference, verdicts
from labeling.export.filters import (
    Filters,
    adjudicated,
    full,
    matching,
    no_preference,
    public,
    refuse_unknown_batch,
    snapshot_hash,
    task_of,
)
from labeling.formats import RAW, ROWS, UNLABELED, Row
from labeling.schema import CHOICES, SPLITS

_LEFT_OUT = (*CHOICES, "repeat", "gold", "by_models", "no_majority", "no_votes")


@dataclass(frozen=True)
class Plan:
    """The picks that match, and which of them (or of their pairs) a format can hold."""

    format: str
    filters: Filters
    picks: list[Row]
    rows: int
    rows_by_split: dict[str, int]
    left_out: dict[str, int]
    snapshot: str
    # The filters as others may see them.
    told: dict[str, Any]
    # The picks to write, by their ``seq``; or the verdicts to write, by pair.
    chosen: frozenset[int] = frozenset()
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    # What the formats without picks take: prompts or candidates by id; None takes all.
    ids: frozenset[str] | None = None


def plan_export(db: Database, format: str, filters: Filters) -> Plan:
    """What ``format`` would hold of the picks that match ``filters``.

    Raises ``UserError`` for an unknown batch or labeler, and when raw picks, each of which is
    written, are to be aggregated.
    """
    if format in RAW and filters.aggregation != "every":
        raise UserError(
            f"'{format}' holds every pick as it was made: choose another format to write one row "
            "a pair."
        )
    picks = matching(db, filters)
    if format in UNLABELED:
        return _unlabeled(db, format, filters, picks)
    usable, left_out = picks, Counter[str]()
    if format not in RAW:
        usable = [pick for pick in picks if no_preference(pick, filters) is None]
        reasons = (no_preference(pick, filters) for pick in picks)
        left_out.update(reason for reason in reasons if reason)
    found: dict[str, Verdict] = {}
    decided: dict[str, str] = {}
    if filters.aggregation != "every":
        decided = adjudicated(db) if filters.aggregation == "adjudicated" else {}
        about = {pick["pair_id"] for pick in usable}
        decided = {pair: outcome for pair, outcome in decided.items() if pair in about}
        found, lost = verdicts(usable, decided)
        left_out += lost
    rows, splits, chosen, kept = _counted(format, usable, found, filters, left_out)
    return Plan(
        format=format,
        filters=filters,
        picks=picks,
        rows=rows,
        rows_by_split={split: splits[split] for split in SPLITS if splits[split]},
        left_out={name: left_out[name] for name in _LEFT_OUT if left_out[name]},
        snapshot=_snapshot(picks, decided),
        told=public(db, filters),
        chosen=frozenset(chosen),
        verdicts=kept,
    )


def _counted(
    format: str,
    usable: list[Row],
    found: Mapping[str, Verdict],
    filters: Filters,
    left_out: Counter[str],
) -> tuple[int, Counter[str], set[int], dict[str, Verdict]]:
    """Rows, rows by split, the picks and the verdicts to write; adds to ``left_out``."""
    becomes, splits = ROWS[format], Counter[str]()
    if filters.aggregation == "every":
        chosen = set()
        for pick in usable:
            if count := becomes.get(pick["choice"], 0):
                splits[pick["split"]] += count
                chosen.add(pick["seq"])
            else:
                left_out[pick["choice"]] += 1
        return splits.total(), splits, chosen, {}
    split_of = {pick["pair_id"]: pick["split"] for pick in usable}
    kept = {}
    for pair, verdict in found.items():
        choice = "left" if verdict.outcome in ("a", "b") else verdict.outcome
        if count := becomes.get(choice, 0):
            splits[split_of[pair]] += count
            kept[pair] = verdict
        else:
            left_out[choice] += 1
    return splits.total(), splits, set(), kept


def _snapshot(picks: Iterable[Mapping[str, Any]], decided: Mapping[str, str]) -> str:
    snapshot = snapshot_hash(picks)
    if not decided:
        return snapshot
    lines = "".join(f"{pair} {outcome}\n" for pair, outcome in sorted(decided.items()))
    return hashlib.sha256(f"{snapshot}\n{lines}".encode()).hexdigest()


def preferences(db: Database, plan: Plan) -> Iterator[Row]:
    """The preferences that ``plan`` writes, one at a time."""
    if plan.filters.aggregation == "every":
        rows: Iterable[Row] = full(db, plan.chosen)
    else:
        rows = (preference(db, pair, verdict) for pair, verdict in plan.verdicts.items())
    return (_told(row, plan.filters) for row in rows)


def raw_picks(db: Database, plan: Plan) -> Iterator[Row]:
    """Every pick that matches, as it was made, one at a time."""
    rows = full(db, frozenset(pick["seq"] for pick in plan.picks))
    return (_told(row, plan.filters) for row in rows)


def _told(row: Row, filters: Filters) -> Row:
    return row if filters.notes else row | {"note": ""}


def _unlabeled(db: Database, format: str, filters: Filters, picks: list[Row]) -> Plan:
    """Prompts or candidates; those of pairs that match where a filter is about pairs or picks."""
    refuse_unknown_batch(db, filters.batch)
    wanted: frozenset[str] | None = None
    if filters.batch is not None or filters.about_picks:
        pairs = {pick["pair_id"] for pick in picks} if filters.about_picks else None
        columns = ["prompt_id"] if format == "vertex-prompts" else ["candidate_a", "candidate_b"]
        wanted = frozenset(
            str(pair[column])
            for pair in db.query("SELECT * FROM pairs")
            for column in columns
            if filters.batch in (None, pair["batch"]) and (pairs is None or pair["id"] in pairs)
        )
    splits: Counter[str] = Counter()
    ids: set[str] = set()
    for row in _generated(db, format):
        if (
            (wanted is None or row["id"] in wanted)
            and filters.split in (None, row["split"])
            and filters.task in (None, task_of(row["prompt"]))
        ):
            ids.add(str(row["id"]))
            splits[row["split"]] += 1
    return Plan(
        format=format,
        filters=filters,
        picks=picks,
        rows=len(ids),
        rows_by_split={split: splits[split] for split in SPLITS if splits[split]},
        left_out={},
        snapshot=snapshot_hash(picks),
        told=public(db, filters),
        ids=frozenset(ids),
    )


def generated(db: Database, plan: Plan) -> Iterator[Row]:
    """The prompts or candidates that ``plan`` writes: ``id prompt split``, and ``text``."""
    return (row for row in _generated(db, plan.format) if plan.ids and row["id"] in plan.ids)


def _generated(db: Database, format: str) -> Iterator[Row]:
    if format == "vertex-prompts":
        return iter(db.query("SELECT id, prompt, split FROM prompts ORDER BY rowid"))
    return iter(
        db.query(
            "SELECT c.id, r.prompt, r.split, c.text FROM candidates AS c"
            " JOIN prompts AS r ON r.id = c.prompt_id ORDER BY c.rowid"
        )
    )
