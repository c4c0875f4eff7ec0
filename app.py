"""Detox Arena in a browser: ``python app.py``."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing about a visit leaves the machine; gradio reads this when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
from starlette.middleware import Middleware

from detox.errors import UserError
from detox.recipes import Recipe, ppo_recipe
from detox.results import first_samples, read_results
from detox.theme import CSS, arena_theme
from detox.ui import (
    compare_tab,
    evaluate_tab,
    offer_versions,
    page_header,
    playground_tab,
    train_tab,
)
from detox.ui.pace import Pace
from detox.workbench import Workbench
from labeling import ui as labeling_ui
from labeling.batches import add_pairs
from labeling.durable.hub import kept_beside
from labeling.people import SIGN_INS, accounts
from labeling.recipes import preference_recipe, reward_recipe
from labeling.store import open_store

if TYPE_CHECKING:
    from labeling.durable.keeper import Keeper

RESULTS = Path(__file__).parent / "detox" / "embedded" / "results"
OWN_ADDRESSES = ("", "127.0.0.1", "::1", "localhost")


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
    reward: str = ""
    """DETOX_REWARD: ``preference:FOLDER``, a model of people's picks as a second judge."""
    results: Path = RESULTS
    """DETOX_RESULTS: folder of results computed beforehand."""
    runs: Path = Path("runs")
    """DETOX_RUNS: folder of the trainings, and of the reports that the Evaluate tab shows."""
    sign_in: str = "open"
    """DETOX_SIGN_IN: open, accounts or huggingface, which Spaces with OAuth have by themselves."""
    leads: tuple[str, ...] = ()
    """DETOX_LEADS, ``name,name``: who leads the labeling from the start; a Space's owner if empty.
    """
    keep: str = ""
    """DETOX_KEEP, ``OWNER/NAME``: private dataset on the Hub that keeps picks and restores them."""
    keep_minutes: float = 5.0
    """DETOX_KEEP_MINUTES: how often; what is newer may be lost with the disk."""
    public: bool = False
    """Whether others can reach the page: on Spaces, and by GRADIO_SERVER_NAME or GRADIO_SHARE."""

    @property
    def entrance(self) -> labeling_ui.Entrance:
        """How people come in."""
        return labeling_ui.Entrance(self.sign_in, self.leads, self.public)

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
            _reward(env),
            Path(env.get("DETOX_RESULTS") or default.results),
            Path(env.get("DETOX_RUNS") or default.runs),
            _sign_in(env),
            _leads(env),
            (env.get("DETOX_KEEP") or "").strip(),
            _minutes(env),
            _public(env),
        )


