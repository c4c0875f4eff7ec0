"""A policy between its reference and itself."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detox.cli import main
from detox.config import Lora
from detox.errors import UserError
from detox.interpolate import interpolate
from detox.models import ADAPTER_WEIGHTS, add_adapter, load_base, load_policies, save_adapter


@pytest.fixture
def adapter(tiny_causal: Path, tmp_path: Path) -> Path:
    model, _ = load_base(str(tiny_causal))
    model = add_adapter(model, Lora(r=2, alpha=4), "CAUSAL_LM", seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.5)
    folder = tmp_path / "adapter"
    save_adapter(model, folder, {"kind": "ppo", "base": str(tiny_causal), "parent": None})
    return folder


def update(folder: Path) -> dict[str, torch.Tensor]:
    tensors = {name: values.float() for name, values in load_file(folder / ADAPTER_WEIGHTS).items()}
    return {
        name: tensors[name.replace("lora_A", "lora_B")] @ values
        for name, values in tensors.items()
        if "lora_A" in name
    }


def test_the_update_is_scaled_and_nothing_else(adapter: Path, tmp_path: Path) -> None:
    lineage = interpolate(adapter, 0.25, tmp_path / "quarter")
    assert lineage["share"] == 0.25
    whole, part = update(adapter), update(tmp_path / "quarter")
    assert whole.keys() == part.keys() and whole
    for name, values in whole.items():
        torch.testing.assert_close(part[name], 0.25 * values, rtol=2e-3, atol=1e-4)


def test_all_of_it_is_the_policy_and_little_of_it_is_near_the_reference(
    adapter: Path, tiny_causal: Path, tmp_path: Path
) -> None:
    ids = torch.arange(3, 9)[None]
    logits = {}
    for share in (0.001, 1.0):
        interpolate(adapter, share, tmp_path / str(share))
        policy = load_policies({"p": str(tmp_path / str(share))})["p"]
        with torch.no_grad():
            logits[share] = policy.model(ids).logits
    with torch.no_grad():
        whole = load_policies({"p": str(adapter)})["p"].model(ids).logits
        reference = load_policies({"p": str(tiny_causal)})["p"].model(ids).logits
    torch.testing.assert_close(logits[1.0], whole)
    far = (whole - reference).abs().max()
    assert (logits[0.001] - reference).abs().max() < 0.02 * far


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_an_impossible_share_is_refused(adapter: Path, share: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="share must be above 0"):
        interpolate(adapter, share, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_adapter_ends_the_command_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["interpolate", str(tmp_path / "none"), "--share", "0.5", "--output", str(tmp_path)]
    assert main(wanted) == 2
    assert "There is no adapter in" in capsys.readouterr().err
