"""Two judges: whom a policy was tuned to please, and what the one who is held out says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from detox import cli
from detox.errors import UserError
from detox.judges import (
    conflicts,
    held_out_judges,
    kinds_of,
    learned_from,
    preferred,
    tuned_on,
    win_rate,
    write_learned,
)
from detox.models import EMBEDDED_FOLDER, read_lineage
from detox.report import body
from detox.results import read_results, summarise
from detox.rewards import load_reward, load_second_judge
from tests.conftest import WriteDialogues

Row = dict[str, Any]
CLASSIFIER = {"name": "embedded", "scope": "response", "label": "nothate"}
PEOPLE = {"name": "runs/reward", "scope": "pair", "temperature": 1.3}


def row(number: int, rewards: tuple[float, float], scores: tuple[float, float]) -> Row:
    sides = {
        side: {
            "text": f"{side} {number}",
            "reward": reward,
            "toxicity": 0.1,
            "words": 3,
            "preference": score,
        }
        for side, reward, score in zip(("before", "after"), rewards, scores, strict=True)
    }
    return {"id": f"d{number}", "prompt": f"p{number}", "rude": True, **sides}


def test_the_kinds_of_a_reward() -> None:
    assert kinds_of(CLASSIFIER) == {"classifier"}
    assert kinds_of(PEOPLE) == {"preference"}
    mixed = {"name": "mixed", "sources": [CLASSIFIER, PEOPLE], "weights": [1.0, 0.5]}
    assert kinds_of(mixed) == {"classifier", "preference"}
    assert kinds_of(mixed | {"weights": [0.0, 1.0]}) == {"preference"}  # weighs nothing
    rouge = {"name": "rouge", "prompts": 12}
    assert kinds_of({"sources": [CLASSIFIER, rouge], "weights": [1, 1]}) == {"classifier", "rouge"}


def test_a_reward_says_of_itself_what_it_is(tiny_classifier: Path, tiny_reward_model: Path) -> None:
    specs = {
        f"classifier:{tiny_classifier}": {"classifier"},
        f"preference:{tiny_reward_model}": {"preference"},
        "rouge": {"rouge"},
        f"mixed:classifier:{tiny_classifier}=1,preference:{tiny_reward_model}=1": {
            "classifier",
            "preference",
        },
    }
    for spec, kinds in specs.items():
        source = load_reward(spec, references={"p": ["r"]})
        assert kinds_of(json.loads(json.dumps(source.describe()))) == kinds


def test_what_ships_was_tuned_to_please_the_classifier() -> None:
    lineages = [read_lineage(EMBEDDED_FOLDER / name) for name in ("sft", "ppo")]
    assert tuned_on(lineages) == {"classifier", "rouge"}
    assert held_out_judges(tuned_on(lineages), ("classifier", "preference")) == ["preference"]


def test_every_round_counts() -> None:
    assert tuned_on([]) == tuned_on([{"kind": "sft"}]) == set()
    rounds = [{"kind": "sft"}, {"reward": CLASSIFIER}, {"reward": PEOPLE}]
    assert tuned_on(rounds) == {"classifier", "preference"}
    assert held_out_judges({"preference"}, ("classifier", "preference")) == ["classifier"]
    assert held_out_judges({"classifier", "preference"}, ("classifier", "preference")) == []


def test_the_win_rate_by_hand() -> None:
    rows = [row(n, (0, 1), (0.0, 1.0)) for n in range(6)] + [row(9, (0, 1), (1.0, 0.0))]
    found = win_rate([*rows, row(10, (0, 1), (2.0, 2.0))])
    assert found["mean"] == pytest.approx((6 + 0.5) / 8, abs=1e-4)  # a tie counts half
    assert found["low"] < found["mean"] < found["high"] and found["verdict"] == "higher"
    together = win_rate([one | {"id": "same"} for one in rows])
    assert together["verdict"] == "inconclusive"  # one dialogue


def test_conflicts_are_where_the_judges_prefer_different_sides() -> None:
    rows = [
        row(0, (0, 1), (0, 1)),
        row(1, (1, 0), (0, 1)),
        row(2, (0, 1), (1, 0)),
        row(3, (0, 1), (1, 1)),  # one of them has no opinion
    ]
    assert conflicts(rows) == 0.5


class ByLength:
    name = "length"

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        return torch.tensor([float(len(text)) for text in responses])

    def describe(self) -> Row:
        return {}


def test_scores_go_to_the_rows() -> None:
    rows = [row(n, (0, 1), (0, 0)) for n in range(3)]
    found = preferred(rows, ByLength())
    assert found["win_rate"]["mean"] == 0.0  # "before" is the longer word
    assert found["length_correlation"] is None
    assert rows[0]["before"]["preference"] == 8.0


def test_which_prompts_were_learned_from(tmp_path: Path) -> None:
    assert learned_from(tmp_path, ["a"]) is None
    write_learned(tmp_path, ["a", "b", "a"])
    assert learned_from(tmp_path, ["a", "c", "a"]) == 1
    assert '"a"' not in (tmp_path / "learned.json").read_text()  # no texts


# what an evaluation reports


def test_statistics_of_both_judges() -> None:
    rows = [row(n, (0.0, 1.0), (0.0, 1.0 if n % 4 else -1.0)) for n in range(40)]
    found = summarise(rows)["all"]["preference"]
    assert found["win_rate"]["mean"] == 0.75 and found["win_rate"]["verdict"] == "higher"
    assert found["conflicts"] == 0.25 and found["length_correlation"] is None
    assert found["after_mean"] == 0.5
    for one in rows:
        for side in ("before", "after"):
            del one[side]["preference"]
    assert "preference" not in summarise(rows)["all"]


@pytest.mark.parametrize(
    ("pleased", "held_out", "sentence"),
    [
        (["classifier", "rouge"], ["preference"], "so that the preference model is the held-out"),
        (["preference"], ["classifier"], "so that the hate classifier is the held-out judge."),
        (["classifier", "preference"], [], "so that none is held out: people have to confirm"),
        ([], ["classifier", "preference"], "Nothing says that the policy was tuned to please"),
    ],
)
def test_the_report_says_which_judge_is_held_out(
    pleased: list[str], held_out: list[str], sentence: str
) -> None:
    rows = [row(n, (0.0, 1.0), (0.0, 1.0 if n % 4 else -1.0)) for n in range(40)]
    for number, one in enumerate(rows):
        more = {"dialogue": "d", "topic": "t", "tone": "", "split": "test", "sample": 0}
        one |= more | {"reward_diff": 1.0}
        one["after"]["words"] += number
    about = {side: {"policy": side, "fingerprint": ""} for side in ("before", "after")}
    about |= {"judge": CLASSIFIER, "sampling": {}, "data": "d", "split": "test"}
    judges = {"preference": "<b>", "tuned_on": pleased, "held_out": held_out, "learned_from": 3}
    page = body(rows, about | {"groups": summarise(rows), "judges": judges})
    assert sentence in page and "75.0 % [" in page and "&lt;b&gt;" in page
    assert "learned from picks on 3 of these prompts" in page
    assert "Two judges" not in body(rows, about | {"groups": summarise(rows)})


def test_evaluate_reports_both_judges(
    tiny_causal: Path,
    tiny_classifier: Path,
    tiny_reward_model: Path,
    dialogues_file: WriteDialogues,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "evaluation"
    options = ["--before", str(tiny_causal), "--after", str(tiny_causal), "--split", "train"]
    options += ["--classifier", str(tiny_classifier), "--data", str(dialogues_file())]
    options += ["--limit", "4", "--max-new-tokens", "4", "--output", str(output)]
    options += ["--reward", f"preference:{tiny_reward_model}"]
    assert cli.main(["evaluate", *options]) == 0
    said = capsys.readouterr().out
    assert "preference model's win rate 50.0% [50.0%, 50.0%] inconclusive" in said
    rows, about = read_results(output)
    assert about["judges"] == {
        "preference": str(tiny_reward_model),
        "tuned_on": [],
        "held_out": ["classifier", "preference"],
        "learned_from": None,
    }
    source = load_reward(f"preference:{tiny_reward_model}")
    expected = source.score([r["prompt"] for r in rows], [r["after"]["text"] for r in rows])
    assert [r["after"]["preference"] for r in rows] == pytest.approx(expected.tolist(), abs=1e-3)
    assert "Two judges" in (output / "report.html").read_text()


@pytest.mark.parametrize("spec", ["classifier", "preference:", "mixed:classifier=1", "x"])
def test_only_a_preference_model_is_the_second_judge(spec: str) -> None:
    with pytest.raises(UserError, match=r"is no second judge: name a reward model as preference:F"):
        load_second_judge(spec)
    assert load_second_judge("") is None
