"""The walkthrough, walked: every command of it, in its order, on tiny models."""

from __future__ import annotations

import builtins
import itertools
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

import detox.cli
import labeling.cli
from detox.models import sources
from labeling import cli_label
from tests import tiny

PAGE = Path(__file__).parent.parent / "docs" / "walkthrough.md"
COMMANDS = re.findall(r"^python -m (detox|labeling) (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
# What makes each of them a matter of seconds; the rest of a command is as it is written.
SMALLER = {
    "compare": "--max-new-tokens 8",
    "reward": "--epochs 1 --lora-r 2 --held-out 0.3",
    "ppo": "--steps 1 --batch-size 2 --mini-batch-size 2 --lora-r 2 --min-response-tokens 4"
    " --max-response-tokens 6 --max-dialogue-chars 2000",
    "tune": "--steps 1 --lora-r 2 --batch-size 2 --max-prompt-tokens 4000"
    " --max-response-tokens 4000",
    "evaluate": "--limit 4 --max-new-tokens 8",
}
LABELERS = ("ada", "ben", "cy")
VERSIONS = (
    str,
    lambda text: f"{text} #Person1# is an idiot.",
    lambda text: f"{text} They go on about it for a while.",
)


@pytest.fixture
def walker(
    tmp_path: Path, tiny_causal: Path, tiny_reward_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder to walk in, where the versions that ship are tiny and write what can be judged."""
    monkeypatch.chdir(tmp_path)
    for name in ("DETOX_DB", "DETOX_RUNS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "chat.txt").write_text("#Person1#: You idiot!\n#Person2#: Sorry.", "utf-8")
    small = tmp_path / "small"
    for name in ("before", "after"):
        argv = ["--base", str(tiny_causal), "--steps", "1", "--batch-size", "2", "--lora-r", "2"]
        assert detox.cli.main(["sft", *argv, "--output", str(small / name)]) == 0
    monkeypatch.setattr(sources, "SHIPPED", {n: small / n for n in ("before", "after")})
    monkeypatch.setitem(SMALLER, "reward", f"{SMALLER['reward']} --base {tiny_reward_model}")
    tiny.write_what_can_be_judged(monkeypatch, VERSIONS)
    return tmp_path


def test_every_command_of_the_walkthrough_works(
    walker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(prompt: str = "") -> str:
        """What somebody would say who reads what is on the screen, and prefers the gentler."""
        shown = capsys.readouterr().out.rpartition("\nA:\n")[2]
        left, _, right = shown.partition("\nB:\n")
        return "b!" if "idiot" in left or len(left) > len(right) else "a"

    clock = itertools.count(0.0, 7.0)  # nobody is so fast as to be flagged
    monkeypatch.setattr(cli_label, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(builtins, "input", answer)
    mains = {"detox": detox.cli.main, "labeling": labeling.cli.main}
    for module, line in COMMANDS:
        argv = shlex.split(line)
        argv += shlex.split(SMALLER.get(argv[0], ""))
        people = LABELERS if argv[0] == "label" else ("",)
        for labeler in people:
            said = [labeler if word == "ada" else word for word in argv]
            assert mains[module](said) == 0, (module, said, capsys.readouterr().err)
    assert (walker / "runs" / "taste" / "report.html").is_file()
    assert (walker / "runs" / "evaluation-2" / "report.html").is_file()
    assert list((walker / "picks").rglob("*.parquet"))
    assert len(COMMANDS) >= 10
