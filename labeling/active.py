"""Which pairs teach most when labelled next.

``uncertainty`` asks about pairs whose two responses a reward scores alike: under Bradley–Terry
the answer of a pair is worth ``p (1 - p)``, the variance of a vote that is won with probability
``p`` (uncertainty sampling; Lewis and Gale, "A sequential algorithm for training text
classifiers", 1994). ``disagreement`` asks again about pairs where people and the hate classifier
say different things. Pairs of equal priority come in an order that the batch's seed draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.plans import find_plan
from labeling.store import Store
from labeling.text import content_id

if TYPE_CHECKING:
    from detox.rewards import RewardSource

# Pairs that differ by less are the same to us: then the seed decides, not a rounding error.
STEP = 0.01
# Pairs scored at a time, so that a large batch tells how far it is.
CHUNK = 64
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Ranked:
    """How many pairs got a priority, and how many have no score to get it from."""

    ranked: int
    unscored: int


def prioritise(
    store: Store,
    batch: str,
    reward: RewardSource | None = None,
    tell: Tell = lambda done, total: None,
) -> Ranked:
    """Sets the priorities of a batch's pairs by its plan's strategy.

    ``reward`` scores prompts with responses, as a reward model trained on picks does; without one
    the rewards that came with the pairs are used. A pair without a score is put in the middle.
    Run it again when the reward or the picks have changed; ``disagreement`` follows each pick by
    itself. Raises ``UserError`` for an unknown batch and one that is ``balanced``.
    """
    plan = find_plan(store, batch)
    if plan.strategy == "balanced":
        raise UserError(
            f"The batch '{batch}' is balanced and has no priorities: "
            "change its strategy to uncertainty or disagreement."
        )
    with store.reading() as db:
        rows = list(db.query(f"{_PAIRS} WHERE p.batch = ? ORDER BY p.id", [batch]))
    gaps = _gaps(rows, reward, tell)
    values = [
        (_priority(plan.strategy, row, gap, plan.seed), row["id"])
        for row, gap in zip(rows, gaps, strict=True)
    ]
    with store.writing() as db:
        for value, pair_id in values:
            db.execute("UPDATE pairs SET priority = ? WHERE id = ?", [value, pair_id])
    unscored = sum(gap is None for gap in gaps)
    return Ranked(len(rows) - unscored, unscored)


def follow_pick(db: Database, pair_id: str) -> None:
    """Brings the priority of a pair that was just judged up to date, where picks decide it."""
    query = f"{_PAIRS} WHERE p.id = ? AND b.strategy = 'disagreement'"
    row = next(db.query(query, [pair_id]), None)
    if row is not None:
        value = _priority("disagreement", row, _stored_gap(row), row["seed"])
        db.execute("UPDATE pairs SET priority = ? WHERE id = ?", [value, pair_id])


_PAIRS = """
SELECT p.id, p.batch, p.votes, p.votes_a, p.votes_b, r.prompt,
    first.text AS text_a, second.text AS text_b,
    first.reward AS reward_a, second.reward AS reward_b, b.strategy, b.seed
FROM pairs AS p JOIN prompts AS r ON r.id = p.prompt_id JOIN batches AS b ON b.name = p.batch
JOIN candidates AS first ON first.id = p.candidate_a
JOIN candidates AS second ON second.id = p.candidate_b
"""


def _gaps(
    rows: Sequence[Mapping[str, Any]], reward: RewardSource | None, tell: Tell
) -> list[float | None]:
    """The reward of ``a`` less that of ``b`` for each pair, as far as it is known."""
    if reward is None:
        return [_stored_gap(row) for row in rows]
    gaps: list[float | None] = []
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        prompts = [row["prompt"] for row in part]
        scores = [reward.score(prompts, [row[f"text_{side}"] for row in part]) for side in "ab"]
        gaps += (scores[0] - scores[1]).tolist()
        tell(len(gaps), len(rows))
    return gaps


def _stored_gap(row: Mapping[str, Any]) -> float | None:
    first, second = row["reward_a"], row["reward_b"]
    return None if first is None or second is None else float(first - second)


def _priority(strategy: str, row: Mapping[str, Any], gap: float | None, seed: int) -> float:
    value = 0.5
    if gap is not None:
        chance = 1 / (1 + math.exp(-max(-500.0, min(500.0, gap))))
        if strategy == "uncertainty":
            value = 4 * chance * (1 - chance)
        else:
            # Laplace's rule of succession; without votes people are taken to be undecided.
            even = row["votes"] - row["votes_a"] - row["votes_b"]
            people = (row["votes_a"] + even / 2 + 1) / (row["votes"] + 2)
            value = abs(people - chance)
    place = int(content_id(row["id"], str(seed))[:8], 16) / 2**32
    return round(value / STEP) * STEP + place * STEP / 2
