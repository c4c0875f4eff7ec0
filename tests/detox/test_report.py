"""The report: it stands alone, holds what was measured, and nothing in it acts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from detox import plots
from detox.errors import UserError
from detox.report import PAIRS, body, read_report, training_curves, write_report
from detox.results import summarise, write_results

Row = dict[str, Any]
HOSTILE = '<img src=x onerror="alert(1)">'


def row(number: int, rude: bool, sample: int = 0) -> Row:
    """A pair whose after is gentler, and shorter, the rarer ``number``."""

    def side(name: str, toxicity: float, words: int) -> Row:
        return {
            "policy": name,
            "fingerprint": name * 2,
            "text": f"{HOSTILE} {name} {number} says " + "word " * words,
            "reward": 3 - 6 * toxicity,
            "toxicity": toxicity,
            "profanity": toxicity / 2,
            "words": words,
            "rouge1": 30.0 + number % 7,
            "rouge2": 10.0,
            "rougeL": 25.0,
            "kept": 0.5,
            "supported": None if number % 3 else 1.0,
        }

    toxic = 0.9 if rude else 0.2
    before, after = side("before", toxic, 20), side("after", toxic / (2 + number % 3), 18)
    after["kl"] = 2.0 + number % 4
    return {
        "id": f"d{number}",
        "sample": sample,
        "dialogue": f"#Person1#: {HOSTILE} {number}",
        "prompt": "p",
        "topic": HOSTILE,
        "tone": "rude" if rude else "",
        "rude": rude,
        "split": "test",
        "before": before,
        "after": after,
        "reward_diff": after["reward"] - before["reward"],
    }


@pytest.fixture
def rows() -> list[Row]:
    return [row(n, n % 2 == 0, sample) for n in range(20) for sample in (0, 1)]


@pytest.fixture
def folder(rows: list[Row], tmp_path: Path) -> Path:
    about = {
        "before": {"policy": "before", "fingerprint": "b"},
        "after": {"policy": "after", "fingerprint": "a"},
        "judge": {"name": "judge", "scope": "response", "label": "nothate"},
        "sampling": {"temperature": 0.3},
        "data": "embedded",
        "split": "test",
        "samples": 2,
    }
    write_results(tmp_path, rows, about)
    return tmp_path


STEPS = [
    {"step": n, "objective/kl": n / 9, "env/reward_mean": n / 5, "tokens/response_mean": 40.0 - n}
    for n in range(1, 9)
]


def test_a_page_that_needs_nothing_else(folder: Path) -> None:
    page = write_report(folder, STEPS).read_text()
    assert page.startswith("<!doctype html>") and page.count("<svg ") == 8
    # namespaces are names, not addresses that are visited
    assert not re.search(r'(src|href)="?https?:|url\(http|@import', page)
    assert "<script" not in page.lower()
    for name in ("ink", "before", "after", "line", "muted"):
        assert f"--da-{name}:" in page and f"var(--da-{name})" in page
    assert read_report(folder) in page


def test_texts_are_inert(folder: Path) -> None:
    page = write_report(folder).read_text()
    assert HOSTILE not in page and "&lt;img src=x" in page


def test_numbers_are_those_of_the_results(folder: Path, rows: list[Row]) -> None:
    page = read_report(write_report(folder).parent)
    groups = summarise(rows)
    rude = groups["rude"]["toxicity"]
    assert f"{100 * rude['before_mean']:.1f} % → {100 * rude['after_mean']:.1f} %" in page
    gap = f"{100 * rude['difference']:+.1f} [{100 * rude['low']:+.1f}, {100 * rude['high']:+.1f}]"
    assert gap.replace("-", "−") in page
    assert f"{groups['all']['kl']['mean']:.2f} ± {groups['all']['kl']['std']:.2f}" in page
    assert "40 paired responses to 20 dialogues (2 responses each)" in page
    assert page.count("<article>") == PAIRS
    assert "54.67" in page and "12.79" in page
    assert "No sign of over-optimisation" in page


def test_signs_are_shown_first(rows: list[Row]) -> None:
    for one in rows:
        one["after"] |= {"text": "It is fine.", "words": 3}
    about = {side: {"policy": side, "fingerprint": ""} for side in ("before", "after")}
    judge = {"name": "j", "scope": "response", "label": "l"}
    more = {"judge": judge, "sampling": {}, "data": "d", "split": "test"}
    page = body(rows, about | more | {"groups": summarise(rows)})
    warning = page.index("Signs of over-optimisation")
    assert "Responses shrank from 20.0 to 3.0 words." in page
    assert "100% of the responses are copies of another one" in page
    assert warning < page.index("<table")


def test_without_training_there_are_no_training_curves(folder: Path) -> None:
    assert write_report(folder).read_text().count("<svg ") == 4


def test_a_report_needs_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^There are no readable results in "):
        write_report(tmp_path)
    with pytest.raises(UserError, match=r"^There is no report in .*: run 'python -m detox evalua"):
        read_report(tmp_path)


def test_the_shipped_policy_was_trained_in_steps() -> None:
    steps = training_curves("after")
    assert len(steps) > 10 and steps[0]["objective/kl"] == 0
    assert training_curves("before") == []


@pytest.mark.parametrize("rows_given", [1, 40])
def test_plots_are_whole_svg(rows: list[Row], rows_given: int) -> None:
    some = rows[:rows_given]
    drawn = [
        plots.histograms(some, "toxicity", "toxicity"),
        plots.differences(some, "rouge1", "ROUGE-1"),
        *plots.curves(STEPS),
        plots.frontier(STEPS),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("svg") and root.get("aria-label") and root.get("viewBox")
        assert root.get("width") is None and "<style" not in svg
        assert not re.search(r"#(?!p|m|DejaVu)[0-9a-f]{6}\b", svg)  # every colour is the page's
        assert len(svg) < 60_000


def test_the_same_numbers_draw_the_same_plot(rows: list[Row]) -> None:
    once, twice = (plots.histograms(rows, "words", "words") for _ in range(2))
    assert once == twice
