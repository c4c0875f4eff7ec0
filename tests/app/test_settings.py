"""Settings from the environment, and an app that starts with them."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

import app
from app import RESULTS, Settings
from detox.errors import UserError
from labeling.store import open_store

ROOT = Path(app.__file__).parent


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DETOX_DB", raising=False)
    settings = Settings.from_env()
    assert settings.policies == {"before": "before", "after": "after"}
    assert (settings.classifier, settings.results) == ("", RESULTS)


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETOX_DB", "picks/mine.db")
    monkeypatch.setenv("DETOX_POLICIES", "small = google/flan-t5-small ; tuned=runs/a=b;")
    monkeypatch.setenv("DETOX_CLASSIFIER", "runs/classifier")
    monkeypatch.setenv("DETOX_LABEL", "LABEL_0")
    monkeypatch.setenv("DETOX_RESULTS", "runs/evaluation")
    assert Settings.from_env() == Settings(
        Path("picks/mine.db"),
        {"small": "google/flan-t5-small", "tuned": "runs/a=b"},
        "runs/classifier",
        "LABEL_0",
        Path("runs/evaluation"),
    )


@pytest.mark.parametrize("text", ["before", "a=x", "a=x;a=y", "a=;b=y", ";;"])
def test_policies_that_cannot_be_compared_are_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DETOX_POLICIES", text)
    with pytest.raises(UserError, match="DETOX_POLICIES"):
        Settings.from_env()


def test_labelers_get_the_shipped_pairs_once(tiny_settings: Settings, tmp_path: Path) -> None:
    settings = Settings(tmp_path / "picks.db", results=tiny_settings.results)
    counts = []
    for _ in range(2):
        app.seed_pairs(settings)
        with open_store(settings.database).reading() as db:
            counts.append(db["pairs"].count)
    assert counts[0] > 0 and counts[0] == counts[1]


def test_without_results_there_are_no_pairs_and_no_error(tmp_path: Path) -> None:
    app.seed_pairs(Settings(tmp_path / "picks.db", results=tmp_path / "none"))


def test_a_damaged_database_leaves_the_rest_of_the_app_standing(
    tiny_settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / "picks.db"
    damaged.write_bytes(b"not a database " * 100)
    with caplog.at_level(logging.WARNING, "detox"):
        page = app.build_app(replace(tiny_settings, database=damaged))
    assert "damaged or not a labeling database" in caplog.text
    page.close(verbose=False)


def test_a_wrong_setting_is_one_sentence_and_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | {"DETOX_POLICIES": "one"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip().startswith("Detox Arena: DETOX_POLICIES must name two versions")
    assert "Traceback" not in done.stderr


def test_the_page_answers_whatever_becomes_of_the_models(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = os.environ | {
        "CI": "true",
        "GRADIO_SERVER_PORT": str(port),
        "DETOX_POLICIES": f"before={tmp_path};after={tmp_path}",
        "DETOX_DB": str(tmp_path / "picks.db"),
        "DETOX_RESULTS": str(tmp_path / "none"),
    }
    with subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL
    ) as server:
        try:
            assert b"Detox Arena" in _answer(f"http://127.0.0.1:{port}/", 120)
        finally:
            server.terminate()


def _answer(url: str, patience: float) -> bytes:
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as page:
                return page.read()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
