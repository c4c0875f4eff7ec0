"""Weights that could run a program are not read unless somebody insists."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detox import cli
from detox.errors import UserError
from detox.models import find_source, load_base, load_classifier, new_classifier
from detox.models.weights import INSIST, pickles_allowed
from tests import tiny


def pickled(folder: Path, model: Any) -> Path:
    """``folder`` with its weights as torch once saved them."""
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture
def old_t5(tmp_path: Path) -> Path:
    model = tiny.t5()
    return pickled(tiny.save(model, tmp_path / "t5", "t5"), model)


@pytest.fixture
def old_classifier(tmp_path: Path) -> Path:
    model = tiny.classifier(["nothate", "hate"])
    return pickled(tiny.save(model, tmp_path / "judge", "roberta"), model)


@pytest.mark.parametrize("load", [load_classifier, lambda name: new_classifier(name, ["a", "b"])])
def test_a_pickled_classifier_is_refused_and_read_when_insisted(
    old_classifier: Path, load: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="can run programs when it is read") as refused:
        load(str(old_classifier))
    assert "pytorch_model.bin" in str(refused.value) and f"{INSIST}=1" in str(refused.value)
    monkeypatch.setenv(INSIST, "1")
    load(str(old_classifier))


def test_a_pickled_policy_is_refused_and_read_when_insisted(
    old_t5: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="is pickled"):
        load_base(str(old_t5))
    argv = ["evaluate", "--before", str(old_t5), "--after", str(old_t5), "--limit", "1"]
    assert cli.main([*argv, "--output", str(old_t5.parent / "out")]) == 2
    assert "is pickled" in capsys.readouterr().err
    monkeypatch.setenv(INSIST, "1")
    model, _ = load_base(str(old_t5))
    assert torch.equal(model.shared.weight, tiny.t5().shared.weight)


@pytest.mark.parametrize("said", ["", "0", "no", " 1 "])
def test_only_a_one_insists(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INSIST, said)
    assert pickles_allowed() is (said.strip() == "1")


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_pickle_runs_even_when_insisted(
    old_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    went_off = tmp_path / "went off"
    (old_t5 / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(went_off)))
    for said in ("", "1"):
        monkeypatch.setenv(INSIST, said)
        with pytest.raises(UserError):
            load_base(str(old_t5))
    assert not went_off.exists()


def test_safetensors_beside_a_pickle_are_what_is_read(tmp_path: Path) -> None:
    folder = tiny.save(tiny.t5(), tmp_path / "t5", "t5")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "went off")))
    load_base(str(folder))
    assert not (tmp_path / "went off").exists()


def test_a_pickled_adapter_is_told_from_an_absent_one(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(Path("detox/embedded/sft"), folder)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UserError, match=r"adapter_model\.bin is pickled"):
        find_source(str(folder))
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(UserError, match="There is no adapter"):
        find_source(str(folder))
