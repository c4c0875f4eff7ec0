"""The Results tab in a browser: filters, downloads, and nothing that keeps anybody out."""

from __future__ import annotations

import csv
import random
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app import launch
from labeling.batches import add_pairs
from labeling.records import add_assignment, add_labeler, add_pick
from labeling.store import Store, open_store
from labeling.ui.results import results_tab

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
AXE = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT

SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
PEOPLE, PAIRS = 6, 60


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three policies, six labelers on all pairs, of whom the last picks left without reading."""
    store = open_store(tmp_path_factory.mktemp("results") / "picks.db")
    rng = random.Random(0)
    couples = [("before", "after"), ("after", "later"), ("before", "later")]
    rows = [
        {
            "dialogue": f"A: number {number}",
            "topic": ("work", "home")[number % 2],
            "tone": ("rude", "neutral")[number % 4 // 2],
            **{
                side: {
                    "policy": couples[number % 3][place],
                    "text": f"{couples[number % 3][place]} {number} {'so ' * rng.randrange(9)}",
                    "reward": rng.gauss(place, 1),
                }
                for place, side in enumerate(("before", "after"))
            },
        }
        for number in range(PAIRS)
    ]
    add_pairs(store, rows, "first")
    with store.writing() as db:
        for number in range(PEOPLE):
            labeler = add_labeler(db, f"name {number}")
            for pair in db.query("SELECT id, candidate_a, candidate_b FROM pairs"):
                sides = [pair["candidate_a"], pair["candidate_b"]]
                rng.shuffle(sides)
                careless = number == PEOPLE - 1
                better = sides.index(pair["candidate_b"])
                side = 0 if careless else better if rng.random() < 0.8 else 1 - better
                given = add_assignment(db, pair["id"], labeler, *sides)
                add_pick(
                    db,
                    {
                        "uuid": str(uuid.uuid4()),
                        "assignment_id": given,
                        "choice": ("left", "right")[side],
                        "seconds": 1.0 if careless else 9.0,
                    },
                )
    return store


@pytest.fixture(scope="module")
def url(store: Store) -> Iterator[str]:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("Label"):
            gr.HTML("<p>Elsewhere</p>")
        with gr.Tab("Results"):
            results_tab(store.path)
    yield launch(page, quiet=True)
    page.close(verbose=False)


def opened(page: Any, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Results").click()
    expect(page.locator(".lb-headline")).to_be_visible()


def test_the_flagged_are_left_out_and_come_back(visitor: Any, url: str) -> None:
    opened(visitor, url)
    counts = visitor.locator(".lb-counts")
    expect(counts).to_contain_text("360 picks")
    expect(visitor.locator(".lb-flagged")).to_have_count(1)
    visitor.click("#results-flagged")
    expect(counts).to_contain_text("300 picks")
    expect(visitor.locator(".lb-flagged")).to_contain_text("left out")
    expect(visitor.locator("#results-flagged")).to_be_disabled()
    visitor.get_by_label("Models").check()
    expect(visitor.locator("#results-page")).to_contain_text("No pick matches")
    visitor.get_by_label("People").check()
    expect(counts).to_contain_text("300 picks")


def test_two_policies_may_be_chosen(visitor: Any, url: str) -> None:
    opened(visitor, url)
    expect(visitor.locator(".lb-matrix td[title]")).to_have_count(6)
    visitor.locator("#results-policies input").click()
    visitor.get_by_role("option", name="later against before").click()
    expect(visitor.locator(".lb-counts")).to_contain_text("120 picks")
    expect(visitor.locator(".lb-headline")).to_contain_text("win rate of later")
    expect(visitor.locator(".lb-matrix")).to_have_count(0)


def test_tables_are_saved(visitor: Any, url: str, tmp_path: Path) -> None:
    opened(visitor, url)
    with visitor.expect_download() as download:
        visitor.locator(".lb-labelers .lb-save").click()
    assert download.value.suggested_filename == "labelers.csv"
    download.value.save_as(tmp_path / "labelers.csv")
    with (tmp_path / "labelers.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == PEOPLE and sum(bool(row["flags"]) for row in rows) == 1
    with visitor.expect_download() as download:
        visitor.get_by_text("Save all tables").click()
    download.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert {"report.json", "ranking.csv", "where_it_holds.csv"} <= set(archive.namelist())


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious(visitor: Any, url: str, size: str) -> None:
    visitor.set_viewport_size(SIZES[size])
    opened(visitor, url)
    assert visitor.evaluate("document.documentElement.scrollWidth") == SIZES[size]["width"]
    visitor.evaluate(AXE)
    visitor.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    found = []
    for dark in (False, True):
        visitor.evaluate("dark => document.body.classList.toggle('dark', dark)", dark)
        seen = visitor.evaluate("axe.run({ resultTypes: ['violations'] })")
        found += [
            f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'][:200]})"
            for rule in seen["violations"]
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
    assert found == []
