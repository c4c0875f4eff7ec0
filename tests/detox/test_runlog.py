import json
import math
from pathlib import Path
from unittest.mock import Mock

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detox.errors import UserError
from detox.runlog import RunLog, read_metrics
from tests import tiny


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard shows under ``tag``."""
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return [(event.step, event.value) for event in board.Scalars(tag)]


def record(folder: Path, steps: range, resume_from: int = 0) -> None:
    log = RunLog(folder, resume_from)
    for step in steps:
        log.write(step, {"loss": step / 2})
    log.close()


def test_steps_are_recorded_in_order_and_at_once(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "deep" / "run")
    log.write(1, {"loss": 2.5, "note": "warm-up"})
    log.write(2, {"loss": 2.0})
    # before close: whoever watches a run reads it while it is written
    assert read_metrics(tmp_path / "deep" / "run") == [
        {"step": 1, "loss": 2.5, "note": "warm-up"},
        {"step": 2, "loss": 2.0},
    ]
    log.close()


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    record(tmp_path, range(1, 4))
    assert scalars(tmp_path, "loss") == [(1, 0.5), (2, 1.0), (3, 1.5)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_becomes_null(tmp_path: Path, value: float) -> None:
    log = RunLog(tmp_path)
    log.write(1, {"loss": value, "kl": 1.0})
    log.close()
    line = (tmp_path / "metrics.jsonl").read_text()
    assert line == '{"step": 1, "loss": null, "kl": 1.0}\n'  # NaN is no JSON


def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    record(tmp_path, range(1, 6))
    record(tmp_path, range(3, 8), resume_from=2)
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert [step for step, _ in scalars(tmp_path, "loss")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_fresh_run_starts_an_empty_record(tmp_path: Path) -> None:
    record(tmp_path, range(1, 6))
    record(tmp_path, range(1, 3))
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    record(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-8])  # the machine went off while step 3 was written
    assert [row["step"] for row in read_metrics(tmp_path)] == [1, 2]
    record(tmp_path, range(3, 5), resume_from=2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


def test_no_record(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorBoard writes from a thread of its own, whose failure nobody hears
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Mock())
    log = RunLog(tmp_path / "run")
    sentence = r"^The run cannot be logged in .*run: File too large\.$"
    with tiny.disk_of(110), pytest.raises(UserError, match=sentence):
        for step in range(10):
            log.write(step, {"loss": 1.0})
    assert (tmp_path / "run" / "metrics.jsonl").stat().st_size == 110
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^The run cannot be logged in .*file/run: Not a dir"):
        RunLog(tmp_path / "file" / "run")
