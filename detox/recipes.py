"""Kinds of trainings: what people choose for one, and the command that comes of it.

A recipe is data, so that an app can offer commands of packages that this one does not know.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from detox.config import EMBEDDED, PRESETS, PpoConfig
from detox.data import filter_by_length, load_dialogues
from detox.errors import UserError
from detox.job import POLICY, Job
from detox.runs import find_runs
from detox.tasks import SUMMARIZE
from detox.workbench import Workbench

Values = Mapping[str, Any]
Choices = Callable[[], Sequence[tuple[str, str]]]
FILE = "file"
NONE = ""
FILES = (".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Field:
    """One thing to choose."""

    name: str
    label: str
    kind: str = "number"
    """number, whole, weight (0 to 3), choice or file"""
    default: Any = None
    info: str = ""
    group: str = ""
    """heading under which it stands; fields of one heading follow each other"""
    choices: Choices | None = None
    """of a choice: what it says and what it means, asked anew whenever somebody looks"""
    when: tuple[str, str | None] | None = None
    """the field that it belongs to, and with which value; None stands for any but 0 and none"""


@dataclass(frozen=True)
class Recipe:
    """A kind of training.

    ``prepare`` is given what was chosen and a fresh folder; it may put files there, and returns
    the module to run with its arguments. It raises ``UserError`` for choices that cannot work.
    """

    name: str
    title: str
    about: str
    fields: tuple[Field, ...]
    prepare: Callable[[Values, Path], Sequence[str]]
    makes: str = POLICY
    stem: str = "after"
    """names are made of it: after-2, after-3"""
    checkpoint: str = ""
    """as in ``Job``, and so is ``steps``"""
    steps: str = ""

    def job(self, values: Values, folder: Path) -> Job:
        """The training in ``folder`` that ``values`` ask for; ``UserError`` as ``prepare``."""
        chosen = {field.name: _checked(field, values) for field in self.fields}
        argv = tuple(self.prepare(chosen, folder))
        return Job(
            folder.name,
            self.name,
            self.title,
            argv,
            self.makes,
            tuple(self._facts(chosen)),
            tuple(self.mix(chosen)),
            self.checkpoint,
            self.steps,
        )

    def mix(self, values: Values) -> list[tuple[str, float]]:
        """What ``values`` reward, and by which weight; what counts nothing is left out."""
        weights = [field for field in self.fields if field.kind == "weight"]
        return [(f.label, float(values[f.name])) for f in weights if values[f.name]]

    def _facts(self, chosen: Values) -> list[tuple[str, str]]:
        found = []
        for field in self.fields:
            value = chosen[field.name]
            if value == NONE or field.kind == "weight" or not _belongs(field, chosen):
                continue
            if field.kind == FILE:
                said = Path(value).name
            elif field.choices is not None:
                said = {meant: shown for shown, meant in field.choices()}.get(value, str(value))
            else:
                said = f"{value:g}"
            found.append((field.label, said))
        return found


def _belongs(field: Field, chosen: Values) -> bool:
    if field.when is None:
        return True
    other, value = chosen[field.when[0]], field.when[1]
    return bool(other) if value is None else bool(other == value)


def _checked(field: Field, values: Values) -> Any:
    value = values.get(field.name, field.default)
    if field.kind in ("choice", FILE):
        return value or NONE
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"Give a number for '{field.label}'.")
    if field.kind == "whole":
        if value != int(value):
            raise UserError(f"Give a whole number for '{field.label}'.")
        return int(value)
    return float(value)


def ppo_recipe(bench: Workbench, runs: Path) -> Recipe:
    """``detox ppo`` from any version that ``bench`` knows, with reward models found in ``runs``."""
    usual = PRESETS[EMBEDDED].ppo
    names = list(bench.specs)
    classifier = f"classifier:{bench.classifier}" if bench.classifier else "classifier"

    def versions() -> list[tuple[str, str]]:
        return [(name, name) for name in bench.specs]

    def models() -> list[tuple[str, str]]:
        return [("none", NONE), *reward_models(runs)]

    def prepare(values: Values, folder: Path) -> list[str]:
        bench.check_names((values["policy"],))
        chosen: dict[str, Any] = {
            "policy": bench.specs[values["policy"]],
            "reward": reward_spec(values, classifier, runs),
            "data": _data(values, folder),
            "output": str(folder),
            # nothing is lost when it is stopped, and a checkpoint is quick beside a step
            "save_every": 1,
        } | {name: values[name] for name in ("steps", "lr", "kl_target", "seed")}
        config = replace(usual, **chosen)
        _check(config, bool(values["rouge"]))
        return ["detox", "ppo", *flags(config, chosen)]

    return Recipe(
        "ppo",
        "A new version, by reward",
        "PPO moves a version towards what is rewarded, on a leash to where it started.",
        (
            Field("policy", "Starts from", "choice", names[0], choices=versions, group="From"),
            Field(
                "data",
                "Dialogues",
                "choice",
                EMBEDDED,
                choices=lambda: [("built-in", EMBEDDED), ("a file of mine", FILE)],
                group="From",
            ),
            Field(
                "file",
                "JSONL, CSV or Parquet with a column dialogue",
                FILE,
                group="From",
                when=("data", FILE),
            ),
            Field(
                "classifier",
                "Gentle words",
                "weight",
                1.5,
                "what the hate classifier says",
                "What is rewarded",
            ),
            Field(
                "rouge",
                "Saying what happened",
                "weight",
                1.5,
                "ROUGE against the dialogues' references",
                "What is rewarded",
            ),
            Field(
                "picks",
                "People's taste",
                "weight",
                0.0,
                "what a reward model learned from picks",
                "What is rewarded",
            ),
            Field(
                "model",
                "As learned by",
                "choice",
                NONE,
                choices=models,
                group="What is rewarded",
                when=("picks", None),
            ),
            Field("steps", "Steps", "whole", usual.steps, "16 responses each", "How far"),
            Field("kl_target", "Leash", "number", usual.kl_target, "KL target, in nats", "How far"),
            Field("lr", "Learning rate", "number", usual.lr, "of Adam", "How far"),
            Field("seed", "Seed", "whole", usual.seed, "same seed, same run", "How far"),
        ),
        prepare,
        checkpoint="checkpoint.pt",
        steps="--steps",
    )


def flags(config: Any, names: Collection[str]) -> list[str]:
    """The fields ``names`` of a configuration as options of a command line."""
    return [
        f"--{field.name.replace('_', '-')}={getattr(config, field.name)}"
        for field in fields(config)
        if field.name in names
    ]


def reward_models(runs: Path) -> list[tuple[str, str]]:
    """Reward models in ``runs``, latest first: what to call each, and its name among the runs."""
    from detox.models import read_lineage

    found = []
    for run in find_runs(runs):
        try:
            lineage = read_lineage(run.folder)
        except UserError:
            continue
        # commas part the sources of a mixture
        if lineage.get("kind") == "preference" and "," not in str(run.folder):
            accuracy = lineage.get("accuracy")
            share = accuracy.get("held_out") if isinstance(accuracy, dict) else None
            told = f" · right on {share:.0%} of unseen pairs" if isinstance(share, float) else ""
            found.append((run.name + told, run.name))
    return found


def reward_spec(values: Values, classifier: str, runs: Path) -> str:
    """The mixture that the weights ask for, as ``detox ppo --reward`` takes it.

    Raises ``UserError`` when nothing is rewarded, and for picks without a reward model.
    """
    parts = {classifier: values["classifier"], "rouge": values["rouge"]}
    if values["picks"]:
        if values["model"] not in [name for _, name in reward_models(runs)]:
            raise UserError(
                "Choose the reward model that learned people's taste, or set its weight to 0: one "
                "is trained from the picks."
            )
        parts[f"preference:{runs / values['model']}"] = values["picks"]
    if any(weight < 0 for weight in parts.values()):
        raise UserError("Weights must be 0 or above.")
    chosen = [f"{source}={weight:g}" for source, weight in parts.items() if weight]
    if not chosen:
        raise UserError("Nothing is rewarded: give at least one weight above 0.")
    return f"mixed:{','.join(chosen)}"


def _data(values: Values, folder: Path) -> str:
    if values["data"] == EMBEDDED:
        return EMBEDDED
    given = Path(values[FILE]) if values[FILE] else None
    if given is None or given.suffix.lower() not in FILES:
        raise UserError("Choose a file of dialogues first: JSONL, CSV or Parquet.")
    # what was uploaded is gone when the app is, and a resumed training reads it again
    kept = folder / f"dialogues{given.suffix.lower()}"
    shutil.copyfile(given, kept)
    return str(kept)


def _check(config: PpoConfig, needs_references: bool) -> None:
    """``UserError`` now for what the command would only find out once its models are loaded."""
    from detox.models import find_source

    find_source(config.policy)
    if "," in config.output:
        raise UserError(f"The folder {config.output} must have no comma in its name.")
    dialogues = load_dialogues(config.data, "train", SUMMARIZE)
    dialogues = filter_by_length(dialogues, config.min_dialogue_chars, config.max_dialogue_chars)
    if needs_references and not all(dialogues["references"]):
        raise UserError(
            "Some dialogues have no reference summary, so that 'Saying what happened' cannot be "
            "rewarded: add them, or set its weight to 0."
        )
