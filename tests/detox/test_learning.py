"""Steps and trends."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox import cli
from detox.errors import UserError
from detox.learning import is_learning, steps_of, trend, verdicts


@pytest.mark.parametrize(
    ("examples", "batch", "epochs", "steps"),
    [(3000, 64, 30, 1410), (2000, 64, 10, 320), (64, 64, 1, 1), (65, 64, 1, 2), (1, 64, 3, 3)],
)
def test_epochs_as_steps(examples: int, batch: int, epochs: int, steps: int) -> None:
    assert steps_of(examples, batch, epochs) == steps


@given(st.integers(1, 10_000), st.integers(1, 512), st.integers(1, 50))
def test_every_example_is_read_each_epoch(examples: int, batch: int, epochs: int) -> None:
    steps = steps_of(examples, batch, epochs)
    assert steps * batch >= examples * epochs > (steps - epochs) * batch


def test_no_steps() -> None:
    with pytest.raises(UserError, match=r"^examples, batch size and epochs must be at least 1\.$"):
        steps_of(0, 64, 1)


def noisy(values: list[float], seed: int = 0) -> list[float]:
    rng = random.Random(seed)
    return [value + rng.gauss(0, 0.3) for value in values]


RISING = [n / 5 for n in range(40)]
FLATTENED = [min(n / 3, 4.0) for n in range(60)]


def test_what_a_run_does() -> None:
    assert trend(noisy(RISING)) == "learning"
    assert trend(noisy(RISING), rising=False) == "worse"
    assert trend(noisy(FLATTENED)) == "learned"
    assert trend(noisy([-v for v in FLATTENED]), rising=False) == "learned"
    assert trend([1.0] * 30) == "no trend"
    assert trend(RISING[:7]) == "too short"
    assert trend([float("nan")] * 30) == "too short"


def test_noise_is_seldom_taken_for_learning() -> None:
    found = [trend(noisy([0.0] * 40, seed)) for seed in range(200)]
    assert found.count("no trend") >= 0.9 * 200


def test_a_run_in_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"step": n, "loss": 3 - value / 4} for n, value in enumerate(RISING, 1)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "metrics.jsonl").write_text(lines)
    (said,) = is_learning(tmp_path)
    assert said == "loss (3 to 1.05 in 40 values): still improving: more steps may help."
    assert cli.main(["learning", str(tmp_path)]) == 0
    assert said in capsys.readouterr().out
    assert verdicts([{"step": 1, "objective/kl": 0.0}]) == []


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^There is no run in .*: give the output folder of sft"):
        is_learning(tmp_path)


def test_steps_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["steps", "3000", "--batch-size", "64", "--epochs", "30"]) == 0
    assert capsys.readouterr().out == "1410\n"
