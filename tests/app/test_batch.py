"""Twenty dialogues at once, without gradio and without models."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from detox.config import Sampling
from detox.errors import UserError
from detox.results import TABLE, Row, summarise, write_results
from detox.ui.batch import COMMAND, live_batch, sentence, shipped_batch
from detox.ui.compare import Comparison
from detox.ui.shipped import Shipped
from detox.workbench import Status, Workbench
from tests.app.conftest import SAMPLING


class FakeBench(Workbench):
    """Hands out rows that were made beforehand, five at a time."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__({"before": "a", "after": "b"})
        self.rows = rows

    def start(self) -> None:
        pass

    def status(self) -> Status:
        return Status(True, 1.0, "ready")

    def evaluate(
        self, before: str, after: str, dialogues: Any, sampling: Sampling
    ) -> Iterator[list[Row]]:
        for start in range(0, len(dialogues), 5):
            yield self.rows[start : min(start + 5, len(dialogues))]


@pytest.fixture
def shipped(tmp_path: Path, result_rows: list[Row]) -> Shipped:
    write_results(tmp_path / "results", result_rows, {"sampling": asdict(SAMPLING)})
    return Shipped.read(tmp_path / "results")


def test_twenty_of_the_results_largest_gain_first(shipped: Shipped, tmp_path: Path) -> None:
    batch = shipped_batch(shipped, tmp_path)
    assert batch.data is not None
    assert batch.data["columns"] == list(TABLE)
    gains = [line[-1] for line in batch.data["rows"]]
    assert len(gains) == 20 and gains == sorted(gains, reverse=True)
    assert batch.table.count("<tr>") == 21
    assert batch.plot.count("da-track") == 20


def test_the_statistics_and_the_file_are_of_all_rows(shipped: Shipped, tmp_path: Path) -> None:
    batch = shipped_batch(shipped, tmp_path)
    assert "Over 24 dialogues" in batch.summary and "drawn at random" in batch.summary
    assert batch.file is not None
    with Path(batch.file).open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == list(TABLE) and len(lines) == 25


def test_the_sentence_has_both_means_the_interval_and_the_verdict(result_rows: list[Row]) -> None:
    said = sentence(summarise(result_rows)["all"])
    for part in ("before", "after", "95 % interval", "so lower", "\u2212"):
        assert part in said
    same = [row | {"after": row["before"]} for row in result_rows]
    assert "so inconclusive" in sentence(summarise(same)["all"])
    worse = [row | {"before": row["after"], "after": row["before"]} for row in result_rows]
    assert "so higher" in sentence(summarise(worse)["all"])


def test_without_results_the_page_names_the_command(tmp_path: Path) -> None:
    batch = shipped_batch(Shipped(), tmp_path)
    assert COMMAND in batch.summary
    assert (batch.plot, batch.table, batch.file, batch.data) == ("", "", None, None)


def test_a_live_batch_grows_and_ends_with_a_file(
    shipped: Shipped, result_rows: list[Row], tmp_path: Path
) -> None:
    comparison = Comparison(FakeBench(result_rows), shipped, ())
    updates = list(live_batch(comparison, "before", "after", range(12), tmp_path))
    assert [status.text for status, _ in updates] == [
        f"{n} of 12 dialogues" for n in (0, 5, 10, 12)
    ]
    assert [status.ready for status, _ in updates] == [False, False, False, True]
    *_, (_, last) = updates
    assert last is not None and last.file is not None and Path(last.file).is_file()
    assert "Over 12 dialogues" in last.summary and "Computed just now" in last.summary


def test_a_live_batch_of_an_unknown_policy_is_refused(shipped: Shipped, tmp_path: Path) -> None:
    comparison = Comparison(FakeBench([]), shipped, ())
    with pytest.raises(UserError, match="Unknown policy 'nope'"):
        next(live_batch(comparison, "nope", "after", range(12), tmp_path))


def test_hostile_rows_are_inert(result_rows: list[Row], tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>"
    row = result_rows[0] | {"topic": bad, "dialogue": bad}
    row |= {side: row[side] | {"text": bad} for side in ("before", "after")}
    write_results(tmp_path / "results", [row], {})
    batch = shipped_batch(Shipped.read(tmp_path / "results"), tmp_path)
    for page in (batch.summary, batch.plot, batch.table):
        assert "<script" not in page


def test_results_of_an_earlier_version_still_open(result_rows: list[Row], tmp_path: Path) -> None:
    about = summarise(result_rows)
    for group in about.values():
        del group["dialogues"]
    batch = shipped_batch(Shipped(result_rows, {"groups": about}), tmp_path)
    assert "Over 24 dialogues" in batch.summary
