"""The pipeline's settings: read from YAML, checked, and told apart from typing errors."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from detox import cli
from detox.config import EMBEDDED, PRESETS
from detox.data import EMBEDDED_FOLDER
from detox.errors import UserError
from detox.pipeline.config import DATASETS, PipelineConfig, read_config
from detox.pipeline.example import FILES, write_example
from detox.pipeline.formats import parse_preferences, parse_prompts
from detox.pipeline.work import ppo_config

ROOT = Path(__file__).parents[2]
DATA = "preference_dataset: a.jsonl\nprompt_dataset: b.jsonl\neval_dataset: gs://c/d.jsonl\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "p.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_paths_are_relative_to_the_file(write: Any, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    text = "output: ../out\nlarge_model_reference: model\nreward_model_base: org/model\n"
    config = read_config(write(DATA + text))
    assert config.preference_dataset == str(tmp_path / "a.jsonl")
    assert config.eval_dataset == "gs://c/d.jsonl"
    assert config.output == str(tmp_path.parent / "out")
    assert config.large_model_reference == str(tmp_path / "model")
    assert config.reward_model_base == "org/model"  # there is no such folder: a hub name
    assert read_config(write(DATA), {"output": "here"}).output == "here"
    # the default output is nobody's relative path
    assert read_config(write(DATA)).output == PipelineConfig().output


def test_numbers_as_people_write_them(write: Any) -> None:
    config = read_config(write(DATA + "kl_coeff: 1e-2\ntemperature: 1\ninstruction:\n"))
    assert (config.kl_coeff, config.temperature, config.instruction) == (0.01, 1.0, "")


def test_an_unknown_setting_is_refused_with_the_known_ones(write: Any) -> None:
    with pytest.raises(UserError) as refused:
        read_config(write(DATA + "kl_coef: 1\nsteps: 2\n"))
    sentence = str(refused.value)
    assert "has unknown settings (kl_coef, steps): known are preference_dataset, " in sentence
    assert all(field.name in sentence for field in fields(PipelineConfig))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("batch_size: many", "batch_size must be a whole number, not 'many'."),
        ("batch_size: true", "batch_size must be a whole number, not True."),
        ("batch_size: 1.5", "batch_size must be a whole number, not 1.5."),
        ("kl_coeff: low", "kl_coeff must be a number, not 'low'."),
        ("instruction: 5", "instruction must be a text, not 5."),
        ("kl_coeff: -0.1", "kl_coeff must be 0 or a positive number."),
        ("batch_size: 0", "batch_size must be above 0."),
        ("held_out: 1.0", "held_out must lie between 0 and 1."),
        ("temperature: 9", "temperature must lie between 0 and 5."),
        ("seed: -1", "seed must be a whole number from 0 to 4294967295."),
        ("preset: none", "Unknown preset 'none': choose one of embedded, flan-t5, notebook."),
        (
            "reward_model_train_steps: 5\nreward_model_epochs: 1",
            "Give reward_model_train_steps or reward_model_epochs, not both, and none below 0.",
        ),
    ],
)
def test_impossible_settings(write: Any, text: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        read_config(write(DATA + text + "\n"))
    assert str(refused.value) == sentence


def test_files_that_are_no_settings(write: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml cannot be read: check the path\.$"):
        read_config(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match=r"is not YAML, line 2: write it as 'setting: value' lines"):
        read_config(write("a: b\n  c: d: e\n"))
    with pytest.raises(UserError, match=r"must hold 'setting: value' lines\.$"):
        read_config(write("- a\n"))
    with pytest.raises(UserError, match=r"names no preference_dataset: add a JSONL file or URL\.$"):
        read_config(write(""))


# what becomes of them


def ppo(**values: Any) -> Any:
    folders = {"prompts": Path("p"), "reward_model": Path("r")}
    return ppo_config(PipelineConfig(**values), 3000, folders, Path("out"))


def test_epochs_become_steps() -> None:
    assert ppo(reinforcement_learning_epochs=30, batch_size=64).steps == 1410
    assert ppo(reinforcement_learning_train_steps=7).steps == 7
    assert ppo().steps == PRESETS[EMBEDDED].ppo.steps


def test_ppo_is_set_up_as_the_pipeline_says() -> None:
    usual = PRESETS["flan-t5"].ppo
    config = ppo(
        preset="flan-t5", reinforcement_learning_rate_multiplier=0.5, batch_size=6, kl_coeff=0.3
    )
    assert config.lr == 0.5 * usual.lr and config.lora == usual.lora
    assert (config.kl_coef, config.kl_horizon) == (0.3, 0)
    assert (config.batch_size, config.mini_batch_size) == (6, 2)
    assert (config.reward, config.data) == ("preference:r", str(Path("p") / "rows.jsonl"))
    short = ppo(max_response_tokens=5)
    assert (short.min_response_tokens, short.max_response_tokens) == (5, 5)


# what ships


def test_the_configuration_that_ships_is_read() -> None:
    config = read_config(ROOT / "configs" / "pipeline.yaml")
    for name, file in zip(DATASETS, FILES, strict=True):
        assert Path(getattr(config, name)) == ROOT / "runs" / "pipeline-data" / file
    assert Path(config.output) == ROOT / "runs" / "pipeline"


def test_every_setting_is_documented() -> None:
    told = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    assert [field.name for field in fields(PipelineConfig) if f"`{field.name}`" not in told] == []


def test_the_example_is_honest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["pipeline-data", "--output", str(tmp_path)]) == 0
    assert "preferences.jsonl: 305 rows" in capsys.readouterr().out
    preferences, prompts, asked = ((tmp_path / name).read_bytes() for name in FILES)
    rows = parse_preferences(preferences, "")
    written = EMBEDDED_FOLDER / "dialogues.jsonl"
    known = [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()]
    assert [(row.chosen, row.rejected) for row in rows] == [
        (row["summary_gentle"], row["summary_verbatim"])
        for row in known
        if row["split"] == "train" and row["rude"]
    ]
    train, evaluation = parse_prompts(prompts, ""), parse_prompts(asked, "")
    assert {row.prompt for row in rows} < set(train)
    assert not set(train) & set(evaluation)
    assert len(train) == 477 and len(evaluation) == 52
    choices = preferences.decode().count('"choice": 0}')
    assert 120 < choices < 185  # neither slot gives the answer away
    write_example(tmp_path / "again", tell=lambda line: None)
    assert (tmp_path / "again" / FILES[0]).read_bytes() == preferences
