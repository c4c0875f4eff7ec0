"""Settings from the environment, and an app that starts with them."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

import app
import labeling.durable.keeper
import labeling.durable.restore
from app import sign_in_options
from benchmarks.fake_hub import FakeHub
from detox.errors import UserError
from hosting.keeping import bring_back, keep_picks
from hosting.settings import KNOWN, RESULTS, Settings
from labeling.people import accounts, add_account, disable_account
from labeling.store import open_store
from labeling.ui import Entrance

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
    monkeypatch.setenv("DETOX_REWARD", " preference:runs/reward")
    monkeypatch.setenv("DETOX_RESULTS", "runs/evaluation")
    assert Settings.from_env() == Settings(
        Path("picks/mine.db"),
        {"small": "google/flan-t5-small", "tuned": "runs/a=b"},
        "runs/classifier",
        "LABEL_0",
        "preference:runs/reward",
        Path("runs/evaluation"),
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DETOX_KEP", "did you mean DETOX_KEEP?"),
        ("DETOX_SIGNIN", "did you mean DETOX_SIGN_IN?"),
        ("DETOX_XYZZY_PLUGH", "known are DETOX_CACHE, DETOX_CLASSIFIER"),
    ],
)
def test_a_variable_that_nobody_knows_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "")
    with pytest.raises(UserError, match=f"{name} is no setting of Detox Arena: ") as refused:
        Settings.from_env()
    assert hint in str(refused.value)


def test_every_variable_that_is_read_is_known() -> None:
    """A variable of ours is read in code that does not know the list of them."""
    read = set()
    for folder in ("detox", "hosting", "labeling", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            read |= set(
                re.findall(r"(?:environ(?:\.get)?[\[(]|env\.get\(|env\[)\"(DETOX_\w+)", text)
            )
    assert read and read <= KNOWN


@pytest.mark.parametrize("text", ["before", "a=x", "a=x;a=y", "a=;b=y", ";;"])
def test_policies_that_cannot_be_compared_are_refused(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DETOX_POLICIES", text)
    with pytest.raises(UserError, match="DETOX_POLICIES"):
        Settings.from_env()


@pytest.mark.parametrize("spec", ["classifier", "runs/reward", "preference:", "mixed:a=1"])
def test_a_second_judge_must_be_a_model_of_picks(
    monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.setenv("DETOX_REWARD", spec)
    with pytest.raises(UserError, match=r"DETOX_REWARD is '.*name a reward model as preference:"):
        Settings.from_env()


def test_the_second_judge_reaches_the_page(tmp_path: Path, tiny_settings: Settings) -> None:
    settings = replace(tiny_settings, database=tmp_path / "picks.db", reward="preference:runs/x")
    bench = app.workbench(settings)
    assert (bench.reward, bench.specs) == ("preference:runs/x", settings.policies)


@pytest.mark.parametrize("said", ["soon", "0", "-1", "nan", "9999"])
def test_minutes_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("DETOX_KEEP_MINUTES", said)
    with pytest.raises(UserError, match=r"DETOX_KEEP_MINUTES is '.*give minutes from"):
        Settings.from_env()


def test_an_app_that_keeps_its_picks_begins_with_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = FakeHub(tmp_path / "hub")
    for module in (labeling.durable.keeper, labeling.durable.restore):
        monkeypatch.setattr(module, "the_hub", lambda: hub)
    monkeypatch.setenv("DETOX_KEEP", "ada/picks")
    monkeypatch.setenv("DETOX_DB", str(tmp_path / "disk" / "labels.db"))
    settings = Settings.from_env()
    assert (settings.keep, settings.keep_minutes) == ("ada/picks", 5.0)
    bring_back(settings)
    store = open_store(settings.database)
    add_account(store, "Zoe", "lead", "battery staple")
    keeper = keep_picks(settings)
    hub.pool.submit(lambda: None).result(30)  # after the first commit
    assert keeper is not None
    keeper.stop()
    shutil.rmtree(tmp_path / "disk")
    bring_back(settings)
    assert "was made out of ada/picks" in capsys.readouterr().out
    assert [account.name for account in accounts(open_store(settings.database))] == ["Zoe"]


SPACE = {
    "SYSTEM": "spaces",
    "SPACE_ID": "somebody/arena",
    "SPACE_AUTHOR_NAME": "somebody",
    "OAUTH_CLIENT_ID": "from-the-space",
}


@pytest.mark.parametrize(
    ("variables", "sign_in", "leads", "public"),
    [
        ({}, "open", (), False),
        ({"GRADIO_SERVER_NAME": "127.0.0.1"}, "open", (), False),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, "open", (), True),
        ({"GRADIO_SHARE": "True"}, "open", (), True),
        ({"SPACE_ID": "somebody/arena"}, "open", (), True),
        (SPACE, "huggingface", ("somebody",), True),
        (SPACE | {"DETOX_LEADS": " ada , bob,"}, "huggingface", ("ada", "bob"), True),
        (SPACE | {"DETOX_SIGN_IN": "open"}, "open", (), True),
        ({"DETOX_SIGN_IN": "accounts", "DETOX_LEADS": "ada"}, "accounts", ("ada",), False),
    ],
)
def test_who_may_come_in_follows_from_where_the_app_runs(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    sign_in: str,
    leads: tuple[str, ...],
    public: bool,
) -> None:
    for name in (*SPACE, "GRADIO_SERVER_NAME", "GRADIO_SHARE", "DETOX_SIGN_IN", "DETOX_LEADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    assert (settings.sign_in, settings.leads, settings.public) == (sign_in, leads, public)
    assert settings.entrance == Entrance(sign_in, leads, public)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"DETOX_SIGN_IN": "ldap"}, "DETOX_SIGN_IN is 'ldap': use one of open, accounts"),
        ({"DETOX_SIGN_IN": "huggingface"}, "DETOX_SIGN_IN=huggingface works on Hugging Face"),
        ({"DETOX_LEADS": "ada"}, "DETOX_LEADS names leads, but nobody signs in"),
    ],
)
def test_a_way_in_that_cannot_be_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    for name in (*SPACE, "DETOX_SIGN_IN", "DETOX_LEADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=sentence):
        Settings.from_env()


def test_an_app_that_nobody_could_enter_does_not_start(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "picks.db", sign_in="accounts")
    store = open_store(settings.database)
    add_account(store, "hug", "lead")
    add_account(store, "old", "lead", "gone gone")
    disable_account(store, "old")
    with pytest.raises(UserError, match="labeling people NAME --role lead --password"):
        sign_in_options(settings)
    add_account(store, "ada", "labeler", "battery staple")
    assert set(sign_in_options(settings)) == {"auth", "auth_message"}
    assert sign_in_options(Settings(tmp_path / "picks.db")) == {}


def test_oauth_without_its_library_does_not_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = Settings(tmp_path / "picks.db", sign_in="huggingface")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"gradio\[oauth\]"):
        sign_in_options(settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert sign_in_options(settings) == {}


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
