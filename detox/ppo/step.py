"""One PPO step, to be read from top to bottom like the algorithm."""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from detox import processes
from detox.collapse import distinct, repeated
from detox.config import PpoConfig
from detox.data import LengthSampler
from detox.ppo import math as ppo
from detox.ppo.actor import ActorCritic, ValueHead, assess
from detox.ppo.rollout import Rollout, draws, encode_queries, mini_batches, sample, texts
from detox.rewards import RewardSource


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
    mixed: bool = False  # products in bfloat16

    @cached_property
    def actor(self) -> ActorCritic:
        """Model and head as one."""
        return ActorCritic(self.model, self.head, self.mixed)


def ppo_step(
    state: State,
    tokenizer: Any,
    reward: RewardSource,
    queries: list[str],
    config: PpoConfig,
) -> dict[str, float]:
    """One batch of rollouts and the updates they are worth; returns the step's numbers.

    Everything random depends on ``config.seed`` and the step alone, which is what makes a
    resumed run equal to an uninterrupted one. Each of several processes rolls out and scores
    its own rows of the batch; the numbers are those of the whole batch.
    """
    started = time.perf_counter()
    chosen = batch_of(queries, state.step, config)
    encoded = encode_queries(tokenizer, chosen)
    # rows of similar length share a mini-batch, so that little of it is padding
    order = sorted(range(len(chosen)), key=lambda row: len(encoded[row]))
    mine = own_rows(config.batch_size, config.mini_batch_size)
    rows = [order[i] for i in mine]
    limit = LengthSampler(
        config.min_response_tokens,
        config.max_response_tokens,
        random.Random(f"{config.seed}:{state.step}"),
    )()
    chances = draws(
        config.seed * 1_000_003 + state.step, config.batch_size, config.max_response_tokens
    )
    rollout = sample(
        state.model,
        tokenizer,
        [encoded[row] for row in rows],
        chances[rows, :limit],
        rows_at_once(config),
    )
    responses = texts(tokenizer, rollout)
    generated = time.perf_counter()
    scores = reward.score([chosen[row] for row in rows], responses)
    scored = time.perf_counter()
    stats = learn(state, rollout, scores, config)
    ended = time.perf_counter()
    said = processes.gather(responses)
    return stats | {
        "text/distinct2": distinct(said, 2),
        "text/repeated": repeated(said),
        "time/generate": generated - started,
        "time/score": scored - generated,
        "time/step": ended - started,
        "time/tokens_per_second": stats["tokens/response_mean"]
        * config.batch_size
        / (ended - started),
    }


def learn(state: State, rollout: Rollout, scores: Tensor, config: PpoConfig) -> dict[str, float]:
    """What a batch of rollouts and their ``scores`` [b] teach; returns the step's numbers.

    Follows ``PPOTrainer.step`` of trl 0.11.4. With several processes each brings its own
    rows; KL, whitening, losses and guards are those of all rows. Raises ``DivergedError``.
    """
    started = time.perf_counter()
    # 1. What policy, reference and value head think of every token, before any update.
    own = assess(state.actor, rollout, rows_at_once(config), config.logprobs == "generation")
    assessed = time.perf_counter()
    # 2. Rewards a token, advantages and returns, of the rows of all processes.
    scores, mask, logprobs, ref_logprobs, values = processes.gather_rows(scores, rollout.mask, *own)
    if not torch.isfinite(scores).all():
        raise DivergedError("the reward source gave a number that is not finite")
    rewards, kl = ppo.token_rewards(scores, logprobs, ref_logprobs, mask, state.kl_coef)
    raw, returns = ppo.gae(rewards, values, mask, config.gamma, config.lam)
    advantages = ppo.whiten(raw, mask) * mask
    # 3. Optimise the clipped objective, a mini-batch at a time.
    first = processes.rank() * len(own[0])
    here = slice(first, first + len(own[0])), slice(0, own[0].shape[1])
    known = tuple(x[here] for x in (logprobs, values, advantages, returns))
    tokens = mask.sum(1)
    size = processes.share(config.mini_batch_size, "mini_batch_size")
    counts = tokens.view(processes.count(), -1, size).sum((0, 2))
    updates = [
        _update(state, rollout, index, known, count, config)
        for _ in range(config.ppo_epochs)
        for index, count in zip(mini_batches(len(own[0]), size), counts, strict=True)
    ]
    # 4. Let the KL leash adapt, and report.
    mean_kl = float(kl.sum(1).mean())
    kl_coef = state.kl_coef
    state.kl_coef = ppo.adapt_kl(kl_coef, mean_kl, config.kl_target, len(scores), config.kl_horizon)
    spent = {name: sum(u.pop(name) for u in updates) for name in ("forward", "backward")}
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
        **{f"ppo/{key}": sum(u[key] for u in updates) / len(updates) for key in updates[0]},
        "tokens/response_mean": float(tokens.float().mean()),
        "time/assess": assessed - started,
        "time/forward": spent["forward"],
        "time/backward": spent["backward"],
        "time/optimize": time.perf_counter() - assessed,
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


