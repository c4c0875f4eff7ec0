"""What the Compare tab does, without gradio and without models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from detox.config import Sampling
from detox.errors import UserError
from detox.results import Row, write_results
from detox.ui.compare import PRESS, Comparison, Example, featured, sampling_of
from detox.ui.shipped import Shipped, draw
from detox.workbench import Side, Status, Workbench
from tests.app.conftest import SAMPLING

MARKS = {"before": "before-weights", "after": "after-weights"}


class FakeBench(Workbench):
    """Answers at once; ``statuses`` are what it says of itself, one a question."""

    def __init__(self, statuses: Sequence[Status] = ()) -> None:
        super().__init__({"before": "a", "after": "b", "other": "c"})
        self.fingerprints = dict(MARKS)
        self.statuses = [*statuses, Status(True, 1.0, "ready")]

    def start(self) -> None:
        pass

    def status(self) -> Status:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def compare(
        self, names: Sequence[str], dialogue: str, sampling: Sampling
    ) -> Iterator[tuple[Side, ...]]:
        yield tuple(Side(name, "They", 1) for name in names)
        yield tuple(Side(name, "They argue.", 2, i * 2.0, 0.5) for i, name in enumerate(names))


@pytest.fixture
def comparison(tmp_path: Path, result_rows: list[Row], examples: list[Example]) -> Comparison:
    write_results(tmp_path, result_rows, {"sampling": asdict(SAMPLING)})
    return Comparison(FakeBench(), Shipped.read(tmp_path), examples)


def test_the_examples_on_cards_have_one_tone_each(examples: list[Example]) -> None:
    assert [e.tone for e in featured(examples)] == ["rude", "mocking", "insulting", "friendly"]


def test_cards_prefer_dialogues_that_the_versions_summarize_differently(
    comparison: Comparison,
) -> None:
    later = [e for e in comparison.examples if e.tone == "mocking"][2]
    assert later in featured(comparison.examples, {later.id})
    assert len(comparison.featured()) == 4


def test_dialogues_without_tones_are_on_cards_all_the_same() -> None:
    plain = [Example(str(i), f"A: {i}", "", "") for i in range(6)]
    assert featured(plain) == plain[:4]
    assert plain[0].label() == "0"


def test_a_link_opens_its_dialogue_and_a_broken_one_the_first(comparison: Comparison) -> None:
    last = comparison.examples[-1]
    assert comparison.opening(last.id) is last
    assert comparison.opening("gone") is comparison.opening(None)


def test_an_unknown_example_is_refused(comparison: Comparison) -> None:
    with pytest.raises(UserError, match="There is no example 'nope'"):
        comparison.example("nope")


def test_settings_of_the_form() -> None:
    assert sampling_of(0, 0.9, 40.0, 7) == Sampling(0, 0.9, max_new_tokens=40, seed=7)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((None, 0.9, 40, 0), "Give a number"),
        ((0.7, float("nan"), 40, 0), "Give a number"),
        ((0.7, 0.9, 40, -1), "seed"),
        ((9, 0.9, 40, 0), "temperature"),
        ((0.7, 0, 40, 0), "top_p"),
    ],
)
def test_settings_out_of_range_are_named(values: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        sampling_of(*values)


def test_results_of_these_weights_are_shown_at_once(
    comparison: Comparison, result_rows: list[Row]
) -> None:
    page, data = comparison.recall(result_rows[0]["dialogue"], ("before", "after"), SAMPLING)
    assert "computed beforehand" in page
    assert data is not None and data["beforehand"]
    assert [side["text"] for side in data["sides"]] == [
        result_rows[0]["before"]["text"],
        result_rows[0]["after"]["text"],
    ]


def test_swapped_versions_are_swapped_results(
    comparison: Comparison, result_rows: list[Row]
) -> None:
    row = result_rows[0]
    _, data = comparison.recall(row["dialogue"], ("after", "before"), SAMPLING)
    assert data is not None
    assert data["sides"][0]["text"] == row["after"]["text"]
    assert data["reward_diff"] == pytest.approx(-row["reward_diff"])


@pytest.mark.parametrize("change", ["text", "sampling", "weights", "unknown", "policy"])
def test_results_of_anything_else_are_not(
    comparison: Comparison, result_rows: list[Row], change: str
) -> None:
    dialogue, sampling, names = result_rows[0]["dialogue"], SAMPLING, ("before", "after")
    if change == "text":
        dialogue += "\n#Person1#: One more thing."
    elif change == "sampling":
        sampling = Sampling(max_new_tokens=13)
    elif change == "weights":
        comparison.bench.fingerprints["after"] = "retrained"
    elif change == "unknown":
        comparison.bench.fingerprints.clear()
    else:
        names = ("before", "other")
    assert comparison.recall(dialogue, names, sampling) == (PRESS, None)


def test_results_are_shown_even_when_the_models_did_not_load(
    comparison: Comparison, result_rows: list[Row]
) -> None:
    bench = FakeBench([Status(False, 1.0, "loading failed", "The model is gone.")])
    bench.statuses.pop()
    broken = Comparison(bench, comparison.shipped, comparison.examples)
    names = ("before", "after")
    page, data = broken.recall(result_rows[0]["dialogue"], names, SAMPLING)
    assert data is not None and "computed beforehand" in page
    page, data = broken.recall("A: Hello.", names, SAMPLING)
    assert data is None and "The model is gone." in page


def test_without_results_there_is_nothing_to_show(tmp_path: Path) -> None:
    shipped = Shipped.read(tmp_path / "none")
    assert shipped.rows == () and shipped.sampling == Sampling()
    assert shipped.find("A: Hello.", ("a", "b"), Sampling()) is None


def test_summaries_grow_and_end_with_scores(comparison: Comparison) -> None:
    *early, (page, data) = comparison.write("A: Hello.", ("before", "after"), Sampling())
    assert all(state == {"status": "writing"} for _, state in early)
    assert "Gentler" in page and "+2.00" in page
    assert data is not None and data["reward_diff"] == 2.0 and not data["beforehand"]


def test_visitors_see_how_far_the_models_are(comparison: Comparison) -> None:
    loading = Status(False, 0.4, "loading after")
    waiting = Comparison(FakeBench([loading]), comparison.shipped, comparison.examples)
    page, data = next(waiting.write("A: Hello.", ("before", "after"), Sampling()))
    assert "loading after" in page and data == {"status": "loading after"}


def test_models_that_did_not_load_say_why(comparison: Comparison) -> None:
    bench = FakeBench([Status(False, 1.0, "loading failed", "There is no adapter in x.")])
    broken = Comparison(bench, comparison.shipped, comparison.examples)
    with pytest.raises(UserError, match="There is no adapter"):
        list(broken.write("A: Hello.", ("before", "after"), Sampling()))


@pytest.mark.parametrize(
    ("dialogue", "names", "sentence"),
    [
        ("  \n ", ("before", "after"), "The dialogue is empty"),
        ("word " * 50_000, ("before", "after"), "at most 40,000"),
        ("\x00\x01PNG", ("before", "after"), "not plain text"),
        ("A: Hello.", ("before", "nope"), "Unknown policy 'nope': choose one of before, after"),
    ],
)
def test_bad_input_is_refused_before_any_model_is_asked(
    comparison: Comparison, dialogue: str, names: tuple[str, str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        next(comparison.write(dialogue, names, Sampling()))


def test_the_twenty_are_drawn_the_same_way_every_time() -> None:
    ids = [f"d{i}" for i in range(50)]
    assert draw(ids) == draw(list(reversed(ids)))
    assert len(set(draw(ids))) == 20
    assert sorted(draw(ids[:3])) == ids[:3]
