"""What is passed on: pictures of comparisons, links to dialogues, reports and tabs."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from detox.report import write_report
from detox.results import read_results, write_results
from detox.ui.compare import Comparison
from tests.app.conftest import Visit

RUN = "evening/second run"


@pytest.fixture(scope="module")
def run_folder(arena: Visit) -> str:
    rows, about = read_results(arena.settings.results)
    folder = arena.settings.runs / RUN
    write_results(folder, rows[:7], {k: v for k, v in about.items() if k != "groups"})
    write_report(folder)
    return RUN


def test_a_picture_of_a_comparison_and_its_link(arena: Visit, visitor: Any) -> None:
    row = read_results(arena.settings.results)[0][2]
    visitor.goto(f"{arena.url}?dialogue={row['id']}")
    visitor.locator("#result", has_text=row["after"]["text"][-30:]).wait_for()
    visitor.locator("#share").click()
    picture = visitor.locator("#card img")
    picture.wait_for()
    assert visitor.evaluate("document.querySelector('#card img').naturalWidth") == 1200
    assert row["after"]["text"].split(".")[0] in picture.get_attribute("alt")
    with visitor.expect_download() as download:
        visitor.locator("#card a[download]").click()
    assert download.value.suggested_filename == "card.png"
    link = visitor.locator("#card a:not([download])").get_attribute("href")
    assert link == f"?dialogue={quote(row['id'])}"
    visitor.locator("#featured input").first.check(force=True)
    picture.wait_for(state="detached")  # another dialogue has another picture


def test_what_a_link_opens_is_not_replaced_by_the_first_example(
    arena: Visit, visitor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arena.bench.wait(120)
    row = read_results(arena.settings.results)[0][2]
    recall = Comparison.recall

    def slow(self: Comparison, dialogue: str, *rest: Any) -> Any:
        if dialogue != row["dialogue"]:
            time.sleep(1.5)
        return recall(self, dialogue, *rest)

    monkeypatch.setattr(Comparison, "recall", slow)
    visitor.goto(f"{arena.url}?dialogue={row['id']}")
    visitor.locator("#result", has_text=row["after"]["text"][-30:]).wait_for()
    visitor.wait_for_timeout(2_500)
    assert row["after"]["text"][-30:] in visitor.locator("#result").inner_text()


def test_a_link_opens_a_report(arena: Visit, visitor: Any, run_folder: str) -> None:
    visitor.goto(f"{arena.url}?report={quote(run_folder, safe='')}")
    visitor.locator("#report .da-report", has_text="7 dialogues").wait_for(state="visible")
    link = visitor.locator("#report .da-linked a").get_attribute("href")
    assert link == f"?report={quote(run_folder, safe='')}"
    assert visitor.get_by_label("Report", exact=True).input_value().startswith(run_folder)


def test_the_shipped_report_has_a_link_too(arena: Visit, visitor: Any) -> None:
    visitor.goto(f"{arena.url}?report=shipped")
    visitor.locator("#report .da-linked a[href='?report=shipped']").wait_for(state="visible")


def test_a_link_to_a_report_that_is_gone_says_so(arena: Visit, visitor: Any) -> None:
    visitor.goto(f"{arena.url}?report=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    visitor.locator("#report .da-error", has_text="There is no run called").wait_for()
    assert visitor.locator("#report .da-report").count() == 0


@pytest.mark.parametrize("tab", ["label", "evaluate", "results"])
def test_a_link_opens_a_tab(arena: Visit, visitor: Any, tab: str) -> None:
    visitor.goto(f"{arena.url}?tab={tab}")
    chosen = visitor.locator("button[role=tab][aria-selected=true]", has_text=tab.capitalize())
    chosen.first.wait_for(state="attached")


def test_an_unknown_tab_changes_nothing(arena: Visit, visitor: Any) -> None:
    visitor.goto(f"{arena.url}?tab=nowhere")
    visitor.locator("#result .da-side").first.wait_for()


@pytest.mark.parametrize(
    "result",
    [
        None,
        {},
        [1],
        "x",
        {"status": "done"},
        {"status": "done", "sides": [1, 2], "sampling": {}},
        {"status": "done", "sampling": {}, "sides": [{"policy": 1, "text": 2, "words": "y"}] * 2},
    ],
)
def test_only_comparisons_become_pictures(arena: Visit, result: Any) -> None:
    client = Client(arena.url, verbose=False)
    with pytest.raises(AppError, match="press Compare first"):
        client.predict("A: hi", result, api_name="/share")
