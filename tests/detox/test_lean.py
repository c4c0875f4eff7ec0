"""Rows through their own adapters: the numbers of peft, the model as it was afterwards."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from detox import lean
from detox.config import Sampling
from detox.generation import compare, generate
from detox.lean import FEW, row_adapters
from detox.models import ROOT_ADAPTER, Policy, load_policy

MIXES = [["v1", None], [None, "v2", None], ["v2", "v1", "v2", None, "v1"], ["v1"], [None, None]]
GREEDY = Sampling(temperature=0, max_new_tokens=10)
PROMPT = "#Person1#: You forgot the tickets again, you useless fool."


@pytest.fixture(params=["t5", "causal"])
def policy(request: pytest.FixtureRequest) -> Policy:
    """Each kind of base model in turn, with two adapters that change a lot."""
    return adapted(request.getfixturevalue(f"tiny_{request.param}"))


def adapted(base: Path, **options: Any) -> Policy:
    loaded = load_policy(str(base))
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", **options)
    model = get_peft_model(loaded.model, config, adapter_name="v1")
    model.add_adapter("v2", LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", **options))
    for name, parameter in model.named_parameters():
        if "lora_" in name and "magnitude" not in name:
            parameter.data.normal_(0, 0.3)
    return Policy("v1", model.eval(), loaded.tokenizer, "v1", "")


def logits(policy: Policy, rows: int, **how: Any) -> torch.Tensor:
    inputs = policy.tokenizer([PROMPT] * rows, return_tensors="pt")
    extra = {"decoder_input_ids": torch.zeros(rows, 3, dtype=torch.long)}
    with torch.inference_mode():
        more = extra if policy.is_encoder_decoder else {}
        return policy.model(input_ids=inputs.input_ids, **more, **how).logits


def peft_logits(policy: Policy, adapters: list[str | None]) -> torch.Tensor:
    return logits(policy, len(adapters), adapter_names=[name or ROOT_ADAPTER for name in adapters])


@pytest.mark.parametrize("adapters", MIXES)
@pytest.mark.parametrize("few", [FEW, 10_000])
def test_the_numbers_are_those_of_peft(
    policy: Policy, adapters: list[str | None], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean, "FEW", few)  # the prompt is long enough for both kinds of product
    expected = peft_logits(policy, adapters)
    with row_adapters(policy.model, adapters) as how:
        assert how == {}
        torch.testing.assert_close(logits(policy, len(adapters)), expected, rtol=1e-4, atol=1e-4)
    assert len({str(row) for row in expected}) == len(set(adapters))


def test_the_model_is_left_as_it_was(policy: Policy) -> None:
    before = peft_logits(policy, ["v1", None])
    with pytest.raises(MemoryError), row_adapters(policy.model, ["v2", "v2"]):
        raise MemoryError
    assert not any("forward" in vars(module) for module in policy.model.modules())
    assert torch.equal(peft_logits(policy, ["v1", None]), before)


@pytest.mark.parametrize("options", [{"lora_bias": True}, {"modules_to_save": ["lm_head"]}])
def test_adapters_that_are_more_than_lora_are_left_to_peft(
    tiny_causal: Path, options: dict[str, Any]
) -> None:
    policy = adapted(tiny_causal, **options)
    expected = peft_logits(policy, ["v1", None])
    with row_adapters(policy.model, ["v1", None]) as how:
        assert how == {"adapter_names": ["v1", ROOT_ADAPTER]}
        torch.testing.assert_close(logits(policy, 2, **how), expected, rtol=1e-4, atol=1e-4)


def test_a_model_without_adapters_is_only_made_faster(tiny_causal: Path) -> None:
    policy = load_policy(str(tiny_causal))
    expected = logits(policy, 2)
    with row_adapters(policy.model, [None, None]) as how:
        assert how == {}
        torch.testing.assert_close(logits(policy, 2), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 3, 5), (FEW, 5), (FEW + 1, 5), (0, 5)])
def test_products_of_every_shape(shape: tuple[int, ...], bias: bool) -> None:
    layer = nn.Linear(5, 7, bias=bias)
    x = torch.randn(shape)
    result = lean._linear_forward(layer)(x)
    torch.testing.assert_close(result, layer(x))
    assert result.is_contiguous()


def test_two_at_a_time_do_not_mix_their_rows(policy: Policy) -> None:
    sides = [Policy(str(name), policy.model, policy.tokenizer, name, "") for name in ("v1", None)]
    expected = [generate(side, [PROMPT], GREEDY)[0] for side in sides]
    assert expected[0] != expected[1]
    heard: dict[int, tuple[str, ...]] = {}

    def ask(number: int) -> None:
        *_, heard[number] = compare(sides[:: 1 if number % 2 else -1], PROMPT, GREEDY)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == {n: tuple(expected[:: 1 if n % 2 else -1]) for n in range(4)}
