"""How a command ends; that it ends as it should is tested with the commands themselves."""

from __future__ import annotations

import gc

import pytest

from detox.terminal import run_command


@pytest.mark.parametrize("code", [0, 2])
def test_the_exit_code_is_that_of_the_command(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(gc, "set_threshold", lambda objects: done.append(f"every {objects}"))
    monkeypatch.setattr(gc, "freeze", lambda: done.append("frozen"))

    def command() -> int:
        done.append("run")
        return code

    with pytest.raises(SystemExit) as ended:
        run_command(command)
    assert ended.value.code == code
    assert done == ["every 10000", "run", "frozen"]
