"""What mixing two rewards buys: toxicity against preference, for several shares of each.

Every share is an ordinary run of ``detox ppo`` in a folder of its own, against a mixture of the
hate classifier and a model trained on people's picks, and is judged by both on dialogues that it
did not see. A sweep that was cut off goes on where it was.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from datasets import Dataset

from detox import plots
from detox.config import PpoConfig, Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.evaluation import add_kl, pair_up, respond
from detox.judges import add_preference
from detox.models import LINEAGE, Policy, load_policies, read_lineage
from detox.ppo.checkpoint import CHECKPOINT
from detox.ppo.trainer import train_ppo
from detox.report import REPORT, save_page
from detox.results import Row, summarise
from detox.rewards import (
    HateClassifier,
    PreferenceReward,
    load_classifier_reward,
    load_second_judge,
)
from detox.statistics import paired_difference
from detox.tables import table
from detox.tasks import find_task

Tell = Callable[[str], None]
RESULT, TABLE, PLOT, POINT = "pareto.json", "pareto.csv", "pareto.svg", "point.json"
# What may change between two runs of one sweep: where it lies, and how often it is saved.
_FREE = ("output", "reward", "save_every")


@dataclass(frozen=True)
class Sweep:
    """What a sweep tries, and on what it is judged."""

    reward: str
    """``preference:FOLDER``, the model trained on picks"""
    shares: tuple[float, ...]
    """of the preference model in the mixture, 0 to 1; the classifier has the rest"""
    scale: float = 1.5
    """weight of both together"""
    keep: str = ""
    """more of the mixture, the same for every share, as in ``rouge=1.5``"""
    classifier: str = ""
    """hub name or folder; the embedded one if empty"""
    split: str = "validation"
    limit: int = 0
    """first so many dialogues only; 0 takes all"""
    samples: int = 1
    """responses to each dialogue"""

    def __post_init__(self) -> None:
        if not self.shares or not all(0 <= share <= 1 for share in self.shares):
            raise UserError("--shares must be numbers from 0 to 1 joined by commas, as in 0,0.5,1.")
        if not self.scale > 0:
            raise UserError("--scale must be above 0.")
        if self.limit < 0 or self.samples < 1:
            raise UserError("--limit must be 0 (all) or more, --samples at least 1.")
        if not self.reward:
            raise UserError("--reward must name a model trained on picks, as preference:FOLDER.")

    def mixture(self, share: float) -> str:
        """The reward of one share, as ``detox ppo --reward`` takes it."""
        classifier = f"classifier:{self.classifier}" if self.classifier else "classifier"
        parts = ((classifier, 1 - share), (self.reward, share))
        weighed = [f"{source}={weight * self.scale:.6g}" for source, weight in parts if weight]
        return "mixed:" + ",".join([*weighed, *([self.keep] if self.keep else [])])


def sweep(config: PpoConfig, plan: Sweep, folder: Path, tell: Tell = print) -> list[dict[str, Any]]:
    """Tunes ``config.policy`` against each mixture of ``plan``; judges them and writes a report.

    ``folder`` then holds a policy for each share (``share-0.5``), ``pareto.json``, ``pareto.csv``,
    ``pareto.svg`` and ``report.html``. Shares that are done are not run again.

    Returns the points, the reference first, by share. Raises ``UserError`` for missing models or
    data, for a folder whose sweep had other settings, and as ``train_ppo`` does.
    """
    preference = load_second_judge(plan.reward)
    assert preference is not None  # an empty one was refused
    judge = load_classifier_reward(plan.classifier)
    task = find_task(config.task)
    dialogues = load_dialogues(config.data, plan.split, task)
    if plan.limit:
        dialogues = dialogues.select(range(min(plan.limit, len(dialogues))))
    _remember(folder, config, plan)
    sampling = Sampling(seed=config.seed)
    before: list[Row] = []
    points: list[dict[str, Any]] = []
    for share in sorted(set(plan.shares)):
        place = folder / f"share-{share:g}"
        tell(f"share {share:g}: {plan.mixture(share)}")
        if not (place / POINT).is_file():
            run = replace(config, reward=plan.mixture(share), output=str(place))
            _tuned(run, tell)
            policies = load_policies({"before": config.policy, "after": str(place)})
            first, second = policies["before"], policies["after"]
            before = before or _answers(first, dialogues, judge, sampling, plan, config)
            after = _answers(second, dialogues, judge, sampling, plan, config)
            rows = pair_up(dialogues, before, after, task)
            add_kl(rows, first, second)
            found = {"share": share, "reward": run.reward} | _point(rows, preference, place)
            _write(place / POINT, found)
        points.append(json.loads((place / POINT).read_text(encoding="utf-8")))
        tell(_line(points[-1]))
    _report(folder, points, config, plan)
    return points


def _remember(folder: Path, config: PpoConfig, plan: Sweep) -> None:
    settings = {key: value for key, value in asdict(config).items() if key not in _FREE}
    # more shares may be added to a sweep
    settings |= {f"sweep_{k}": v for k, v in asdict(plan).items() if k != "shares"}
    path = folder / "sweep.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        then = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else settings
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} cannot be used for a sweep: choose another folder.") from error
    if changed := [key for key, value in settings.items() if then.get(key) != value]:
        raise UserError(
            f"The sweep in {folder} was begun with other settings ({', '.join(changed)}): go on "
            "with those, or choose another folder."
        )
    _write(path, settings)


def _tuned(run: PpoConfig, tell: Tell) -> None:
    """Trains the policy of ``run`` unless it is there, on from its checkpoint if it has one."""
    place = Path(run.output)
    if not (place / LINEAGE).is_file():
        train_ppo(run, (place / CHECKPOINT).is_file(), tell)


def _answers(
    policy: Policy,
    dialogues: Dataset,
    judge: HateClassifier,
    sampling: Sampling,
    plan: Sweep,
    config: PpoConfig,
) -> list[Row]:
    task = find_task(config.task)
    return respond(policy, dialogues, judge, sampling, samples=plan.samples, task=task)


def _point(rows: list[Row], preference: PreferenceReward, place: Path) -> dict[str, Any]:
    add_preference(rows, preference)
    group = summarise(rows)["all"]
    ids = [row["id"] for row in rows]
    toxicity = {}
    for side in ("before", "after"):
        values = [row[side]["toxicity"] for row in rows]
        mean = paired_difference([0.0] * len(values), values, ids)
        toxicity[side] = {"mean": mean.mean, "low": mean.low, "high": mean.high}
    return {
        "n": group["n"],
        "dialogues": group["dialogues"],
        "toxicity": {key: round(value, 4) for key, value in toxicity["after"].items()},
        "toxicity_before": {key: round(value, 4) for key, value in toxicity["before"].items()},
        "win_rate": group["preference"]["win_rate"],
        "conflicts": group["preference"]["conflicts"],
        "words": group["words"]["after_mean"],
        "rouge1": group.get("rouge1", {}).get("after_mean"),
        "kl": group.get("kl", {}).get("mean"),
        "stopped": read_lineage(place).get("stopped", ""),
    }


def front(points: Sequence[dict[str, Any]]) -> list[bool]:
    """Of each point whether none is better in one respect and no worse in the other.

    Lower toxicity and a higher win rate are better (Pareto 1906); intervals do not count.
    """
    pairs = [(point["toxicity"]["mean"], -point["win_rate"]["mean"]) for point in points]
    return [not any(a <= x and b <= y and (a, b) != (x, y) for a, b in pairs) for x, y in pairs]


def _report(folder: Path, points: list[dict[str, Any]], config: PpoConfig, plan: Sweep) -> None:
    best = front(points)
    for point, undominated in zip(points, best, strict=True):
        point["front"] = undominated
    svg = plot(points)
    try:
        _write(folder / RESULT, {"policy": config.policy, "sweep": asdict(plan), "points": points})
        (folder / PLOT).write_text(plots.standalone(svg), encoding="utf-8")
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_HEAD)
            writer.writerows(_cells(point) for point in points)
    except OSError as error:
        raise UserError(f"The sweep cannot be written to {folder}: {error.strerror}.") from error
    save_page(
        folder / REPORT, "Classifier against people's taste", _page(points, svg, config, plan)
    )


_HEAD = (
    "share of the preference model",
    "toxicity",
    "preference model's win rate",
    "against one half",
    "judges disagree",
    "words",
    "ROUGE-1",
    "KL",
    "on the front",
    "stopped",
)


def _cells(point: dict[str, Any]) -> list[str]:
    def spread(found: dict[str, float]) -> str:
        return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"

    def known(value: float | None) -> str:
        return "" if value is None else f"{value:.1f}"

    return [
        f"{point['share']:g}",
        spread(point["toxicity"]),
        spread(point["win_rate"]),
        point["win_rate"]["verdict"],
        f"{point['conflicts']:.1%}",
        known(point["words"]),
        known(point["rouge1"]),
        known(point["kl"]),
        "yes" if point.get("front") else "no",
        point["stopped"],
    ]


def _page(points: list[dict[str, Any]], svg: str, config: PpoConfig, plan: Sweep) -> str:
    rows = [[escape(cell) for cell in _cells(point)] for point in points]
    first, reference = points[0], points[0]["toxicity_before"]
    kept = f" {escape(plan.keep)} is in every mixture." if plan.keep else ""
    return (
        '<div class="da-report"><header><h2>Classifier against people\'s taste</h2>'
        f"<p>{escape(config.policy)}, tuned by PPO for {config.steps} steps against mixtures of "
        f"the hate classifier and {escape(plan.reward)}, then judged by both on "
        f"{first['dialogues']:,} dialogues of the {escape(plan.split)} split ({first['n']:,} "
        f"pairs with the untuned policy, whose toxicity is {reference['mean']:.3f} "
        f"[{reference['low']:.3f}, {reference['high']:.3f}]).{kept} Intervals are 95 %, from a "
        "bootstrap that draws dialogues.</p></header>"
        '<div class="da-warning" role="note"><b>Mind</b><ul><li>A policy was tuned to please both '
        "judges by their shares. Only at share 0 is the preference model held out, and only at "
        "share 1 the classifier; whether people agree, only people can tell.</li></ul></div>"
        '<section><div class="da-charts" style="max-width:680px">'
        f"<figure>{svg}</figure></div></section>"
        f"<section>{table(_HEAD, rows)}</section></div>"
    )


def plot(points: Sequence[dict[str, Any]]) -> str:
    """The points of a sweep with their intervals, and the line through its front, as SVG."""
    best = sorted(
        (point["toxicity"]["mean"], point["win_rate"]["mean"])
        for point, undominated in zip(points, front(points), strict=True)
        if undominated
    )

    def draw(axes: Any) -> None:
        axes.axhline(0.5, color=plots.MUTED, lw=0.8, ls="--")
        for point in points:
            x, y = point["toxicity"], point["win_rate"]
            axes.errorbar(
                x["mean"],
                y["mean"],
                xerr=_bars(x),
                yerr=_bars(y),
                fmt="o",
                color=plots.AFTER,
                ecolor=plots.MUTED,
                elinewidth=0.8,
                ms=5,
            )
            axes.annotate(
                f"{point['share']:g}",
                (x["mean"], y["mean"]),
                xytext=(5, 5),
                textcoords="offset points",
                color=plots.INK,
                fontsize=9,
            )
        axes.step(*zip(*best, strict=True), where="post", color=plots.AFTER, lw=1.2)
        axes.set(xlabel="toxicity, by the classifier", ylabel="win rate, by the preference model")

    return plots.chart(draw, "Toxicity against preference, by the share of the preference model")


def _bars(found: dict[str, float]) -> list[list[float]]:
    below, above = found["mean"] - found["low"], found["high"] - found["mean"]
    return [[max(0.0, below)], [max(0.0, above)]]


def _line(point: dict[str, Any]) -> str:
    wins, toxicity = point["win_rate"], point["toxicity"]
    return (
        f"share {point['share']:g}: toxicity {toxicity['mean']:.3f} "
        f"[{toxicity['low']:.3f}, {toxicity['high']:.3f}], win rate {wins['mean']:.1%} "
        f"[{wins['low']:.1%}, {wins['high']:.1%}]"
    )


def _write(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all: a point that is cut off must be measured again."""
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written: {error.strerror}.") from error
