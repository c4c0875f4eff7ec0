"""A PPO run from its first model to its adapter: start, steps, guards, checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from detox import processes
from detox.collapse import collapsed
from detox.config import PpoConfig, recorded
from detox.data import filter_by_length, load_dialogues, prompts
from detox.errors import UserError
from detox.models import (
    add_adapter,
    check_bfloat16,
    find_source,
    fingerprint,
    load_policy,
    parameter_counts,
    read_lineage,
    save_adapter,
)
from detox.ppo.actor import ValueHead
from detox.ppo.checkpoint import restore, save_checkpoint
from detox.ppo.rollout import draws, encode_queries, sample, texts
from detox.ppo.step import DivergedError, State, batch_of, ppo_step
from detox.rewards import MixedReward, RewardSource, load_reward
from detox.runlog import RunLog, read_metrics
from detox.tasks import find_task

Tell = Callable[[str], None]


def train_ppo(
    config: PpoConfig,
    resume: bool = False,
    tell: Tell = print,
    source: RewardSource | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    queries: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Tunes an adapter on ``config.policy`` against a reward; writes it to ``config.output``.

    The policy's own adapters are merged first, so that the reference, the policy with the new
    adapter disabled, is the policy the run starts from and the first KL is exactly 0.
    ``source`` overrides ``config.reward``; ``should_stop`` is asked before every step;
    ``queries``, whole prompts, take the place of those made from ``config.data``.

    Returns the adapter's lineage. A run that diverges (KL above ``kl_stop``, NaN, Inf) or
    collapses (``detox.collapse.collapsed``) ends with its last good checkpoint and says so under
    ``stopped``. Raises ``UserError`` for missing models or data, and when there is nothing to
    resume. Under ``accelerate launch`` the processes share every batch, and the first of them
    writes and talks.
    """
    folder = Path(config.output)
    if not processes.is_main():
        tell = processes.silent
    processes.share(config.mini_batch_size, "mini_batch_size")
    state, tokenizer = _start(config, tell)
    asked, references = _dialogues(config) if queries is None else (list(queries), {})
    reward = source or load_reward(config.reward, config.scope, references)
    if resume:
        restore(state, folder, reward, config)
    elif isinstance(reward, MixedReward):
        _standardise(reward, state.model, tokenizer, asked, config)
    log = RunLog(folder, state.step) if processes.is_main() else None
    processes.wait()
    if not resume:
        # from here on there is a good state of this run to go back to, and none of an earlier one
        save_checkpoint(state, folder, reward, config)
    tell(f"{len(asked)} prompts; reward {json.dumps(reward.describe())}")
    stopped = ""
    seen = read_metrics(folder)
    while state.step < config.steps:
        if processes.agreed(should_stop()):
            stopped = "asked to stop"
            break
        try:
            stats = ppo_step(state, tokenizer, reward, asked, config)
            state.step += 1
            if log:
                log.write(state.step, stats)
            tell(_line(state.step, config.steps, stats))
            if stats["objective/kl"] > config.kl_stop:
                raise DivergedError(
                    f"KL {stats['objective/kl']:.1f} passed kl_stop {config.kl_stop:g}"
                )
            seen.append(stats)
            if reason := collapsed(seen, config.collapse_stop):
                raise DivergedError(reason)
        except DivergedError as error:
            stopped = str(error)
            restore(state, folder, reward, config)
            break
        if state.step % config.save_every == 0 or state.step == config.steps:
            save_checkpoint(state, folder, reward, config)
    if log:
        log.close()
    lineage = _lineage(config, state, reward, stopped)
    if processes.is_main():
        save_adapter(state.model, folder, lineage)
    processes.wait()
    tell(f"stopped: {stopped}" if stopped else f"saved the adapter to {folder}")
    return lineage


def _start(config: PpoConfig, tell: Tell) -> tuple[State, Any]:
    if config.mixed_precision == "bf16":
        check_bfloat16()
    source = find_source(config.policy)
    if Path(config.output).resolve() in [adapter.resolve() for adapter in source.adapters]:
        raise UserError(
            f"A run in {config.output} would overwrite the policy it starts from: choose another "
            "output."
        )
    policy = load_policy(config.policy, "reference")
    model = policy.model
    if policy.adapter is not None:
        model = model.merge_and_unload()
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    model = add_adapter(model, config.lora, task, config.seed)
    # evaluation mode throughout: dropout would make one policy look like two
    model.eval()
    processes.shard(model)
    head = ValueHead(model.config.hidden_size).to(model.device)
    total, trainable = parameter_counts(model)
    tell(
        f"{total:,} parameters, {trainable:,} of them trainable "
        f"(+ {parameter_counts(head)[0]:,} in the value head), on {source.base}"
    )
    parameters = [p for p in model.parameters() if p.requires_grad] + list(head.parameters())
    optimizer = torch.optim.Adam(parameters, lr=config.lr)
    mixed = config.mixed_precision == "bf16"
    return State(model, head, optimizer, config.kl_coef, mixed=mixed), policy.tokenizer


def _dialogues(config: PpoConfig) -> tuple[list[str], dict[str, list[str]]]:
    """The prompts of ``config.data``, and the references of each."""
    task = find_task(config.task)
    dialogues = load_dialogues(config.data, "train", task)
    dialogues = filter_by_length(dialogues, config.min_dialogue_chars, config.max_dialogue_chars)
    asked = prompts(dialogues, task)
    return asked, dict(zip(asked, dialogues["references"], strict=True))


def _standardise(
    reward: MixedReward, model: Any, tokenizer: Any, queries: list[str], config: PpoConfig
) -> None:
    # the new adapter starts at 0, so these are responses of the reference
    chosen = batch_of(queries, 0, config) + batch_of(queries, 1, config)
    chances = draws(config.seed, len(chosen), config.max_response_tokens)
    rollout = sample(model, tokenizer, encode_queries(tokenizer, chosen), chances)
    reward.fit(chosen, texts(tokenizer, rollout))


def _lineage(config: PpoConfig, state: State, reward: RewardSource, stopped: str) -> dict[str, Any]:
    source = find_source(config.policy)
    folder = Path(config.output)
    parent = source.adapters[-1] if source.adapters else None
    return {
        "kind": "ppo",
        "base": source.base,
        "parent": os.path.relpath(parent.resolve(), folder.resolve()) if parent else None,
        "reference_fingerprint": fingerprint(source),
        "reference": read_lineage(parent) if parent else None,
        "reward": reward.describe(),
        "config": recorded(config),
        "seed": config.seed,
        "steps": state.step,
        "stopped": stopped,
        "seconds": round(sum(row.get("time/step") or 0 for row in read_metrics(folder))),
    }


def _line(step: int, steps: int, stats: dict[str, float]) -> str:
    return (
        f"step {step}/{steps}  reward {stats['env/reward_mean']:+.3f}  "
        f"kl {stats['objective/kl']:.2f}  length {stats['tokens/response_mean']:.0f}  "
        f"{stats['time/step']:.0f} s"
    )
