"""A whole app on tiny models, with results made beforehand, and a browser to visit it with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

# No visit to gradio's own servers; read when gradio is first imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from app import build_app, launch
from detox.config import Sampling
from detox.data import is_rude, load_dialogues
from detox.models import find_source, fingerprint
from detox.report import write_report
from detox.results import Row, write_results
from detox.tasks import SUMMARIZE
from detox.ui.compare import Example
from detox.workbench import Workbench
from hosting.settings import Settings

SAMPLING = Sampling(max_new_tokens=12)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    # The pop-ups of the address bar are pages of their own, a third of the work of a new window.
    # The others matter here among those of playwright's own list, which this one replaces.
    "--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,AvoidUnnecessaryBeforeUnloadCheckSync,"
    "DestroyProfileOnBrowserClose,HttpsUpgrades,LensOverlay,MediaRouter,OptimizationHints,"
    "PaintHolding,Translate",
)


@dataclass(frozen=True)
class Visit:
    """A running app: where it is, and what it was built from."""

    url: str
    settings: Settings
    bench: Workbench


@contextmanager
def app_of(settings: Settings, **more: Any) -> Iterator[Visit]:
    """The app of ``settings``, whose models may still load; ``more`` is for its workbench."""
    bench = Workbench(settings.policies, settings.classifier, **more)
    page = build_app(settings, bench)
    url = launch(page, quiet=True)
    bench.start()
    yield Visit(url, settings, bench)
    page.close(verbose=False)


@pytest.fixture(scope="session")
def result_rows() -> list[Row]:
    """24 rows as ``detox evaluate`` writes them; the references stand for the summaries."""
    return [_row(index, dict(item)) for index, item in enumerate(_test_dialogues(24))]


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return [
        Example(d["id"], d["dialogue"], d["topic"], d["tone"]) for d in load_dialogues(split="test")
    ]


@pytest.fixture(scope="session")
def tiny_settings(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_causal: Path,
    tiny_t5: Path,
    tiny_classifier: Path,
    result_rows: list[Row],
) -> Settings:
    """Two tiny policies, a tiny classifier, and results that their fingerprints match."""
    policies = {"before": str(tiny_causal), "after": str(tiny_t5)}
    marks = {name: fingerprint(find_source(spec)) for name, spec in policies.items()}
    rows = [
        row | {side: row[side] | {"fingerprint": marks[side]} for side in marks}
        for row in result_rows
    ]
    folder = tmp_path_factory.mktemp("arena")
    about = {
        "before": {"policy": "before", "fingerprint": marks["before"]},
        "after": {"policy": "after", "fingerprint": marks["after"]},
        "judge": {"name": "tiny", "scope": "response", "label": "nothate"},
        "sampling": asdict(SAMPLING),
        "data": "embedded",
        "split": "test",
    }
    write_results(folder / "results", rows, about)
    write_report(folder / "results")
    return Settings(
        folder / "picks.db",
        policies,
        str(tiny_classifier),
        results=folder / "results",
        runs=folder / "runs",
    )


@pytest.fixture(scope="session")
def arena(tiny_settings: Settings) -> Iterator[Visit]:
    """The app as ``python app.py`` serves it."""
    with app_of(tiny_settings) as visit:
        yield visit


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's chromium; without one the test is skipped, and fails where CI is set."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        reason = "there is no chromium: run 'make browser' to install it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def visitor(chromium: Any) -> Iterator[Any]:
    """A fresh page; the test fails when a script of the app does, or one of anybody else's runs."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on("console", lambda said: broken.append(said.text) if _breach(said.text) else None)
    yield page
    context.close()
    assert not broken


def _breach(said: str) -> bool:
    return "Content Security Policy" in said


def _test_dialogues(count: int) -> Any:
    return load_dialogues(split="test").select(range(count))


def _row(index: int, item: dict[str, Any]) -> Row:
    before = _side("before", item["verbatim"], -1.0 + index / 10, 0.7 if is_rude(item) else 0.1)
    after = _side("after", item["gentle"], 1.5, 0.05)
    return {
        "id": item["id"],
        "dialogue": item["dialogue"],
        "prompt": SUMMARIZE.prompt(item["dialogue"]),
        "topic": item["topic"],
        "tone": item["tone"],
        "rude": is_rude(item),
        "split": item["split"],
        "before": before,
        "after": after,
        "reward_diff": round(after["reward"] - before["reward"], 4),
    }


def _side(policy: str, text: str, reward: float, toxicity: float) -> Row:
    return {
        "policy": policy,
        "fingerprint": f"{policy}-weights",
        "text": text,
        "reward": round(reward, 4),
        "toxicity": toxicity,
        "words": len(text.split()),
        "rouge1": 40.0,
        "rouge2": 15.0,
        "rougeL": 30.0,
    }
