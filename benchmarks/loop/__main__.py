"""Does the loop close? Simulated labelers, three rounds, and what it comes to.

    python -m benchmarks.loop                  # everything, some hours on two cores
    python -m benchmarks.loop curve-10 active  # these parts only

Labelers have a hidden taste that is not the classifier's (``taste.py``), err in 10 or 25 of 100
picks, two lean to the left, and one does not look (``crowd.py``). Each part keeps what it has
done in ``--output`` and goes on from there; parts that are done are told again. Figures go to
``benchmarks/results/loop.json``, plots to ``docs/loop``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.loop.careless import caught
from benchmarks.loop.curve import curve
from benchmarks.loop.direct import direct
from benchmarks.loop.figures import tables, write_figures
from benchmarks.loop.front import front
from benchmarks.loop.rounds import MIXED, PREFERENCE, rounds
from benchmarks.loop.selection import selection
from benchmarks.loop.world import World, once, tell

HERE = Path(__file__).parent.parent
RESULTS, PLOTS = HERE / "results" / "loop.json", HERE.parent / "docs" / "loop"


def parts(world: World) -> dict[str, Callable[[], Any]]:
    """The parts of the simulation by name, in their order."""
    folder = world.folder
    return {
        "careless-10": partial(caught, world, 0.1, folder / "careless-10"),
        "careless-25": partial(caught, world, 0.25, folder / "careless-25"),
        "curve-10": partial(curve, world, 0.1, folder / "curve-10"),
        "curve-25": partial(curve, world, 0.25, folder / "curve-25"),
        "active": partial(selection, world, 0.1, folder / "active"),
        "rounds-10": partial(rounds, world, 0.1, PREFERENCE, folder / "rounds-10"),
        "rounds-25": partial(rounds, world, 0.25, PREFERENCE, folder / "rounds-25"),
        "mixed-10": partial(rounds, world, 0.1, MIXED, folder / "mixed-10", 5e-4),
        "mixed-25": partial(rounds, world, 0.25, MIXED, folder / "mixed-25", 5e-4),
        "direct": partial(direct, world, folder / "rounds-10", folder / "direct"),
        "front": partial(front, world, folder / "rounds-10", folder / "front"),
    }


def simulate(world: World, names: list[str]) -> dict[str, Any]:
    """Does the parts ``names`` that are not done; returns what all that are done came to."""
    known = parts(world)
    for name in names:
        tell(name)
        once(world.folder / f"{name}.json", known[name])
    done = {name: world.folder / f"{name}.json" for name in known}
    return {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name, path in done.items()
        if path.is_file()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(parts(World(Path())))
    parser.add_argument("part", nargs="*", help=f"of {', '.join(names)}; all if none is named")
    parser.add_argument("--output", default="runs/loop", type=Path)
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.part if name not in names]:
        parser.error(f"unknown: {', '.join(unknown)}")
    found = simulate(World(arguments.output), arguments.part or names)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_figures(found, PLOTS)
    print(tables(found))


if __name__ == "__main__":
    main()
