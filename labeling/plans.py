"""What a batch asks of its labelers, whether it is open, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.records import now
from labeling.schema import STATUSES, STRATEGIES
from labeling.store import Store
from labeling.text import clean_text

NAME_LENGTH = 100
GUIDELINES_LENGTH = 5_000
# A year; dates far beyond it cannot be told.
LONGEST_HOLD = 525_600
_LARGEST = 2**32 - 1


@dataclass(frozen=True)
class Plan:
    """How a batch is labelled. Raises ``UserError`` for what cannot be done."""

    name: str
    votes_wanted: int | None = None
    """Labelers a pair; None lets everybody judge every pair."""
    repeat_share: float = 0.0
    """Chance that a labeler's next pair is one they judged before (self-consistency)."""
    gold_share: float = 0.0
    """Chance that it is one whose answer is known."""
    strategy: str = "balanced"
    """``balanced``, or pairs first by ``uncertainty`` of a reward or ``disagreement`` with it."""
    hold_minutes: float = 30.0
    """How long a pair that was shown waits for its labeler before another gets the place."""
    reveal: bool = True
    """Whether labelers may see after their pick what was behind it."""
    guidelines: str = ""
    """Shown beside the built-in ones."""
    seed: int = 0
    """Orders pairs of equal priority."""

    def __post_init__(self) -> None:
        if not clean_text(self.name) or len(self.name) > NAME_LENGTH:
            raise UserError(f"Give the batch a name of 1 to {NAME_LENGTH} characters.")
        if self.votes_wanted is not None and self.votes_wanted < 1:
            raise UserError("Labelers per pair must be 1 or more, or left out for everybody.")
        for share in (self.repeat_share, self.gold_share):
            if not (math.isfinite(share) and 0 <= share < 1):
                raise UserError("Shares of repeats and gold must be between 0 and 1, as in 0.1.")
        if self.repeat_share + self.gold_share >= 1:
            raise UserError("Repeats and gold together must leave room for new pairs: below 1.")
        if self.strategy not in STRATEGIES:
            raise UserError(
                f"Unknown strategy '{self.strategy}': use one of {', '.join(STRATEGIES)}."
            )
        if not 0 < self.hold_minutes <= LONGEST_HOLD:
            raise UserError(
                f"A pair must be held for more than 0 minutes and at most {LONGEST_HOLD:,}."
            )
        if not 0 <= self.seed <= _LARGEST or (self.votes_wanted or 0) > _LARGEST:
            raise UserError(f"Seed and labelers per pair must lie between 0 and {_LARGEST:,}.")
        if len(clean_text(self.guidelines)) > GUIDELINES_LENGTH:
            raise UserError(
                f"The guidelines have {len(self.guidelines):,} characters: "
                f"use at most {GUIDELINES_LENGTH:,}."
            )

    @property
    def hold(self) -> timedelta:
        """How long a place is held."""
        return timedelta(minutes=self.hold_minutes)


@dataclass(frozen=True)
class Standing:
    """A batch as it stands: its plan, its status, and how many of what are in it."""

    plan: Plan
    status: str
    created: str
    pairs: int
    votes: int
    """Current picks of regular assignments, skips left out."""
    gold: int
    conflicts: int
    """Pairs whose votes differ, adjudicated or not."""
    labelers: int
    held: int
    """Pairs somebody is looking at."""

    @property
    def wanted(self) -> int:
        """Votes it takes, one a pair where everybody may judge all."""
        return self.pairs * (self.plan.votes_wanted or 1)


def plan_of(row: Mapping[str, Any]) -> Plan:
    """The plan in a row of ``batches``."""
    kept = {name: row[name] for name in asdict(Plan("x"))}
    return Plan(**(kept | {"reveal": bool(kept["reveal"])}))


def save_plan(store: Store, plan: Plan) -> None:
    """Makes the batch, or changes how an existing one is labelled; its pairs and status stay.

    Raises ``StoreError`` by the database.
    """
    with store.writing() as db:
        write_plan(db, plan)


def write_plan(db: Database, plan: Plan) -> None:
    """``save_plan`` inside a transaction."""
    row = asdict(replace(plan, name=clean_text(plan.name)))
    row |= {"reveal": int(plan.reveal), "guidelines": clean_text(plan.guidelines)}
    changes = ", ".join(f"{name} = excluded.{name}" for name in row if name != "name")
    names = ", ".join(row)
    slots = ", ".join(f":{name}" for name in row)
    db.execute(
        f"INSERT INTO batches ({names}, created) VALUES ({slots}, :created)"
        f" ON CONFLICT (name) DO UPDATE SET {changes}",
        row | {"created": now()},
    )


def find_plan(store: Store, batch: str) -> Plan:
    """The plan of ``batch``. Raises ``UserError`` if there is none."""
    with store.reading() as db:
        return plan_of(_row(db, batch))


def set_status(store: Store, batch: str, status: str) -> None:
    """Opens, pauses or closes a batch.

    Paused, it gives out no pairs; closed, its picks can no longer be changed either. Pairs that
    labelers already see are accepted in both. Raises ``UserError`` for an unknown batch or status.
    """
    if status not in STATUSES:
        raise UserError(f"Unknown status '{status}': use one of {', '.join(STATUSES)}.")
    with store.writing() as db:
        _row(db, batch)
        db.execute("UPDATE batches SET status = ? WHERE name = ?", [status, batch])


def standings(store: Store) -> list[Standing]:
    """Every batch, oldest first."""
    with store.reading() as db:
        rows = list(db.query("SELECT * FROM batches ORDER BY created, name"))
        return [_standing(db, row) for row in rows]


def open_batches(store: Store) -> list[str]:
    """Names of the batches that give out pairs, oldest first."""
    with store.reading() as db:
        rows = db.query(
            "SELECT name FROM batches WHERE status = 'open' AND pairs > 0 ORDER BY created, name"
        )
        return [str(row["name"]) for row in rows]


def _row(db: Database, batch: str) -> dict[str, Any]:
    row = next(db.query("SELECT * FROM batches WHERE name = ?", [batch]), None)
    if row is None:
        raise UserError(f"There is no batch '{batch}': `labeling batches` lists them.")
    return row


def _standing(db: Database, row: Mapping[str, Any]) -> Standing:
    counts = next(
        db.query(
            """
            SELECT
                (SELECT count(*) FROM gold AS g JOIN pairs AS p ON p.id = g.pair_id
                    WHERE p.batch = :batch) AS gold,
                (SELECT count(*) FROM pairs INDEXED BY pairs_in_conflict WHERE batch = :batch
                    AND votes > max(votes_a, votes_b, votes_tie, votes_both_bad)) AS conflicts,
                (SELECT count(*) FROM tallies WHERE batch = :batch AND done > 0) AS labelers,
                (SELECT count(*) FROM assignments AS a INDEXED BY assignments_held
                    JOIN pairs AS p ON p.id = a.pair_id
                    WHERE a.state = 'open' AND a.held_until >= :now AND p.batch = :batch) AS held
            """,
            {"batch": row["name"], "now": now()},
        )
    )
    return Standing(
        plan_of(row),
        status=row["status"],
        created=row["created"],
        pairs=row["pairs"],
        votes=row["votes"],
        **counts,
    )