def own_rows(batch_size: int, mini_batch_size: int) -> list[int]:
    """The rows of a batch that this process works on: an equal share of every mini-batch."""
    share = processes.share(mini_batch_size, "mini_batch_size")
    parts = torch.arange(batch_size).view(-1, processes.count(), share)
    return [int(row) for row in parts[:, processes.rank()].flatten()]


def rows_at_once(config: PpoConfig) -> int:
    """The rows that this process runs through the model together, in every pass alike."""
    share = processes.share(config.mini_batch_size, "mini_batch_size")
    return min(config.micro_batch_size or share, share)


def _update(
    state: State,
    rollout: Rollout,
    rows: Tensor,
    known: tuple[Tensor, ...],
    count: Tensor,
    config: PpoConfig,
) -> dict[str, float]:
    """One optimizer step on the mini-batch ``rows`` of ``rollout`` and of what is ``known``.

    Gradients add up over parts of ``rows_at_once`` rows and over processes: every loss is
    divided by the ``count`` of tokens in the whole mini-batch, so that losses are parts of a sum.
    """
    state.optimizer.zero_grad()
    sums: dict[str, Tensor] = {}
    spent = {"forward": 0.0, "backward": 0.0}
    for index in rows.split(rows_at_once(config)):
        started = time.perf_counter()
        part = rollout.rows(index)
        width = part.response.shape[1]
        old_logprobs, old_values, advantages, returns = (
            x[index, :width].to(part.mask.device) for x in known
        )
        logprobs, values = state.actor(
            part, part.encoded if state.actor.encoder_is_frozen else None
        )
        result = ppo.losses(
            logprobs,
            values,
            old_logprobs,
            old_values,
            advantages,
            returns,
            part.mask,
            clip=config.clip,
            clip_value=config.clip_value,
            vf_coef=config.vf_coef,
            count=count.to(part.mask.device),
        )
        told = {
            "loss/total": result.total.detach(),
            "loss/policy": result.policy.detach(),
            "loss/value": result.value.detach(),
            "clip_fraction": result.clip_fraction,
            "approx_kl": result.approx_kl,
            "ratio": result.mean_ratio,
        }
        sums = {key: sums[key] + told[key] if sums else told[key] for key in told}
        forwarded = time.perf_counter()
        result.total.backward()
        spent["forward"] += forwarded - started
        spent["backward"] += time.perf_counter() - forwarded
    everywhere = processes.total(torch.stack(list(sums.values()))).tolist()
    numbers = dict(zip(sums, everywhere, strict=True)) | spent
    if not math.isfinite(numbers["loss/total"]):
        raise DivergedError("the loss is not finite")
    if numbers["ratio"] > config.ratio_threshold:
        return numbers | {"skipped": 1.0, "grad_norm": 0.0}
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    processes.sum_gradients(parameters)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm))
    if not math.isfinite(norm):
        raise DivergedError("the gradient is not finite")
    state.optimizer.step()
    return numbers | {"skipped": 0.0, "grad_norm": norm}
