"""Strings that would do harm go through every screen and every file, and none of them acts.

They stand wherever a text comes from people, models or names: dialogues, summaries, topics, notes,
labelers, batches, versions, folders of runs. The visitor's page reports any script that even tried
(the content-security policy), so nothing may be left for the browser to stop.
"""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from gradio_client import Client

from detox.models import find_source, fingerprint
from detox.report import write_report
from detox.results import Row, write_results
from hosting.settings import Settings
from labeling.adjudication import adjudicate
from labeling.batches import add_pairs
from labeling.cli import main as labeling_command
from labeling.export import FORMATS
from labeling.gold import mark_gold
from labeling.people import add_account
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store, open_store
from tests.app.conftest import Visit, app_of

pytestmark = pytest.mark.browser
expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=60_000)

ACT = "window.hacked=1"
CORPUS = (
    f'<img src=x onerror="{ACT}">',
    f"<script>{ACT}</script>",
    f"\"'><svg onload={ACT}>",
    f"</textarea></style></title><script>{ACT}</script>",
    f'<iframe srcdoc="<script>parent.{ACT}</script>"></iframe>',
    f"<a href='javascript:{ACT}' autofocus onfocus='{ACT}'>click</a>",
    f'[click](javascript:{ACT}) ![x](x" onerror="{ACT})',
    f"$$\\href{{javascript:{ACT}}}{{x}}$$ \\(\\require{{html}}\\)",
    f"{{{{constructor.constructor('{ACT}')()}}}} ${{{ACT}}} <%= {ACT} %>",
    f"<details open ontoggle={ACT}><summary>x</summary></details>",
    f"<style>@import 'x'; * {{ background: url(javascript:{ACT}) }}</style>",
    f"<math><mtext></table><mglyph><style><img src=x onerror={ACT}>",
    '=HYPERLINK("http://example.com","click")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "../../../../etc/passwd",
    "\u202egnp.exe\u2066 \u200b",
)
SIGNS = (
    f"img[src='x'], svg[onload], iframe[srcdoc], [onerror], [onfocus], [ontoggle], a[href*='{ACT}']"
)
NAMES = CORPUS[0], CORPUS[2]
DOORMAN = "<b>Ada Doorman</b>"
TEXT = "\n".join(f"#Person{1 + i % 2}#: {text}" for i, text in enumerate(CORPUS))


