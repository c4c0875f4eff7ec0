"""Results computed beforehand, so that examples and the batch open without a model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from detox.config import Sampling
from detox.errors import UserError
from detox.results import Row, first_samples, read_results
from detox.workbench import Side

BATCH = 20


@dataclass(frozen=True)
class Shipped:
    """Rows of ``detox evaluate``, one a dialogue, and what they say of their origin.

    Empty when there are none. The statistics in ``about`` are those of all samples.
    """

    rows: Sequence[Row] = ()
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Shipped:
        """The results in ``folder``, or empty ones."""
        try:
            rows, about = read_results(folder)
        except UserError:
            return cls()
        return cls(first_samples(rows), about)

    @property
    def sampling(self) -> Sampling:
        """The settings that the results were made with; the defaults when there are none."""
        given = self.about.get("sampling")
        return Sampling(**given) if given else Sampling()

    def find(
        self, dialogue: str, fingerprints: Sequence[str], sampling: Sampling
    ) -> tuple[Row, ...] | None:
        """The responses to ``dialogue`` of the policies with ``fingerprints``, if all are known.

        Other weights, other settings or another text are another result.
        """
        if asdict(sampling) != asdict(self.sampling):
            return None
        for row in self.rows:
            if row["dialogue"] == dialogue.strip():
                known = {row[side]["fingerprint"]: row[side] for side in ("after", "before")}
                if all(name in known for name in fingerprints):
                    return tuple(known[name] for name in fingerprints)
        return None


def as_side(name: str, response: Row) -> Side:
    """A response out of the results, called as the visitor calls its policy."""
    return Side(name, response["text"], response["words"], response["reward"], response["toxicity"])


def draw(ids: Sequence[str], count: int = BATCH) -> list[str]:
    """``count`` of ``ids``, the same ones every time, and not picked by how they look."""
    return random.Random(0).sample(sorted(ids), min(count, len(ids)))
