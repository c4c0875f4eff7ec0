"""What people choose for a training becomes a command that the command line understands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import detox.cli
from detox.cli import chosen_options
from detox.config import EMBEDDED, PRESETS, PpoConfig
from detox.errors import UserError
from detox.job import Job
from detox.recipes import FILE, NONE, Field, Recipe, ppo_recipe, reward_models, reward_spec
from detox.rewards import MixedReward, load_reward
from detox.workbench import Workbench
from tests import tiny
from tests.conftest import WriteDialogues


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs with a reward model in it, and other things that are none."""
    root = tmp_path / "runs"
    for name, lineage in (
        ("taste", {"kind": "preference", "accuracy": {"train": 1.0, "held_out": 0.741}}),
        ("old/model", {"kind": "preference"}),
        ("with,comma", {"kind": "preference"}),
        ("policy", {"kind": "ppo"}),
    ):
        (root / name).mkdir(parents=True)
        (root / name / "detox.json").write_text(json.dumps(lineage))
        (root / name / "metrics.jsonl").touch()
    (root / "torn").mkdir()
    (root / "torn" / "detox.json").write_text("{")
    (root / "torn" / "metrics.jsonl").touch()
    return root


@pytest.fixture
def recipe(runs: Path, tiny_causal: Path, tiny_t5: Path) -> Recipe:
    bench = Workbench({"before": str(tiny_causal), "after": str(tiny_t5)})
    return ppo_recipe(bench, runs)


def chosen(job: Job) -> PpoConfig:
    """The settings that the command line reads from the job's command."""
    assert job.argv[0] == "detox"
    arguments = detox.cli.parser().parse_args(job.argv[1:])
    config: PpoConfig = chosen_options(arguments, PRESETS[arguments.preset].ppo)
    return config


# PPO


def test_what_nobody_touches_is_what_ships(
    recipe: Recipe, tmp_path: Path, tiny_causal: Path
) -> None:
    job = recipe.job({}, tmp_path)
    usual, config = PRESETS[EMBEDDED].ppo, chosen(job)
    assert config.reward == usual.reward == "mixed:classifier=1.5,rouge=1.5"
    assert (config.steps, config.lr, config.kl_target, config.seed) == (
        usual.steps,
        usual.lr,
        usual.kl_target,
        usual.seed,
    )
    assert (config.policy, config.data, config.output) == (
        str(tiny_causal),
        EMBEDDED,
        str(tmp_path),
    )
    assert config.save_every == 1 and config.kl_horizon == usual.kl_horizon
    assert job.mix == (("Gentle words", 1.5), ("Saying what happened", 1.5))
    assert ("Starts from", "before") in job.facts and ("Dialogues", "built-in") in job.facts
    assert not any(what in ("As learned by", "People's taste") for what, _ in job.facts)


def test_what_is_chosen_reaches_the_command_line(
    recipe: Recipe, tmp_path: Path, tiny_t5: Path, runs: Path, dialogues_file: WriteDialogues
) -> None:
    values = {
        "policy": "after",
        "data": "file",
        FILE: str(dialogues_file(".csv")),
        "classifier": 0.5,
        "rouge": 0,
        "picks": 2,
        "model": "taste",
        "steps": 7,
        "lr": 1e-3,
        "kl_target": 2.5,
        "seed": 11,
    }
    job = recipe.job(values, tmp_path)
    config = chosen(job)
    assert config.policy == str(tiny_t5)
    assert config.reward == f"mixed:classifier=0.5,preference:{runs / 'taste'}=2"
    assert (config.steps, config.lr, config.kl_target, config.seed) == (7, 1e-3, 2.5, 11)
    # the upload may vanish, and the run goes on all the same
    assert Path(config.data) == tmp_path / "dialogues.csv" and Path(config.data).is_file()
    assert ("As learned by", "taste · right on 74% of unseen pairs") in job.facts
    assert job.mix == (("Gentle words", 0.5), ("People's taste", 2.0))


