"""Feedback as reward: picks become a reward model, and PPO is tuned against it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from detox import cli as detox_cli
from detox.config import PpoConfig, RewardConfig, find_preset
from detox.errors import UserError
from detox.judges import tuned_on
from detox.models import LINEAGE, parameter_counts, read_lineage
from detox.ppo.trainer import train_ppo
from detox.reward_model import accuracy
from detox.rewards import MixedReward, PreferenceReward, load_reward
from detox.runlog import read_metrics
from labeling import cli
from labeling.batches import add_pairs
from labeling.export import select, snapshot_hash
from labeling.formats import decided
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.reward_model import train_reward_model
from labeling.store import Store, open_store
from tests.conftest import WriteDialogues

Row = dict[str, Any]
Config = Callable[..., RewardConfig]
SORRY, RUDE = "apologizes", "mocks"
FILLERS = ["the tickets", "the soup", "the report", "the train", "a walk", "the river", "dinner"]


def pairs(dialogues: int, each: int = 2, seed: int = 0) -> list[Row]:
    """Pairs of summaries that differ in one word, and in which of them is the longer one."""
    rng = random.Random(seed)
    rows = []
    for number in range(dialogues):
        dialogue = f"#Person1#: Where is number {number}?\n#Person2#: At home."
        for version in range(each):
            things = [" and ".join(rng.sample(FILLERS, rng.choice((1, 2)))) for _ in range(2)]
            kind, rude = f"#Person2# {SORRY} about {things[0]}.", f"#Person2# {RUDE} {things[1]}."
            rows.append(
                {
                    "dialogue": dialogue,
                    "prompt": f"{dialogue}\nSummary:\n",
                    "a": kind,
                    "b": rude,
                    "policy_a": f"after-{version}",
                    "policy_b": "before",
                }
            )
    return rows


def label(store: Store, prefer: Callable[[str, str], str], labeler: str = "ann") -> int:
    """``labeler`` judges every pair; ``prefer(left, right)`` is the choice."""
    rng, count = random.Random(1), 0
    while task := next_pair(store, labeler, rng):
        submit(store, task.assignment_id, prefer(task.left, task.right), labeler=labeler)
        count += 1
    return count


def likes_apologies(left: str, right: str) -> str:
    return "left" if SORRY in left else "right"


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A hundred picks on fifty dialogues by somebody who likes apologies."""
    store = open_store(tmp_path_factory.mktemp("picks") / "labels.db")
    add_pairs(store, pairs(50), "simulated")
    assert label(store, likes_apologies) == 100
    return store


@pytest.fixture(scope="module")
def trained(
    picked: Store, tiny_reward_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Row, list[str]]:
    """A reward model trained on ``picked``: its folder, its lineage, what was told."""
    folder = tmp_path_factory.mktemp("runs") / "people"
    told: list[str] = []
    config = RewardConfig(
        base=str(tiny_reward_model), output=str(folder), epochs=8, lr=5e-3, lora_r=4
    )
    return folder, train_reward_model(picked, config, told.append), told


@pytest.fixture
def config(tiny_reward_model: Path, tmp_path: Path) -> RewardConfig:
    """One short pass."""
    return RewardConfig(
        base=str(tiny_reward_model), output=str(tmp_path / "reward"), epochs=1, lora_r=2
    )


def preferences(store: Store) -> list[Row]:
    with store.reading() as db:
        return [dict(row) for row in select(db)]


# what it learns


def test_it_learns_what_the_labeler_likes(trained: tuple[Path, Row, list[str]]) -> None:
    _, lineage, _ = trained
    assert lineage["accuracy"]["train"] > 0.9
    assert lineage["accuracy"]["held_out"] > 0.8  # dialogues it has never seen; chance is 0.5


def test_it_judges_texts_it_has_never_seen(trained: tuple[Path, Row, list[str]]) -> None:
    source = load_reward(f"preference:{trained[0]}")
    prompts = [row["prompt"] for row in pairs(8, 1, seed=99)]
    kind, rude = (
        source.score(prompts, [f"#Person1# {word} {thing}." for thing in [*FILLERS, "it"]])
        for word in (f"{SORRY} about", RUDE)
    )
    assert (kind > rude).float().mean() > 0.8


