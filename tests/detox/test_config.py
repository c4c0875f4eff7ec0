from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from detox.config import (
    PRESETS,
    ClassifierConfig,
    Lora,
    PpoConfig,
    Sampling,
    SftConfig,
    cache_dir,
    find_preset,
    recorded,
)
from detox.errors import UserError

CONFIGS = [Sampling, Lora, SftConfig, PpoConfig, ClassifierConfig]


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        (Sampling, {"temperature": -0.1}, "temperature must lie between 0 and 5."),
        (Sampling, {"temperature": 5.1}, "temperature must lie between 0 and 5."),
        (Sampling, {"temperature": float("nan")}, "temperature must lie between 0 and 5."),
        (Sampling, {"top_p": 0.0}, "top_p must be above 0 and at most 1."),
        (Sampling, {"top_p": 1.01}, "top_p must be above 0 and at most 1."),
        (Sampling, {"top_k": -1}, "top_k must be 0 (all tokens) or a positive number."),
        (Sampling, {"max_new_tokens": 0}, "max_new_tokens must lie between 1 and 1024."),
        (Sampling, {"max_new_tokens": 1025}, "max_new_tokens must lie between 1 and 1024."),
        (Sampling, {"seed": -1}, "seed must be a whole number from 0 to 4294967295."),
        (Sampling, {"seed": 2**32}, "seed must be a whole number from 0 to 4294967295."),
        (Lora, {"r": 0}, "lora r must be at least 1."),
        (Lora, {"dropout": 1.0}, "lora dropout must be at least 0 and below 1."),
        (SftConfig, {"steps": 0}, "steps must be at least 1."),
        (SftConfig, {"batch_size": 0}, "batch_size must be at least 1."),
        (SftConfig, {"lr": 0.0}, "lr must be above 0."),
        (SftConfig, {"style": "loud"}, "style must be verbatim or gentle."),
        (SftConfig, {"lora_r": 0}, "lora r must be at least 1."),
        (SftConfig, {"lora_dropout": -0.1}, "lora dropout must be at least 0 and below 1."),
        (PpoConfig, {"steps": 0}, "steps must be at least 1."),
        (PpoConfig, {"mini_batch_size": 5}, "batch_size must be a multiple of mini_batch_size."),
        (PpoConfig, {"mini_batch_size": 0}, "batch_size must be a multiple of mini_batch_size."),
        (PpoConfig, {"mini_batch_size": 32}, "batch_size must be a multiple of mini_batch_size."),
        (PpoConfig, {"scope": "all"}, "scope must be response or pair."),
        (
            PpoConfig,
            {"min_response_tokens": 9, "max_response_tokens": 8},
            "min_response_tokens must be at least 1 and at most max_response_tokens.",
        ),
        (PpoConfig, {"lr": -1.0}, "lr must be above 0."),
        (PpoConfig, {"lora_r": 0}, "lora r must be at least 1."),
        (ClassifierConfig, {"epochs": 0}, "epochs must be at least 1."),
        (ClassifierConfig, {"batch_size": 0}, "batch_size must be at least 1."),
    ],
)
def test_impossible_numbers_are_refused(kind: Any, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        kind(**values)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Sampling, {"temperature": 0, "top_p": 1, "top_k": 1, "max_new_tokens": 1, "seed": 0}),
        (Sampling, {"temperature": 5, "max_new_tokens": 1024, "seed": 2**32 - 1}),
        (PpoConfig, {"batch_size": 1, "mini_batch_size": 1}),
        (PpoConfig, {"min_response_tokens": 1, "max_response_tokens": 1}),
    ],
)
def test_the_ends_of_each_range_are_allowed(kind: Any, values: dict[str, Any]) -> None:
    assert {key: asdict(kind(**values))[key] for key in values} == values


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_has_a_default_and_a_meaning(kind: Any) -> None:
    kind()
    assert all(field.metadata["help"].strip() for field in fields(kind))


@pytest.mark.parametrize(
    ("targets", "modules"),
    [
        ("all-linear", "all-linear"),
        ("q", ["q"]),
        ("q,v", ["q", "v"]),
        (" q , v ", ["q", "v"]),
        ("q,v,", ["q", "v"]),
    ],
)
def test_lora_targets(targets: str, modules: str | list[str]) -> None:
    assert Lora(targets=targets).target_modules == modules


def test_adapters_are_shaped_by_the_config() -> None:
    assert SftConfig(lora_r=4, lora_alpha=8, lora_dropout=0.1, lora_targets="q").lora == Lora(
        4, 8, 0.1, "q"
    )
    assert PpoConfig(lora_r=4, lora_alpha=8, lora_targets="q").lora == Lora(4, 8, 0.0, "q")


def test_the_notebook_preset_has_the_settings_of_the_lab() -> None:
    preset = find_preset("notebook")
    assert preset.before == preset.ppo.policy == preset.sft.base == "google/flan-t5-base"
    assert preset.reward == preset.ppo.reward
    assert preset.reward == "classifier:facebook/roberta-hate-speech-dynabench-r4-target"
    ppo = asdict(preset.ppo)
    lab = {
        "data": "knkarthick/dialogsum",
        "lr": 1.41e-5,
        "ppo_epochs": 1,
        "batch_size": 16,
        "mini_batch_size": 4,
        "steps": 10,
        "min_dialogue_chars": 200,
        "max_dialogue_chars": 1000,
        "min_response_tokens": 100,
        "max_response_tokens": 400,
        "scope": "pair",
        "lora_r": 32,
        "lora_alpha": 32,
        "lora_targets": "q,v",
    }
    assert {key: ppo[key] for key in lab} == lab
    assert preset.sft.lora == Lora(r=32, alpha=32, dropout=0.05, targets="q,v")


def test_the_flan_preset_differs_from_the_notebook_in_how_it_is_tuned() -> None:
    flan, notebook = find_preset("flan-t5"), find_preset("notebook")
    assert (flan.before, flan.reward, flan.sft) == (
        notebook.before,
        notebook.reward,
        notebook.sft,
    )
    assert flan.ppo.lora == notebook.ppo.lora
    assert flan.ppo.scope == "response"


def test_the_embedded_preset_needs_no_hub() -> None:
    preset = find_preset("embedded")
    assert (preset.before, preset.after, preset.reward) == ("before", "after", "classifier")
    assert preset.sft.base == preset.sft.data == preset.ppo.data == "embedded"


def test_presets_know_their_names() -> None:
    assert all(preset.name == name for name, preset in PRESETS.items())


def test_an_unknown_preset() -> None:
    with pytest.raises(
        UserError, match=r"^Unknown preset 'x': choose one of embedded, flan-t5, notebook\.$"
    ):
        find_preset("x")


def test_a_recorded_config_names_data_files_without_their_folders() -> None:
    config = SftConfig(data="embedded, /home/ada/chats/train.jsonl")
    assert recorded(config) == asdict(config) | {"data": "embedded,train.jsonl"}
    assert recorded(Sampling()) == asdict(Sampling())


def test_a_recorded_config_names_hub_data_in_full() -> None:
    assert recorded(find_preset("notebook").sft)["data"] == "knkarthick/dialogsum"


def test_cache_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DETOX_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("DETOX_CACHE", "")
    assert cache_dir() == Path.home() / ".cache" / "detox-arena"
