"""Two bulk inferences side by side: the held-out judge's measures, and the reward model's wins."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset

from detox.config import Sampling
from detox.errors import UserError
from detox.evaluation import about, add_kl, measured, pair_up
from detox.judges import preferred
from detox.models import load_policies
from detox.pipeline.cache import digest
from detox.pipeline.config import PipelineConfig
from detox.pipeline.formats import parse_predictions
from detox.results import write_results
from detox.rewards import load_classifier_reward, load_reward


def compare_predictions(
    config: PipelineConfig,
    sampling: Sampling,
    predictions: Mapping[str, Path],
    reward_model: Path,
    tuned: Path,
    trained_on: Collection[str],
    folder: Path,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Writes what ``detox evaluate`` writes to ``folder``, from two files of ``predictions``.

    The first file is the reference's, the second the policy's in ``tuned``. The judge, a hate
    classifier, is one that nothing was trained on here. The reward model says in addition how
    often it prefers the tuned policy, which is what that was trained for, and no proof of more.
    Returns that win rate with its interval, its scores' correlation with length, and how many of
    the prompts were ``trained_on``.
    """
    answers = [parse_predictions(path.read_bytes(), str(path)) for path in predictions.values()]
    prompts, others = ([prompt for prompt, _ in side] for side in answers)
    if prompts != others:
        raise UserError("The two predictions answer different prompts: run with --fresh.")
    judge = load_classifier_reward(config.classifier, gentle_label=config.label or None)
    spec = config.large_model_reference
    policies = load_policies({"reference": spec, "tuned": str(tuned)})
    before = replace(policies["reference"], name=Path(spec).name)
    after = replace(policies["tuned"], name=config.model_display_name or "tuned")
    dialogues = as_dialogues(prompts)
    tell(f"judging {len(prompts)} pairs")
    first, second = (
        measured(policy, [response for _, response in side], dialogues, judge)
        for policy, side in zip((before, after), answers, strict=True)
    )
    rows = pair_up(dialogues, first, second)
    for row in rows:
        row["prompt"] = row["dialogue"]  # whole already, and in no template
    add_kl(rows, before, after)
    numbers: dict[str, Any] = preferred(rows, load_reward(f"preference:{reward_model}"))
    numbers |= {"n": len(rows), "trained_on": sum(prompt in trained_on for prompt in prompts)}
    origin = about(before, after, judge, sampling, Path(config.eval_dataset).name, "evaluation")
    write_results(folder, rows, origin | {"samples": 1, "task": "prompts", "pipeline": numbers})
    return numbers


def as_dialogues(prompts: Sequence[str]) -> Dataset:
    """Bare prompts in the columns that an evaluation reads; the same prompt has the same id."""
    return Dataset.from_list(
        [
            {
                "id": f"prompt-{digest(prompt.encode())[:10]}",
                "dialogue": prompt,
                "topic": "",
                "tone": "",
                "split": "",
                "references": [],
            }
            for prompt in prompts
        ]
    )
