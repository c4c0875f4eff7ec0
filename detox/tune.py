"""Search for hyper-parameters with Optuna: resumable, pruned, on the validation split only.

Every trial is an ordinary run of ``detox sft`` or ``detox ppo`` in a folder of its own; what is
tried beside it comes from the study.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import optuna

from detox import plots
from detox.config import PpoConfig, Sampling, SftConfig
from detox.data import load_dialogues
from detox.errors import UserError
from detox.evaluation import compare_policies
from detox.models import load_policies
from detox.ppo.trainer import train_ppo
from detox.results import summarise
from detox.rewards import load_classifier_reward
from detox.runlog import read_metrics
from detox.sft import train_sft
from detox.tasks import find_task

Tell = Callable[[str], None]
STUDY, BEST = "study.db", "best.json"
# Points of ROUGE-1 that a reward may cost before they count against it, one logit a point.
FREE_ROUGE = 1.0


def tune(
    config: SftConfig | PpoConfig,
    trials: int,
    folder: Path,
    limit: int = 40,
    tell: Tell = print,
) -> dict[str, Any]:
    """Brings the study in ``folder`` to ``trials`` finished trials around ``config``.

    SFT seeks the lowest validation loss. PPO seeks the highest mean reward on the first ``limit``
    validation dialogues, less one logit for every point of ROUGE-1 lost beyond the first, so that
    silence does not win. A trial that is worse than the median of the others at the same step
    (Optuna's MedianPruner) is cut short. A study that was cut off goes on where it was.

    Writes ``study.db``, ``trials.csv``, ``history.svg`` and ``best.json``; returns the latter.
    Raises ``UserError`` for impossible settings and when the folder cannot be used.
    """
    if trials < 1:
        raise UserError("--trials must be at least 1.")
    sft = isinstance(config, SftConfig)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=f"sqlite:///{folder / STUDY}",
            study_name="sft" if sft else "ppo",
            direction="minimize" if sft else "maximize",
            sampler=optuna.samplers.TPESampler(seed=config.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            load_if_exists=True,
        )
    except Exception as error:  # a folder that is none, or a file that is no study
        raise UserError(
            f"There is no study in {folder} and none can be made: choose another folder."
        ) from error
    _remember(study, config, limit)
    for cut_off in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(cut_off.number, state=optuna.trial.TrialState.FAIL)  # cut off with its process
    while (done := _finished(study)) < trials:
        trial = study.ask()
        output = folder / f"trial-{trial.number:03d}"
        tried = _suggest(trial, replace(config, output=str(output)))
        tell(f"trial {done + 1}/{trials}: {_words(trial.params)}")
        try:
            value = _sft_value(tried, trial) if sft else _ppo_value(tried, trial, limit)
            study.tell(trial, value)
            tell(f"  {value:.4f}, best so far {study.best_value:.4f}")
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            tell("  pruned: worse than the median at this step")
        _write(study, config, folder)
    return _write(study, config, folder)


def _finished(study: optuna.Study) -> int:
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return len(study.get_trials(states=ended))


def _remember(study: optuna.Study, config: Any, limit: int) -> None:
    settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name != "output"}
    settings["limit"] = limit
    then = study.user_attrs.get("settings", settings)
    changed = [key for key, value in settings.items() if then.get(key) != value]
    if changed:
        raise UserError(
            f"The study was begun with other settings ({', '.join(changed)}): go on with those, "
            "or choose another folder."
        )
    study.set_user_attr("settings", settings)


def _suggest(trial: optuna.Trial, config: Any) -> Any:
    changes: dict[str, Any] = {"lr": trial.suggest_float("lr", 1e-5, 1e-3, log=True)}
    changes["lora_r"] = trial.suggest_categorical("lora_r", [8, 16, 32])
    changes["lora_alpha"] = 2 * changes["lora_r"]
    if isinstance(config, SftConfig):
        changes["weight_decay"] = trial.suggest_float("weight_decay", 0.0, 0.1)
        changes["lora_dropout"] = trial.suggest_categorical("lora_dropout", [0.0, 0.05, 0.1])
        every = config.validate_every or max(1, config.steps // 5)
        changes["validate_every"] = every
    else:
        changes["kl_target"] = trial.suggest_float("kl_target", 1.0, 12.0)
        changes["kl_coef"] = trial.suggest_float("kl_coef", 0.01, 0.3, log=True)
        changes["ppo_epochs"] = trial.suggest_int("ppo_epochs", 1, 2)
    return replace(config, **changes)


def _watch(trial: optuna.Trial, folder: Path, key: str) -> Tell:
    """What a run tells, overheard: a hopeless one is ended."""
    seen: set[int] = set()

    def hear(_: str) -> None:
        for row in read_metrics(folder):
            value = row.get(key)
            if value is None or row["step"] in seen:
                continue
            seen.add(row["step"])
            trial.report(value, row["step"])
            if trial.should_prune():
                raise optuna.TrialPruned

    return hear


def _sft_value(config: SftConfig, trial: optuna.Trial) -> float:
    lineage = train_sft(config, tell=_watch(trial, Path(config.output), "validation_loss"))
    trial.set_user_attr("best_step", lineage["best_step"])
    return float(lineage["validation_loss"])


def _ppo_value(config: PpoConfig, trial: optuna.Trial, limit: int) -> float:
    train_ppo(config, tell=_watch(trial, Path(config.output), "env/reward_mean"))
    task = find_task(config.task)
    dialogues = load_dialogues(config.data, "validation", task)
    dialogues = dialogues.select(range(min(limit, len(dialogues))))
    policies = load_policies({"before": config.policy, "after": config.output})
    judge = load_classifier_reward()
    sampling = Sampling(seed=config.seed)
    rows = compare_policies(
        policies["before"], policies["after"], dialogues, judge, sampling, task=task
    )
    group = summarise(rows)["all"]
    lost = -group["rouge1"]["difference"] if "rouge1" in group else 0.0
    for key in ("reward", "toxicity", "words", "rouge1"):
        if key in group:
            trial.set_user_attr(key, group[key]["after_mean"])
    return float(group["reward"]["after_mean"] - max(0.0, lost - FREE_ROUGE))


def _words(params: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {value:.2g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in params.items()
    )


def _write(study: optuna.Study, config: Any, folder: Path) -> dict[str, Any]:
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
    best = study.best_trial if done else None
    chosen = dict(best.params) if best else {}
    if chosen:
        chosen["lora_alpha"] = 2 * chosen["lora_r"]
    command = ["python", "-m", "detox", study.study_name]
    for key, value in chosen.items():
        command += [
            f"--{key.replace('_', '-')}",
            f"{value:.6g}" if isinstance(value, float) else f"{value}",
        ]
    content = {
        "study": study.study_name,
        "direction": study.direction.name.lower(),
        "trials": len(done) + pruned,
        "pruned": pruned,
        "best_trial": best.number if best else None,
        "best_value": best.value if best else None,
        "settings": chosen,
        "command": shlex.join(command),
    }
    try:
        study.trials_dataframe().to_csv(folder / "trials.csv", index=False)
        (folder / BEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (folder / "history.svg").write_text(plots.standalone(_history(study)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The study cannot be written to {folder}: {error.strerror}.") from error
    return content


def read_study(folder: Path) -> tuple[dict[str, Any], str]:
    """``best.json`` of the study in ``folder``, and its history as SVG in the page's variables.

    Raises ``UserError`` when there is no study.
    """
    if not (folder / STUDY).is_file():
        raise UserError(f"There is no study in {folder}: run 'python -m detox tune' first.")
    best: dict[str, Any] = json.loads((folder / BEST).read_text(encoding="utf-8"))
    storage = f"sqlite:///{folder / STUDY}"
    return best, _history(optuna.load_study(study_name=best["study"], storage=storage))


def _history(study: optuna.Study) -> str:
    """Every trial's value by its number; of a pruned one its last, if it came to any."""
    found = []
    for trial in study.get_trials(deepcopy=False):
        pruned = trial.state == optuna.trial.TrialState.PRUNED
        values = trial.intermediate_values
        value = values[max(values)] if pruned and values else trial.value
        if value is not None and trial.state.is_finished():
            found.append({"number": trial.number, "value": value, "pruned": pruned})
    lower = study.direction == optuna.study.StudyDirection.MINIMIZE
    label = "validation loss" if lower else "validation reward, less lost ROUGE"
    return plots.search(found, label, lower)
