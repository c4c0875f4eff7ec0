"""A reward model's figures as lines of words, for its card and its report alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]
_JOINED = {
    "every": "every pick",
    "majority": "pairs on which more than half of the votes agree",
    "adjudicated": "pairs that a lead decided, or on which more than half of the votes agree",
}


def percent(found: Record | None) -> str:
    """A share with its interval, as ``71.0 % [64.2, 77.3]``."""
    if not found or found["rate"] is None:
        return "nothing to measure"
    spread = f" [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
    return f"{100 * found['rate']:.1f} %{spread if found['low'] is not None else ''}"


def correlated(found: Record | None) -> str:
    """A correlation with its interval, as ``+0.12 [−0.03, +0.27]``."""
    if not found:
        return "nothing varies"
    text = f"{found['r']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"
    return text.replace("-", "−")


def measured(lineage: Record) -> list[tuple[str, str]]:
    """What each figure is called, and what it says."""
    figures, counts = lineage["figures"], lineage["pairs"]
    accuracy, ceiling = figures["accuracy"], figures["ceiling"]
    lines = [("Accuracy on held-out dialogues", _based(accuracy))]
    if figures["single_votes"] != accuracy:
        lines.append(("The same on single votes", _based(figures["single_votes"])))
    trained = lineage["accuracy"]["train"]
    if trained is not None:
        lines.append(("Accuracy on what it learned from", f"{100 * trained:.1f} %"))
    lines.append(("Noise ceiling of single votes", _ceiling(ceiling)))
    for part in figures.get("by_margin", []):
        lines.append((f"Accuracy, {part['margin']}", _based(part)))
    if calibration := figures.get("calibration"):
        lines.append(("Calibration error", _calibrated(calibration, counts["validation"])))
    if length := figures.get("length"):
        lines += [
            ("Reward and length in words, correlation", correlated(length["correlation"])),
            ("The same within pairs", correlated(length["within_pairs"])),
            ("The longer response, preferred by people", percent(length["people_prefer_longer"])),
            (
                "The longer response, preferred by the model",
                percent(length["model_prefers_longer"]),
            ),
        ]
    return lines


def _based(found: Record | None) -> str:
    if not found:
        return "nothing to measure"
    return f"{percent(found)}, n = {found['n']}, dialogues: {found['dialogues']}"


def _ceiling(found: Record | None) -> str:
    if not found:
        return "unknown: no pair was judged by two people"
    return (
        f"{100 * found['lower']:.1f} to {100 * found['upper']:.1f} % "
        f"[upper bound {100 * found['low']:.1f}, {100 * found['high']:.1f}], from two labelers' "
        f"agreement of {100 * found['agreement']:.1f} % on {found['pairs']} pairs"
    )


def _calibrated(found: Record, validation: int) -> str:
    spread = f"[{100 * found['error_low']:.1f}, {100 * found['error_high']:.1f}]"
    error = f"{100 * found['error']:.1f} points {spread}"
    if found["temperature"] is None:
        return f"{error}, without a temperature: too few pairs to fit it to ({validation})"
    return (
        f"{error} at temperature {found['temperature']:.2f}, fitted to {validation} other pairs "
        f"({100 * found['error_before']:.1f} without)"
    )


def origin(lineage: Record) -> list[tuple[str, str]]:
    """Where the model comes from: picks, filters, hash, split, base."""
    counts, config = lineage["pairs"], lineage["config"]
    left = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in lineage["left_out"].items()
    )
    ties = f", {lineage['ties']} of them ties as soft labels" if lineage["ties"] else ""
    aggregation = _JOINED[lineage["filters"]["aggregation"]]
    steps = f"{lineage['steps']}"
    if lineage.get("best_step") is not None:
        steps += f", the best after {lineage['best_step']}"
    if lineage["stopped"]:
        steps += f"; stopped: {lineage['stopped']}"
    return [
        ("Learned from", f"{aggregation}: {lineage['picks']}{ties}"),
        ("Labelers", f"{lineage['labelers']}"),
        ("Left out", left or "nothing"),
        (
            "Split by dialogue",
            f"{counts['train']} to learn from, {counts['validation']} for early stopping and "
            f"temperature, {counts['held_out']} held out",
        ),
        ("Snapshot of the picks, SHA-256", lineage["snapshot"]),
        (
            "Base",
            f"{lineage['base']}, {config['method']}, {lineage['parameters']['trainable']:,} "
            "parameters trained",
        ),
        ("Steps", steps),
        ("Time", f"{lineage['seconds']} s"),
    ]
