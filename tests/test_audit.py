"""What is made of pip-audit's answer."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tools import audit

SOUND = {"name": "a", "version": "1.0", "vulns": []}
WEAK = {"name": "b", "version": "2.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3.0"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ([SOUND, UNKNOWN], 0, "1 packages, 0 known weaknesses; 1 could not be asked for"),
        ([SOUND, WEAK], 2, "b 2.0: CVE-1, mended in 2.1, 3.0"),
        ([UNKNOWN, UNKNOWN], 0, "nothing was audited"),
        (None, 0, "nothing was audited"),
    ],
)
def test_a_known_weakness_fails_and_silence_claims_nothing(
    answer: list[dict[str, Any]] | None,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "no network" if answer is None else json.dumps({"dependencies": answer})

    def run(argv: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert str(audit.PINNED) in argv
        return subprocess.CompletedProcess(argv, 0, said, "")

    monkeypatch.setattr(subprocess, "run", run)
    assert audit.main() == code
    told = capsys.readouterr()
    assert words in told.out + told.err
