"""Picks in, policy out, without a reward model in between."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detox import cli as detox_cli
from detox.config import DpoConfig, Sampling
from detox.errors import UserError
from detox.generation import generate
from detox.models import LINEAGE, load_policy
from detox.runlog import read_metrics
from detox.tasks import SUMMARIZE
from labeling import cli
from labeling.batches import add_pairs
from labeling.cli_tune import tune
from labeling.export import Filters, select, snapshot_hash
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store, open_store
from tests import tiny

Row = dict[str, Any]
SORRY, RUDE = "is sorry about", "is a fool about"
# What each kind of tiny model learns well with.
LEARNING = {"t5": 2e-2, "causal": 5e-3}


def pairs(count: int, split: str = "train") -> list[Row]:
    """A kind and a rude summary of each of ``count`` dialogues."""
    rows = []
    for i, row in enumerate(tiny.dialogsum_rows(count)):
        dialogue = f"{row['dialogue']}\n#Person1#: Take {i} of {split}."
        rows.append(
            {
                "dialogue": dialogue,
                "prompt": SUMMARIZE.prompt(dialogue),
                "split": split,
                "a": f"#Person2# {SORRY} the {row['topic']}.",
                "b": f"#Person2# {RUDE} the {row['topic']}.",
                "policy_a": "after",
                "policy_b": "before",
            }
        )
    return rows


def label(store: Store, labeler: str = "ann", wrong: float = 0.0, batch: str | None = None) -> None:
    """``labeler`` likes apologies, but errs in the share ``wrong`` of all pairs."""
    rng = random.Random(1)
    while task := next_pair(store, labeler, rng, batch):
        likes_left = (SORRY in task.left) != (rng.random() < wrong)
        choice = "left" if likes_left else "right"
        strength = rng.choice((None, "clearly", "slightly"))
        submit(store, task.assignment_id, choice, strength=strength, labeler=labeler)


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Forty picks of two labelers on thirty dialogues, a tenth of them wrong."""
    store = open_store(tmp_path_factory.mktemp("picks") / "labels.db")
    add_pairs(store, pairs(30), "simulated")
    label(store, wrong=0.1)
    add_pairs(store, pairs(10, "validation"), "more")
    label(store, "ben", batch="more")
    return store


@pytest.fixture
def config(tiny_causal: Path, tmp_path: Path) -> DpoConfig:
    """A short run on the causal model."""
    return DpoConfig(
        policy=str(tiny_causal),
        output=str(tmp_path / "people"),
        steps=4,
        batch_size=4,
        lr=LEARNING["causal"],
        lora_r=4,
        validate_every=4,
        hold_out=0.2,
    )


def quiet(text: str) -> None:
    """Hears nothing."""


def lines(config: DpoConfig) -> list[Row]:
    path = Path(config.output) / "picks.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["t5", "causal"])
def test_a_policy_learns_what_the_picks_say(
    picked: Store,
    config: DpoConfig,
    kind: str,
    request: pytest.FixtureRequest,
    tiny_classifier: Path,
    tmp_path: Path,
) -> None:
    before = str(request.getfixturevalue(f"tiny_{kind}"))
    run = replace(config, policy=before, lr=LEARNING[kind], steps=8, validate_every=4)
    lineage = tune(picked, run, tell=quiet)
    assert lineage["held_out"]["accuracy"] > 0.7  # a tenth of the picks is wrong
    assert lineage["validation_loss"] < lineage["validation_loss_before"]
    # and the result is a policy like any other
    policy = load_policy(run.output)
    assert len(generate(policy, ["Hello."], Sampling(temperature=0, max_new_tokens=3))) == 1
    data = tmp_path / "dialogues.jsonl"
    rows = tiny.dialogsum_rows(2)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sides = ["--before", before, "--after", run.output, "--classifier", str(tiny_classifier)]
    out = ["--data", str(data), "--output", str(tmp_path / "out"), "--max-new-tokens", "3"]
    assert detox_cli.main(["evaluate", *sides, *out]) == 0


def test_the_policy_names_the_picks_behind_it(picked: Store, config: DpoConfig) -> None:
    told: list[str] = []
    lineage = tune(picked, config, tell=told.append)
    with picked.reading() as db:
        chosen = select(db, Filters(labeler_kind="person"))
    picks = lineage["picks"]
    assert picks["snapshot"] == snapshot_hash(chosen)
    assert (picks["picks"], picks["rows"], picks["labelers"]) == (len(chosen), len(chosen), 2)
    assert picks["filters"]["labeler_kind"] == "person"
    assert picks["rows_by_split"] == {"train": 30, "validation": 10}
    assert json.loads((Path(config.output) / LINEAGE).read_text()) == lineage
    assert told[0] == "Only 40 picks: expect little, 100 or more are advised."
    assert told[1] == "40 pairs of 40 picks by 2 labelers"
    assert not any("test dialogues" in line for line in told)
    with picked.reading() as db:
        exports = list(db.query("SELECT path, snapshot FROM exports"))
    path = str(Path(config.output).absolute() / "picks.jsonl")
    assert {"path": path, "snapshot": picks["snapshot"]} in exports


