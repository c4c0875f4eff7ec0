"""The fuzzing of what people bring in: its targets take whole inputs, and some mangled ones."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import SHARES
from benchmarks.fuzz.targets import TARGETS, seeds
from detox.errors import UserError

ROOT = Path(__file__).parent.parent


def test_every_target_has_a_share_and_all_together_are_a_hundred() -> None:
    assert set(SHARES) == set(TARGETS)
    assert sum(SHARES.values()) == 100


@pytest.mark.parametrize("name", TARGETS)
def test_whole_inputs_are_understood(name: str) -> None:
    understood = 0
    for content in seeds(name):
        with suppress(UserError):
            TARGETS[name](content)
            understood += 1
    assert understood or name in ("lineage", "config"), "nothing whole to begin with"


@pytest.mark.parametrize("name", TARGETS)
def test_mangled_inputs_come_to_a_sentence(name: str) -> None:
    rng = random.Random(name)
    for content in seeds(name):
        for _ in range(4):
            mangled = bytearray(content[:4_000])
            for _ in range(rng.randint(1, 8)):
                if mangled:
                    mangled[rng.randrange(len(mangled))] = rng.choice(b'\0"{}[],:\n\r\xff01e-.')
            with suppress(UserError):
                TARGETS[name](bytes(mangled[: rng.randint(0, len(mangled))]))


@pytest.mark.skipif(sys.platform != "linux", reason="atheris comes for Linux only")
def test_the_command_counts_its_cases(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "benchmarks.fuzz", "--only", "vertex", "--cases", "30"]
    done = subprocess.run(
        [*argv, "--finds", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'"cases": 30,\s+"finds": 0', done.stdout)
