"""The formulas of PPO against numbers worked out by hand and against properties they must have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, tensor
from torch.testing import assert_close

from detox.ppo import math as ppo

# The same examples every time, and no clock: other programs may keep the machine busy.
CHECK = settings(max_examples=40, derandomize=True, deadline=None, database=None)
NUMBERS = st.floats(-10, 10, allow_nan=False, width=32)


def masks(rows: int, columns: int) -> st.SearchStrategy[Tensor]:
    """Masks of responses of 1 to ``columns`` tokens, padded on the right."""
    lengths = st.lists(st.integers(1, columns), min_size=rows, max_size=rows)
    return lengths.map(lambda ns: tensor([[int(c < n) for c in range(columns)] for n in ns]))


@st.composite
def batches(draw: st.DrawFn, tensors: int) -> tuple[Tensor, ...]:
    """``tensors`` tensors of one shape [B, R] and a mask of it."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    arrays = [
        torch.from_numpy(draw(hnp.arrays(np.float32, (rows, columns), elements=NUMBERS)))
        for _ in range(tensors)
    ]
    return (*arrays, draw(masks(rows, columns)))


def other_padding(values: Tensor, mask: Tensor) -> Tensor:
    """``values`` with a column more, and other numbers wherever the mask is 0."""
    wide = torch.cat([values, values[:, :1]], 1)
    return torch.where(wider(mask).bool(), wide, torch.tensor(777.0))


def wider(mask: Tensor) -> Tensor:
    return torch.cat([mask, torch.zeros_like(mask[:, :1])], 1)


# masked mean and variance


def test_mean_and_variance_by_hand() -> None:
    values, mask = tensor([[1.0, 2.0, 90.0], [6.0, 70.0, 80.0]]), tensor([[1, 1, 0], [1, 0, 0]])
    assert ppo.masked_mean(values, mask) == 3.0
    # squares 4, 1 and 9, divided by 3 - 1
    assert ppo.masked_var(values, mask) == 7.0


def test_mean_and_variance_of_too_few_values() -> None:
    values = tensor([[5.0, 6.0]])
    assert ppo.masked_mean(values, tensor([[0, 0]])) == 0.0
    assert ppo.masked_var(values, tensor([[0, 0]])) == 0.0
    assert ppo.masked_mean(values, tensor([[1, 0]])) == 5.0
    assert ppo.masked_var(values, tensor([[1, 0]])) == 0.0


@CHECK
@given(batches(1))
def test_mean_and_variance_are_those_of_numpy(batch: tuple[Tensor, Tensor]) -> None:
    values, mask = batch
    chosen = values[mask.bool()].numpy().astype(float)
    assert float(ppo.masked_mean(values, mask)) == pytest.approx(chosen.mean(), abs=1e-4)
    expected = chosen.var(ddof=1) if len(chosen) > 1 else 0.0
    assert float(ppo.masked_var(values, mask)) == pytest.approx(expected, abs=1e-3)


# whitening


def test_whitening_by_hand() -> None:
    values, mask = tensor([[1.0, 2.0, 90.0], [6.0, 70.0, 80.0]]), tensor([[1, 1, 0], [1, 0, 0]])
    whitened = ppo.whiten(values, mask)[mask.bool()]
    assert_close(whitened, tensor([-2.0, -1.0, 3.0]) / math.sqrt(7))
    kept = ppo.whiten(values, mask, shift_mean=False)[mask.bool()]
    assert_close(kept, tensor([-2.0, -1.0, 3.0]) / math.sqrt(7) + 3)


@CHECK
@given(batches(1))
def test_whitened_values_have_mean_0_and_variance_1(batch: tuple[Tensor, Tensor]) -> None:
    values, mask = batch
    assume(float(ppo.masked_var(values, mask)) > 1e-2)
    whitened = ppo.whiten(values, mask)
    assert float(ppo.masked_mean(whitened, mask)) == pytest.approx(0, abs=1e-4)
    assert float(ppo.masked_var(whitened, mask)) == pytest.approx(1, abs=1e-3)


