"""Classifier against people's taste: a small sweep, what it leaves, and how it goes on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detox import cli, pareto
from detox.config import PpoConfig, find_preset
from detox.errors import UserError
from detox.models import read_lineage
from detox.pareto import Sweep, front, sweep
from detox.runlog import read_metrics
from detox.runs import find_run, run_page
from tests import tiny
from tests.conftest import WriteDialogues

Row = dict[str, Any]


@pytest.fixture
def config(tiny_causal: Path, dialogues_file: WriteDialogues, tmp_path: Path) -> PpoConfig:
    rows = tiny.dialogsum_rows(12)
    for number, row in enumerate(rows):
        row["split"] = "validation" if number > 7 else "train"
    return replace(
        find_preset("embedded").ppo,
        policy=str(tiny_causal),
        data=str(dialogues_file(rows=rows)),
        output=str(tmp_path / "pareto"),
        steps=2,
        batch_size=4,
        mini_batch_size=4,
        lora_r=2,
        min_response_tokens=3,
        max_response_tokens=4,
        save_every=1,
    )


@pytest.fixture
def plan(tiny_classifier: Path, tiny_reward_model: Path) -> Sweep:
    return Sweep(
        f"preference:{tiny_reward_model}", (0.0, 0.5, 1.0), classifier=str(tiny_classifier)
    )


def quiet(line: str) -> None:
    """Hears nothing."""


def cut_at(words: str) -> Callable[[str], None]:
    def hear(line: str) -> None:
        if line.startswith(words):
            raise KeyboardInterrupt

    return hear


def point(toxicity: float, wins: float) -> Row:
    return {"toxicity": {"mean": toxicity}, "win_rate": {"mean": wins}}


# the mixture and the front


def test_a_share_is_what_the_preference_model_weighs() -> None:
    plan = Sweep("preference:r", (0.25,), scale=2.0, keep="rouge=1.5")
    assert plan.mixture(0.25) == "mixed:classifier=1.5,preference:r=0.5,rouge=1.5"
    assert plan.mixture(0.0) == "mixed:classifier=2,rouge=1.5"
    assert plan.mixture(1.0) == "mixed:preference:r=2,rouge=1.5"
    own = Sweep("preference:r", (0.5,), scale=1.0, classifier="my/model")
    assert own.mixture(0.5) == "mixed:classifier:my/model=0.5,preference:r=0.5"


def test_the_front_is_what_nothing_beats() -> None:
    points = [point(0.1, 0.5), point(0.3, 0.8), point(0.3, 0.7), point(0.05, 0.4), point(0.2, 0.4)]
    assert front(points) == [True, True, False, True, False]
    assert front([point(0.1, 0.5)] * 2) == [True, True]  # equal points do not beat each other


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"shares": ()}, "--shares must be numbers from 0 to 1"),
        ({"shares": (0.0, 1.5)}, "--shares must be numbers from 0 to 1"),
        ({"shares": (float("nan"),)}, "--shares must be numbers from 0 to 1"),
        ({"scale": 0.0}, "--scale must be above 0"),
        ({"samples": 0}, "--samples at least 1"),
        ({"reward": ""}, "--reward must name a model trained on picks"),
    ],
)
def test_impossible_sweeps(values: Row, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Sweep(**({"reward": "preference:r", "shares": (0.5,)} | values))


# a sweep


def test_every_share_is_tuned_judged_and_reported(config: PpoConfig, plan: Sweep) -> None:
    told: list[str] = []
    folder = Path(config.output)
    points = sweep(config, plan, folder, told.append)
    assert [p["share"] for p in points] == [0.0, 0.5, 1.0]
    for found in points:
        place = folder / f"share-{found['share']:g}"
        lineage = read_lineage(place)
        assert lineage["config"]["reward"] == found["reward"] == plan.mixture(found["share"])
        assert lineage["reward"]["name"] == "mixed" and lineage["reward"]["means"]
        assert [row["step"] for row in read_metrics(place)] == [1, 2]
        assert (found["n"], found["dialogues"]) == (4, 4)
        assert found["toxicity"]["low"] <= found["toxicity"]["mean"] <= found["toxicity"]["high"]
        assert 0 <= found["win_rate"]["mean"] <= 1 and found["kl"] >= 0
    weights = [read_lineage(folder / f"share-{s:g}")["reward"]["weights"] for s in plan.shares]
    assert weights == [[1.5], [0.75, 0.75], [1.5]]
    assert any(p["front"] for p in points)
    content = json.loads((folder / "pareto.json").read_text())
    assert content["points"] == points
    lines = list(csv.reader((folder / "pareto.csv").open()))
    assert [line[0] for line in lines[1:]] == ["0", "0.5", "1"]
    svg = (folder / "pareto.svg").read_text()
    assert svg.startswith("<svg") and "var(" not in svg and ">0.5<" in svg
    # the Evaluate tab lists the sweep, and none of its policies beside it
    run = find_run(folder.parent, "pareto")
    assert run.kind == "report" and "Only at share 0 is the preference model" in run_page(run)
    assert any(line.startswith("share 0.5: toxicity") for line in told)


def test_a_sweep_goes_on_where_it_was_cut_off(
    config: PpoConfig, plan: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = Path(config.output)
    with pytest.raises(KeyboardInterrupt):
        sweep(config, plan, folder, cut_at("step 2/2"))  # within the first share
    with pytest.raises(KeyboardInterrupt):
        sweep(config, plan, folder, cut_at("share 0.5: mixed"))  # before the second
    resumed: list[tuple[str, bool]] = []
    train = pareto.train_ppo

    def spy(run: PpoConfig, resume: bool, tell: Any) -> Row:
        resumed.append((Path(run.output).name, resume))
        return train(run, resume, tell)

    monkeypatch.setattr(pareto, "train_ppo", spy)
    points = sweep(config, plan, folder, quiet)
    assert resumed == [("share-0.5", False), ("share-1", False)]
    whole = sweep(replace(config, output=str(tmp_path / "whole")), plan, tmp_path / "whole", quiet)
    assert points == whole
    assert not any("partial" in path.name for path in folder.rglob("*"))


def test_a_share_that_was_cut_off_in_its_steps_is_resumed(
    config: PpoConfig, plan: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(config.output)
    config = replace(config, steps=3)
    with pytest.raises(KeyboardInterrupt):
        sweep(config, plan, folder, cut_at("step 2/3"))
    steps: list[str] = []
    sweep(config, replace(plan, shares=(0.0,)), folder, steps.append)
    assert [line.split()[1] for line in steps if line.startswith("step")] == ["2/3", "3/3"]


def test_shares_may_be_added_but_settings_stay(config: PpoConfig, plan: Sweep) -> None:
    folder = Path(config.output)
    sweep(config, replace(plan, shares=(0.0,)), folder, quiet)
    told: list[str] = []
    points = sweep(config, replace(plan, shares=(1.0, 0.0)), folder, told.append)
    assert [p["share"] for p in points] == [0.0, 1.0]
    assert sum(line.startswith("step") for line in told) == 2  # of the new share alone
    with pytest.raises(UserError, match=r"begun with other settings \(lr, sweep_keep\): go on"):
        sweep(replace(config, lr=1e-3), replace(plan, keep="rouge=1"), folder, quiet)


def test_the_command(
    config: PpoConfig, plan: Sweep, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--policy", config.policy, "--data", config.data, "--output", config.output]
    options += ["--steps", "1", "--batch-size", "4", "--mini-batch-size", "4", "--lora-r", "2"]
    options += ["--min-response-tokens", "3", "--max-response-tokens", "4", "--limit", "2"]
    options += ["--classifier", plan.classifier, "--shares", "0.5"]
    assert cli.main(["pareto", *options, "--reward", plan.reward]) == 0
    assert f"report in {config.output}" in capsys.readouterr().out
    content = json.loads((Path(config.output) / "pareto.json").read_text())
    assert content["points"][0]["n"] == 2 and content["sweep"]["scale"] == 1.5
    for wrong, sentence in (
        (["--reward", "preference:no/where"], "There is no reward model in no/where"),
        (["--reward", "classifier"], "'classifier' is no second judge"),
        ([], "--reward must name a model trained on picks"),
        (["--reward", plan.reward, "--shares", "half"], "--shares takes numbers joined by commas"),
    ):
        assert cli.main(["pareto", *options, "--output", str(tmp_path / "no"), *wrong]) == 2
        assert sentence in capsys.readouterr().err
