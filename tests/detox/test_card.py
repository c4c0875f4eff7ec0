"""Results as pictures: everything that matters is written on them, whatever the texts are."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detox import card
from detox.card import WIDTH, Sheet, comparison_card, font, report_card, row_card, wrapped
from detox.cli import main
from detox.errors import UserError
from detox.results import read_results, write_results
from detox.wording import number, readable
from detox.workbench import Side
from hosting.settings import RESULTS

DIALOGUE = "#Person1#: You clown!\n#Person2#: I am sorry.\nA: b\nC: d\nE: f\nG: h"


def side(policy: str = "before", text: str = "Ann is rude.", reward: float = -2.0) -> Side:
    return Side(policy, text, len(text.split()), reward, 0.98)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on cards."""
    texts: list[str] = []
    write = Sheet.text

    def record(self: Sheet, text: str, *rest: Any, **more: Any) -> None:
        texts.append(text)
        write(self, text, *rest, **more)

    monkeypatch.setattr(Sheet, "text", record)
    return texts


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_a_comparison_says_what_came_out_and_how(written: list[str]) -> None:
    png = comparison_card(DIALOGUE, [side(), side("after", "Ann left.", 2.5)], "Greedy.")
    assert size(png)[0] == WIDTH
    assert {"Gentler", "Ann is rude.", "Ann left.", "Person 1: You clown!"} <= set(written)
    assert f"After against before: reward {number(4.5)}" in written
    assert "and 2 more turns" in written
    assert "toxicity 98\u00a0% · reward −2.00 · 3 words" in written
    assert written[-1].startswith("Greedy. Toxicity is the probability")


@pytest.mark.parametrize(
    ("reward", "title"), [(-2.2, "About the same"), (-4.0, "Ruder"), (3.0, "Gentler")]
)
def test_the_title_is_the_verdict(written: list[str], reward: float, title: str) -> None:
    comparison_card(DIALOGUE, [side(), side("after", "", reward)])
    assert title in written and "This version wrote nothing." in written


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000,
        "\x00\u202e\U0001f600",
        "\ud83d",
        "漢字 " * 5_000,
        "<script>alert(1)</script>",
        "\n\n\t",
        "ا" * 900,
    ],
)
def test_any_text_is_drawn_and_the_card_stays_small(text: str) -> None:
    width, height = size(comparison_card(text, [side(text[:300] or "x", text), side("b", text)]))
    assert width == WIDTH and height < 1_500


@given(st.text(max_size=300), st.integers(60, 900), st.integers(1, 5))
def test_lines_fit_and_hold_the_text(text: str, width: int, lines: int) -> None:
    letters = font(20)
    found = wrapped(text, letters, width, lines)
    assert 1 <= len(found) <= lines
    assert all(letters.getlength(line) <= width for line in found)
    if not found[-1].endswith("…"):
        assert "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("verdict", "title", "interval"),
    [
        ("lower", "Measurably gentler", "points."),
        ("higher", "Measurably ruder", "points."),
        ("inconclusive", "No difference shown", "zero among them."),
    ],
)
def test_a_report_says_no_more_than_its_interval(
    written: list[str], verdict: str, title: str, interval: str
) -> None:
    _, about = read_results(RESULTS)
    found = about["groups"]["all"]["toxicity"]
    found |= {"verdict": verdict, "before_mean": 0.64, "after_mean": 0.36, "difference": -0.28}
    assert size(report_card(about | {"split": "test"}))[0] == WIDTH
    assert title in written and "−28.0 points" in written and "64.0\u00a0%" in written
    assert any("95 % interval" in text and text.endswith(interval) for text in written)
    assert any(text.startswith("Length ") and "ROUGE-L" in text for text in written)


def test_the_shipped_card_is_that_of_the_shipped_results() -> None:
    drawn = Image.open(io.BytesIO(report_card(read_results(RESULTS)[1])))
    shipped = Image.open(RESULTS / card.CARD)
    assert drawn.size == shipped.size and drawn.tobytes() == shipped.tobytes()


def test_a_dialogue_of_results(written: list[str]) -> None:
    rows, _ = read_results(RESULTS)
    row_card(RESULTS, rows[3]["id"])
    assert {readable(rows[3][name]["text"]) for name in ("before", "after")} <= set(written)
    with pytest.raises(UserError, match="There is no dialogue 'nobody'"):
        row_card(RESULTS, "nobody")


def test_cards_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, about = read_results(RESULTS)
    folder = tmp_path / "results"
    write_results(folder, rows[:5], {k: v for k, v in about.items() if k != "groups"})
    assert main(["card", str(folder)]) == 0
    assert size((folder / "card.png").read_bytes())[0] == WIDTH
    one = tmp_path / "one.png"
    assert main(["card", str(folder), "--id", rows[0]["id"], "--output", str(one)]) == 0
    assert size(one.read_bytes())[0] == WIDTH
    assert main(["card", str(folder), "--output", str(tmp_path / "no" / "card.png")]) == 2
    assert "The card cannot be written" in capsys.readouterr().err
    assert main(["card", str(tmp_path)]) == 2
    assert "no readable results" in capsys.readouterr().err


def test_a_comparison_is_drawn_by_command(
    tmp_path: Path, tiny_causal: Path, tiny_t5: Path, tiny_classifier: Path
) -> None:
    (tmp_path / "d.txt").write_text(DIALOGUE)
    picture = tmp_path / "card.png"
    versions = ["--before", str(tiny_causal), "--after", str(tiny_t5)]
    more = ["--classifier", str(tiny_classifier), "--card", str(picture), "--max-new-tokens", "4"]
    assert main(["compare", str(tmp_path / "d.txt"), *versions, *more]) == 0
    assert size(picture.read_bytes())[0] == WIDTH


def test_json_of_about_is_enough() -> None:
    """What was read back from a file draws the same."""
    _, about = read_results(RESULTS)
    assert report_card(json.loads(json.dumps(about))) == report_card(about)