def test_whitening_what_does_not_vary_gives_zeros() -> None:
    values, mask = torch.full((2, 3), 4.0), torch.ones(2, 3)
    assert_close(ppo.whiten(values, mask), torch.zeros(2, 3))


# log-probabilities and entropy


def test_log_probabilities_by_hand() -> None:
    # two tokens with odds 3 to 1, then three that are equally likely
    logits = tensor([[[math.log(3.0), 0.0, -math.inf], [5.0, 5.0, 5.0]]])
    expected = tensor([[math.log(0.25), math.log(1 / 3)]])
    assert_close(ppo.token_logprobs(logits, tensor([[1, 2]])), expected)


def test_log_probabilities_are_float32_whatever_the_model_computes_in() -> None:
    logits = tensor([[[1.0, 2.0], [0.5, -0.5]], [[0.0, 3.0], [2.0, 2.0]]])
    tokens = tensor([[0, 1], [1, 0]])
    found = ppo.token_logprobs(logits.bfloat16(), tokens)
    assert found.dtype == torch.float32 and found.shape == (2, 2)
    # these logits are exact in bfloat16, so rounding later would show
    assert_close(found, logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0])


def test_entropy_by_hand() -> None:
    logits = tensor([[[0.0] * 4, [math.log(3.0), 0.0, -60.0, -60.0], [90.0, 0.0, 0.0, 0.0]]])
    coin = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert_close(ppo.entropy(logits), tensor([[math.log(4), coin, 0.0]]))


# rewards a token


def test_token_rewards_by_hand() -> None:
    scores = tensor([2.0, -1.0])
    logprobs, ref = tensor([[-1.0, -2.0, 9.0], [-3.0, 9.0, 9.0]]), tensor([[-1.5, -1.0, 0.0]] * 2)
    rewards, kl = ppo.token_rewards(scores, logprobs, ref, tensor([[1, 1, 0], [1, 0, 0]]), 0.1)
    assert_close(kl, tensor([[0.5, -1.0, 0.0], [-1.5, 0.0, 0.0]]))
    assert_close(rewards, tensor([[-0.05, 2.1, 0.0], [-0.85, 0.0, 0.0]]))


@CHECK
@given(batches(2), st.floats(0, 2))
def test_rewards_of_a_response_sum_to_score_minus_weighted_kl(
    batch: tuple[Tensor, Tensor, Tensor], kl_coef: float
) -> None:
    logprobs, ref, mask = batch
    scores = torch.arange(len(mask), dtype=torch.float32)
    rewards, kl = ppo.token_rewards(scores, logprobs, ref, mask, kl_coef)
    assert_close(rewards.sum(1), scores - kl_coef * kl.sum(1), atol=1e-4, rtol=1e-4)
    assert rewards[mask == 0].eq(0).all() and kl[mask == 0].eq(0).all()


# generalised advantage estimation


def test_gae_by_hand() -> None:
    rewards, values = tensor([[1.0, 0.0, 2.0]]), tensor([[0.5, 1.0, 1.5]])
    advantages, returns = ppo.gae(rewards, values, torch.ones(1, 3), gamma=0.9, lam=0.5)
    # deltas: 1 + 0.9 - 0.5 = 1.4;  0 + 1.35 - 1 = 0.35;  2 - 1.5 = 0.5, and 0.9 * 0.5 = 0.45
    expected = tensor([[1.4 + 0.45 * 0.575, 0.35 + 0.45 * 0.5, 0.5]])
    assert_close(advantages, expected)
    assert_close(returns, expected + values)


