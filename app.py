"""Detox Arena in a browser: ``python app.py``."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

# Nothing about a visit leaves the machine; gradio reads this when it is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# After every event gradio sums up its last 10,000, 6 to 17 ms: now and then will do.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")

import gradio as gr
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

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
from detox.workbench import Workbench
from detox.writers import Writers
from hosting import zero
from hosting.headers import Headers
from hosting.keeping import bring_back, keep_picks
from hosting.pace import Pace
from hosting.settings import Settings
from labeling import ui as labeling_ui
from labeling.batches import add_pairs
from labeling.people import accounts
from labeling.recipes import preference_recipe, reward_recipe
from labeling.store import open_store

# Pages that gradio remembers, one to two megabytes each; its own 10,000 would be more than ten
# gigabytes. The one that was quiet longest is forgotten first, and begins anew.
SESSIONS = 500
ASKED_TAB = """() => {
    const asked = new URLSearchParams(location.search);
    return asked.has("report") ? "evaluate" : asked.get("tab") ?? "";
}"""


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
        with gr.Tabs() as tabs:
            with gr.Tab("Compare", id="compare"):
                compare_tab(page, bench, settings.results, pill)
            with gr.Tab("Playground", id="playground"):
                playground_tab(bench)
            with gr.Tab("Evaluate", id="evaluate"):
                evaluate_tab(page, bench, settings.results, settings.runs)
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
        open_tab(page, tabs)
        offer_versions(page, bench, [more.change], others=("new-policies",))
    return page


def open_tab(page: gr.Blocks, tabs: gr.Tabs) -> None:
    """Opens the tab that a link asks for: ``?tab=label``, or Evaluate for ``?report=``.

    The browser reads the link, so that without one nothing is asked: as the output of an event the
    tabs would have the state of everything within them copied.
    """
    known = [child.id for child in tabs.children if isinstance(child, gr.Tab)]
    asked = gr.Textbox(visible=False)
    page.load(None, None, asked, js=ASKED_TAB)
    asked.change(
        lambda wanted: gr.Tabs(selected=wanted) if wanted in known else gr.skip(),
        asked,
        tabs,
        api_name="open_tab",
        api_visibility="undocumented",
        queue=False,
        show_progress="hidden",
    )


def workbench(settings: Settings) -> Workbench:
    """The models that ``settings`` name, not loaded yet."""
    lend = zero.Lent if zero.is_lending() else Writers
    return Workbench(
        settings.policies, settings.classifier, settings.label, settings.reward, lend=lend
    )


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
        launch(page, guards(settings), inbrowser=_has_screen(), **doors)
    except (UserError, OSError) as error:
        print(f"Detox Arena: {error}", file=sys.stderr)
        sys.exit(2)
    bench.start()  # only now, so that the page is there before the models compete for the cores
    page.block_thread()


def guards(settings: Settings) -> list[Middleware]:
    """What stands between the app and the network where others can reach it: nobody floods it."""
    if not settings.public and settings.sign_in != "accounts":
        return []
    return [Middleware(Pace)]


def launch(page: gr.Blocks, guarded: Sequence[Middleware] = (), **options: Any) -> str:
    """Serves ``page`` in the project's looks without blocking; returns its address.

    ``_frontend`` is off as it does one thing: gradio asks its own page for an answer within three
    seconds, and where a busy machine takes longer it refuses to start and speaks of sharing.
    """
    # the page is more than a megabyte, nine tenths of which are air; around the headers, which
    # read it
    packed = Middleware(GZipMiddleware, minimum_size=1_000, compresslevel=5)
    headers = Middleware(Headers, on_hub=bool(os.environ.get("SPACE_ID")))
    _, address, _ = page.launch(
        theme=arena_theme(),
        css=CSS + labeling_ui.CSS,
        footer_links=["api", "settings"],
        state_session_capacity=SESSIONS,
        prevent_thread_lock=True,
        _frontend=False,
        app_kwargs={"middleware": [packed, headers, *guarded]},
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
