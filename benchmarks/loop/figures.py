"""The figures of the simulation as plots, and as tables for the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detox import pareto, plots

Found = dict[str, Any]
LOOPS = ("rounds-10", "rounds-25", "mixed-10", "mixed-25")
COLOURS = {0.1: plots.AFTER, 0.25: plots.BEFORE}


def write_figures(found: Found, folder: Path) -> None:
    """Writes the plots of what ``found`` has into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    curves = [found[name] for name in ("curve-10", "curve-25") if name in found]
    loops = [(name, found[name]) for name in LOOPS if name in found]
    drawn = {}
    if curves:
        drawn["accuracy"] = _accuracy(curves)
    if loops:
        drawn["rounds"] = _rounds(loops)
    if "front" in found:
        drawn["front"] = pareto.plot(found["front"]["points"])
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
            mixed = name.startswith("mixed")
            what = "picks, classifier and ROUGE" if mixed else "picks alone"
            numbers = [round_["round"] + 0.06 * (place - 1.5) for round_ in loop["rounds"]]
            rates = [round_["win_rate"] for round_ in loop["rounds"]]
            label = f"{what}, {loop['noise']:.0%} wrong"
            _line(axes, numbers, rates, COLOURS[loop["noise"]], label, "--" if mixed else "-")
        axes.axhline(50, color=plots.MUTED, lw=0.8)
        axes.set_xticks([round_["round"] for round_ in loops[0][1]["rounds"]])
        axes.set(xlabel="round", ylabel="preferred to the first policy, %")
        axes.set_ylim(18, 98)  # room for the legend below every interval
        axes.legend(frameon=False, labelcolor=plots.INK, loc="lower right")

    return plots.chart(draw, "How often the hidden taste prefers each round's policy to the first")


def _line(
    axes: Any, x: list[Any], values: list[Found], colour: str, label: str, style: str = "-"
) -> None:
    means = [100 * value["mean"] for value in values]
    spread = [
        [100 * (value["mean"] - value["low"]) for value in values],
        [100 * (value["high"] - value["mean"]) for value in values],
    ]
    look = {"color": colour, "ecolor": colour, "marker": "o", "ms": 4, "lw": 1.6, "elinewidth": 0.9}
    axes.errorbar(x, means, yerr=spread, label=label, ls=style, **look)


def share(value: Found) -> str:
    """``73.1 [66.2, 79.8]``, in per cent."""
    mean, low, high = (100 * value[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def tables(found: Found) -> str:
    """What was found, as Markdown."""
    kinds = {
        "curve": _curve_table,
        "careless": _careless_table,
        "active": _active_table,
        "rounds": _rounds_table,
        "mixed": _rounds_table,
        "direct": _direct_table,
        "front": _front_table,
    }
    return "\n\n".join(kinds[name.partition("-")[0]](each) for name, each in found.items()) + "\n"


def _careless_table(caught: Found) -> str:
    lines = [
        f"{caught['noise']:.0%} wrong picks, {caught['picks']} picks a crowd",
        "",
        "| the careless one | caught | for | of the others flagged | for |",
        "|---|---|---|---|---|",
    ]
    for name in ("hasty", "slow"):
        each = caught[name]
        lines.append(
            f"| {name} | {each['caught']} of {each['crowds']} | {', '.join(each['reasons'])} |"
            f" {each['honest_flagged']} of {each['honest']} |"
            f" {', '.join(each['others_flagged_for'])} |"
        )
    return "\n".join(lines)


def _active_table(selected: Found) -> str:
    picks = selected["picks"]
    lines = [
        f"{selected['noise']:.0%} wrong picks, mean of {selected['repetitions']} repetitions",
        "",
        "| picks | pairs | agrees with the taste |",
        "|---|---|---|",
        f"| {picks['first']} | at random | {share(selected['accuracy']['first'])} |",
    ]
    for name in ("random", "active"):
        what = "at random" if name == "random" else "the model is unsure of"
        accuracy = share(selected["accuracy"][name])
        lines.append(f"| {picks['first'] + picks['more']} | {what} | {accuracy} |")
    lines.append(f"| | difference, points | {share(selected['active_less_random'])} |")
    return "\n".join(lines)


def _direct_table(direct: Found) -> str:
    lines = [
        "| policy | preferred to the first one | worth to the taste | toxicity | words |",
        "|---|---|---|---|---|",
    ]
    for name, title in (("first", "first"), ("ppo", "PPO, one round"), ("dpo", "DPO, same picks")):
        lines.append(_round_line(title, direct[name]))
    lines.append(f"| DPO against PPO | {share(direct['dpo_against_ppo']['win_rate'])} | | | |")
    return "\n".join(lines)


def _front_table(found: Found) -> str:
    points = found["points"]
    lines = [
        f"{found['steps']} steps of PPO for each share, {points[0]['dialogues']} validation "
        f"dialogues, toxicity before {share(points[0]['toxicity_before'])}",
        "",
        "| share of the picks' model | toxicity | its win rate | judges disagree | words "
        "| ROUGE-1 | KL | on the front |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {point['share']:g} | {share(point['toxicity'])} | {share(point['win_rate'])} |"
        f" {100 * point['conflicts']:.1f} | {point['words']:.1f} | {point['rouge1']:.1f} |"
        f" {point['kl'] or 0:.1f} | {'yes' if point['front'] else 'no'} |"
        for point in points
    ]
    return "\n".join(lines)


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


def _round_line(name: Any, each: Found) -> str:
    return (
        f"| {name} | {share(each['win_rate'])} | {each['worth']['mean']:+.2f} |"
        f" {each['toxicity']['mean']:.3f} | {each['words']['mean']:.1f} |"
    )


def _rounds_table(loop: Found) -> str:
    lines = [
        f"{loop['noise']:.0%} wrong picks, reward `{loop['reward']}`",
        "",
        "| round | preferred to the first | worth to the taste | toxicity | words | flagged |",
        "|---|---|---|---|---|---|",
        _round_line("the first policy", loop["first"]) + " |",
    ]
    lines += [
        f"{_round_line(round_['round'], round_)} {', '.join(round_['flagged']) or 'nobody'} |"
        for round_ in loop["rounds"]
    ]
    return "\n".join(lines)
