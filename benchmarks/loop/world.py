"""What every part of the simulation shares: models, sizes, seeds, and how commands are run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detox.statistics import paired_difference
from detox.workbench import ALONE, Workbench


@dataclass(frozen=True)
class World:
    """The models of a simulation and its sizes; the defaults are those of the figures."""

    folder: Path
    before: str = "before"
    after: str = "after"
    classifier: str = ""
    base: str = ""
    """Of reward models; empty for the command's own."""
    people: int = 7
    """Labelers beside the careless one."""
    dialogues: int = 170
    """Training dialogues of the pool, at most."""
    unseen: int = 191
    """Test dialogues that reward models are judged on."""
    test: int = 64
    """Test dialogues that tuned policies are judged on."""
    samples: int = 2
    """Responses of each policy to each dialogue of the pool."""
    votes: int = 3
    sizes: tuple[int, ...] = (100, 300, 1_000, 3_000)
    """Picks that reward models learn from."""
    rounds: int = 3
    start_picks: int = 400
    """In the first round, on pairs of the pool; ``round_picks`` in those that follow."""
    round_picks: int = 180
    round_dialogues: int = 60
    steps: int = 7
    """PPO steps a round."""
    tune_steps: int = 30
    front_shares: str = "0,0.25,0.5,0.75,1"
    front_steps: int = 6
    front_dialogues: int = 48
    first: int = 200
    """Picks before pairs are selected, and ``more`` after."""
    more: int = 200
    selected_from: int = 800
    """Pairs that a selection may choose from."""
    repetitions: int = 3
    """Of selections."""
    crowds: int = 10
    """Simulated crowds with a careless labeler."""
    crowd_picks: int = 500
    seed: int = 0
    reward: tuple[str, ...] = ()
    """More options of ``labeling reward``."""
    ppo: tuple[str, ...] = (
        *("--logprobs", "generation", "--save-every", "2"),
        *("--min-response-tokens", "40", "--max-response-tokens", "48"),
    )
    """More options of ``detox ppo``."""
    front: tuple[str, ...] = ("--lr", "5e-4", "--scale", "1.5", "--keep", "rouge=0.75")
    """More options of ``detox pareto``, beside those of ``ppo``."""
    tune: tuple[str, ...] = ()
    """More options of ``labeling tune``."""

    @property
    def policies(self) -> dict[str, str]:
        """The policies of the first round."""
        return {"before": self.before, "after": self.after}


def bench(world: World, policies: Mapping[str, str]) -> Workbench:
    """The models that answer; nobody else waits for them."""
    return Workbench(dict(policies), world.classifier, turn=ALONE)


def once(path: Path, work: Callable[[], Any]) -> Any:
    """What ``path`` holds; ``work`` is done, and kept there, where it does not exist yet."""
    if not path.is_file():
        found = work()
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    return json.loads(path.read_text(encoding="utf-8"))


def tell(text: str) -> None:
    """Progress, for who watches."""
    print(text, file=sys.stderr, flush=True)


def command(module: str, *argv: str) -> None:
    """Runs ``python -m module …`` as anybody would."""
    tell(f"  python -m {module} {' '.join(argv)}")
    subprocess.run([sys.executable, "-m", module, *argv], check=True, stdout=sys.stderr)


def interval(values: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    """Mean of ``values`` and its 95 % interval, ``groups`` (dialogues) drawn together."""
    found = paired_difference([0.0] * len(values), values, groups)
    return rounded(found.mean, found.low, found.high)


def rounded(mean: float, low: float, high: float) -> dict[str, float]:
    """An interval as it is kept."""
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}
