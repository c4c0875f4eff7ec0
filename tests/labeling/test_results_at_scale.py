"""The benchmark of a large database, on a small one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import results_at_scale
from labeling.store import open_store


def test_the_benchmark_builds_and_times_a_valid_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db, output = tmp_path / "labels.db", tmp_path / "out.json"
    size = ["--picks", "400", "--pairs", "60", "--labelers", "8", "--rounds", "2"]
    results_at_scale.main([*size, "--db", str(db), "--output", str(output)])
    found = json.loads(output.read_text())
    assert (found["picks"], found["pairs"], found["labelers"]) == (400, 60, 8)
    assert found["results_after_one_more_pick_s"] > 0 and found["next_pair_s"] > 0
    assert "results_after_one_more_pick_s" in capsys.readouterr().out
    with open_store(db).reading() as rows:
        assert rows.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
        counted = next(rows.query("SELECT sum(votes) AS votes FROM batches"))["votes"]
        votes = next(
            rows.query(
                "SELECT count(*) AS n FROM preferences WHERE kind = 'regular' AND choice <> 'skip'"
            )
        )["n"]
        assert counted == votes
        kinds = {row["kind"] for row in rows.query("SELECT kind FROM preferences")}
    assert kinds == {"regular", "repeat", "gold"}
