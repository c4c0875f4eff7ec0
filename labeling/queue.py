"""Which pair a labeler sees next, and on which side.

A labeler works on *assignments*: a pair, with the side of each response drawn for them alone. A
regular assignment holds a place among the votes a batch wants for the pair until it is judged or
its time runs out; a place that ran out goes to somebody else, and comes back to the labeler only
while the pair still needs votes. Besides, a batch may ask for a share of repeats (a pair the
labeler judged a while ago, sides drawn anew) and of gold pairs (whose answer is known).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.plans import Plan, plan_of
from labeling.records import add_assignment, add_labeler, labeler_name, now
from labeling.store import Store
from labeling.text import clean_text

# A repeat shows whether a labeler agrees with themselves: so many picks must lie between.
REPEAT_GAP = 10


@dataclass(frozen=True)
class Share:
    """Votes that are in, of those a batch or the project wants (one a pair where none is set)."""

    votes: int
    wanted: int


@dataclass(frozen=True)
class Progress:
    """How far a labeler is: ``done`` of the ``total`` pairs of a batch, or of all open ones.

    ``batch`` and ``project`` count everybody's votes, ``batch`` those of the pair's own batch.
    """

    done: int
    total: int
    batch: Share = Share(0, 0)
    project: Share = Share(0, 0)


@dataclass(frozen=True)
class Task:
    """All a labeler may see before the pick; nothing in it tells which policy is which.

    Not even the batch's name: a lead may have put a policy's into it.
    """

    assignment_id: str
    dialogue: str
    left: str
    right: str
    progress: Progress
    guidelines: str = ""


def next_pair(
    store: Store, labeler: str, rng: random.Random, batch: str | None = None
) -> Task | None:
    """The pair ``labeler`` should judge next, or None when none is left for them.

    Pairs they were shown but have not judged come first, the one undone last before all others,
    with the sides they saw. Then, batch by batch, repeats and gold pairs by their shares and
    otherwise the pair that is nearest to none of its votes, or, in a batch that asks for it, the
    one with the highest priority; ``rng`` decides among equals and draws the sides. A pair they
    judged or skipped comes back only as a repeat. Paused and closed batches give nothing.
    Unknown labelers are added.

    Raises ``UserError`` for an empty name or an unknown batch, ``StoreError`` by the database.
    """
    return next(iter(upcoming(store, labeler, rng, batch, count=1)), None)


def upcoming(
    store: Store,
    labeler: str,
    rng: random.Random,
    batch: str | None = None,
    *,
    count: int = 2,
) -> list[Task]:
    """The next ``count`` pairs of ``labeler`` in their order, fewer when fewer are left.

    As ``next_pair``; the page asks for the pair to show and the one to fetch beforehand. Pairs
    held this way come again, in the same order, until they are judged.
    """
    with store.writing() as db:
        labeler_id = add_labeler(db, labeler)
        plans = _plans(db, batch)
        _release(db)
        ids = _open(db, labeler_id, batch)[:count]
        while len(ids) < count:
            assignment_id = _take(db, labeler_id, plans, rng)
            if assignment_id is None:
                break
            ids.append(assignment_id)
        return [_task(db, assignment_id, labeler_id, batch) for assignment_id in ids]


def progress(store: Store, labeler: str, batch: str | None = None) -> Progress:
    """How many pairs ``labeler`` has judged or skipped, of how many. Adds nobody."""
    with store.reading() as db:
        rows = db.query("SELECT id FROM labelers WHERE name = ?", [labeler_name(labeler)])
        labeler_id = next((int(row["id"]) for row in rows), None)
        return _progress(db, labeler_id, batch, batch)


def _plans(db: Database, batch: str | None) -> list[Plan]:
    """The open batches, oldest first, or the one asked for if it is open."""
    rows = list(
        db.query(
            "SELECT * FROM batches WHERE :batch IS NULL OR name = :batch ORDER BY created, name",
            {"batch": batch},
        )
    )
    if batch is not None and not rows:
        raise UserError(f"There is no batch '{batch}': load one with `labeling pairs`.")
    return [plan_of(row) for row in rows if row["status"] == "open"]


def _release(db: Database) -> None:
    """Frees the places of assignments whose time ran out."""
    db.execute(
        "UPDATE assignments SET state = 'released' WHERE state = 'open' AND held_until < ?", [now()]
    )


def _open(db: Database, labeler_id: int, batch: str | None) -> list[str]:
    """Open assignments of open batches, the one undone last before all others."""
    rows = db.query(
        """
        SELECT a.id FROM assignments AS a INDEXED BY assignments_open
        JOIN pairs AS p ON p.id = a.pair_id
        JOIN batches AS b ON b.name = p.batch
        WHERE a.labeler_id = :labeler AND a.state = 'open' AND b.status = 'open'
            AND (:batch IS NULL OR p.batch = :batch)
        ORDER BY (SELECT max(seq) FROM picks WHERE assignment_id = a.id) DESC, a.rowid
        """,
        {"labeler": labeler_id, "batch": batch},
    )
    return [str(row["id"]) for row in rows]


def _take(db: Database, labeler_id: int, plans: list[Plan], rng: random.Random) -> str | None:
    """Makes the labeler's next assignment in the first batch that has one for them."""
    for plan in plans:
        # Drawn whether needed or not, so that a seed gives the same order with any shares.
        chance, start = rng.random(), f"{rng.getrandbits(128):032x}"
        again = _reopen(db, labeler_id, plan)
        if again is not None:
            return again
        if chance < plan.gold_share and (pair := _gold(db, labeler_id, plan, start)):
            return _assign(db, pair, labeler_id, "gold", plan, rng)
        regular = _regular(db, labeler_id, plan, start)
        if plan.gold_share <= chance < plan.gold_share + plan.repeat_share and regular:
            pair = _repeatable(db, labeler_id, plan, rng)
            if pair is not None:
                return _assign(db, pair, labeler_id, "repeat", plan, rng)
        if regular is not None:
            return _assign(db, regular, labeler_id, "regular", plan, rng)
    return None