def test_what_is_saved_judges_as_what_was_trained(
    trained: tuple[Path, Row, list[str]], picked: Store
) -> None:
    folder, lineage, _ = trained
    source = load_reward(f"preference:{folder}")
    assert isinstance(source, PreferenceReward)
    rows = [row for row in preferences(picked) if decided(row)]
    counts = lineage["accuracy"]
    whole = accuracy(source, rows)
    assert whole is not None
    # half precision on disk may turn a pick that hung in the balance
    assert min(counts.values()) - 0.03 <= whole <= max(counts.values()) + 0.03


def test_the_opposite_taste_gives_the_opposite_model(
    tiny_reward_model: Path, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "labels.db")
    add_pairs(store, pairs(30), "simulated")
    label(store, lambda left, right: "left" if RUDE in left else "right")
    folder = tmp_path / "reward"
    train_reward_model(
        store,
        RewardConfig(base=str(tiny_reward_model), output=str(folder), epochs=8, lr=5e-3, lora_r=4),
        lambda line: None,
    )
    source = load_reward(f"preference:{folder}")
    rows = preferences(store)
    prompts = [row["prompt"] for row in rows]
    gap = source.score(prompts, [row["chosen"] for row in rows]) - source.score(
        prompts, [row["rejected"] for row in rows]
    )
    assert (gap > 0).float().mean() > 0.8


def test_rewards_are_centred(trained: tuple[Path, Row, list[str]], picked: Store) -> None:
    source = load_reward(f"preference:{trained[0]}")
    rows = preferences(picked)
    texts = [row["chosen"] for row in rows] + [row["rejected"] for row in rows]
    scores = source.score([row["prompt"] for row in rows] * 2, texts)
    assert abs(float(scores.mean())) < 0.5 * float(scores.std())


# which picks count


def test_dialogues_are_held_out_not_picks(trained: tuple[Path, Row, list[str]]) -> None:
    _, lineage, told = trained
    (said,) = (line for line in told if "held out" in line and "picks to learn" in line)
    learned, validated, held = (int(word) for word in said.split() if word.isdigit())
    assert learned + validated + held == lineage["picks"] == 100
    assert lineage["pairs"] == {"train": learned, "validation": validated, "held_out": held}
    # both pairs of a dialogue are on one side
    assert learned % 2 == validated % 2 == held % 2 == 0
    assert 4 <= held <= 36 and 4 <= validated <= 30


def test_ties_skips_and_both_bad_teach_nothing(fresh_store: Store, config: RewardConfig) -> None:
    add_pairs(fresh_store, pairs(20), "simulated")
    answers = iter(["tie", "both_bad", "skip"] * 4 + ["left"] * 28)
    label(fresh_store, lambda left, right: next(answers))
    lineage = train_reward_model(fresh_store, config, lambda line: None)
    rows = [row for row in preferences(fresh_store) if row["choice"] == "left"]
    assert lineage["picks"] == 28
    assert lineage["snapshot"] == snapshot_hash(rows)


def test_picks_of_models_do_not_count(fresh_store: Store, config: RewardConfig) -> None:
    add_pairs(fresh_store, pairs(20), "simulated")
    label(fresh_store, likes_apologies, labeler="judge")
    with fresh_store.writing() as db:
        db.execute("UPDATE labelers SET kind = 'model'")
    with pytest.raises(UserError, match="There are 0 decided picks on 0 dialogues"):
        train_reward_model(fresh_store, config)


@pytest.mark.parametrize(
    ("dialogues", "each", "sentence"),
    [
        (0, 0, "There are 0 decided picks on 0 dialogues; a reward model needs at least 20 on 5"),
        (6, 3, "There are 18 decided picks on 6 dialogues"),
        (4, 6, "There are 24 decided picks on 4 dialogues"),
    ],
)
def test_too_few_picks(
    fresh_store: Store, config: RewardConfig, dialogues: int, each: int, sentence: str
) -> None:
    add_pairs(fresh_store, pairs(dialogues, each), "simulated")
    label(fresh_store, likes_apologies)
    with pytest.raises(UserError, match=sentence):
        train_reward_model(fresh_store, config)
    assert not Path(config.output).exists()


