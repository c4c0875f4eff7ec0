"""The PPO loop, to be read from top to bottom like the algorithm."""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from detox.config import PpoConfig, recorded
from detox.data import LengthSampler, filter_by_length, load_dialogues, prompts
from detox.errors import UserError
from detox.models import (
    add_adapter,
    find_source,
    fingerprint,
    load_policy,
    parameter_counts,
    read_lineage,
    save_adapter,
)
from detox.ppo import math as ppo
from detox.ppo.rollout import (
    Rollout,
    ValueHead,
    assess,
    encode_queries,
    forward,
    mini_batches,
    sample,
    texts,
)
from detox.rewards import MixedReward, RewardSource, load_reward
from detox.runlog import RunLog, read_metrics

Tell = Callable[[str], None]
CHECKPOINT = "checkpoint.pt"


class DivergedError(Exception):
    """Training numbers left the range in which another step makes sense."""


@dataclass
class State:
    """What a run carries from step to step, all of it in the checkpoint."""

    model: Any
    head: ValueHead
    optimizer: torch.optim.Optimizer
    kl_coef: float
    step: int = 0


def train_ppo(
    config: PpoConfig,
    resume: bool = False,
    tell: Tell = print,
    source: RewardSource | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Tunes an adapter on ``config.policy`` against a reward; writes it to ``config.output``.

    The policy's own adapters are merged first, so that the reference, the policy with the new
    adapter disabled, is the policy the run starts from and the first KL is exactly 0.
    ``source`` overrides ``config.reward``; ``should_stop`` is asked before every step.

    Returns the adapter's lineage. A run that diverges (KL above ``kl_stop``, NaN, Inf) ends
    with its last good checkpoint and says so under ``stopped``. Raises ``UserError`` for
    missing models or data, and when there is nothing to resume.
    """
    folder = Path(config.output)
    state, tokenizer = _start(config, tell)
    reward = source or load_reward(config.reward, config.scope)
    dialogues = load_dialogues(config.data, "train")
    dialogues = filter_by_length(dialogues, config.min_dialogue_chars, config.max_dialogue_chars)
    queries = prompts(dialogues)
    if resume:
        _restore(state, folder, reward, config)
    elif isinstance(reward, MixedReward):
        _standardise(reward, state.model, tokenizer, queries, config)
    log = RunLog(folder, state.step)
    if not resume:
        # from here on there is a good state of this run to go back to, and none of an earlier one
        _checkpoint(state, folder, reward, config)
    tell(f"{len(queries)} dialogues; reward {json.dumps(reward.describe())}")
    stopped = ""
    while state.step < config.steps:
        if should_stop():
            stopped = "asked to stop"
            break
        try:
            stats = ppo_step(state, tokenizer, reward, queries, config)
            state.step += 1
            log.write(state.step, stats)
            tell(_line(state.step, config.steps, stats))
            if stats["objective/kl"] > config.kl_stop:
                raise DivergedError(
                    f"KL {stats['objective/kl']:.1f} passed kl_stop {config.kl_stop:g}"
                )
        except DivergedError as reason:
            stopped = str(reason)
            _restore(state, folder, reward, config)
            break
        if state.step % config.save_every == 0 or state.step == config.steps:
            _checkpoint(state, folder, reward, config)
    log.close()
    lineage = _lineage(config, state, reward, stopped)
    save_adapter(state.model, folder, lineage)
    tell(f"stopped: {stopped}" if stopped else f"saved the adapter to {folder}")
    return lineage


def ppo_step(
    state: State,
    tokenizer: Any,
    reward: RewardSource,
    queries: list[str],
    config: PpoConfig,
) -> dict[str, float]:
    """One batch of rollouts and the updates they are worth; returns the step's numbers.

    Everything random depends on ``config.seed`` and the step alone, which is what makes a
    resumed run equal to an uninterrupted one.
    """
    started = time.perf_counter()
    # 1. Roll out: one response a query from the current policy.
    chosen = batch_of(queries, state.step, config)
    limit = LengthSampler(
        config.min_response_tokens,
        config.max_response_tokens,
        random.Random(f"{config.seed}:{state.step}"),
    )()
    seed = config.seed * 1_000_003 + state.step
    rollout = sample(state.model, tokenizer, encode_queries(tokenizer, chosen), limit, seed)
    responses = texts(tokenizer, rollout)
    generated = time.perf_counter()
    # 2. Score the responses as text.
    scores = reward.score(chosen, responses)
    if not torch.isfinite(scores).all():
        raise DivergedError("the reward source gave a number that is not finite")
    scored = time.perf_counter()
    # 3. What policy, reference and value head think of every token, before any update.
    logprobs, ref_logprobs, values = assess(
        state.model, state.head, rollout, config.mini_batch_size
    )
    mask = rollout.mask.cpu()
    # 4. Rewards a token, advantages and returns.
    rewards, kl = ppo.token_rewards(scores, logprobs, ref_logprobs, mask, state.kl_coef)
    raw, returns = ppo.gae(rewards, values, mask, config.gamma, config.lam)
    advantages = ppo.whiten(raw, mask) * mask
    assessed = time.perf_counter()
    # 5. Optimise the clipped objective, a mini-batch at a time.
    updates = [
        _update(state, rollout, index, logprobs, values, advantages, returns, config)
        for _ in range(config.ppo_epochs)
        for index in mini_batches(len(responses), config.mini_batch_size)
    ]
    ended = time.perf_counter()
    # 6. Let the KL leash adapt, and report.
    mean_kl = float(kl.sum(1).mean())
    kl_coef = state.kl_coef
    state.kl_coef = ppo.adapt_kl(
        kl_coef, mean_kl, config.kl_target, len(responses), config.kl_horizon
    )
    tokens = mask.sum(1).float()
    return {
        "objective/kl": mean_kl,
        "objective/kl_coef": kl_coef,
        "objective/entropy": float(-(logprobs * mask).sum(1).mean()),
        "env/reward_mean": float(scores.mean()),
        "env/reward_std": float(scores.std()) if len(scores) > 1 else 0.0,
        "ppo/returns/mean": float(ppo.masked_mean(returns, mask)),
        "ppo/policy/advantages_mean": float(ppo.masked_mean(advantages, mask)),
        "ppo/val/explained_variance": float(ppo.explained_variance(values, returns, mask)),
        "ppo/ratio_first": updates[0]["ratio"],
        **{f"ppo/{key}": _mean(u[key] for u in updates) for key in updates[0]},
        "tokens/response_mean": float(tokens.mean()),
        "time/generate": generated - started,
        "time/score": scored - generated,
        "time/assess": assessed - scored,
        "time/optimize": ended - assessed,
        "time/step": ended - started,
        "time/tokens_per_second": float(tokens.sum()) / (ended - started),
    }


def batch_of(queries: list[str], step: int, config: PpoConfig) -> list[str]:
    """The queries of a step: every query once before any comes again, in a seeded order."""
    wanted = range(step * config.batch_size, (step + 1) * config.batch_size)
    orders: dict[int, list[int]] = {}
    for place in wanted:
        epoch = place // len(queries)
        if epoch not in orders:
            order = list(range(len(queries)))
            random.Random(f"{config.seed}:order:{epoch}").shuffle(order)
            orders[epoch] = order
    return [queries[orders[place // len(queries)][place % len(queries)]] for place in wanted]


def _update(
    state: State,
    rollout: Rollout,
    index: Tensor,
    logprobs: Tensor,
    values: Tensor,
    advantages: Tensor,
    returns: Tensor,
    config: PpoConfig,
) -> dict[str, float]:
    part = rollout.rows(index)
    width = part.response.shape[1]
    old_logprobs, old_values, advantages, returns = (
        x[index, :width].to(part.mask.device) for x in (logprobs, values, advantages, returns)
    )
    logits, hidden = forward(state.model, part)
    new_logprobs = ppo.token_logprobs(logits, part.response)
    result = ppo.losses(
        new_logprobs,
        state.head(hidden),
        old_logprobs,
        old_values,
        advantages,
        returns,
        part.mask,
        clip=config.clip,
        clip_value=config.clip_value,
        vf_coef=config.vf_coef,
    )
    numbers = {
        "loss/total": float(result.total.detach()),
        "loss/policy": float(result.policy.detach()),
        "loss/value": float(result.value.detach()),
        "clip_fraction": float(result.clip_fraction),
        "approx_kl": float(result.approx_kl),
        "ratio": float(result.mean_ratio),
    }
    if not math.isfinite(numbers["loss/total"]):
        raise DivergedError("the loss is not finite")
    if numbers["ratio"] > config.ratio_threshold:
        return numbers | {"skipped": 1.0, "grad_norm": 0.0}
    state.optimizer.zero_grad()
    result.total.backward()
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
    if not math.isfinite(norm):
        raise DivergedError("the gradient is not finite")
    state.optimizer.step()
    return numbers | {"skipped": 0.0, "grad_norm": norm}


def _start(config: PpoConfig, tell: Tell) -> tuple[State, Any]:
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
    head = ValueHead(model.config.hidden_size).to(model.device)
    total, trainable = parameter_counts(model)
    tell(
        f"{total:,} parameters, {trainable:,} of them trainable "
        f"(+ {parameter_counts(head)[0]:,} in the value head), on {source.base}"
    )
    parameters = [p for p in model.parameters() if p.requires_grad] + list(head.parameters())
    optimizer = torch.optim.Adam(parameters, lr=config.lr)
    return State(model, head, optimizer, config.kl_coef), policy.tokenizer


def _standardise(
    reward: MixedReward, model: Any, tokenizer: Any, queries: list[str], config: PpoConfig
) -> None:
    # the new adapter starts at 0, so these are responses of the reference
    chosen = batch_of(queries, 0, config) + batch_of(queries, 1, config)
    rollout = sample(
        model,
        tokenizer,
        encode_queries(tokenizer, chosen),
        config.max_response_tokens,
        config.seed,
    )
    reward.fit(chosen, texts(tokenizer, rollout))


def _trained(state: State) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in state.model.named_parameters() if p.requires_grad}


def _checkpoint(state: State, folder: Path, reward: RewardSource, config: PpoConfig) -> None:
    content = {
        "config": asdict(config),
        "step": state.step,
        "kl_coef": state.kl_coef,
        "adapter": _trained(state),
        "head": state.head.state_dict(),
        "optimizer": state.optimizer.state_dict(),
    }
    if isinstance(reward, MixedReward):
        content["standardised"] = {"means": reward.means, "stds": reward.stds}
    temporary = folder / f"{CHECKPOINT}.partial"
    try:
        torch.save(content, temporary)
        temporary.replace(folder / CHECKPOINT)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"The checkpoint cannot be written to {folder}: free some disk and resume."
        ) from error


def _restore(state: State, folder: Path, reward: RewardSource, config: PpoConfig) -> None:
    path = folder / CHECKPOINT
    if not path.is_file():
        raise UserError(f"There is no checkpoint in {folder} to resume from: start without it.")
    foreign = UserError(
        f"{path} does not belong to this policy and adapter: resume with the settings it was "
        "made with, or start anew."
    )
    try:
        content = torch.load(path, map_location=state.model.device, weights_only=True)
        now = asdict(config)
        then = now | content.get("config", {})
    except (RuntimeError, OSError, EOFError, UnpicklingError, AttributeError) as error:
        raise UserError(f"{path} is damaged: start anew.") from error
    # a run may be moved or prolonged, and how often it is saved changes nothing
    free = ("output", "steps", "save_every")
    changed = [key for key in now if now[key] != then[key] and key not in free]
    if changed:
        raise UserError(
            f"The run in {folder} was started with other settings ({', '.join(changed)}): resume "
            "it with those, or start anew."
        )
    try:
        mine = _trained(state)
        with torch.no_grad():
            for name, values in content["adapter"].items():
                mine[name].copy_(values)
        state.head.load_state_dict(content["head"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.step, state.kl_coef = int(content["step"]), float(content["kl_coef"])
        if isinstance(reward, MixedReward):
            reward.means = content["standardised"]["means"]
            reward.stds = content["standardised"]["stds"]
    except (RuntimeError, KeyError, ValueError) as error:
        raise foreign from error


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


def _mean(values: Any) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
