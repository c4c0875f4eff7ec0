"""Compare with two judges: the classifier, and a model trained on people's picks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from detox import cli, wording
from detox.config import Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.judges import LEARNED
from detox.report import read_report
from detox.results import Row, write_results
from detox.rewards import PreferenceReward, load_preference_reward
from detox.tasks import SUMMARIZE
from detox.ui import html
from detox.ui.batch import live_batch
from detox.ui.compare import Comparison, Example
from detox.ui.evaluate import evaluated
from detox.ui.shipped import Shipped
from detox.workbench import Side, Workbench
from tests.app.conftest import SAMPLING
from tests.app.test_compare import FakeBench

DIALOGUE = "#Person1#: You forgot the tickets again.\n#Person2#: I am sorry!"
GREEDY = Sampling(temperature=0, max_new_tokens=8)


@pytest.fixture
def bench(
    tiny_t5: Path, tiny_causal: Path, tiny_classifier: Path, tiny_reward_model: Path
) -> Workbench:
    specs = {"before": str(tiny_t5), "after": str(tiny_causal)}
    return Workbench(specs, str(tiny_classifier), reward=f"preference:{tiny_reward_model}")


# what the page says of the two


@pytest.mark.parametrize(
    ("difference", "chance", "stand"),
    [
        (1.0, 0.8, "agree"),
        (-1.0, 0.2, "agree"),
        (1.0, 0.2, "conflict"),
        (-1.0, 0.8, "conflict"),
        (0.4, 0.8, "undecided"),
        (2.0, 0.52, "undecided"),
        (-2.0, 0.48, "undecided"),
    ],
)
def test_how_the_two_judges_stand(difference: float, chance: float, stand: str) -> None:
    assert wording.opinion(difference, chance) == stand


def sides(rewards: Sequence[float], scores: Sequence[float | None]) -> list[Side]:
    return [
        Side(name, "They argue.", 2, reward, 0.5, score)
        for name, reward, score in zip(("before", "<b>after"), rewards, scores, strict=True)
    ]


def test_a_conflict_is_visible() -> None:
    page = html.comparison(sides((0.0, 2.0), (1.25, -0.5)), chance=0.29)
    assert "da-conflict" in page and "The judges disagree" in page
    assert "would pick <b>Before</b>, with a chance of 71\u00a0%." in page and "Gentler" in page
    assert page.count("<dt title=\"By the model trained on people's picks") == 2
    assert "+1.25" in page and "\u22120.50" in page


def test_agreement_is_visible_and_names_are_inert() -> None:
    page = html.comparison(sides((0.0, 2.0), (0.0, 1.0)), chance=0.75)
    assert (
        "da-agree" in page
        and "would pick <b>&lt;b&gt;after</b>, with a chance of 75\u00a0%." in page
    )
    assert "<b>after" not in page


def test_no_preference_is_told_as_none() -> None:
    page = html.comparison(sides((0.0, 2.0), (0.0, 0.1)), chance=0.52)
    assert "da-undecided" in page and "would be undecided: 52\u00a0% for &lt;b&gt;after." in page


def test_without_a_reward_model_nothing_is_said_of_people() -> None:
    page = html.comparison(sides((0.0, 2.0), (None, None)))
    assert "da-people" not in page and "Preference" not in page


# the models behind it


def test_both_judges_score_what_was_written(bench: Workbench, tiny_reward_model: Path) -> None:
    *_, found = bench.compare(("before", "after"), DIALOGUE, GREEDY)
    judge = load_preference_reward(str(tiny_reward_model))
    prompt = SUMMARIZE.prompt(DIALOGUE)
    expected = judge.score([prompt] * 2, [side.text for side in found]).tolist()
    assert [side.preference for side in found] == pytest.approx(expected, abs=1e-5)
    assert all(side.reward is not None for side in found)
    gap = torch.tensor(expected[1] - expected[0])
    assert bench.chance(found) == pytest.approx(float(torch.sigmoid(gap)), abs=1e-5)


def test_chances_know_the_temperature(bench: Workbench) -> None:
    bench.wait()
    assert bench.preference is not None
    pair = sides((0.0, 1.0), (0.0, 2.0))
    bench.preference.temperature = 4.0
    assert bench.chance(pair) == pytest.approx(float(torch.sigmoid(torch.tensor(0.5))))
    assert bench.chance(sides((0.0, 1.0), (None, 2.0))) is None


def test_both_judges_in_a_terminal(
    tiny_causal: Path,
    tiny_classifier: Path,
    tiny_reward_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "chat.txt").write_text(DIALOGUE)
    options = ["--before", str(tiny_causal), "--after", str(tiny_causal), "--temperature", "0"]
    options += ["--classifier", str(tiny_classifier), "--max-new-tokens", "4"]
    asked = ["compare", str(tmp_path / "chat.txt"), *options]
    assert cli.main([*asked, "--reward", f"preference:{tiny_reward_model}"]) == 0
    said = capsys.readouterr().out
    assert said.count("  preference ") == 2
    assert "people prefer after with a chance of 50%" in said  # of one and the same text
    assert cli.main(asked) == 0
    assert "prefer" not in capsys.readouterr().out


def test_a_setting_that_names_no_reward_model_is_told(
    tiny_causal: Path, tiny_classifier: Path
) -> None:
    for spec, sentence in (
        ("preference:no/where", "There is no reward model in no/where"),
        ("classifier", "'classifier' is no second judge"),
        (f"preference:{tiny_classifier}", "has 2 outputs and a reward model has one"),
    ):
        bench = Workbench({"a": str(tiny_causal)}, str(tiny_classifier), reward=spec)
        with pytest.raises(UserError, match=sentence):
            bench.wait()


def test_without_a_reward_model_there_is_one_judge(
    tiny_causal: Path, tiny_classifier: Path
) -> None:
    bench = Workbench({"a": str(tiny_causal), "b": str(tiny_causal)}, str(tiny_classifier))
    *_, found = bench.compare(("a", "b"), DIALOGUE, GREEDY)
    assert [side.preference for side in found] == [None, None] and bench.chance(found) is None


def test_an_evaluation_on_the_spot_has_both(
    bench: Workbench, tiny_reward_model: Path, tmp_path: Path
) -> None:
    dialogues = load_dialogues(split="test").select(range(3))
    bench.wait()
    (rows,) = bench.evaluate("before", "after", dialogues, GREEDY)
    assert all(isinstance(row["after"]["preference"], float) for row in rows)
    *_, (status, folder) = evaluated(bench, "before", "after", 2, 1, tmp_path)
    assert status.ready and folder is not None
    page = read_report(folder)
    assert "Two judges" in page and "Nothing says that the policy was tuned" in page
    assert not (tiny_reward_model / LEARNED).exists()
    assert "Which prompts it learned from is not known" in page


def test_many_dialogues_at_once_have_both(
    bench: Workbench, tmp_path: Path, tiny_reward_model: Path
) -> None:
    dialogues = load_dialogues(split="test").select(range(3))
    comparison = Comparison(bench, Shipped(), [])
    *_, (_, batch) = live_batch(comparison, "before", "after", dialogues, tmp_path)
    assert batch is not None and batch.data is not None
    wins = batch.data["groups"]["all"]["preference"]["win_rate"]
    said = f"prefers the second version in {100 * wins['mean']:.1f}\u00a0% of them"
    assert said in batch.summary
    bench.preference = None
    *_, (_, batch) = live_batch(comparison, "before", "after", dialogues, tmp_path)
    assert batch is not None and "people" not in batch.summary


# the tab


class TwoJudges(FakeBench):
    """Knows beforehand what people think: they like what is longer."""

    def people(self) -> None:
        """From now on."""
        model: Any = object.__new__(PreferenceReward)
        model.temperature = None
        model.score = lambda prompts, texts: torch.tensor([float(len(t)) for t in texts])
        self.preference = model


@pytest.fixture
def comparison(tmp_path: Path, result_rows: list[Row], examples: list[Example]) -> Comparison:
    write_results(tmp_path, result_rows, {"sampling": asdict(SAMPLING)})
    return Comparison(TwoJudges(), Shipped.read(tmp_path), examples)


def test_what_was_computed_beforehand_is_judged_once_the_model_is_there(
    comparison: Comparison, result_rows: list[Row]
) -> None:
    row = result_rows[0]
    asked = (row["dialogue"], ("before", "after"), SAMPLING)
    page, early = comparison.recall(*asked)
    assert early is not None and "preference" not in early and "da-people" not in page
    assert not comparison.lacks_preference(early)  # nobody to ask yet
    assert isinstance(comparison.bench, TwoJudges)
    comparison.bench.people()
    assert comparison.lacks_preference(early) and not comparison.lacks_preference(None)
    page, data = comparison.recall(*asked)
    assert data is not None and not comparison.lacks_preference(data)
    longer = len(row["after"]["text"]) > len(row["before"]["text"])
    assert (data["preference"]["chance"] > 0.5) == longer
    assert data["preference"]["opinion"] in ("agree", "conflict", "undecided")
    assert [side["preference"] for side in data["sides"]] == [
        float(len(row[side]["text"])) for side in ("before", "after")
    ]
    assert "da-people" in page


def test_unfinished_comparisons_wait_for_nobody(comparison: Comparison) -> None:
    assert isinstance(comparison.bench, TwoJudges)
    comparison.bench.people()
    assert not comparison.lacks_preference({"status": "writing"})
