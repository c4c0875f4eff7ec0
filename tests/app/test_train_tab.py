"""The Train tab: a training from the first click to the version that meets the others."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch
from gradio_client import Client
from gradio_client.exceptions import AppError

from app import build_app, launch
from detox.config import Lora
from detox.errors import UserError
from detox.job import REWARD, Job
from detox.jobs import Jobs, Standing
from detox.last_words import CUT, DONE, FAILED, RUNNING, STOPPED, STOPPING
from detox.models import add_adapter, load_policy, save_adapter
from detox.recipes import ppo_recipe
from detox.ui import train_tab
from detox.ui.train_page import curves_html, duration, list_html, log_html, mix_html, training_html
from detox.workbench import Workbench
from hosting.settings import Settings
from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import open_store
from tests import tiny
from tests.app.conftest import SAMPLING, Visit

PHONE = {"width": 390, "height": 844}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def school(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
    """An app with a folder of runs of its own, whose two versions are adapters on one base."""
    root = tmp_path_factory.mktemp("school")
    base = tiny.save(tiny.causal(), root / "base", "causal")
    policies = {}
    for seed, (name, parent) in enumerate((("before", None), ("after", "before"))):
        adapted = add_adapter(load_policy(str(base)).model, Lora(r=2), "CAUSAL_LM", seed)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.05)
        lineage = {"base": str(base), "parent": parent and f"../{parent}"}
        save_adapter(adapted, root / name, lineage)
        policies[name] = str(root / name)
    settings = replace(
        tiny_settings, database=root / "picks.db", policies=policies, runs=root / "runs"
    )
    bench = Workbench(settings.policies, settings.classifier)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # tiny models take longer with two
        page = build_app(settings, bench)
        url = launch(page, quiet=True)
        bench.start()
        yield Visit(url, settings, bench)
        page.close(verbose=False)
        jobs = Jobs(settings.runs)
        if name := jobs.running():
            jobs.stop(name, at_once=True)


@pytest.fixture
def client(school: Visit, tmp_path: Path) -> Client:
    school.bench.wait(120)
    return Client(school.url, verbose=False, download_files=tmp_path)


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 180
    while not true():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.3)  # each look is work for the same process


def told(client: Client, name: str, api_name: str = "/training") -> dict[str, Any]:
    """What the app says of a training, as data."""
    *_, data = client.predict(name, api_name=api_name)
    (found,) = [each for each in data if each["job"]["name"] == name]
    return dict(found)


# in a browser


@pytest.mark.browser
def test_from_the_first_click_to_a_version_that_meets_the_others(
    school: Visit, visitor: Any
) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    expect.set_options(timeout=180_000)

    def tab(name: str) -> None:
        visitor.get_by_role("tab", name=name, exact=True).click()

    school.bench.wait(120)
    visitor.goto(school.url)
    tab("Train")
    run = visitor.locator("#train-run")
    expect(run).to_contain_text("No training yet")
    expect(visitor.locator("#train-name textarea, #train-name input").first).to_have_value(
        "after-2"
    )
    # what is rewarded is shown in shares
    shares = visitor.locator("#train-ppo .tr-mix")
    expect(shares).to_contain_text("Saying what happened 50")
    weight = visitor.get_by_label("number input for Saying what happened")
    weight.fill("0.5")
    weight.press("Tab")
    expect(shares).to_contain_text("Gentle words 75")
    visitor.locator("#train-ppo-steps input").fill("2")
    visitor.locator("#train-ppo-steps input").press("Tab")
    visitor.click("#train-start")
    expect(run.locator(".tr-state")).to_have_text("running")
    expect(visitor.locator("#train-stop")).to_be_visible()
    expect(visitor.locator("#train-curves svg")).to_have_count(4)
    expect(run).to_contain_text("after-2 is in Compare, Playground, Evaluate and new batches")
    expect(visitor.locator("#train-stop")).not_to_be_visible()
    # the lists of this page have it already, and a fresh page has it too
    for fresh in (False, True):
        if fresh:
            visitor.reload()
        for name, place in (
            ("Compare", "#after input"),
            ("Playground", ".da-versions input"),
            ("Evaluate", "#evaluate-after input"),
        ):
            tab(name)
            if name == "Evaluate":
                visitor.locator("#evaluate-now button").first.click()
            visitor.locator(f"{place} >> visible=true").first.click()
            expect(visitor.get_by_role("option", name="after-2")).to_be_visible()
            visitor.keyboard.press("Escape")
    tab("Manage")
    visitor.get_by_role("tab", name="New batch").click()
    expect(visitor.locator("#new-policies")).to_contain_text("after-2")
    tab("Compare")
    visitor.locator("#after input").click()
    visitor.get_by_role("option", name="after-2").click()
    visitor.click("#compare")
    expect(visitor.locator("#result .da-side:not(.da-writing)")).to_have_count(2)
    expect(visitor.locator("#result .da-side h3").last).to_have_text("After-2")


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tab_fits_on_a_phone(school: Visit, visitor: Any, theme: str) -> None:
    visitor.set_viewport_size({"width": 1280, "height": 900})
    visitor.goto(f"{school.url}?__theme={theme}")
    visitor.get_by_role("tab", name="Train", exact=True).click()
    visitor.locator("#train-start").wait_for()
    visitor.set_viewport_size(PHONE)
    page = "document.documentElement"
    assert visitor.evaluate(f"{page}.scrollWidth - {page}.clientWidth") <= 0


# for programs


def test_a_training_is_stopped_and_kept_and_known_to_an_app_that_starts_anew(
    client: Client, school: Visit, tmp_path: Path
) -> None:
    begun = client.predict("ppo", "by-program", {"steps": 4000}, api_name="/train")
    assert begun["state"] == RUNNING and begun["job"]["name"] == "by-program"
    with pytest.raises(AppError, match="'by-program' is being trained: wait for it, or stop it"):
        client.predict("ppo", "another", {}, api_name="/train")
    assert not (school.settings.runs / "another").exists()
    until(lambda: told(client, "by-program")["step"] >= 1)
    assert told(client, "by-program", "/stop_training")["state"] in (STOPPING, STOPPED)
    until(lambda: told(client, "by-program")["state"] == STOPPED)
    client.predict("by-program", api_name="/keep_training")
    until(lambda: told(client, "by-program")["state"] == DONE)
    until(lambda: "by-program" in school.bench.specs)
    *_, everything = client.predict(api_name="/trainings", **_form())
    assert "by-program" in [each["job"]["name"] for each in everything]

    settings = replace(school.settings, database=tmp_path / "picks.db")
    bench = Workbench(settings.policies, settings.classifier)
    build_app(settings, bench)
    bench.start()
    until(lambda: "by-program" in bench.specs)
    assert bench.fingerprints["by-program"] == school.bench.fingerprints["by-program"]
    assert bench.policies["by-program"].model is bench.policies["before"].model


def test_picks_become_a_version_straight_away(client: Client, school: Visit) -> None:
    store = open_store(school.settings.database)
    sides = {"a": "They make up.", "b": "They fight.", "policy_a": "x", "policy_b": "y"}
    rows = [{"dialogue": f"#Person1#: {i}?", "prompt": f"{i}? "} | sides for i in range(24)]
    add_pairs(store, rows, "school")
    while task := next_pair(store, "ada", random.Random(0), "school"):
        side = "left" if task.left == sides["a"] else "right"
        submit(store, task.assignment_id, side, labeler="ada")
    settings = {"batch": "school", "epochs": 1}
    client.predict("dpo", "from-picks", settings, api_name="/train")
    until(lambda: told(client, "from-picks")["state"] not in (RUNNING, STOPPING))
    assert told(client, "from-picks")["state"] == DONE, told(client, "from-picks")
    until(lambda: "from-picks" in school.bench.specs)


def test_a_finished_reward_model_is_let_judge(
    client: Client, school: Visit, tiny_reward_model: Path
) -> None:
    with pytest.raises(AppError, match="'nothing' is no finished reward model"):
        client.predict("nothing", api_name="/judge_by_training")
    folder = school.settings.runs / "taste"
    shutil.copytree(tiny_reward_model, folder)
    (folder / "detox.json").write_text('{"kind": "preference"}', encoding="utf-8")
    (folder / "metrics.jsonl").touch()
    try:
        client.predict("taste", api_name="/judge_by_training")
        assert school.bench.preference is not None
        sides = list(school.bench.compare(("before", "after"), "#Person1#: Hi!", SAMPLING))[-1]
        assert all(side.preference is not None for side in sides)
        done = Standing(Job("taste", "reward", "A reward model", (), makes=REWARD), DONE, "")
        shown = training_html(done, folder, school.bench)
        assert "It judges in Compare" in shown and f"DETOX_REWARD=preference:{folder}" in shown
    finally:
        school.bench.judge_by("")
    assert "It judges in Compare" not in training_html(done, folder, school.bench)


def _form() -> dict[str, Any]:
    return {"name": "", "wanted": "x", "kind": "ppo"}


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (("nope", "x", {}), "Unknown kind of training 'nope': choose one of ppo"),
        (("ppo", "a/b", {}), "'a/b' cannot be a name"),
        (("ppo", "before", {}), "There is something called 'before' already"),
        (("ppo", "x", {"speed": 1}), "Unknown setting 'speed': choose among"),
        (("ppo", "x", {"file": "/etc/passwd.csv"}), "Unknown setting 'file'"),
        (("ppo", "x", {"steps": "many"}), "Give a number for 'Steps'"),
    ],
)
def test_what_cannot_be_trained_gets_one_sentence(
    client: Client, school: Visit, request_: tuple[Any, ...], sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence) as caught:
        client.predict(*request_, api_name="/train")
    assert "Traceback" not in str(caught.value)
    assert not (school.settings.runs / "x").exists()
    with pytest.raises(AppError, match="There is no training called 'none'"):
        client.predict("none", api_name="/stop_training")


def test_who_may_not_train_can_do_nothing(tmp_path: Path, tiny_causal: Path) -> None:
    def may_train(request: gr.Request) -> None:
        assert isinstance(request, gr.Request)
        raise UserError("Only leads <train> here.")

    bench = Workbench({"before": str(tiny_causal), "after": str(tiny_causal)})
    with gr.Blocks(analytics_enabled=False) as page, gr.Tab("Train") as tab:
        train_tab(bench, tmp_path, [ppo_recipe(bench, tmp_path)], may_train, tab)
    try:
        client = Client(launch(page, quiet=True), verbose=False)
        closed, *_ = client.predict(**_form(), api_name="/trainings")
        assert "Only leads &lt;train&gt; here." in closed["value"] and closed["visible"]
        for api_name in ("stop", "resume", "restart", "keep", "judge_by"):
            with pytest.raises(AppError, match="Only leads &lt;train"):
                client.predict("x", api_name=f"/{api_name}_training")
        with pytest.raises(AppError, match="Only leads &lt;train"):
            client.predict("ppo", "x", {}, api_name="/train")
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    finally:
        page.close(verbose=False)


# what is shown


def standing(state: str, said: str = "", **options: Any) -> Standing:
    job = Job(HOSTILE, "ppo", HOSTILE, (), facts=((HOSTILE, HOSTILE),), mix=((HOSTILE, 1.0),))
    return Standing(job, state, said, **options)


@pytest.mark.parametrize("state", [RUNNING, DONE, STOPPED, FAILED, CUT])
def test_whatever_a_training_says_is_shown_as_text(state: str, tmp_path: Path) -> None:
    bench = Workbench({"a": "x", "b": "y"})
    bench.refused = {HOSTILE: HOSTILE}
    now = standing(state, HOSTILE)
    shown = training_html(now, tmp_path, bench) + list_html([now, now], HOSTILE)
    shown += log_html([HOSTILE]) + curves_html(now, tmp_path)
    assert "<img" not in shown and "&lt;img" in shown


def test_an_unfinished_training_says_what_can_be_done(tmp_path: Path) -> None:
    bench = Workbench({"a": "x", "b": "y"})
    lost = training_html(standing(FAILED, "The disk is full."), tmp_path, bench)
    assert "The disk is full." in lost and "resume it" not in lost
    safe = standing(FAILED, "The disk is full.", step=3, steps=9, can_go_on=True)
    shown = training_html(safe, tmp_path, bench)
    assert "step 3 of 9" in shown and "resume it, or keep it as it is" in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "about 1 s"), (89, "about 89 s"), (90, "about 2 min"), (5400, "about 1.5 h")],
)
def test_times_are_told_as_people_tell_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_time_left_is_that_of_the_last_steps(tmp_path: Path) -> None:
    rows = [f'{{"step": {i}, "time/step": {9 if i < 5 else 2}}}\n' for i in range(1, 10)]
    (tmp_path / "metrics.jsonl").write_text("".join(rows))
    now = standing(RUNNING, step=9, steps=19)
    assert "about 20 s left" in training_html(now, tmp_path, Workbench({"a": "x", "b": "y"}))


def test_shares_add_up_and_nothing_is_no_bar() -> None:
    shown = mix_html([("one", 1.0), ("two", 3.0)])
    assert "one <b>25\u00a0%" in shown and "two <b>75\u00a0%" in shown
    assert mix_html([]) == mix_html([("one", 0.0)]) == ""
