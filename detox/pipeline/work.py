"""What each stage of the pipeline does with what it is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from detox.config import PpoConfig, RewardConfig, Sampling, find_preset
from detox.errors import UserError
from detox.generation import check_fits, generate
from detox.learning import steps_of
from detox.models import ADAPTER_CONFIG, ADAPTER_WEIGHTS, LINEAGE, load_policies, load_policy
from detox.pipeline.config import PipelineConfig
from detox.pipeline.formats import (
    Preference,
    jsonl,
    parse_preferences,
    parse_prompts,
    prediction_rows,
    preference_rows,
    prompt_rows,
    write_bytes,
)
from detox.pipeline.side_by_side import compare_predictions
from detox.ppo.checkpoint import CHECKPOINT
from detox.ppo.trainer import train_ppo
from detox.reward_model import fit_reward_model, is_held_out
from detox.runlog import read_metrics

Tell = Callable[[str], None]
ROWS, TRAIN, HELD_OUT = "rows.jsonl", "train.jsonl", "held_out.jsonl"
REFERENCE, TUNED = "reference.jsonl", "tuned.jsonl"
ADAPTER = (ADAPTER_WEIGHTS, ADAPTER_CONFIG, LINEAGE)


@dataclass(frozen=True)
class Job:
    """What a stage is given to work with."""

    config: PipelineConfig
    folder: Path
    """where it writes"""
    done: Mapping[str, Path]
    """the folders of the stages before it, by name"""
    files: Mapping[str, bytes]
    """the data sets, by the setting that names them"""
    resume: bool
    """whether the folder holds what this very stage had done when it was cut off"""
    tell: Tell


@dataclass(frozen=True)
class Made:
    """What a stage has made."""

    made: str
    n: int
    figure: str
    """the number that says most about it, in words"""
    outputs: tuple[str, ...]
    """the files in its folder that count"""
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    """what it has cost before it was cut off and resumed"""


def split_preferences(job: Job) -> Made:
    """Reads the preferences and keeps those of some prompts, never some rows, apart."""
    where = job.config.preference_dataset
    rows = _first(parse_preferences(job.files["preference_dataset"], where), job.config)
    # nobody can prefer one of two texts that read the same
    told = [row for row in rows if row.chosen != row.rejected]
    parts: dict[str, list[Preference]] = {TRAIN: [], HELD_OUT: []}
    for row in told:
        apart = is_held_out(row.prompt, job.config.held_out, job.config.seed)
        parts[HELD_OUT if apart else TRAIN].append(
            replace(row, prompt=_asked(row.prompt, job.config))
        )
    if not all(parts.values()):
        raise UserError(
            f"{where} has {len({row.prompt for row in told})} different prompts, too few to learn "
            f"from some and measure on others (held_out {job.config.held_out:g}): add more."
        )
    for name, part in parts.items():
        _write(job, name, preference_rows(part, [0] * len(part)))
    equal = len(rows) - len(told)
    return Made(
        "preferences" + (f", {equal} of equal texts left out" if equal else ""),
        len(told),
        f"{len(parts[TRAIN])} train, {len(parts[HELD_OUT])} held out",
        (TRAIN, HELD_OUT),
        {"train": len(parts[TRAIN]), "held_out": len(parts[HELD_OUT]), "equal": equal},
    )


def read_prompts(job: Job) -> Made:
    """Reads the prompts to tune on."""
    return _prompts(job, "prompt_dataset")


def read_eval_prompts(job: Job) -> Made:
    """Reads the prompts that are answered in the end."""
    return _prompts(job, "eval_dataset")


def _prompts(job: Job, source: str) -> Made:
    where = getattr(job.config, source)
    found = _first(parse_prompts(job.files[source], where), job.config)
    asked = [_asked(prompt, job.config) for prompt in found]
    # found out now, and not after the hours of training that come first
    policy = load_policy(job.config.large_model_reference, "reference")
    sampling = _sampling(job.config)
    longest = 0
    for number, prompt in enumerate(asked, 1):
        try:
            longest = max(longest, check_fits(policy, prompt, sampling))
        except UserError as error:
            raise UserError(f"Row {number} of {where}: {error}") from error
    _write(job, ROWS, prompt_rows(asked))
    return Made("prompts", len(asked), f"longest {longest} tokens", (ROWS,), {"longest": longest})


def train_reward(job: Job) -> Made:
    """Trains the reward model on the preferences."""
    config = job.config
    train, held_out = (
        [
            {"prompt": row.prompt, "chosen": row.chosen, "rejected": row.rejected, "margin": 0.0}
            for row in parse_preferences((job.done["preferences"] / name).read_bytes(), name)
        ]
        for name in (TRAIN, HELD_OUT)
    )
    usual = RewardConfig()
    lineage = fit_reward_model(
        train,
        held_out,
        RewardConfig(
            base=config.reward_model_base,
            output=str(job.folder),
            epochs=config.reward_model_epochs or usual.epochs,
            steps=config.reward_model_train_steps,
            batch_size=config.batch_size,
            lr=usual.lr * config.reward_model_learning_rate_multiplier,
            held_out=config.held_out,
            validation=0.0,
            seed=config.seed,
        ),
        job.tell,
    )
    accuracy = lineage["accuracy"]
    return Made(
        f"reward model, {lineage['steps']} steps",
        len(train),
        f"held-out accuracy {accuracy['held_out']:.1%}",
        ADAPTER,
        {"accuracy": accuracy, "steps": lineage["steps"]},
    )


def tune_policy(job: Job) -> Made:
    """Tunes the policy against the reward model with PPO; goes on from a checkpoint of its own."""
    prompts = _read_prompts(job, "prompts")
    lineage = train_ppo(
        ppo_config(job.config, len(prompts), job.done, job.folder),
        resume=job.resume and (job.folder / CHECKPOINT).is_file(),
        tell=job.tell,
        queries=prompts,
    )
    steps = read_metrics(job.folder)
    few = max(1, len(steps) // 5)
    first, last = (_mean(part, "env/reward_mean") for part in (steps[:few], steps[-few:]))
    kl = _mean(steps[-few:], "objective/kl")
    stopped = f", stopped: {lineage['stopped']}" if lineage["stopped"] else ""
    return Made(
        f"policy, {lineage['steps']} steps, KL {kl:.2f}{stopped}".replace("-", "−"),
        len(prompts),
        f"reward {first:+.2f} → {last:+.2f}".replace("-", "−"),
        ADAPTER,
        {"steps": lineage["steps"], "reward_first": first, "reward_last": last, "kl_last": kl}
        | {"stopped": lineage["stopped"]},
        lineage["seconds"],
    )


def _mean(steps: list[dict[str, Any]], key: str) -> float:
    """Of the steps that have it; a run that diverged at once has none."""
    known = [row[key] for row in steps if row.get(key) is not None]
    return sum(known) / len(known) if known else 0.0


def ppo_config(
    config: PipelineConfig, prompts: int, done: Mapping[str, Path], folder: Path
) -> PpoConfig:
    """PPO's settings: those of the preset, and what the pipeline says in their place."""
    usual = find_preset(config.preset).ppo
    longest = config.max_response_tokens or usual.max_response_tokens
    steps = config.reinforcement_learning_train_steps or usual.steps
    if config.reinforcement_learning_epochs:
        steps = steps_of(prompts, config.batch_size, config.reinforcement_learning_epochs)
    return replace(
        usual,
        policy=config.large_model_reference,
        reward=f"preference:{done['reward_model']}",
        data=str(done["prompts"] / ROWS),
        output=str(folder),
        steps=steps,
        batch_size=config.batch_size,
        mini_batch_size=math.gcd(config.batch_size, usual.mini_batch_size),
        micro_batch_size=0,
        lr=usual.lr * config.reinforcement_learning_rate_multiplier,
        min_response_tokens=min(usual.min_response_tokens, longest),
        max_response_tokens=longest,
        kl_coef=config.kl_coeff,
        kl_horizon=0,  # the coefficient is kept, as it is there
        save_every=config.save_every,
        seed=config.seed,
    )