@CHECK
@given(batches(2))
def test_gae_with_lambda_1_is_reward_to_go_minus_value(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    rewards, values, mask = batch
    advantages, returns = ppo.gae(rewards, values, mask, gamma=1.0, lam=1.0)
    to_go = (rewards * mask).flip(1).cumsum(1).flip(1) * mask
    assert_close(returns, to_go, atol=1e-3, rtol=1e-4)
    assert_close(advantages, to_go - values * mask, atol=1e-3, rtol=1e-4)


@CHECK
@given(batches(2), st.floats(0, 1), st.floats(0, 1))
def test_gae_is_the_discounted_sum_of_deltas(
    batch: tuple[Tensor, Tensor, Tensor], gamma: float, lam: float
) -> None:
    rewards, values, mask = batch
    advantages, _ = ppo.gae(rewards, values, mask, gamma, lam)
    for row, length in enumerate(mask.sum(1).tolist()):
        r, v = rewards[row, :length].double(), values[row, :length].double()
        deltas = [
            r[t] + gamma * (v[t + 1] if t + 1 < length else 0.0) - v[t] for t in range(length)
        ]
        for t in range(length):
            expected = sum((gamma * lam) ** (k - t) * float(deltas[k]) for k in range(t, length))
            assert float(advantages[row, t]) == pytest.approx(expected, abs=1e-3)


# losses


def loss(**changes: Any) -> ppo.Losses:
    """Losses of three tokens with ratios 2, 1 and 0.5; ``changes`` replace arguments."""
    arguments: dict[str, Any] = {
        "logprobs": tensor([[math.log(0.4), math.log(0.3), math.log(0.1)]]),
        "old_logprobs": tensor([[math.log(0.2), math.log(0.3), math.log(0.2)]]),
        "values": tensor([[1.0, 0.0, -1.0]]),
        "old_values": tensor([[0.0, 0.0, -0.9]]),
        "advantages": tensor([[1.0, 2.0, -3.0]]),
        "returns": tensor([[2.0, 0.5, 0.0]]),
        "mask": tensor([[1, 1, 1]]),
        "clip": 0.2,
        "clip_value": 0.2,
        "vf_coef": 0.1,
    }
    return ppo.losses(**(arguments | changes))


def test_losses_by_hand() -> None:
    found = loss()
    # -min(2 * 1, 1.2 * 1), -2, -min(0.5 * -3, 0.8 * -3)
    assert_close(found.policy, tensor((-1.2 - 2.0 + 2.4) / 3))
    # (2 - 0.2)^2 beats (2 - 1)^2 since the value may move by 0.2; 0.5^2; 1^2 within the range
    assert_close(found.value, tensor(0.5 * (3.24 + 0.25 + 1.0) / 3))
    assert_close(found.total, found.policy + 0.1 * found.value)
    assert_close(found.clip_fraction, tensor(2 / 3))
    assert_close(found.approx_kl, tensor(0.5 * 2 * math.log(2) ** 2 / 3))
    assert_close(found.mean_ratio, tensor((2 + 1 + 0.5) / 3))


@CHECK
@given(batches(4))
def test_with_ratio_1_the_policy_loss_is_minus_the_mean_advantage(
    batch: tuple[Tensor, ...],
) -> None:
    logprobs, advantages, values, returns, mask = batch
    found = loss(
        logprobs=logprobs,
        old_logprobs=logprobs,
        values=values,
        old_values=values,
        advantages=advantages,
        returns=returns,
        mask=mask,
    )
    assert_close(found.policy, -ppo.masked_mean(advantages, mask))
    errors = ((values - returns) ** 2)[mask.bool()]
    assert_close(found.value, 0.5 * errors.mean(), atol=1e-4, rtol=1e-4)
    assert found.mean_ratio == 1 and found.clip_fraction == 0 and found.approx_kl == 0


@CHECK
@given(st.floats(-3, 3), st.floats(0.01, 3), st.floats(0.05, 0.5))
def test_clipping_bounds_what_a_token_can_gain(log_ratio: float, size: float, clip: float) -> None:
    one = torch.ones(1, 1)
    for advantage in (size, -size):
        found = loss(
            logprobs=one * log_ratio,
            old_logprobs=one * 0,
            advantages=one * advantage,
            values=one,
            old_values=one,
            returns=one,
            mask=one,
            clip=clip,
        )
        # moving along the advantage pays up to the clip; moving against it always costs
        best = (1 + clip) * advantage if advantage > 0 else (1 - clip) * advantage
        assert float(found.policy) >= -best - 1e-5
        assert float(found.policy) >= -math.exp(log_ratio) * advantage - 1e-4


def test_a_clipped_token_has_no_gradient() -> None:
    logprobs = tensor([[math.log(0.4), math.log(0.3), math.log(0.1)]], requires_grad=True)
    loss(logprobs=logprobs).policy.backward()
    # only the middle token is inside: its slope is -advantage * ratio / 3 tokens
    assert logprobs.grad is not None
    assert_close(logprobs.grad, tensor([[0.0, -2 / 3, 0.0]]))


@CHECK
@given(batches(6))
def test_padding_never_matters(batch: tuple[Tensor, ...]) -> None:
    *tensors, mask = batch
    names = ("logprobs", "old_logprobs", "values", "old_values", "advantages", "returns")
    # in double precision, where the order of a sum does not show
    small = [x.double() / 10 for x in tensors]
    padded = [other_padding(x, mask) for x in small]
    plain = loss(**dict(zip(names, small, strict=True)), mask=mask)
    wide = loss(**dict(zip(names, padded, strict=True)), mask=wider(mask))
    for name in ("total", "policy", "value", "clip_fraction", "approx_kl", "mean_ratio"):
        assert_close(getattr(wide, name), getattr(plain, name))
    one, two = small[:2], padded[:2]
    for function in (ppo.masked_mean, ppo.masked_var):
        assert_close(function(two[0], wider(mask)), function(one[0], mask))
    assert_close(
        ppo.whiten(two[0], wider(mask))[:, :-1][mask.bool()], ppo.whiten(one[0], mask)[mask.bool()]
    )
    for a, b in zip(
        ppo.gae(*two, wider(mask), 0.9, 0.9), ppo.gae(*one, mask, 0.9, 0.9), strict=True
    ):
        assert_close(a[:, :-1], b)
        assert a[wider(mask) == 0].eq(0).all()
    assert_close(ppo.explained_variance(*two, wider(mask)), ppo.explained_variance(*one, mask))


# explained variance and the KL controller


def test_explained_variance_by_hand() -> None:
    returns, mask = tensor([[1.0, 3.0, 5.0, 99.0]]), tensor([[1, 1, 1, 0]])
    assert ppo.explained_variance(returns, returns, mask) == 1.0
    assert ppo.explained_variance(returns + 10, returns, mask) == 1.0  # it knows no bias
    assert ppo.explained_variance(torch.zeros(1, 4), returns, mask) == 0.0
    # residuals 0, 1 and 2: variance 1 of 4
    assert ppo.explained_variance(tensor([[1.0, 2.0, 3.0, 0.0]]), returns, mask) == 0.75
    # twice as wrong as a constant
    assert ppo.explained_variance(-returns, returns, mask) == -3.0


def test_returns_that_do_not_vary_leave_nothing_to_explain() -> None:
    assert ppo.explained_variance(tensor([[1.0, 2.0]]), tensor([[3.0, 3.0]]), torch.ones(1, 2)) == 0


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (6.0, 0.1),  # on target
        (6.6, 0.1 * (1 + 0.1 * 16 / 1000)),  # a tenth above
        (5.4, 0.1 * (1 - 0.1 * 16 / 1000)),
        (60.0, 0.1 * (1 + 0.2 * 16 / 1000)),  # errors are cut at a fifth
        (0.0, 0.1 * (1 - 0.2 * 16 / 1000)),
        (-3.0, 0.1 * (1 - 0.2 * 16 / 1000)),
    ],
)
def test_the_kl_weight_follows_the_error(kl: float, expected: float) -> None:
    assert ppo.adapt_kl(0.1, kl, 6.0, samples=16, horizon=1000) == pytest.approx(expected)


def test_a_horizon_of_0_keeps_the_kl_weight() -> None:
    assert ppo.adapt_kl(0.1, 60.0, 6.0, samples=16, horizon=0) == 0.1
