"""A Space that lends GPUs writes there, scores here, and does without where none is lent."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hosting import zero

Happened = dict[str, Any]


@pytest.fixture(scope="module")
def happened(tiny_causal: Path, tiny_t5: Path, tiny_classifier: Path) -> Happened:
    models = [str(tiny_t5), str(tiny_causal), str(tiny_classifier)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.zero_space", *models],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: Happened = json.loads(done.stdout.splitlines()[-1])
    return found


def test_models_wait_on_the_cpu_in_full_precision(happened: Happened) -> None:
    assert (happened["devices"], happened["dtypes"]) == (["cpu"], ["torch.float32"])


def test_the_space_says_at_its_start_that_it_borrows(happened: Happened) -> None:
    assert happened["asked"][0] == "/startup-report"


def test_another_process_writes_the_same_and_gives_the_gpu_back(happened: Happened) -> None:
    assert happened["lent"] == happened["expected"]
    assert happened["there"] and happened["here"] not in happened["there"]
    assert happened["asked"].count("/release") == happened["asked"].count("/schedule") >= 4


def test_a_batch_is_written_there_as_well(happened: Happened) -> None:
    assert len(happened["evaluated"]) == 2
    assert happened["evaluated"][0] == happened["expected"][1]


def test_a_prompt_that_is_too_long_is_told_as_everywhere(happened: Happened) -> None:
    assert "shorten the dialogue" in happened["told"]


def test_a_version_that_came_later_is_known_there(happened: Happened) -> None:
    before = happened["expected"][0]
    assert happened["later"] == [before, before]


def test_without_a_gpu_the_cpu_does_it_and_the_log_says_so(happened: Happened) -> None:
    assert happened["refused"] == happened["expected"]
    assert happened["asked_then"] == ["/schedule"]
    assert happened["warnings"] == ["No GPU was lent, the CPU does it: No GPU was available"]


@pytest.mark.parametrize(
    ("value", "lends"), [("true", True), ("1", True), ("", False), ("0", False)]
)
def test_spaces_says_whether_it_lends(value: str, lends: bool) -> None:
    assert zero.is_lending({"SPACES_ZERO_GPU": value}) is lends
    assert not zero.is_lending({})