def infer(job: Job) -> Made:
    """Lets reference and tuned policy answer the evaluation prompts."""
    prompts = _read_prompts(job, "eval_prompts")
    specs = {
        "reference": job.config.large_model_reference,
        "tuned": str(job.done["reinforcement_learning"]),
    }
    fingerprints = {}
    for file, policy in zip((REFERENCE, TUNED), load_policies(specs).values(), strict=True):
        job.tell(f"{policy.name} answers {len(prompts)} prompts")
        responses = generate(policy, prompts, _sampling(job.config))
        _write(job, file, prediction_rows(prompts, responses))
        fingerprints[policy.name] = policy.fingerprint
    return Made(
        "predictions",
        2 * len(prompts),
        f"2 policies, {len(prompts)} each",
        (REFERENCE, TUNED),
        fingerprints,
    )


def evaluate(job: Job) -> Made:
    """Compares the answers side by side, by a judge that nothing was trained on."""
    trained_on = set(_read_prompts(job, "prompts"))
    for name in (TRAIN, HELD_OUT):
        content = (job.done["preferences"] / name).read_bytes()
        trained_on |= {row.prompt for row in parse_preferences(content, name)}
    numbers = compare_predictions(
        job.config,
        _sampling(job.config),
        {name: job.done["bulk_inference"] / name for name in (REFERENCE, TUNED)},
        job.done["reward_model"],
        job.done["reinforcement_learning"],
        trained_on,
        job.folder,
        job.tell,
    )
    wins = numbers["win_rate"]
    return Made(
        "side-by-side comparison",
        numbers["n"],
        f"tuned wins {wins['mean']:.0%} [{wins['low']:.0%}, {wins['high']:.0%}]",
        ("compare.jsonl", "summary.json", "compare.csv"),
        numbers,
    )


def _first(rows: list[Any], config: PipelineConfig) -> list[Any]:
    return rows[: config.limit] if config.limit else rows


def _asked(text: str, config: PipelineConfig) -> str:
    """The whole prompt: the instruction first, and a line end to keep it off the response."""
    prompt = f"{config.instruction.strip()}\n\n{text}" if config.instruction.strip() else text
    return prompt if prompt[-1].isspace() else prompt + "\n"


def _sampling(config: PipelineConfig) -> Sampling:
    longest = config.max_response_tokens or find_preset(config.preset).ppo.max_response_tokens
    return Sampling(temperature=config.temperature, max_new_tokens=longest, seed=config.seed)


def _read_prompts(job: Job, stage: str) -> list[str]:
    path = job.done[stage] / ROWS
    return parse_prompts(path.read_bytes(), str(path))


def _write(job: Job, name: str, rows: list[Any]) -> None:
    write_bytes(str(job.folder / name), jsonl(rows))
