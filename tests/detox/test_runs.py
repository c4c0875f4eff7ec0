"""What the commands left behind, found and shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import optuna
import pytest

from detox.config import SftConfig
from detox.errors import UserError
from detox.quality import write_quality
from detox.runs import find_run, find_runs, run_page
from detox.tune import tune
from tests import tiny
from tests.conftest import WriteDialogues


def log(folder: Path, rows: list[dict[str, float]], age: int = 0) -> Path:
    folder.mkdir(parents=True)
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return folder


def losses(count: int) -> list[dict[str, float]]:
    return [{"step": n, "loss": 3 - n / 10, "seconds": 30.0} for n in range(1, count + 1)]


def test_runs_are_found_the_latest_first_and_none_within_another(tmp_path: Path) -> None:
    log(tmp_path / "old", losses(3), age=50)
    log(tmp_path / "deep" / "er" / "new", losses(3))
    log(tmp_path / "deep" / "er" / "new" / "inner", losses(3))
    log(tmp_path / "a" / "b" / "c" / "too-deep", losses(3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "old")
    assert [(run.name, run.kind) for run in find_runs(tmp_path)] == [
        ("deep/er/new", "training"),
        ("old", "training"),
    ]
    assert find_runs(tmp_path / "missing") == []


@pytest.mark.parametrize("name", ["../old", "/etc", "", "old/..", "missing"])
def test_only_what_was_found_is_opened(tmp_path: Path, name: str) -> None:
    log(tmp_path / "runs" / "old", losses(3))
    with pytest.raises(UserError, match="There is no run called"):
        find_run(tmp_path / "runs", name)


def test_a_supervised_training_shows_its_curves_and_whether_it_learns(tmp_path: Path) -> None:
    log(tmp_path / "sft<b>", [*losses(12), {"step": 12, "validation_loss": 2.0, "seconds": 30.0}])
    page = run_page(find_run(tmp_path, "sft<b>"))
    assert "12 steps so far, 6.5 minutes." in page
    assert "still improving" in page
    assert page.count("<svg") == 1  # one validation loss makes no curve
    assert "sft&lt;b&gt;" in page and "<b>" not in page


def test_a_ppo_run_shows_reward_against_kl(tmp_path: Path) -> None:
    rows = [
        {
            "step": n,
            "objective/kl": n / 10,
            "env/reward_mean": n / 5,
            "tokens/response_mean": 30.0,
            "time/step": 20.0,
        }
        for n in range(1, 10)
    ]
    log(tmp_path / "ppo", rows)
    page = run_page(find_run(tmp_path, "ppo"))
    assert page.count("<svg") == 4 and 'aria-label="Reward against KL"' in page
    assert "9 steps so far, 3.0 minutes." in page


def test_a_table_of_quality(tmp_path: Path) -> None:
    gain = {"difference": 0.0, "low": 0.0, "high": 0.0, "verdict": "inconclusive"}
    row = {
        "policy": "<script>",
        "n": 12,
        "scores": {"rouge1": 40.25},
        "gains": {"rouge1": gain},
        "words": 18.0,
        "training": {"parameters": {"trainable": 4_884_480}, "seconds": 90, "peak_memory": 2e9},
        "bytes": 1,
        "texts": [],
    }
    better = row | {"policy": "tuned", "gains": {"rouge1": gain | {"difference": 2.0}}}
    write_quality(
        tmp_path / "q", [row, better], {"task": "summarize", "data": "x", "split": "test"}
    )
    run = find_run(tmp_path, "q")
    page = run_page(run)
    assert run.kind == "table" and "Summarize: policies against human references" in page
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert (
        "4,884,480" in page
        and '<td data-label="minutes">1.5</td>' in page
        and "+2.0 [+0.0, +0.0]" in page
    )
    assert [path.name for path in run.files] == ["quality.md", "quality.csv", "quality.json"]


def test_a_search(tiny_causal: Path, dialogues_file: WriteDialogues, tmp_path: Path) -> None:
    config = SftConfig(
        base=str(tiny_causal),
        data=str(dialogues_file(rows=tiny.dialogsum_rows(16))),
        steps=2,
        batch_size=4,
        hold_out=0.35,
        validate_every=1,
    )
    tune(config, 1, tmp_path / "search", tell=lambda text: None)
    (run,) = find_runs(tmp_path)
    page = run_page(run)
    assert run.kind == "search" and "1 trials, 0 of them cut short" in page
    assert "var(--da-after)" in page and "python -m detox sft --lr" in page
    alone = (tmp_path / "search" / "history.svg").read_text()
    assert alone.startswith("<svg") and "var(" not in alone and "#0c746b" in alone
    assert optuna.logging.get_verbosity() == optuna.logging.WARNING


def test_damaged_files_are_one_sentence(tmp_path: Path) -> None:
    folder = log(tmp_path / "bad", losses(2))
    (folder / "quality.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read: run it again"):
        run_page(find_run(tmp_path, "bad"))
