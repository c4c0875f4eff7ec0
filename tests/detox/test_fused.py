"""Fused norms and activations: the same numbers from fewer kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from detox.models import load_base
from detox.models.fused import fuse

KINDS = [("tiny_t5", AutoModelForSeq2SeqLM), ("tiny_causal", AutoModelForCausalLM)]


@pytest.fixture(params=KINDS, ids=["t5", "causal"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """A model as transformers makes it, and the same one as it is used here."""
    name, kind = request.param
    folder: Path = request.getfixturevalue(name)
    return kind.from_pretrained(str(folder)).eval(), load_base(str(folder))[0]


def outputs(model: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 9, 40, 41, 42]])
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    logits: torch.Tensor = model(input_ids=ids, **more).logits
    return logits


def test_logits_and_gradients_are_those_of_transformers(pair: tuple[Any, Any]) -> None:
    plain, fused = pair
    gradients = []
    for model in pair:
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        logits = outputs(model)
        logits.log_softmax(-1)[..., 7].sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    assert_close(outputs(fused), outputs(plain), atol=1e-5, rtol=1e-5)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_every_norm_is_fused_and_keeps_its_name(pair: tuple[Any, Any]) -> None:
    plain, fused = pair
    assert plain.state_dict().keys() == fused.state_dict().keys()
    norms = [name for name, _ in plain.named_modules() if "norm" in name]
    found = dict(fused.named_modules())
    assert norms and all(isinstance(found[name], nn.RMSNorm) for name in norms)


def test_half_precision_stays_as_it_is(pair: tuple[Any, Any]) -> None:
    half = pair[0].to(torch.bfloat16)
    fuse(half)
    assert not any(isinstance(module, nn.RMSNorm) for module in half.modules())
