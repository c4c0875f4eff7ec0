"""The stages in their order, and what each depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from detox.pipeline import work
from detox.pipeline.work import Job, Made


@dataclass(frozen=True)
class Stage:
    """A stage, and all that its result depends on: another setting, another result."""

    name: str
    title: str
    work: Callable[[Job], Made]
    needs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    resumes: bool = False
    """whether it can go on from what it left behind when it was cut off"""


_TEXTS = ("instruction", "limit")
_PROMPTS = (*_TEXTS, "preset", "max_response_tokens")
_SAMPLING = ("preset", "max_response_tokens", "temperature", "seed")

STAGES = (
    Stage(
        "preferences",
        "Preferences",
        work.split_preferences,
        files=("preference_dataset",),
        settings=(*_TEXTS, "held_out", "seed"),
    ),
    Stage(
        "prompts",
        "Prompts",
        work.read_prompts,
        files=("prompt_dataset",),
        settings=_PROMPTS,
        models=("large_model_reference",),
    ),
    Stage(
        "eval_prompts",
        "Evaluation prompts",
        work.read_eval_prompts,
        files=("eval_dataset",),
        settings=_PROMPTS,
        models=("large_model_reference",),
    ),
    Stage(
        "reward_model",
        "Reward model",
        work.train_reward,
        needs=("preferences",),
        settings=(
            "reward_model_train_steps",
            "reward_model_epochs",
            "reward_model_learning_rate_multiplier",
            "batch_size",
            "seed",
        ),
        models=("reward_model_base",),
    ),
    Stage(
        "reinforcement_learning",
        "Reinforcement learning",
        work.tune_policy,
        needs=("prompts", "reward_model"),
        settings=(
            "reinforcement_learning_train_steps",
            "reinforcement_learning_epochs",
            "reinforcement_learning_rate_multiplier",
            "kl_coeff",
            "preset",
            "max_response_tokens",
            "batch_size",
            "seed",
        ),
        models=("large_model_reference",),
        resumes=True,
    ),
    Stage(
        "bulk_inference",
        "Bulk inference",
        work.infer,
        needs=("eval_prompts", "reinforcement_learning"),
        settings=_SAMPLING,
        models=("large_model_reference",),
    ),
    Stage(
        "evaluation",
        "Evaluation",
        work.evaluate,
        needs=(
            "bulk_inference",
            "reward_model",
            "reinforcement_learning",
            "prompts",
            "preferences",
        ),
        settings=("model_display_name", "label", *_SAMPLING),
        models=("large_model_reference", "classifier"),
    ),
)
