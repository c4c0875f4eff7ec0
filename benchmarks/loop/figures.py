"""The figures of the simulation as plots, and as tables for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detox import plots

Found = dict[str, Any]
LOOPS = ("rounds-10", "rounds-25", "mixed-10")
COLOURS = {0.1: plots.AFTER, 0.25: plots.BEFORE}


def write_figures(found: Found, folder: Path) -> None:
    """Writes the plots of what ``found`` has into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = [found[name] for name in ("curve-10", "curve-25") if name in found]
    loops = [
        (name, found[name]) for name in ("rounds-10", "rounds-25", "mixed-10") if name in found
    ]
    drawn = {}
    if curves:
        drawn["accuracy"] = _accuracy(curves)
    if loops:
        drawn["rounds"] = _rounds(loops)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(plots.standalone(svg), encoding="utf-8")


def _accuracy(curves: list[Found]) -> str:
    def draw(axes: Any) -> None:
        for curve in curves:
            colour = COLOURS[curve["noise"]]
            sizes = [point["picks"] for point in curve["sizes"]]
            label = f"{curve['noise']:.0%} wrong picks"
            _line(axes, sizes, [point["votes"] for point in curve["sizes"]], colour, label)
            ceiling = curve["sizes"][-1]["ceiling"]["mean"]
            axes.axhline(100 * ceiling, color=colour, lw=1, ls="--")
        axes.axhline(50, color=plots.MUTED, lw=0.8)
        axes.set_xscale("log")
        axes.set_xticks([point["picks"] for point in curves[0]["sizes"]])
        axes.set_xticklabels([f"{point['picks']:,}" for point in curves[0]["sizes"]])
        axes.minorticks_off()
        axes.set(xlabel="picks", ylabel="single votes foretold, %")
        axes.legend(frameon=False, labelcolor=plots.INK, loc="lower right")

    return plots.chart(draw, "Accuracy of the reward model on unseen dialogues, by picks")


def _rounds(loops: list[tuple[str, Found]]) -> str:
    def draw(axes: Any) -> None:
        for place, (name, loop) in enumerate(loops):
            colour = plots.INK if name.startswith("mixed") else COLOURS[loop["noise"]]
            what = "picks and classifier, " if name.startswith("mixed") else ""
            numbers = [round_["round"] + 0.06 * (place - 1) for round_ in loop["rounds"]]
            rates = [round_["win_rate"] for round_ in loop["rounds"]]
            _line(axes, numbers, rates, colour, f"{what}{loop['noise']:.0%} wrong picks")
        axes.axhline(50, color=plots.MUTED, lw=0.8)
        axes.set_xticks([round_["round"] for round_ in loops[0][1]["rounds"]])
        axes.set(xlabel="round", ylabel="preferred to the first policy, %")
        axes.legend(frameon=False, labelcolor=plots.INK, loc="lower right")

    return plots.chart(draw, "How often the hidden taste prefers each round's policy to the first")


def _line(axes: Any, x: list[Any], values: list[Found], colour: str, label: str) -> None:
    means = [100 * value["mean"] for value in values]
    spread = [
        [100 * (value["mean"] - value["low"]) for value in values],
        [100 * (value["high"] - value["mean"]) for value in values],
    ]
    look = {"color": colour, "ecolor": colour, "marker": "o", "ms": 4, "lw": 1.6, "elinewidth": 0.9}
    axes.errorbar(x, means, yerr=spread, label=label, **look)


def share(value: Found) -> str:
    """``73.1 [66.2, 79.8]``, in per cent."""
    mean, low, high = (100 * value[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def tables(found: Found) -> str:
    """What was found, as Markdown."""
    parts = []
    for name in ("curve-10", "curve-25"):
        if name in found:
            parts.append(_curve_table(found[name]))
    for name in LOOPS:
        if name in found:
            parts.append(_rounds_table(found[name]))
    return "\n\n".join(parts) + "\n"


def _curve_table(curve: Found) -> str:
    lines = [
        f"{curve['noise']:.0%} wrong picks",
        "",
        "| picks | single votes foretold | best possible | agrees with the taste |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {point['picks']:,} | {share(point['votes'])} | {share(point['ceiling'])} |"
        f" {share(point['taste'])} |"
        for point in curve["sizes"]
    ]
    return "\n".join(lines)


def _rounds_table(loop: Found) -> str:
    lines = [
        f"{loop['noise']:.0%} wrong picks, reward `{loop['reward']}`",
        "",
        "| round | preferred to the first policy | toxicity | words | flagged |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {round_['round']} | {share(round_['win_rate'])} | {round_['toxicity']['mean']:.3f} |"
        f" {round_['words']['mean']:.1f} | {', '.join(round_['flagged']) or 'nobody'} |"
        for round_ in loop["rounds"]
    ]
    return "\n".join(lines)