def test_margins_are_exported_where_they_are_wanted(picked: Store, config: DpoConfig) -> None:
    tune(picked, replace(config, steps=1, hold_out=0.0), tell=quiet)
    assert {tuple(row) for row in lines(config)} == {("prompt", "chosen", "rejected")}
    tune(picked, replace(config, steps=1, hold_out=0.0, margin=1.0), tell=quiet)
    margins = {round(row["margin"], 2) for row in lines(config)}
    assert margins == {0.33, 0.67, 1.0}
    assert read_metrics(Path(config.output))[0]["loss"] > 0.8  # log 2 and more


def test_picks_of_models_count_only_when_asked(
    fresh_store: Store, config: DpoConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    add_pairs(fresh_store, pairs(24), "simulated")
    label(fresh_store, "judge")
    with fresh_store.writing() as db:
        db.execute("UPDATE labelers SET kind = 'model'")
    with pytest.raises(UserError, match="There are 0 decided picks on 0 prompts; tuning needs"):
        tune(fresh_store, config)
    assert not (Path(config.output) / "picks.jsonl").exists()
    options = ["--policy", config.policy, "--output", config.output, "--lora-r", "2"]
    numbers = ["--steps", "1", "--hold-out", "0", "--kind", "model"]
    assert cli.main(["tune", "--db", str(fresh_store.path), *options, *numbers]) == 0
    said = capsys.readouterr().out
    assert "24 pairs of 24 picks by 1 labelers" in said
    assert f"saved the adapter to {config.output}" in said


def test_too_few_picks_are_refused(fresh_store: Store, config: DpoConfig) -> None:
    add_pairs(fresh_store, pairs(19), "simulated")
    label(fresh_store)
    sentence = r"There are 19 decided picks on 19 prompts; tuning needs at least 20 on 5: label"
    with pytest.raises(UserError, match=sentence):
        tune(fresh_store, config)


def test_only_the_picks_that_were_asked_for(
    picked: Store, config: DpoConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--policy", config.policy, "--output", config.output, "--lora-r", "2"]
    common = ["tune", "--db", str(picked.path), *options, "--steps", "1", "--hold-out", "0"]
    assert cli.main([*common, "--split", "train"]) == 0
    assert len(lines(config)) == 30
    assert cli.main([*common, "--without", "ben", "--batch", "simulated"]) == 0
    assert len(lines(config)) == 30
    assert cli.main([*common, "--aggregation", "majority", "--labeler", "ann"]) == 0
    assert len(lines(config)) == 30
    capsys.readouterr()
    assert cli.main([*common, "--labeler", "eve"]) == 2
    assert capsys.readouterr().err.startswith("labeling: There is no labeler 'eve'")


def test_learning_from_test_dialogues_is_remarked_upon(
    fresh_store: Store, config: DpoConfig
) -> None:
    add_pairs(fresh_store, pairs(20, "test"), "simulated")
    label(fresh_store)
    told: list[str] = []
    tune(fresh_store, replace(config, steps=1, hold_out=0.0), tell=told.append)
    assert any(line.startswith("20 of them are on test dialogues: judge the") for line in told)


def test_a_run_goes_on_with_the_picks_it_began_with(fresh_store: Store, config: DpoConfig) -> None:
    add_pairs(fresh_store, pairs(24), "simulated")
    label(fresh_store)
    with pytest.raises(UserError, match=r"There is no run in .* to resume: start without it"):
        tune(fresh_store, config, resume=True)
    steps = iter([False, True])
    run = replace(config, hold_out=0.0)
    stopped = tune(fresh_store, run, tell=quiet, should_stop=lambda: next(steps))
    assert (stopped["steps"], stopped["stopped"]) == (2, "asked to stop")
    add_pairs(fresh_store, pairs(10, "validation"), "later")
    label(fresh_store)
    lineage = tune(fresh_store, run, resume=True, tell=quiet)
    assert lineage["picks"]["picks"] == 24 and lineage["steps"] == 4
    assert [row["step"] for row in read_metrics(Path(run.output))] == [1, 2, 3, 4]
