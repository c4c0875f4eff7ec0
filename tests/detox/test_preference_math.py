"""The formulas of direct preference tuning: by hand, by their properties, and against trl."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, tensor
from torch.testing import assert_close
from trl.trainer.dpo_trainer import DPOTrainer

from detox.config import DpoConfig, Lora
from detox.models import add_adapter, load_base
from detox.preference.math import (
    LOSSES,
    implicit_rewards,
    inverse_smoothing,
    preference_losses,
    response_logprobs,
    wins,
)
from detox.preference.trainers import CausalTrainer, build_trainer

CHECK = settings(max_examples=60, derandomize=True, deadline=None, database=None)
LOGPROBS = st.floats(-200, 0, width=32)
SHARES = st.floats(0, 0.45)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loss_of(numbers: tuple[float, float, float, float], **options: Any) -> float:
    """The loss of one pair: chosen and rejected, by the policy and then by the reference."""
    return float(preference_losses(*(tensor([x]) for x in numbers), **options))


# by hand

# log-ratios 1 and -0.5, so that beta 0.5 makes z = 0.5 * 1.5 = 0.75
PAIR = (-10.0, -12.0, -11.0, -11.5)


def test_dpo_by_hand() -> None:
    assert loss_of(PAIR, beta=0.5) == pytest.approx(0.386871, abs=1e-6)  # log(1 + e^-0.75)
    # a pair that the policy has the wrong way round: z = -0.75
    assert loss_of((-12.0, -10.0, -11.5, -11.0), beta=0.5) == pytest.approx(1.136871, abs=1e-6)


def test_a_margin_by_hand() -> None:
    assert loss_of(PAIR, beta=0.5, margin=0.75) == pytest.approx(math.log(2), abs=1e-6)
    assert loss_of(PAIR, beta=0.5, margin=1.75) == pytest.approx(math.log(1 + math.e), abs=1e-6)


def test_each_pair_has_its_own_margin() -> None:
    same = tensor([0.0, 0.0])
    losses = preference_losses(same, same, same, same, margin=tensor([0.0, 1.0]))
    assert_close(losses, tensor([math.log(2), math.log(1 + math.e)]))


def test_cdpo_by_hand() -> None:
    expected = -0.8 * math.log(sigmoid(0.75)) - 0.2 * math.log(sigmoid(-0.75))
    assert loss_of(PAIR, beta=0.5, loss="cdpo", smoothing=0.2) == pytest.approx(expected, abs=1e-6)


def test_robust_by_hand() -> None:
    expected = (-0.8 * math.log(sigmoid(0.75)) + 0.2 * math.log(sigmoid(-0.75))) / 0.6
    found = loss_of(PAIR, beta=0.5, loss="robust", smoothing=0.2)
    assert found == pytest.approx(expected, abs=1e-6)


def test_ipo_by_hand() -> None:
    # 1 / 4 - (-0.5 / 2) = 0.5, which is to become 1 / (2 * 0.25) = 2
    lengths = {"chosen_length": tensor([4]), "rejected_length": tensor([2])}
    assert loss_of(PAIR, beta=0.25, loss="ipo", **lengths) == pytest.approx(2.25)


def test_ipo_needs_lengths_and_other_losses_are_refused() -> None:
    with pytest.raises(ValueError, match="ipo needs the lengths"):
        loss_of(PAIR, loss="ipo")
    with pytest.raises(ValueError, match="unknown loss hinge: one of dpo, cdpo, robust, ipo"):
        loss_of(PAIR, loss="hinge")


def test_the_gradient_is_that_of_the_paper() -> None:
    # Rafailov et al. 2023, section 4: -beta sigmoid(-z) for the chosen response, + for the other
    sides = [tensor([x], requires_grad=True) for x in PAIR]
    preference_losses(*sides, beta=0.5).backward()
    gradients = [float(x.grad) if x.grad is not None else 0.0 for x in sides[:2]]
    assert gradients == pytest.approx([-0.5 * sigmoid(-0.75), 0.5 * sigmoid(-0.75)])


def test_implicit_rewards_and_wins_by_hand() -> None:
    rewards = implicit_rewards(tensor([-10.0, -12.0]), tensor([-11.0, -11.5]), 0.1)
    assert_close(rewards, tensor([0.1, -0.05]))
    assert wins(tensor([1.0, 2.0, 0.0]), tensor([0.0, 2.0, 1.0])).tolist() == [1.0, 0.5, 0.0]


# properties


@CHECK
@given(LOGPROBS, LOGPROBS, st.floats(0.01, 2))
def test_a_policy_that_is_its_reference_is_unsure(c: float, r: float, beta: float) -> None:
    assert loss_of((c, r, c, r), beta=beta) == pytest.approx(math.log(2), abs=1e-6)


@CHECK
@given(LOGPROBS, LOGPROBS, LOGPROBS, LOGPROBS, SHARES)
def test_cdpo_expects_and_robust_undoes_wrong_picks(
    c: float, r: float, rc: float, rr: float, e: float
) -> None:
    right, wrong = (c, r, rc, rr), (r, c, rr, rc)
    expected = (1 - e) * loss_of(right) + e * loss_of(wrong)
    assert loss_of(right, loss="cdpo", smoothing=e) == pytest.approx(expected, abs=1e-3)
    options: dict[str, Any] = {"loss": "robust", "smoothing": e}
    undone = (1 - e) * loss_of(right, **options) + e * loss_of(wrong, **options)
    assert undone == pytest.approx(loss_of(right), abs=1e-3)


@CHECK
@given(LOGPROBS, LOGPROBS, SHARES)
def test_robust_turned_round_is_cdpo(c: float, r: float, e: float) -> None:
    pair = (c, r, -50.0, -60.0)
    found = loss_of(pair, loss="robust", smoothing=inverse_smoothing(e))
    assert found == pytest.approx(loss_of(pair, loss="cdpo", smoothing=e), rel=1e-4, abs=1e-4)


@CHECK
@given(st.sampled_from(LOSSES), LOGPROBS, LOGPROBS)
def test_only_the_change_from_the_reference_counts(loss: str, c: float, r: float) -> None:
    lengths = {"chosen_length": tensor([3]), "rejected_length": tensor([5])}
    near = loss_of((c, r, c - 1, r + 1), loss=loss, smoothing=0.1, **lengths)
    far = loss_of((0.0, 0.0, -1.0, 1.0), loss=loss, smoothing=0.1, **lengths)
    assert near == pytest.approx(far, rel=1e-3, abs=1e-3)


# a response's log-probability


def test_every_token_of_a_response_counts_once_and_no_other() -> None:
    torch.manual_seed(0)
    logits, tokens = torch.randn(2, 3, 7), tensor([[4, 2, 1], [6, 0, 0]])
    mask = tensor([[1, 1, 1], [1, 0, 0]])
    table = logits.log_softmax(-1)
    first = table[0, 0, 4] + table[0, 1, 2] + table[0, 2, 1]
    assert_close(response_logprobs(logits, tokens, mask), torch.stack([first, table[1, 0, 6]]))


# against trl


ROWS: list[dict[str, Any]] = [
    {"prompt_ids": [20, 21, 22, 23], "chosen_ids": [30, 31, 1], "rejected_ids": [32, 1]},
    {"prompt_ids": [40], "chosen_ids": [1], "rejected_ids": [50, 51, 52, 53, 54, 1]},
    {"prompt_ids": [60, 61, 62], "chosen_ids": [70, 71, 72, 73], "rejected_ids": [70, 74, 1]},
]


def logprob_by_hand(model: Any, prompt: list[int], response: list[int]) -> Tensor:
    """Log-probability of a response after its prompt, alone: no padding, and no trl."""
    logits = model(input_ids=tensor([prompt + response])).logits[0].float().log_softmax(-1)
    places = torch.arange(len(prompt) - 1, len(prompt) + len(response) - 1)
    return logits[places, tensor(response)].sum()


@pytest.mark.parametrize(
    ("loss", "margin"),
    [(loss, margin) for loss in LOSSES for margin in (0.0, 0.7) if (loss, margin) != ("ipo", 0.7)],
)
@torch.no_grad()
def test_trl_computes_the_same_loss(
    tiny_causal: Path, tmp_path: Path, loss: str, margin: float
) -> None:
    config = DpoConfig(loss=loss, beta=0.3, label_smoothing=0.2)
    base, tokenizer = load_base(str(tiny_causal))
    model = add_adapter(base, Lora(r=4, alpha=8), "CAUSAL_LM", 0)
    arguments = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 3,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
    }
    rows = [row | {"margin": margin * i, "length": 9} for i, row in enumerate(ROWS)]
    trainer = build_trainer(model, tokenizer, config, rows, [], arguments)
    assert isinstance(trainer, DPOTrainer) and isinstance(trainer, CausalTrainer)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.normal_(0, 0.2)
    model.eval()

    def sides() -> tuple[Tensor, Tensor]:
        chosen, rejected = (
            torch.stack([logprob_by_hand(model, r["prompt_ids"], r[key]) for r in rows])
            for key in ("chosen_ids", "rejected_ids")
        )
        return chosen, rejected

    with model.disable_adapter():
        reference = sides()
    found = trainer.think(rows, lambda done: None)
    assert_close(tensor(found).unbind(1), reference, rtol=0, atol=2e-4)
    policy = sides()
    assert not torch.allclose(policy[0], reference[0], atol=0.1)
    expected = preference_losses(
        *policy,
        *reference,
        loss=loss,
        beta=config.beta,
        smoothing=0.2,
        margin=tensor([row["margin"] for row in rows]),
        chosen_length=tensor([len(row["chosen_ids"]) for row in rows]),
        rejected_length=tensor([len(row["rejected_ids"]) for row in rows]),
    )
    known = [
        row | {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
        for row, (chosen, rejected) in zip(rows, found, strict=True)
    ]
    batch = trainer._prepare_inputs(trainer.data_collator(known))
    model.train()  # as a step of training would have it
    assert_close(trainer.compute_loss(model, batch), expected.mean(), rtol=0, atol=1e-4)
    if loss != "cdpo" and not margin:
        # what trl makes of the batch without any help of ours
        plain = {key: value for key, value in batch.items() if key != "margin"}
        model.eval()
        own = DPOTrainer.compute_loss(trainer, model, plain)
        assert_close(own, expected.mean(), rtol=0, atol=1e-4)
