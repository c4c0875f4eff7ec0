"""A report as tables: CSV files for a spreadsheet, and all of them in one archive."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detox.errors import UserError
from labeling.analysis.bootstrap import Share
from labeling.analysis.report import Report
from labeling.analysis.rewards import Band, RewardAgreement
from labeling.formats import inert

# An archive must not differ from one of the same picks because it was made at another time.
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; ``name`` is that of its file, without the suffix."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    def csv(self) -> str:
        """The table as CSV with a header; no cell is one that a spreadsheet would run."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[inert(_cell(cell)) for cell in row] for row in self.rows])
        return text.getvalue()


def tables(found: Report) -> tuple[Table, ...]:
    """Every table of a report that has rows, in the order in which the page shows them."""
    made = [
        _table("counts", [asdict(found.counts) | {"picks": found.counts.picks}]),
        _table("win_rates", [asdict(rate) for rate in found.matchups]),
        _table("picks_needed", _needed(found)),
        _table("where_it_holds", [_slice(found, place) for place in range(len(found.slices))]),
        _table("ranking", [asdict(rating) for rating in found.ranking.ratings]),
        _table("every_two_policies", [asdict(duel) for duel in found.ranking.duels]),
        _table("agreement", _agreement(found)),
        _table("left_side", [asdict(found.position)] if found.position.picks else []),
        _table("classifier", _rewards(found.rewards)),
        _table("adjudicated", [asdict(found.adjudicated)] if found.adjudicated.pairs else []),
        _table(
            "labelers",
            [asdict(row) | {"flags": " ".join(row.flags)} for row in found.labelers],
        ),
    ]
    return tuple(table for table in made if table.rows)


def archive(found: Report) -> bytes:
    """A ZIP file of every table as CSV, and of the whole report as ``report.json``."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in _files(found):
            file.writestr(zipfile.ZipInfo(name, _LONG_AGO), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def write_tables(found: Report, folder: Path) -> list[Path]:
    """Writes every table and ``report.json`` into ``folder``, over earlier ones; the paths.

    Raises ``UserError`` when it cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _files(found):
            written.append(folder / name)
            written[-1].write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(
            f"'{folder}' cannot be written ({error.strerror}): choose another folder."
        ) from error
    return written


def _files(found: Report) -> Iterable[tuple[str, str]]:
    for table in tables(found):
        yield f"{table.name}.csv", table.csv()
    yield "report.json", json.dumps(found.answer(), indent=2, ensure_ascii=False) + "\n"


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    columns = tuple(rows[0]) if rows else ()
    return Table(name, columns, tuple(tuple(row[column] for column in columns) for row in rows))


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6g}" if isinstance(value, float) else value


def _needed(found: Report) -> list[dict[str, Any]]:
    plan = found.plan
    if plan is None:
        return []
    rows: list[dict[str, Any]] = [
        {
            "goal": f"interval of ±{100 * row.margin:.0f} points",
            "independent_picks": row.independent,
            "picks": row.wanted,
            "still_needed": row.more,
        }
        for row in plan.margins
    ]
    decided = {"goal": "verdict", "independent_picks": None, "picks": None}
    return [*rows, decided | {"still_needed": plan.decides}]


def _slice(found: Report, place: int) -> dict[str, Any]:
    part = found.slices[place]
    return {
        "dimension": part.dimension,
        "slice": part.name,
        **_share(part.share, "win_rate"),
        "p": part.share.p,
        "p_adjusted": part.adjusted,
        "verdict": part.verdict,
    }


def _share(share: Share, name: str) -> dict[str, Any]:
    return {
        name: share.rate,
        "low": share.low,
        "high": share.high,
        "n": share.n,
        "prompts": share.prompts,
        "labelers": share.labelers,
    }


def _agreement(found: Report) -> list[dict[str, Any]]:
    shared = found.agreement
    if shared.pairs == 0:
        return []
    rows = []
    for name in ("raw", "cohen", "fleiss", "alpha"):
        interval = getattr(shared, f"{name}_interval") or (None, None)
        value = getattr(shared, name)
        rows.append({"measure": name, "value": value, "low": interval[0], "high": interval[1]})
    return [row | {"pairs": shared.pairs, "labelers": shared.labelers} for row in rows]


def _rewards(found: RewardAgreement) -> list[dict[str, Any]]:
    rows = []
    for against, share, bands in (
        ("picks", found.people, found.bands),
        ("adjudicated labels", found.adjudicated, found.adjudicated_bands),
    ):
        if share.n:
            rows += [
                {
                    "against": against,
                    "where": band.name,
                    "difference_from": band.from_,
                    "difference_to": band.to,
                    **_share(band.share, "agreement"),
                }
                for band in (Band("all", None, None, share), *bands)
            ]
    for name, value in (("one other", found.one_other), ("most others", found.majority)):
        if rows and value is not None:
            blank = dict.fromkeys(rows[0])
            rows.append(
                blank | {"against": "picks", "where": f"people: {name}", "agreement": value}
            )
    return rows
