"""KL between policies, against the formula token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detox.config import Lora
from detox.divergence import response_kl, same_tokens
from detox.models import Policy, add_adapter, load_policies, load_policy, save_adapter

PROMPTS = ["#Person1#: You forgot the tickets again.", "Hello.", "#Person2#: I am sorry."]
RESPONSES = ["They talk.", "", "#Person2# is sorry about the tickets"]


@pytest.fixture(params=["t5", "causal"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Policy, Policy]:
    """A policy with an adapter that matters, and the same one without."""
    base = str(request.getfixturevalue(f"tiny_{request.param}"))
    plain = load_policy(base)
    task = "SEQ_2_SEQ_LM" if plain.is_encoder_decoder else "CAUSAL_LM"
    model = add_adapter(plain.model, Lora(r=4, alpha=8), task, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.2)
    save_adapter(model, tmp_path / "tuned", {"base": base, "parent": None})
    policies = load_policies({"tuned": str(tmp_path / "tuned"), "base": base})
    return policies["tuned"], policies["base"]


def by_hand(policy: Policy, prompt: str, response: str) -> torch.Tensor:
    """Log-probabilities of every token at every place of the response, and at its end."""
    tokenizer = policy.tokenizer
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    target = [*tokenizer(response, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    model = policy.model
    if policy.adapter is None and hasattr(model, "disable_adapter"):
        with torch.inference_mode(), model.disable_adapter():
            return _logits(model, ids, target).log_softmax(-1)
    if policy.adapter is not None:
        model.set_adapter(policy.adapter)
    with torch.inference_mode():
        return _logits(model, ids, target).log_softmax(-1)


def _logits(model: torch.nn.Module, ids: torch.Tensor, target: list[int]) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        start = torch.tensor([[model.config.decoder_start_token_id, *target[:-1]]])
        logits: torch.Tensor = model(input_ids=ids, decoder_input_ids=start).logits[0]
        return logits
    whole = torch.cat([ids, torch.tensor([target])], 1)
    logits = model(input_ids=whole).logits[0, ids.shape[1] - 1 : -1]
    return logits


def test_the_formula(pair: tuple[Policy, Policy]) -> None:
    policy, reference = pair
    found = response_kl(policy, reference, PROMPTS, RESPONSES, batch_size=2)
    for kl, prompt, response in zip(found, PROMPTS, RESPONSES, strict=True):
        p, q = (by_hand(side, prompt, response) for side in pair)
        assert kl == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-3, abs=1e-4)
    assert min(found) > 0.01


def test_a_policy_is_no_distance_from_itself(pair: tuple[Policy, Policy]) -> None:
    assert response_kl(pair[0], pair[0], PROMPTS, RESPONSES) == [0, 0, 0]


def test_other_tokens_cannot_be_compared(
    pair: tuple[Policy, Policy], tiny_t5: Path, tiny_causal: Path
) -> None:
    assert same_tokens(*pair)
    assert not same_tokens(load_policy(str(tiny_t5)), load_policy(str(tiny_causal)))