def test_few_picks_are_remarked_upon(fresh_store: Store, config: RewardConfig) -> None:
    add_pairs(fresh_store, pairs(10), "simulated")
    label(fresh_store, likes_apologies)
    told: list[str] = []
    train_reward_model(fresh_store, config, told.append)
    assert told[0].startswith("Only 20 picks: expect a weak model, 50 or more are advised.")


def test_nothing_left_to_learn_from(fresh_store: Store, config: RewardConfig) -> None:
    add_pairs(fresh_store, pairs(5, 4), "simulated")
    label(fresh_store, likes_apologies)
    with pytest.raises(UserError, match="held_out leaves no dialogue to learn from: lower it"):
        train_reward_model(fresh_store, replace(config, held_out=0.99, validation=0.009))


# what is left behind


def test_a_seed_decides_the_model(picked: Store, config: RewardConfig, tmp_path: Path) -> None:
    scores = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        folder = tmp_path / name
        torch.manual_seed(len(scores))
        train_reward_model(
            picked, replace(config, output=str(folder), seed=seed), lambda line: None
        )
        source = load_reward(f"preference:{folder}")
        scores.append(source.score(["Hello."] * 2, ["It is fine.", "You fool."]))
    assert_close(scores[0], scores[1], rtol=0, atol=0)
    assert not torch.allclose(scores[0], scores[2])


def test_the_model_says_where_it_comes_from(
    trained: tuple[Path, Row, list[str]], picked: Store, tiny_reward_model: Path
) -> None:
    folder, lineage, _ = trained
    assert json.loads((folder / LINEAGE).read_text()) == lineage
    assert lineage["kind"] == "preference" and lineage["base"] == str(tiny_reward_model)
    assert (lineage["picks"], lineage["labelers"], lineage["seed"]) == (100, 1, 0)
    assert lineage["snapshot"] == snapshot_hash(preferences(picked))


def test_the_store_remembers_the_model(
    trained: tuple[Path, Row, list[str]], picked: Store, tiny_reward_model: Path
) -> None:
    folder, lineage, _ = trained
    with picked.reading() as db:
        rows = [
            row for row in db.query("SELECT * FROM reward_models") if row["path"] == str(folder)
        ]
    assert len(rows) == 1
    (row,) = rows
    assert (row["name"], row["base"], row["picks"]) == ("people", str(tiny_reward_model), 100)
    assert row["snapshot"] == lineage["snapshot"]
    metrics = json.loads(row["metrics"])
    assert metrics == lineage["accuracy"] | {"figures": lineage["figures"]}


def test_the_base_may_be_a_classifier_with_labels_of_its_own(
    picked: Store, config: RewardConfig, tiny_classifier: Path
) -> None:
    train_reward_model(picked, replace(config, base=str(tiny_classifier)), lambda line: None)
    source = load_reward(f"preference:{config.output}")
    assert source.score(["Hello."], ["It is fine."]).shape == (1,)


def test_a_prompt_that_is_too_long_leaves_the_response(
    trained: tuple[Path, Row, list[str]],
) -> None:
    source = load_reward(f"preference:{trained[0]}")
    prompt = "#Person1#: Where is the train? " * 100
    kind, rude = source.score(
        [prompt] * 2, [f"#Person2# {SORRY} about it.", f"#Person2# {RUDE} it."]
    )
    assert float(kind) != float(rude)


def test_the_number_of_trainable_parameters_is_small(
    trained: tuple[Path, Row, list[str]], tiny_reward_model: Path
) -> None:
    weights = trained[0] / "adapter_model.safetensors"
    assert weights.stat().st_size < (tiny_reward_model / "model.safetensors").stat().st_size
    source = load_reward(f"preference:{trained[0]}")
    assert isinstance(source, PreferenceReward)
    plain = load_reward(f"preference:{tiny_reward_model}")
    assert isinstance(plain, PreferenceReward)
    assert parameter_counts(source.model)[0] == parameter_counts(plain.model)[0]  # merged


