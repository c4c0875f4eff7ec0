"""Detox Arena in a browser: ``python app.py``."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Nothing about a visit leaves the machine; gradio reads this when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from detox.errors import UserError
from detox.results import first_samples, read_results
from detox.theme import CSS, arena_theme
from detox.ui import compare_tab, evaluate_tab, page_header, playground_tab
from detox.workbench import Workbench
from labeling import ui as labeling_ui
from labeling.batches import add_pairs
from labeling.store import open_store

RESULTS = Path(__file__).parent / "detox" / "embedded" / "results"


@dataclass(frozen=True)
class Settings:
    """What an app serves, from where; ``from_env`` reads it from environment variables."""

    database: Path = Path("data/labels.db")
    """DETOX_DB: the SQLite file of pairs and picks, made when it is missing."""
    policies: dict[str, str] = field(default_factory=lambda: {"before": "before", "after": "after"})
    """DETOX_POLICIES, ``name=spec;name=spec``: the versions to compare, two at least."""
    classifier: str = ""
    """DETOX_CLASSIFIER: hub name or folder of the hate classifier; the embedded one if empty."""
    label: str | None = None
    """DETOX_LABEL: the classifier's label to reward, where none is called not-hate."""
    results: Path = RESULTS
    """DETOX_RESULTS: folder of results computed beforehand."""
    runs: Path = Path("runs")
    """DETOX_RUNS: folder where the commands write, whose reports the Evaluate tab shows."""

    @classmethod
    def from_env(cls) -> Settings:
        """The settings of the environment; ``UserError`` names a variable that is wrong."""
        env = os.environ
        default = cls()
        return cls(
            Path(env.get("DETOX_DB") or default.database),
            _policies(env["DETOX_POLICIES"]) if env.get("DETOX_POLICIES") else default.policies,
            env.get("DETOX_CLASSIFIER") or default.classifier,
            env.get("DETOX_LABEL") or default.label,
            Path(env.get("DETOX_RESULTS") or default.results),
            Path(env.get("DETOX_RUNS") or default.runs),
        )


def _policies(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    named = {name.strip(): spec.strip() for name, _, spec in parts}
    if len(named) < 2 or len(named) < len(parts) or not all(k and v for k, v in named.items()):
        raise UserError(
            "DETOX_POLICIES must name two versions or more, as in 'before=before;after=runs/ppo'."
        )
    return named


def build_app(settings: Settings, bench: Workbench | None = None) -> gr.Blocks:
    """The whole app. Models load when ``bench`` is started or the first visitor comes."""
    bench = bench or Workbench(settings.policies, settings.classifier, settings.label)
    try:
        seed_pairs(settings)
    except UserError as error:  # the Compare tab works without, and the Label tab will say it too
        logging.getLogger("detox").warning("%s", error)
    with gr.Blocks(title="Detox Arena", analytics_enabled=False) as page:
        pill = page_header(bench.status())
        with gr.Tabs():
            with gr.Tab("Compare", id="compare"):
                compare_tab(page, bench, settings.results, pill)
            with gr.Tab("Playground", id="playground"):
                playground_tab(bench)
            with gr.Tab("Evaluate", id="evaluate"):
                evaluate_tab(bench, settings.results, settings.runs)
            with gr.Tab("Label", id="label"):
                labeling_ui.label_tab(settings.database)
            with gr.Tab("Results", id="results"):
                labeling_ui.results_tab(settings.database)
            with gr.Tab("Export", id="export"):
                labeling_ui.export_tab(settings.database)
    return page


def seed_pairs(settings: Settings) -> None:
    """Gives labelers the pairs computed beforehand; a second time changes nothing.

    Raises ``StoreError`` when the database cannot be used.
    """
    try:
        rows, _ = read_results(settings.results)
    except UserError:
        return
    add_pairs(open_store(settings.database), first_samples(rows), "shipped")


def main() -> None:
    """Serves the app until it is stopped."""
    try:
        settings = Settings.from_env()
        bench = Workbench(settings.policies, settings.classifier, settings.label)
        page = build_app(settings, bench)
        launch(page, inbrowser=_has_screen())
    except (UserError, OSError) as error:
        print(f"Detox Arena: {error}", file=sys.stderr)
        sys.exit(2)
    bench.start()  # only now, so that the page is there before the models compete for the cores
    page.block_thread()


def launch(page: gr.Blocks, **options: Any) -> str:
    """Serves ``page`` in the project's looks without blocking; returns its address."""
    _, address, _ = page.launch(
        theme=arena_theme(),
        css=CSS + labeling_ui.CSS,
        footer_links=["api", "settings"],
        prevent_thread_lock=True,
        **options,
    )
    return address


def _has_screen() -> bool:
    env = os.environ
    if env.get("SPACE_ID") or env.get("CI") or env.get("SSH_CONNECTION"):
        return False
    return sys.platform != "linux" or bool(env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    main()