def _reopen(db: Database, labeler_id: int, plan: Plan) -> str | None:
    """An assignment of theirs that timed out and whose pair still needs a vote."""
    rows = db.query(
        """
        SELECT a.id FROM assignments AS a INDEXED BY assignments_released
        JOIN pairs AS p ON p.id = a.pair_id
        WHERE a.labeler_id = :labeler AND a.state = 'released' AND p.batch = :batch
            AND (a.kind <> 'regular' OR :wanted IS NULL OR p.votes + p.holds < :wanted)
        ORDER BY a.rowid LIMIT 1
        """,
        {"labeler": labeler_id, "batch": plan.name, "wanted": plan.votes_wanted},
    )
    found = next((str(row["id"]) for row in rows), None)
    if found is not None:
        db.execute(
            "UPDATE assignments SET state = 'open', held_until = ? WHERE id = ?",
            [_until(plan), found],
        )
    return found


_UNSEEN = """
    NOT EXISTS (SELECT 1 FROM gold AS g WHERE g.pair_id = p.id) AND NOT EXISTS (
        SELECT 1 FROM assignments AS a
        WHERE a.labeler_id = :labeler AND a.pair_id = p.id AND a.kind <> 'repeat'
    )
"""


def _regular(db: Database, labeler_id: int, plan: Plan, start: str) -> str | None:
    """The pair that needs the labeler most; ids are hashes, so ``start`` draws among equals."""
    values = {
        "labeler": labeler_id,
        "batch": plan.name,
        "wanted": plan.votes_wanted,
        "start": start,
    }
    needed = "(:wanted IS NULL OR p.votes + p.holds < :wanted)"
    if plan.strategy != "balanced":
        query = f"""
            SELECT p.id FROM pairs AS p INDEXED BY pairs_by_priority
            WHERE p.batch = :batch AND {needed} AND {_UNSEEN}
            ORDER BY p.priority DESC, p.id LIMIT 1
        """
        return next((str(row["id"]) for row in db.query(query, values)), None)
    for level in _levels(db, plan):
        for side in (">=", "<"):
            query = f"""
                SELECT p.id FROM pairs AS p INDEXED BY pairs_by_load
                WHERE p.batch = :batch AND p.votes + p.holds = :level AND p.id {side} :start
                    AND {_UNSEEN}
                ORDER BY p.id LIMIT 1
            """
            rows = db.query(query, values | {"level": level})
            if found := next((str(row["id"]) for row in rows), None):
                return found
    return None


def _levels(db: Database, plan: Plan) -> Iterator[int]:
    """The numbers of votes and holds that pairs of the batch have and that need more, rising."""
    level = -1
    while True:
        row = next(
            db.query(
                "SELECT min(votes + holds) AS load FROM pairs INDEXED BY pairs_by_load"
                " WHERE batch = ? AND votes + holds > ?",
                [plan.name, level],
            )
        )
        if row["load"] is None or row["load"] >= (plan.votes_wanted or math.inf):
            return
        level = int(row["load"])
        yield level


