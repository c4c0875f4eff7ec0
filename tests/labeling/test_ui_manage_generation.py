"""Batches that are written in the background: progress, stop, going on, and what can be wrong."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from detox.data import load_dialogues
from detox.errors import UserError
from detox.ui.manners import SORRY
from detox.workbench import TURN, Workbench
from labeling.generate import Generated
from labeling.plans import Plan, find_plan, set_status, standings
from labeling.store import Store
from labeling.ui import CSS, Gate, manage_tab
from labeling.ui.manage import generation
from labeling.ui.manage.generation import Generations, Report, Steps, duration, report_html
from labeling.ui.manage.new_batch import Wish, prepared
from tests.conftest import WriteDialogues
from tests.serving import served

WISH = Wish(("one", "two"), "all", "test", None, TURN + 1, 1.0, 6)


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "POLL", 0.01)


@pytest.fixture(scope="module")
def bench(tiny_t5: Path, tiny_causal: Path, tiny_classifier: Path) -> Workbench:
    specs = {"one": str(tiny_t5), "two": str(tiny_causal), "three": str(tiny_causal)}
    return Workbench(specs, str(tiny_classifier))


class Pace:
    """Steps that move when they are let to: one dialogue for each ``move``."""

    def __init__(self, total: int) -> None:
        self.total, self.may = total, threading.Semaphore(0)
        self.closed = threading.Event()

    def steps(self) -> Steps:
        try:
            yield Generated(0, self.total, 0, 0, 0)
            for done in range(1, self.total + 1):
                self.may.acquire(timeout=10)
                yield Generated(done, self.total, done, 0, 0)
        finally:
            self.closed.set()

    def move(self) -> None:
        self.may.release()


def until(runs: Generations, batch: str, done: int) -> Report:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        report = runs.latest(batch)
        if report.state is not None and report.state.done >= done:
            return report
        time.sleep(0.005)
    raise AssertionError(f"{batch} did not come to {done}")


def test_a_generation_moves_is_stopped_and_keeps_what_is_there() -> None:
    runs, pace = Generations(), Pace(5)
    runs.start("b", pace.steps())
    assert until(runs, "b", 0).seconds_left is None
    assert runs.running() == ["b"]
    with pytest.raises(UserError, match="are being written already"):
        runs.start("b", Pace(1).steps())
    pace.move()
    report = until(runs, "b", 1)
    assert report.running and report.seconds_left is not None and report.seconds_left >= 0
    assert runs.stop("b").stopping
    pace.move()
    reports = list(runs.watch("b"))
    assert not reports[-1].running and reports[-1].state == Generated(2, 5, 2, 0, 0)
    assert pace.closed.wait(5)
    with pytest.raises(UserError, match="Nothing is being written for 'b'"):
        runs.stop("b")


def test_it_runs_to_its_end_though_nobody_watches() -> None:
    runs, pace = Generations(), Pace(2)
    runs.start("b", pace.steps())
    pace.move()
    pace.move()
    assert until(runs, "b", 2)
    assert [report.running for report in runs.watch("b")][-1] is False
    assert runs.running() == []


def test_batches_are_written_beside_each_other() -> None:
    runs, first, second = Generations(), Pace(1), Pace(1)
    runs.start("a", first.steps())
    runs.start("b", second.steps())
    assert runs.running() == ["a", "b"]
    second.move()
    assert list(runs.watch("b"))[-1].state == Generated(1, 1, 1, 0, 0)
    assert runs.running() == ["a"]
    first.move()
    assert list(runs.watch("a"))[-1].error == ""


def test_what_goes_wrong_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    def fails(error: Exception) -> Steps:
        yield Generated(1, 3, 1, 0, 0)
        raise error

    runs = Generations()
    runs.start("known", fails(UserError("The disk is full.")))
    assert list(runs.watch("known"))[-1].error == "The disk is full."
    with caplog.at_level(logging.ERROR, "detox"):
        runs.start("ours", fails(ZeroDivisionError("secret")))
        last = list(runs.watch("ours"))[-1]
    assert last.error == SORRY and last.state == Generated(1, 3, 1, 0, 0)
    assert "secret" in caplog.text
    with pytest.raises(UserError, match="Nothing is being written"):
        list(runs.watch("never"))


def test_the_card_says_how_far_it_is_in_words() -> None:
    state = Generated(10, 40, 18, 2, 1)
    running = Report("<b>", True, False, state, 130.0)
    card = report_html(running)
    assert "Writing “&lt;b&gt;”" in card and "about 2 min left" in card
    assert "<b>10</b> of 40 dialogues" in card and "--value:25.0%" in card
    assert "loading the policies" in report_html(Report("b", True), "loading the policies")
    assert "Stopping" in report_html(replace(running, stopping=True))
    assert "press Generate again" in report_html(replace(running, running=False))
    done = replace(running, running=False, state=replace(state, done=40))
    assert "Finished" in report_html(done)
    assert "&lt;sad&gt;" in report_html(replace(done, error="<sad>"))
    assert [duration(s) for s in (0.2, 89, 120, 7200)] == [
        "about 1 s",
        "about 89 s",
        "about 2 min",
        "about 2.0 h",
    ]


def test_a_new_batch_is_drawn_written_and_gone_on_with(
    fresh_store: Store, bench: Workbench
) -> None:
    plan = Plan("made", votes_wanted=2, seed=4)
    states = list(prepared(fresh_store, plan, WISH, bench, paused=True))
    assert states[-1].done == states[-1].total == TURN + 1
    (standing,) = standings(fresh_store)
    assert standing.status == "paused" and standing.plan == plan
    assert standing.pairs == states[-1].pairs
    set_status(fresh_store, "made", "open")
    # Another plan does not change that of a batch which exists, nor what its seed draws.
    again = list(prepared(fresh_store, replace(plan, seed=5), WISH, bench, paused=True))
    assert again[0].done >= states[-1].pairs and again[-1].pairs == 0
    assert find_plan(fresh_store, "made") == plan
    assert standings(fresh_store)[0].status == "open"
    more = list(prepared(fresh_store, plan, replace(WISH, count=TURN + 3), bench, paused=False))
    assert more[-1].total == TURN + 3


def test_a_batch_with_an_order_is_ordered_when_it_is_written(
    fresh_store: Store, bench: Workbench
) -> None:
    plan = Plan("made", strategy="uncertainty")
    assert list(prepared(fresh_store, plan, WISH, bench, paused=False))
    with fresh_store.reading() as db:
        assert all(row["priority"] > 0 for row in db.query("SELECT priority FROM pairs"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"names": ("one",)}, "two different versions"),
        ({"names": ("one", "nine")}, "Unknown policy 'nine'"),
        ({"source": "moon"}, "Unknown dialogues 'moon'"),
        ({"source": "file"}, "Choose a file of dialogues"),
        ({"temperature": 9.0}, "temperature must lie"),
        ({"max_new_tokens": 0}, "max_new_tokens must lie"),
    ],
)
def test_what_cannot_be_written_is_said_before_a_batch_is_made(
    fresh_store: Store, bench: Workbench, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        prepared(fresh_store, Plan("made"), replace(WISH, **change), bench, paused=False)
    assert standings(fresh_store) == []
    with pytest.raises(UserError, match="0 for all of them"):
        replace(WISH, count=-1)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_dialogues_come_from_a_file_whatever_its_name(
    fresh_store: Store,
    bench: Workbench,
    dialogues_file: WriteDialogues,
    tmp_path: Path,
    suffix: str,
) -> None:
    path = dialogues_file(suffix).rename(tmp_path / f"mine, all of them{suffix}")
    wish = replace(WISH, source="file", path=str(path), count=2)
    states = list(prepared(fresh_store, Plan("made"), wish, bench, paused=False))
    assert states[-1].done == 2
    with fresh_store.reading() as db:
        found = {row["dialogue"] for row in db.query("SELECT dialogue FROM prompts")}
    assert found <= set(load_dialogues(str(dialogues_file(suffix)))["dialogue"])


@pytest.fixture
def client(fresh_store: Store, bench: Workbench) -> Iterator[Client]:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), gr.Tab("Manage"):
        manage_tab(Gate(fresh_store.path), bench)
    with served(page, css=CSS) as address:
        yield Client(address, verbose=False)


PLAN_VALUES = (2, 0, 0, "balanced", 30, True, "", 0)


def test_a_program_generates_and_hears_how_far_it_is(
    client: Client, fresh_store: Store, dialogues_file: WriteDialogues
) -> None:
    wish = (["one", "two"], "all", "file", handle_file(dialogues_file()), 0, True)
    job = client.submit(" new ", *wish, *PLAN_VALUES, 1.0, 6, api_name="/manage_generate")
    told = job.result()[0]
    assert told["batch"] == "new" and not told["running"] and told["error"] == ""
    assert told["state"]["done"] == told["state"]["total"] > 0
    (standing,) = standings(fresh_store)
    assert (standing.plan.name, standing.pairs) == ("new", told["state"]["pairs"])
    again = client.predict("new", api_name="/manage_generation")[0]
    assert again == told
    with pytest.raises(AppError, match="Nothing is being written for 'new'"):
        client.predict("new", api_name="/manage_stop")
    with pytest.raises(AppError, match="Give the batch a name"):
        client.predict("  ", *wish, *PLAN_VALUES, 1.0, 6, api_name="/manage_generate")