# the settings and the command line


@pytest.mark.parametrize(
    "values",
    [
        {"held_out": 0.0},
        {"held_out": 1.0},
        {"epochs": 0},
        {"steps": -1},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lora_r": 0},
        {"lora_layers": -1},
        {"max_tokens": 0},
        {"method": "prompt"},
        {"ties": "keep"},
        {"validation": 0.8},
        {"validation": -0.1},
        {"validate_every": -1},
        {"patience": -1},
        {"center": -0.1},
        {"mixed_precision": "fp8"},
        {"seed": -1},
    ],
)
def test_impossible_settings(values: Row) -> None:
    with pytest.raises(UserError, match=rf"\b{next(iter(values))}\b"):
        RewardConfig(**values)


def test_the_command(
    picked: Store, config: RewardConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--base", config.base, "--output", config.output, "--epochs", "1", "--lora-r", "2"]
    assert cli.main(["reward", "--db", str(picked.path), *options]) == 0
    said = capsys.readouterr().out
    assert "picks to learn from" in said and f"saved to {config.output}" in said
    assert cli.main(["reward", "--db", str(picked.path), *options, "--base", "no/such"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("labeling: The model 'no/such' is neither a local folder nor reachable")


# as a reward


@pytest.fixture
def ppo(tiny_causal: Path, dialogues_file: WriteDialogues, tmp_path: Path) -> PpoConfig:
    return replace(
        find_preset("embedded").ppo,  # what the command line starts from
        policy=str(tiny_causal),
        data=str(dialogues_file()),
        output=str(tmp_path / "ppo"),
        steps=2,
        batch_size=4,
        mini_batch_size=4,
        lora_r=2,
        min_response_tokens=3,
        max_response_tokens=4,
    )


def test_ppo_is_tuned_against_what_people_prefer(
    trained: tuple[Path, Row, list[str]], ppo: PpoConfig
) -> None:
    lineage = train_ppo(replace(ppo, reward=f"preference:{trained[0]}"), tell=lambda line: None)
    assert lineage["steps"] == 2 and lineage["stopped"] == ""
    reward = lineage["reward"]
    assert (reward["name"], reward["scope"]) == (str(trained[0]), "pair")
    assert reward["temperature"] == trained[1]["calibration"]["temperature"]
    rows = read_metrics(Path(ppo.output))
    assert rows[0]["objective/kl"] == 0.0 and rows[0]["env/reward_std"] > 0


def test_ppo_is_tuned_against_people_and_classifier(
    trained: tuple[Path, Row, list[str]], ppo: PpoConfig, tiny_classifier: Path
) -> None:
    spec = f"mixed:classifier:{tiny_classifier}=0.5,preference:{trained[0]}=0.5"
    lineage = train_ppo(replace(ppo, reward=spec), tell=lambda line: None)
    reward = lineage["reward"]
    assert reward["weights"] == [0.5, 0.5]
    assert [source["scope"] for source in reward["sources"]] == ["response", "pair"]
    assert all(std > 0 for std in reward["stds"]) and len(reward["means"]) == 2
    assert isinstance(load_reward(spec), MixedReward)
    # and from a terminal, going on where that run ended
    options = ["--policy", ppo.policy, "--data", ppo.data, "--output", ppo.output, "--resume"]
    numbers = ["--batch-size", "4", "--mini-batch-size", "4", "--lora-r", "2", "--steps", "3"]
    tokens = ["--min-response-tokens", "3", "--max-response-tokens", "4"]
    assert detox_cli.main(["ppo", "--reward", spec, *options, *numbers, *tokens]) == 0
    assert [row["step"] for row in read_metrics(Path(ppo.output))] == [1, 2, 3]
    # each part is standardised as it was from the start
    assert read_lineage(Path(ppo.output))["reward"] == reward
    assert tuned_on([read_lineage(Path(ppo.output))]) == {"classifier", "preference"}
