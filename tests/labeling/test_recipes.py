"""Trainings on the picks, as the Train tab offers them: commands that their command lines know."""

from __future__ import annotations

from pathlib import Path

import pytest

import labeling.cli
from detox.errors import UserError
from detox.job import POLICY, REWARD
from detox.workbench import Workbench
from labeling.recipes import preference_recipe, reward_recipe
from labeling.store import Store
from tests.labeling.conftest import Judge


@pytest.fixture
def database(tmp_path: Path, store: Store, judge: Judge) -> Path:
    """A database with three decided picks and a tie."""
    judge(store, "ada", ["after", "after", "before", "tie"])
    return tmp_path / "labels.db"


@pytest.fixture
def bench(tiny_causal: Path, tiny_t5: Path) -> Workbench:
    return Workbench({"before": str(tiny_causal), "after": str(tiny_t5)})


def test_a_reward_model_is_asked_for_as_in_a_terminal(database: Path, tmp_path: Path) -> None:
    values = {"batch": "first", "votes": "majority", "epochs": 2, "lr": 1e-3, "seed": 5}
    folder = tmp_path / "reward-1"
    job = reward_recipe(database).job(values, folder)
    assert job.argv[0] == "labeling" and job.makes == REWARD
    parsed = labeling.cli.parser(job.argv[1:]).parse_args([*job.argv[1:], "--resume"])
    assert (parsed.db, parsed.output) == (str(database), str(folder))
    assert (parsed.batch, parsed.aggregation) == ("first", "majority")
    assert (parsed.epochs, parsed.lr, parsed.seed, parsed.resume) == (2, 1e-3, 5, True)
    assert ("Picks count", "the majority of each pair") in job.facts
    everything = reward_recipe(database).job({}, folder)
    assert labeling.cli.parser(everything.argv[1:]).parse_args(everything.argv[1:]).batch is None


def test_direct_tuning_is_asked_for_as_in_a_terminal(
    database: Path, bench: Workbench, tmp_path: Path, tiny_t5: Path
) -> None:
    folder = tmp_path / "after-2"
    values = {"policy": "after", "loss": "ipo", "beta": 0.5, "epochs": 1, "seed": 3}
    job = preference_recipe(bench, database).job(values, folder)
    assert job.argv[0] == "labeling" and job.makes == POLICY
    parsed = labeling.cli.parser(job.argv[1:]).parse_args([*job.argv[1:], "--resume"])
    assert (parsed.db, parsed.output, parsed.policy) == (str(database), str(folder), str(tiny_t5))
    assert (parsed.loss, parsed.beta, parsed.epochs, parsed.seed) == ("ipo", 0.5, 1, 3)
    assert (parsed.kind, parsed.aggregation, parsed.resume) == ("person", "every", True)
    assert ("It takes it that", "against overfitting (IPO)") in job.facts
    with pytest.raises(UserError, match="Unknown policy 'later'"):
        preference_recipe(bench, database).job({"policy": "later"}, folder)


def test_batches_are_offered_as_they_come(database: Path, tmp_path: Path) -> None:
    field = next(field for field in reward_recipe(database).fields if field.name == "batch")
    assert field.choices is not None
    assert list(field.choices()) == [("all", ""), ("first", "first")]
    broken = tmp_path / "broken.db"
    broken.write_text("this is no database")
    field = next(field for field in reward_recipe(broken).fields if field.name == "batch")
    assert field.choices is not None and list(field.choices()) == [("all", "")]


def test_settings_that_cannot_be_are_refused_at_once(database: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="epochs and batch_size must be at least 1"):
        reward_recipe(database).job({"epochs": 0}, tmp_path)