@pytest.fixture(scope="module")
def settings(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Versions, results, runs and a database in which every text is hostile."""
    root = tmp_path_factory.mktemp("hostile")
    policies = dict(zip(NAMES, tiny_settings.policies.values(), strict=True))
    marks = [fingerprint(find_source(spec)) for spec in policies.values()]
    rows = [_row(number, text, marks) for number, text in enumerate(CORPUS)]
    about = {
        side: {"policy": name, "fingerprint": mark}
        for side, name, mark in zip(("before", "after"), NAMES, marks, strict=True)
    } | {
        "judge": {"name": CORPUS[0], "scope": "response", "label": CORPUS[1]},
        "sampling": {},
        "data": CORPUS[3],
        "split": CORPUS[2],
    }
    for folder in (root / "results", root / "runs" / CORPUS[2].replace("/", "")):
        write_results(folder, rows, about)
        write_report(folder)
    store = open_store(root / "picks.db")
    add_pairs(store, rows, CORPUS[0])
    _label(store)
    return replace(
        tiny_settings,
        policies=policies,
        results=root / "results",
        runs=root / "runs",
        database=store.path,
    )


def _row(number: int, text: str, marks: list[str]) -> Row:
    sides = {
        side: {
            "policy": name,
            "fingerprint": mark,
            "text": f"{text} {side}",
            "reward": reward,
            "toxicity": 0.5,
            "words": 3,
        }
        for side, name, mark, reward in zip(
            ("before", "after"), NAMES, marks, (-1.0, 2.0), strict=True
        )
    }
    about = {"id": text, "dialogue": f"{text}\n{number}: {text}", "prompt": text, "topic": text}
    more = {"tone": text, "rude": not number % 2, "split": "test", "reward_diff": 3.0}
    return about | more | sides


def _label(store: Store) -> None:
    """Two labelers who disagree, a lead who decides, gold, and an account."""
    rng = random.Random(0)
    for labeler, wanted in ((CORPUS[0], "before"), (DOORMAN, "after")):
        while task := next_pair(store, labeler, rng):
            side = "left" if task.left.endswith(wanted) else "right"
            note = rng.choice(CORPUS)
            submit(store, task.assignment_id, side, labeler=labeler, note=note, seconds=5.0)
    with store.reading() as db:
        pairs = list(db.query("SELECT id, candidate_a FROM pairs ORDER BY id"))
    mark_gold(store, pairs[0]["id"], "b", note=CORPUS[3])
    decided = pairs[1]
    adjudicate(store, CORPUS[4][:60], decided["id"], "left", decided["candidate_a"], note=CORPUS[5])
    add_account(store, CORPUS[1], "labeler")


@pytest.fixture(scope="module")
def world(settings: Settings) -> Iterator[Visit]:
    with app_of(settings) as visit:
        visit.bench.wait(120)
        yield visit


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def harmless(page: Any) -> None:
    """Nothing ran, and nothing that could run is in the page, shown or hidden."""
    assert page.evaluate("window.hacked") is None
    assert page.locator(SIGNS).count() == 0, page.locator(SIGNS).first.evaluate("e => e.outerHTML")


def test_compare_and_its_picture(world: Visit, visitor: Any) -> None:
    visitor.goto(world.url)
    visitor.get_by_role("button", name="Paste your own").click()
    for text in CORPUS[:4]:
        visitor.locator("#dialogue textarea").fill(f"#Person1#: {text}\n{text}: {text}")
        visitor.click("#compare")
        expect(visitor.locator("#result .da-scores")).to_have_count(2)
        expect(visitor.locator("#result .da-writing")).to_have_count(0)
        harmless(visitor)
    visitor.click("#share")
    expect(visitor.locator("#card img")).to_be_visible()
    harmless(visitor)
    visitor.locator("#dialogue textarea").fill(TEXT)  # more than these models read
    visitor.click("#compare")
    expect(visitor.locator("#result .da-error")).to_contain_text("shorten the dialogue")
    harmless(visitor)


def test_twenty_and_the_playground(world: Visit, visitor: Any) -> None:
    visitor.goto(world.url)
    tab(visitor, "Twenty at once")
    expect(visitor.locator("#batch-table")).to_contain_text("HYPERLINK")
    harmless(visitor)
    with visitor.expect_download() as download:
        visitor.click("#batch-csv")
    _cells_are_inert(Path(download.value.path()).read_text(encoding="utf-8"))
    tab(visitor, "Playground")
    visitor.locator("#play-text textarea").fill(TEXT)
    visitor.click("#play-go")
    expect(visitor.locator("#play-answers .da-scores").first).to_be_visible()
    harmless(visitor)


def test_evaluate_and_its_files(world: Visit, visitor: Any) -> None:
    run = next(world.settings.runs.iterdir()).name
    for link in ("shipped", run):
        visitor.goto(f"{world.url}?report={quote(link, safe='')}")
        expect(visitor.locator("#report .da-report")).to_be_visible()
        harmless(visitor)
    visitor.goto((world.settings.results / "report.html").as_uri())
    harmless(visitor)
    _cells_are_inert((world.settings.results / "compare.csv").read_text(encoding="utf-8"))


def test_an_evaluation_of_versions_with_such_names(world: Visit, visitor: Any) -> None:
    visitor.goto(f"{world.url}?tab=evaluate")
    visitor.get_by_role("button", name="Evaluate two versions now").click()
    count = visitor.locator("#evaluate-now input[type=number]").first
    count.fill("5")
    count.press("Tab")
    visitor.click("#evaluate-go")
    expect(visitor.locator("#report .da-report")).to_contain_text(" 5 dialogues")
    harmless(visitor)


def test_label_from_the_door_to_the_history(world: Visit, visitor: Any) -> None:
    visitor.goto(f"{world.url}?tab=label")
    visitor.locator("#label-name input, #label-name textarea").first.fill(CORPUS[5][:60])
    visitor.click("#label-start")
    visitor.get_by_role("button", name="Skip the practice").click()
    stage = visitor.locator("#label-stage")
    for _ in range(3):
        expect(stage.locator(".lb-card").first).to_be_visible()
        harmless(visitor)
        shown = stage.locator(".lb-stage").get_attribute("data-assignment")
        visitor.keyboard.press("1")
        expect(stage.locator(f"[data-assignment='{shown}']")).to_have_count(0)
    visitor.keyboard.press("h")
    expect(visitor.locator("#label-desk")).to_contain_text("onerror")
    harmless(visitor)


def test_results_and_their_tables(world: Visit, visitor: Any) -> None:
    visitor.goto(f"{world.url}?tab=results")
    expect(visitor.locator(".lb-headline")).to_be_visible()
    expect(visitor.locator(".lb-labelers")).to_be_visible()
    harmless(visitor)
    with visitor.expect_download() as download:
        visitor.locator(".lb-save-all").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert all("/" not in name and ".." not in name for name in archive.namelist())
        for name in archive.namelist():
            if name.endswith(".csv"):
                _cells_are_inert(archive.read(name).decode("utf-8"))


def test_export_and_import(world: Visit, visitor: Any) -> None:
    visitor.goto(f"{world.url}?tab=export")
    visitor.wait_for_timeout(1_500)
    harmless(visitor)


def test_manage_section_by_section(world: Visit, visitor: Any) -> None:
    visitor.goto(f"{world.url}?tab=manage")
    expect(visitor.get_by_role("article").first).to_be_visible()
    for section in ("Batches", "New batch", "Conflicts", "Gold", "People", "Record"):
        tab(visitor, section)
        visitor.wait_for_timeout(500)
        harmless(visitor)
    pair = _first_pair(world.settings.database)
    visitor.locator("#record-pair input, #record-pair textarea").first.fill(pair[:12])
    visitor.keyboard.press("Enter")
    expect(visitor.locator("#record-history")).to_contain_text("onerror")
    harmless(visitor)


def _first_pair(path: Path) -> str:
    with open_store(path).reading() as db:
        return str(next(db.query("SELECT pair_id FROM gold"))["pair_id"])


def test_train(world: Visit, visitor: Any) -> None:
    visitor.goto(f"{world.url}?tab=train")
    expect(visitor.locator("#train-run")).to_be_visible()
    harmless(visitor)


def test_a_link_is_inert(world: Visit, visitor: Any) -> None:
    for text in CORPUS[:5]:
        visitor.goto(f"{world.url}?dialogue={quote(text)}&tab={quote(text)}&report={quote(text)}")
    expect(visitor.locator("#report .da-error")).to_be_visible()
    harmless(visitor)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_export_by_command(world: Visit, name: str, tmp_path: Path) -> None:
    """Nobody's name gets out, and no cell is a formula."""
    out = tmp_path / "out"
    database = ["--db", str(world.settings.database)]
    assert labeling_command(["export", *database, "--format", name, "--out", str(out)]) == 0
    files = [out] if out.is_file() else [path for path in out.rglob("*") if path.is_file()]
    assert files and all(path.resolve().is_relative_to(tmp_path) for path in files)
    for path in files:
        content = path.read_bytes()
        assert DOORMAN.encode() not in content
        if path.suffix == ".csv":
            _cells_are_inert(content.decode("utf-8"))


def _cells_are_inert(text: str) -> None:
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert len(cells) > 5
    for cell in cells:
        if cell[:1] in tuple("=+-@\t\r"):
            float(cell)  # what begins like a formula is a number


def test_the_api_says_what_it_was_told_as_data(world: Visit) -> None:
    client = Client(world.url, verbose=False)
    said = client.predict("=1+1", api_name="/sign_in")[0]
    assert json.loads(json.dumps(said))["labeler"] == "=1+1"
