"""Every setting of the pipeline, called as in Vertex AI's RLHF pipeline where that has it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from detox.config import EMBEDDED, find_preset, option
from detox.errors import UserError

DATASETS = ("preference_dataset", "prompt_dataset", "eval_dataset")
# The fields that may name files or folders, and so may be meant relative to the configuration.
_PLACES = (*DATASETS, "output", "prediction_output")
_MODELS = ("large_model_reference", "reward_model_base", "classifier")


@dataclass(frozen=True)
class PipelineConfig:
    """From preferences to a tuned policy and its evaluation; data sets are JSONL files or URLs."""

    preference_dataset: str = option("", "rows of input_text, candidate_0, candidate_1, choice")
    prompt_dataset: str = option("", "rows of input_text, which the policy is tuned on")
    eval_dataset: str = option("", "rows of input_text, which both policies answer in the end")
    large_model_reference: str = option("before", "policy to tune, which is also the reference")
    reward_model_base: str = option(EMBEDDED, "encoder: 'embedded', a hub name or a folder")
    reward_model_train_steps: int = option(0, "optimizer steps of the reward model")
    reward_model_epochs: int = option(0, "passes in place of steps; 4 where neither is given")
    reinforcement_learning_train_steps: int = option(0, "PPO steps, a batch of rollouts each")
    reinforcement_learning_epochs: int = option(
        0, "passes in place of steps; the preset's steps where neither is given"
    )
    reward_model_learning_rate_multiplier: float = option(1.0, "times the reward model's 5e-4")
    reinforcement_learning_rate_multiplier: float = option(1.0, "times the preset's learning rate")
    kl_coeff: float = option(0.1, "weight of the per-token KL penalty, constant")
    instruction: str = option("", "text put before every input_text, and a blank line after it")
    model_display_name: str = option("tuned", "what the tuned policy is called in the report")
    output: str = option("runs/pipeline", "folder of the stages, the manifest and the report")
    prediction_output: str = option("", "folder or URL that gets a copy of the bulk inference")
    preset: str = option(EMBEDDED, "where PPO's other settings come from")
    batch_size: int = option(16, "pairs a step of the reward model, rollouts a PPO step")
    held_out: float = option(0.2, "share of the preferences' prompts that measure the accuracy")
    max_response_tokens: int = option(0, "longest response; 0 takes the preset's")
    temperature: float = option(0.3, "of the bulk inference; 0 is greedy")
    classifier: str = option("", "judge that nothing is trained on: hub name, folder; embedded")
    label: str = option("", "the judge's label that means not-hate, if its name says nothing")
    save_every: int = option(10, "PPO steps between checkpoints")
    limit: int = option(0, "first N rows of each data set only; 0 is all")
    seed: int = option(0, "seed of weights, order, sampling and the held-out prompts")

    def __post_init__(self) -> None:
        for stage in ("reward_model", "reinforcement_learning"):
            steps, epochs = (getattr(self, f"{stage}_{unit}") for unit in ("train_steps", "epochs"))
            if min(steps, epochs) < 0 or (steps and epochs):
                raise UserError(
                    f"Give {stage}_train_steps or {stage}_epochs, not both, and none below 0."
                )
        for name in ("limit", "max_response_tokens", "kl_coeff"):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must be 0 or a positive number.")
        for name in (
            "reward_model_learning_rate_multiplier",
            "reinforcement_learning_rate_multiplier",
            "batch_size",
            "save_every",
        ):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} must be above 0.")
        if not 0 < self.held_out < 1:
            raise UserError("held_out must lie between 0 and 1.")
        if not 0 <= self.temperature <= 5:
            raise UserError("temperature must lie between 0 and 5.")
        if not 0 <= self.seed < 2**32:
            raise UserError("seed must be a whole number from 0 to 4294967295.")
        find_preset(self.preset)


def read_config(path: Path, changes: Mapping[str, Any] | None = None) -> PipelineConfig:
    """The configuration in the YAML file ``path``, with ``changes`` in the place of its values.

    Relative paths in the file are relative to the file's folder, those in ``changes`` to the
    working directory. Raises ``UserError`` for a file that cannot be read, unknown settings,
    values of another kind, and data sets that are not named.
    """
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UserError(f"{path} is not YAML{line}: write it as 'setting: value' lines.") from error
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise UserError(f"{path} must hold 'setting: value' lines.")
    kinds = {field.name: type(field.default) for field in fields(PipelineConfig)}
    if unknown := [str(key) for key in given if key not in kinds]:
        raise UserError(
            f"{path} has unknown settings ({', '.join(unknown)}): known are {', '.join(kinds)}."
        )
    # a setting without a value is as good as none
    values = {
        key: _typed(key, value, kinds[key]) for key, value in given.items() if value is not None
    }
    for key in (*_PLACES, *_MODELS):
        if values.get(key):
            values[key] = _placed(values[key], path.parent, key in _MODELS)
    config = replace(PipelineConfig(**values), **(changes or {}))
    for name in DATASETS:
        if not getattr(config, name):
            raise UserError(f"{path} names no {name}: add a JSONL file or URL.")
    return config


def _typed(key: str, value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, str):
        try:
            return float(value)  # YAML takes 1e-4, without a point, for a text
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        names = {int: "a whole number", float: "a number", str: "a text"}
        raise UserError(f"{key} must be {names[kind]}, not {value!r}.")
    return value


def is_url(where: str) -> bool:
    """Whether ``where`` is for fsspec to find, as ``gs://bucket/file.jsonl`` is."""
    return "://" in where or "::" in where


def _placed(where: str, folder: Path, is_model: bool) -> str:
    """``where`` as seen from here, when it was written down in ``folder``."""
    if is_url(where):
        return where
    if not is_model:
        return os.path.normpath(folder / where)
    # a name is a folder only where there is one: all others are known names, or the hub's
    parts = where.split("+", 1)
    return "+".join(
        os.path.normpath(folder / part) if (folder / part).exists() else part for part in parts
    )