def _gold(db: Database, labeler_id: int, plan: Plan, start: str) -> str | None:
    """A gold pair of the batch they have not seen, drawn by ``start``."""
    rows = db.query(
        """
        SELECT g.pair_id FROM gold AS g JOIN pairs AS p ON p.id = g.pair_id
        WHERE p.batch = :batch AND NOT EXISTS (
            SELECT 1 FROM assignments AS a
            WHERE a.labeler_id = :labeler AND a.pair_id = p.id AND a.kind <> 'repeat'
        )
        ORDER BY g.pair_id < :start, g.pair_id LIMIT 1
        """,
        {"labeler": labeler_id, "batch": plan.name, "start": start},
    )
    return next((str(row["pair_id"]) for row in rows), None)


def _repeatable(db: Database, labeler_id: int, plan: Plan, rng: random.Random) -> str | None:
    """A pair they judged ``REPEAT_GAP`` picks ago or earlier, and not twice yet."""
    rows = db.query(
        """
        SELECT a.pair_id FROM assignments AS a JOIN pairs AS p ON p.id = a.pair_id
        JOIN current_picks AS c ON c.assignment_id = a.id
        WHERE a.labeler_id = :labeler AND a.kind = 'regular' AND p.batch = :batch
            AND c.choice <> 'skip' AND NOT EXISTS (
                SELECT 1 FROM assignments AS again WHERE again.kind = 'repeat'
                    AND again.labeler_id = :labeler AND again.pair_id = a.pair_id
            )
        ORDER BY c.seq DESC LIMIT 100 OFFSET :gap
        """,
        {"labeler": labeler_id, "batch": plan.name, "gap": REPEAT_GAP},
    )
    pairs = [str(row["pair_id"]) for row in rows]
    return rng.choice(pairs) if pairs else None


def _assign(
    db: Database, pair_id: str, labeler_id: int, kind: str, plan: Plan, rng: random.Random
) -> str:
    pair = next(db.query("SELECT candidate_a, candidate_b FROM pairs WHERE id = ?", [pair_id]))
    sides = [pair["candidate_a"], pair["candidate_b"]]
    rng.shuffle(sides)
    return add_assignment(
        db, pair_id, labeler_id, sides[0], sides[1], kind=kind, held_until=_until(plan)
    )


def _until(plan: Plan) -> str:
    return (datetime.now(UTC) + plan.hold).isoformat(timespec="microseconds")


def _task(db: Database, assignment_id: str, labeler_id: int, batch: str | None) -> Task:
    row = shown(db, assignment_id)
    return as_task(assignment_id, row, _progress(db, labeler_id, batch, row["batch"]))


def as_task(assignment_id: str, row: Mapping[str, Any], done: Progress) -> Task:
    """The task of an assignment whose texts are ``row``, as ``shown`` finds them."""
    return Task(
        assignment_id=assignment_id,
        dialogue=clean_text(row["dialogue"]),
        left=clean_text(row["left_text"]),
        right=clean_text(row["right_text"]),
        progress=done,
        guidelines=row["guidelines"],
    )


def shown(db: Database, assignment_id: str) -> Mapping[str, Any]:
    """The dialogue, the two texts, the batch and its guidelines of an assignment."""
    return next(
        db.query(
            """
            SELECT p.batch, b.guidelines, r.dialogue, l.text AS left_text, t.text AS right_text
            FROM assignments AS a JOIN pairs AS p ON p.id = a.pair_id
            JOIN batches AS b ON b.name = p.batch
            JOIN prompts AS r ON r.id = p.prompt_id
            JOIN candidates AS l ON l.id = a.left_candidate
            JOIN candidates AS t ON t.id = a.right_candidate
            WHERE a.id = ?
            """,
            [assignment_id],
        )
    )


def _progress(
    db: Database, labeler_id: int | None, scope: str | None, current: str | None
) -> Progress:
    """Of ``scope``, one batch or all that are open; ``current`` is the batch of the pair shown."""
    batches = {row["name"]: row for row in db.query("SELECT * FROM batches")}
    counted = [
        name for name, row in batches.items() if name == scope or (not scope and _given(row))
    ]
    done = {
        row["batch"]: int(row["done"])
        for row in db.query("SELECT batch, done FROM tallies WHERE labeler_id = ?", [labeler_id])
    }
    shares = {name: _share(row) for name, row in batches.items()}
    return Progress(
        done=sum(done.get(name, 0) for name in counted),
        total=sum(int(batches[name]["pairs"]) for name in counted),
        batch=shares.get(current or "", Share(0, 0)),
        project=Share(
            sum(share.votes for share in shares.values()),
            sum(share.wanted for share in shares.values()),
        ),
    )


def _given(batch: Mapping[str, Any]) -> bool:
    return batch["status"] == "open"


def _share(batch: Mapping[str, Any]) -> Share:
    wanted = int(batch["pairs"]) * int(batch["votes_wanted"] or 1)
    return Share(min(int(batch["votes"]), wanted), wanted)