def test_the_classifier_of_the_app_is_rewarded(
    runs: Path, tmp_path: Path, tiny_causal: Path, tiny_classifier: Path
) -> None:
    bench = Workbench({"a": str(tiny_causal), "b": str(tiny_causal)}, str(tiny_classifier))
    job = ppo_recipe(bench, runs).job({"rouge": 0.0}, tmp_path)
    assert chosen(job).reward == f"mixed:classifier:{tiny_classifier}=1.5"
    source = load_reward(chosen(job).reward)
    assert isinstance(source, MixedReward) and source.sources[0].name == str(tiny_classifier)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"policy": "later"}, "Unknown policy 'later': choose one of before, after."),
        ({"steps": None}, "Give a number for 'Steps'."),
        ({"steps": 2.5}, "Give a whole number for 'Steps'."),
        ({"steps": 0}, "steps must be at least 1."),
        ({"lr": float("nan")}, "Give a number for 'Learning rate'."),
        ({"lr": 0}, "lr must be above 0."),
        ({"kl_target": -1}, "kl_target must be above 0."),
        ({"seed": -1}, "seed must be a whole number"),
        ({"seed": True}, "Give a number for 'Seed'."),
        ({"classifier": 0, "rouge": 0}, "Nothing is rewarded: give at least one weight above 0."),
        ({"classifier": -1}, "Weights must be 0 or above."),
        ({"picks": 1}, "Choose the reward model that learned people's taste, or set its weight"),
        ({"picks": 1, "model": "policy"}, "Choose the reward model that learned people's taste"),
        ({"picks": 1, "model": "../x"}, "Choose the reward model that learned people's taste"),
        ({"data": "file"}, "Choose a file of dialogues first: JSONL, CSV or Parquet."),
        ({"data": "file", FILE: "notes.txt"}, "Choose a file of dialogues first: JSONL, CSV or"),
    ],
)
def test_what_cannot_work_is_said_before_anything_begins(
    recipe: Recipe, tmp_path: Path, values: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        recipe.job(values, tmp_path)
    assert str(caught.value).startswith(sentence)


def test_dialogues_without_references_cannot_be_rewarded_for_content(
    recipe: Recipe, tmp_path: Path, dialogues_file: WriteDialogues
) -> None:
    rows = [{"dialogue": row["dialogue"]} for row in tiny.dialogsum_rows(3)]
    values = {"data": "file", FILE: str(dialogues_file(rows=rows))}
    with pytest.raises(UserError, match="'Saying what happened' cannot be rewarded: add them, or"):
        recipe.job(values, tmp_path)
    assert "rouge" not in chosen(recipe.job(values | {"rouge": 0}, tmp_path)).reward


def test_short_dialogues_are_refused_at_once(
    recipe: Recipe, tmp_path: Path, dialogues_file: WriteDialogues
) -> None:
    values = {"data": "file", FILE: str(dialogues_file(rows=[{"dialogue": "#Person1#: Hi."}]))}
    with pytest.raises(UserError, match="No dialogue has between 200 and 1000 characters"):
        recipe.job(values, tmp_path)


# rewards


def test_reward_models_are_found_among_the_runs(runs: Path) -> None:
    assert sorted(reward_models(runs)) == [
        ("old/model", "old/model"),
        ("taste · right on 74% of unseen pairs", "taste"),
    ]
    assert reward_models(runs / "none") == []


weights = st.floats(0, 3).map(lambda x: round(x, 1))


@given(classifier=weights, rouge=weights)
def test_a_mixture_says_the_weights_that_were_chosen(classifier: float, rouge: float) -> None:
    values = {"classifier": classifier, "rouge": rouge, "picks": 0.0, "model": NONE}
    if not (classifier or rouge):
        with pytest.raises(UserError, match="Nothing is rewarded"):
            reward_spec(values, "classifier", Path())
        return
    kind, _, rest = reward_spec(values, "classifier", Path()).partition(":")
    found = dict(part.split("=") for part in rest.split(","))
    assert kind == "mixed" and {k: float(v) for k, v in found.items()} == {
        name: weight for name, weight in (("classifier", classifier), ("rouge", rouge)) if weight
    }


# any recipe


def test_facts_leave_out_what_does_not_count(tmp_path: Path) -> None:
    fields = (
        Field("way", "Way", "choice", "a", choices=lambda: [("first", "a"), ("second", "b")]),
        Field("depth", "Depth", "whole", 3, when=("way", "b")),
        Field("share", "Share", "weight", 0.5),
        Field("size", "Size", "number", 0.25),
    )
    recipe = Recipe("x", "X", "", fields, lambda values, folder: ["module", values["way"]])
    job = recipe.job({}, tmp_path / "x-1")
    assert job.facts == (("Way", "first"), ("Size", "0.25")) and job.mix == (("Share", 0.5),)
    assert (job.name, job.kind, job.argv) == ("x-1", "x", ("module", "a"))
    assert ("Depth", "3") in recipe.job({"way": "b"}, tmp_path).facts
