"""What an export holds, in its own words: the manifest beside each file and in the database."""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detox import __version__
from labeling.analysis.agreement import measure
from labeling.export.filters import no_preference
from labeling.export.plan import Plan
from labeling.records import now


@dataclass(frozen=True)
class Manifest:
    """What an export holds; written beside it and recorded in the database."""

    id: str
    format: str
    # The name of the file or folder.
    path: str
    # Rows written, picks that matched the filters, and the pairs these are about.
    rows: int
    picks: int
    pairs: int
    rows_by_split: dict[str, int]
    # Picks the format cannot hold, by choice or kind; of aggregated exports, pairs.
    left_out: dict[str, int]
    # `every`, `majority` or `adjudicated`.
    aggregation: str
    filters: dict[str, Any]
    prompts: int
    labelers: int
    # Of the regular picks, by people unless models were asked for.
    agreement: dict[str, Any]
    # SHA-256 of the picks that matched, in order, and of what leads decided, where that counts:
    # equal for equal data.
    snapshot: str
    # SHA-256 of each file written, by name.
    files: dict[str, str]
    created: str
    app_version: str = __version__


def describe(plan: Plan, out: Path) -> Manifest:
    """The manifest of what ``plan`` is about to write to ``out``."""
    ratings = [
        (pick["pair_id"], pick["labeler_id"], pick["outcome"])
        for pick in plan.picks
        if pick["kind"] == "regular"
        and pick["choice"] != "skip"
        and no_preference(pick, plan.filters) is None
    ]
    return Manifest(
        id=uuids.uuid4().hex,
        format=plan.format,
        path=out.name,
        rows=plan.rows,
        picks=len(plan.picks),
        pairs=len({pick["pair_id"] for pick in plan.picks}),
        rows_by_split=plan.rows_by_split,
        left_out=plan.left_out,
        aggregation=plan.filters.aggregation,
        filters=plan.told,
        prompts=len({pick["prompt_id"] for pick in plan.picks}),
        labelers=len({pick["labeler_id"] for pick in plan.picks}),
        agreement=asdict(measure(ratings)),
        snapshot=plan.snapshot,
        files={},
        created=now(),
    )


def record(manifest: Manifest, out: Path) -> dict[str, Any]:
    """The row of the table ``exports``; it alone knows where on this machine the export lies."""
    return {
        "id": manifest.id,
        "format": manifest.format,
        "path": str(out.absolute()),
        "rows": manifest.rows,
        "filters": json.dumps(manifest.filters),
        "left_out": json.dumps(manifest.left_out),
        "snapshot": manifest.snapshot,
        "manifest": json.dumps(asdict(manifest)),
        "created": manifest.created,
    }


def sealed(path: Path, manifest: Manifest, files: Mapping[str, str]) -> Manifest:
    """``manifest`` with the hashes of ``files``, written to ``path``."""
    whole = Manifest(**(asdict(manifest) | {"files": dict(files)}))
    path.write_text(json.dumps(asdict(whole), indent=2) + "\n", encoding="utf-8")
    return whole


def counts(left_out: Mapping[str, int]) -> str:
    """``2 tie, 1 both bad``: what was left out, for a sentence."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in left_out.items())
