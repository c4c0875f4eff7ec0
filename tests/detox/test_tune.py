"""A search for settings: better ones are found, hopeless ones cut, and a cut-off study goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from detox import cli, tune
from detox.config import PpoConfig, SftConfig
from detox.errors import UserError
from tests import tiny
from tests.conftest import WriteDialogues


def quiet(line: str) -> None:
    """Hears nothing."""


@pytest.fixture
def sft(tiny_causal: Path, dialogues_file: WriteDialogues) -> SftConfig:
    data = str(dialogues_file(rows=tiny.dialogsum_rows(12)))
    return SftConfig(
        base=str(tiny_causal), data=data, hold_out=0.35, steps=4, batch_size=4, validate_every=2
    )


def numbers(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_the_lowest_validation_loss_wins(sft: SftConfig, tmp_path: Path) -> None:
    best = tune.tune(sft, 3, tmp_path, tell=quiet)
    assert best == json.loads((tmp_path / "best.json").read_text())
    losses = {}
    for row in numbers(tmp_path):
        told = json.loads((tmp_path / f"trial-{int(row['number']):03d}" / "detox.json").read_text())
        assert told["config"]["lr"] == pytest.approx(float(row["params_lr"]))
        assert told["config"]["lora_alpha"] == 2 * told["config"]["lora_r"]
        assert float(row["value"]) == told["validation_loss"]
        losses[int(row["number"])] = told["validation_loss"]
    assert len(losses) == 3
    assert best["best_trial"] == min(losses, key=losses.__getitem__)
    assert best["best_value"] == min(losses.values())
    assert (tmp_path / "history.svg").read_text().startswith("<svg")
    words = best["command"].split()
    arguments = cli.parser().parse_args(words[3:])
    assert arguments.lr == pytest.approx(best["settings"]["lr"], rel=1e-5)


def test_a_study_goes_on(sft: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tune.train_sft
    begun: list[str] = []

    def cut(config: SftConfig, tell: Any) -> Any:
        begun.append(config.output)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return run(config, tell=tell)

    monkeypatch.setattr(tune, "train_sft", cut)
    with pytest.raises(KeyboardInterrupt):
        tune.tune(sft, 2, tmp_path, tell=quiet)
    assert tune.tune(sft, 2, tmp_path, tell=quiet)["trials"] == 2
    assert len(begun) == 3 and len(set(begun)) == 3
    states = [row["state"] for row in numbers(tmp_path)]
    assert states == ["COMPLETE", "FAIL", "COMPLETE"]
    with pytest.raises(UserError, match=r"^The study was begun with other settings \(steps\): go"):
        tune.tune(SftConfig(**(vars(sft) | {"steps": 8})), 2, tmp_path, tell=quiet)


def test_a_hopeless_trial_is_cut_short(
    sft: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tune.optuna.pruners,
        "MedianPruner",
        lambda **_: optuna.pruners.ThresholdPruner(upper=0.0),
    )
    best = tune.tune(sft, 2, tmp_path, tell=quiet)
    assert (best["trials"], best["pruned"], best["best_value"]) == (2, 2, None)
    assert not list(tmp_path.glob("trial-*/detox.json"))  # none came to its end


def test_ppo_is_paid_for_reward_and_pays_for_rouge(
    tiny_causal: Path,
    tiny_classifier: Path,
    dialogues_file: WriteDialogues,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = tune.load_classifier_reward(str(tiny_classifier))
    monkeypatch.setattr(tune, "load_classifier_reward", lambda: judge)
    config = PpoConfig(
        policy=str(tiny_causal),
        reward=f"classifier:{tiny_classifier}",
        data=str(dialogues_file(rows=tiny.dialogsum_rows(8))),
        steps=1,
        batch_size=2,
        mini_batch_size=2,
        min_response_tokens=4,
        max_response_tokens=4,
    )
    found: list[Any] = []
    summarise = tune.summarise

    def keep(rows: Any) -> Any:
        found.append(summarise(rows)["all"])
        return {"all": found[-1]}

    monkeypatch.setattr(tune, "summarise", keep)
    best = tune.tune(config, 1, tmp_path, limit=3, tell=quiet)
    (group,) = found
    assert group["n"] == 3
    lost = max(0.0, -group["rouge1"]["difference"] - tune.FREE_ROUGE)
    assert best["best_value"] == pytest.approx(group["reward"]["after_mean"] - lost)


def test_impossible_studies(sft: SftConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--trials must be at least 1\.$"):
        tune.tune(sft, 0, tmp_path)
    (tmp_path / "study.db").write_text("this is no database " * 100)
    with pytest.raises(UserError, match=r"^There is no study in .* and none can be made: choose"):
        tune.tune(sft, 1, tmp_path)


def test_the_command(sft: SftConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--trials", "1", "--study", str(tmp_path / "s"), "--steps", "2", "--batch-size", "4"]
    data = ["--data", sft.data, "--base", sft.base, "--hold-out", "0.35", "--validate-every", "1"]
    assert cli.main(["tune", "sft", *options, *data]) == 0
    assert "python -m detox sft --lr " in capsys.readouterr().out