def _policies(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    named = {name.strip(): spec.strip() for name, _, spec in parts}
    if len(named) < 2 or len(named) < len(parts) or not all(k and v for k, v in named.items()):
        raise UserError(
            "DETOX_POLICIES must name two versions or more, as in 'before=before;after=runs/ppo'."
        )
    return named


def _reward(env: Mapping[str, str]) -> str:
    spec = (env.get("DETOX_REWARD") or "").strip()
    kind, _, folder = spec.partition(":")
    if spec and (kind != "preference" or not folder):
        raise UserError(f"DETOX_REWARD is '{spec}': name a reward model as preference:FOLDER.")
    return spec


def _sign_in(env: Mapping[str, str]) -> str:
    # What gradio asks as well; on any other machine it would pretend.
    on_space = env.get("SYSTEM") == "spaces" and env.get("SPACE_ID")
    oauth = bool(on_space and env.get("OAUTH_CLIENT_ID"))
    way = (env.get("DETOX_SIGN_IN") or "").strip() or ("huggingface" if oauth else "open")
    if way not in SIGN_INS:
        raise UserError(f"DETOX_SIGN_IN is '{way}': use one of {', '.join(SIGN_INS)}.")
    if way == "huggingface" and not oauth:
        raise UserError(
            "DETOX_SIGN_IN=huggingface works on Hugging Face Spaces with OAuth only (hf_oauth: true"
            " in README.md): use accounts elsewhere."
        )
    return way


def _leads(env: Mapping[str, str]) -> tuple[str, ...]:
    given = tuple(filter(None, (name.strip() for name in env.get("DETOX_LEADS", "").split(","))))
    way = _sign_in(env)
    if given and way == "open":
        raise UserError(
            "DETOX_LEADS names leads, but nobody signs in here: set DETOX_SIGN_IN=accounts as well."
        )
    if not given and way == "huggingface" and env.get("SPACE_AUTHOR_NAME"):
        return (env["SPACE_AUTHOR_NAME"],)
    return given


def _minutes(env: Mapping[str, str]) -> float:
    said = env.get("DETOX_KEEP_MINUTES") or str(Settings.keep_minutes)
    try:
        minutes = float(said)
    except ValueError:
        minutes = 0.0
    if not 0.1 <= minutes <= 1440:
        raise UserError(f"DETOX_KEEP_MINUTES is '{said}': give minutes from 0.1 to 1440.")
    return minutes


def _public(env: Mapping[str, str]) -> bool:
    shared = env.get("GRADIO_SHARE", "").lower() == "true"
    elsewhere = env.get("GRADIO_SERVER_NAME", "").strip().lower() not in OWN_ADDRESSES
    return bool(env.get("SPACE_ID")) or shared or elsewhere


def build_app(settings: Settings, bench: Workbench | None = None) -> gr.Blocks:
    """The whole app. Models load when ``bench`` is started or the first visitor comes."""
    bench = bench or workbench(settings)
    try:
        seed_pairs(settings)
    except UserError as error:  # the Compare tab works without, and the Label tab will say it too
        logging.getLogger("detox").warning("%s", error)
    gate = labeling_ui.Gate(settings.database, settings.entrance)
    with gr.Blocks(title="Detox Arena", analytics_enabled=False) as page:
        pill = page_header(bench.status())
        labeling_ui.who_line(page, gate)
        with gr.Tabs():
            with gr.Tab("Compare", id="compare"):
                compare_tab(page, bench, settings.results, pill)
            with gr.Tab("Playground", id="playground"):
                playground_tab(bench)
            with gr.Tab("Evaluate", id="evaluate"):
                evaluate_tab(bench, settings.results, settings.runs)
            with gr.Tab("Label", id="label"):
                labeling_ui.label_tab(settings.database, entrance=settings.entrance)
            with gr.Tab("Results", id="results"):
                labeling_ui.results_tab(settings.database, entrance=settings.entrance)
            with gr.Tab("Export", id="export"):
                labeling_ui.export_tab(settings.database, entrance=settings.entrance)
            with gr.Tab("Manage", id="manage"):
                labeling_ui.manage_tab(gate, bench)
            with gr.Tab("Train", id="train") as training:
                more = train_tab(
                    bench, settings.runs, recipes(settings, bench), leads_only(gate), training
                )
        offer_versions(page, bench, [more.change], others=("new-policies",))
    return page


def workbench(settings: Settings) -> Workbench:
    """The models that ``settings`` name, not loaded yet."""
    return Workbench(settings.policies, settings.classifier, settings.label, settings.reward)


def recipes(settings: Settings, bench: Workbench) -> list[Recipe]:
    """The kinds of trainings on offer, the usual one first."""
    return [
        ppo_recipe(bench, settings.runs),
        preference_recipe(bench, settings.database),
        reward_recipe(settings.database),
    ]


def leads_only(gate: labeling_ui.Gate) -> Callable[[gr.Request], None]:
    """What lets leads pass, and raises ``UserError`` for everybody else."""

    def check(request: gr.Request) -> None:
        gate.admit(request, "lead")

    return check


def seed_pairs(settings: Settings) -> None:
    """Gives labelers the pairs computed beforehand; a second time changes nothing.

    Raises ``StoreError`` when the database cannot be used.
    """
    try:
        rows, _ = read_results(settings.results)
    except UserError:
        return
    add_pairs(open_store(settings.database), first_samples(rows), "shipped")


def sign_in_options(settings: Settings) -> dict[str, Any]:
    """What ``launch`` needs so that people can sign in.

    Raises ``UserError`` when nobody could: no account with a password, or no library for OAuth.
    """
    if settings.sign_in == "huggingface":
        missing = [n for n in ("authlib", "itsdangerous") if importlib.util.find_spec(n) is None]
        if missing:
            raise UserError("Signing in needs another package: pip install 'gradio[oauth]'.")
    if settings.sign_in != "accounts":
        return {}
    known = accounts(open_store(settings.database))
    if not any(account.has_password and not account.disabled for account in known):
        raise UserError(
            "Nobody could sign in, as there is no account with a password: make one with "
            "'python -m labeling people NAME --role lead --password'."
        )
    return {"auth": labeling_ui.doorkeeper(settings.database), "auth_message": labeling_ui.WELCOME}


def main() -> None:
    """Serves the app until it is stopped."""
    try:
        settings = Settings.from_env()
        doors = sign_in_options(settings)
        bring_back(settings)
        bench = workbench(settings)
        page = build_app(settings, bench)
        keep_picks(settings)
        launch(page, inbrowser=_has_screen(), **doors, **guards(settings))
    except (UserError, OSError) as error:
        print(f"Detox Arena: {error}", file=sys.stderr)
        sys.exit(2)
    bench.start()  # only now, so that the page is there before the models compete for the cores
    page.block_thread()


def guards(settings: Settings) -> dict[str, Any]:
    """What ``launch`` needs so that nobody floods a page that others reach."""
    if not settings.public and settings.sign_in != "accounts":
        return {}
    return {"app_kwargs": {"middleware": [Middleware(Pace)]}}


def bring_back(settings: Settings) -> None:
    """Makes the database again out of the dataset that keeps its picks, if it is not there.

    Raises ``UserError`` when the dataset cannot be read: an empty project in its place would
    collect picks that do not fit together.
    """
    if not settings.keep:
        return
    from labeling.durable.restore import restore

    database = settings.database
    if found := restore(database, settings.keep, kept_beside(database)):
        print(f"Detox Arena: {found.told(database, settings.keep)}", flush=True)


def keep_picks(settings: Settings) -> Keeper | None:
    """From now on saves picks to the dataset, if one is named.

    Raises ``UserError`` for a name that no dataset can have.
    """
    if not settings.keep:
        return None
    from labeling.durable.keeper import Keeper

    store, place = open_store(settings.database), kept_beside(settings.database)
    return Keeper(store, settings.keep, place, every=settings.keep_minutes)


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
