"""Which picks an export takes: by batch, split, task, labeler, time, blindness and agreement."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from detox.tasks import TASKS
from labeling.formats import VERSION, Row
from labeling.schema import KINDS, SPLITS

# A row per pick; a row per pair, as most of its votes say; the same, but first as a lead said.
AGGREGATIONS = ("every", "majority", "adjudicated")
# The task of prompts that no template of ours made.
OTHER_TASK = "other"
# `all` is for those who want to mix them.
_LABELER_KINDS = ("person", "model", "all")


@dataclass(frozen=True)
class Filters:
    """Which picks an export takes and how it joins them; None takes all.

    Raises ``UserError`` for a value that cannot be, and for a time that is none.
    """

    batch: str | None = None
    split: str | None = None
    # Names or pseudonyms, of whom only or not to take.
    labelers: tuple[str, ...] | None = None
    # person, model or all; None is people for preferences, and all for raw picks.
    labeler_kind: str | None = None
    # ISO 8601 times or dates, in UTC unless they say otherwise: from `since` on, before `until`.
    since: str | None = None
    until: str | None = None
    # Adds TRL's margin column, from the strength of each pick or from the votes of each pair.
    margin: bool = False
    # Draws the slots of the Vertex AI format.
    seed: int = 0
    without: tuple[str, ...] = ()
    # Kinds of assignments; None is regular for preferences, and all for raw picks.
    kinds: tuple[str, ...] | None = None
    # The task a prompt was made with, or `other`.
    task: str | None = None
    # Leaves out picks whose labeler could already know which policy was which.
    blind_only: bool = False
    # A pair counts with so many votes, so large a share of which agree with most of them.
    minimum_votes: int = 0
    minimum_agreement: float = 0.0
    aggregation: str = "every"
    # Whether notes, in which names may stand, are written.
    notes: bool = True

    def __post_init__(self) -> None:
        _one_of("split", self.split, SPLITS)
        _one_of("kind of labeler", self.labeler_kind, _LABELER_KINDS)
        _one_of("task", self.task, (*TASKS, OTHER_TASK))
        _one_of("aggregation", self.aggregation, AGGREGATIONS)
        for kind in self.kinds or ():
            _one_of("kind of pick", kind, KINDS)
        if not math.isfinite(self.minimum_agreement) or not 0 <= self.minimum_agreement <= 1:
            raise UserError("The minimum agreement must be a share from 0 to 1, such as 0.7.")
        if self.minimum_votes < 0:
            raise UserError("The minimum of votes must be 0 or more.")
        for name in ("since", "until"):
            object.__setattr__(self, name, as_utc(getattr(self, name)))

    @property
    def about_picks(self) -> bool:
        """Whether some filter looks at picks, rather than at prompts alone."""
        default = Filters()
        return any(
            getattr(self, name) != getattr(default, name)
            for name in (
                *("labelers", "labeler_kind", "since", "until", "without", "kinds", "blind_only"),
                *("minimum_votes", "minimum_agreement"),
            )
        )


def _one_of(what: str, value: str | None, known: Collection[str]) -> None:
    if value is not None and value not in known:
        raise UserError(f"Unknown {what} '{value}': use one of {', '.join(known)}.")


def as_utc(text: str | None) -> str | None:
    """An ISO 8601 time as picks record it, so that both sort as text; None for none.

    A time without a zone is in UTC. Raises ``UserError`` for what is no time.
    """
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text.strip())
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UserError(
            f"'{text}' is not a time: write it like 2026-01-31 or 2026-01-31T18:30."
        ) from error
    return time.isoformat(timespec="microseconds")


def task_of(prompt: str) -> str:
    """The name of the task whose template made ``prompt``, zero- or few-shot, or ``other``.

    A few-shot prompt begins and ends as a zero-shot one does, so that both ends are enough.
    """
    bare = prompt.strip()
    for name, task in TASKS.items():
        for wording in task.templates.values():
            before, _, after = (part.strip() for part in wording.partition("{text}"))
            if (
                len(bare) > len(before) + len(after)
                and bare.startswith(before)
                and bare.endswith(after)
            ):
                return name
    return OTHER_TASK


# What a pick is known by, without its texts.
_BRIEF = (
    "seq, pick, pair_id, prompt_id, labeler_id, labeler, labeler_kind, kind, choice, outcome, split"
)


def matching(db: Database, filters: Filters) -> list[Row]:
    """The current picks that match ``filters``, of every kind unless it names some, without texts.

    So of people and models, unless it names some. Each row has ``seq pick pair_id prompt_id
    labeler_id labeler labeler_kind kind choice outcome split``; they come in the order in which
    they were made. The votes that ``minimum_votes`` and ``minimum_agreement`` ask about are the
    regular picks, skips aside, that pass the other filters, models' only if asked for. Where a
    lead's word comes first, it makes a pair count whatever its votes are.

    Raises ``UserError`` for an unknown batch or labeler.
    """
    where, values = _where(db, filters)
    rows = list(db.query(f"SELECT {_BRIEF} FROM preferences AS p WHERE {where}", values))
    rows.sort(key=lambda row: row["seq"])
    if filters.task is not None:
        prompts = _prompts_of(db, filters.task)
        rows = [row for row in rows if row["prompt_id"] in prompts]
    if not filters.minimum_votes and not filters.minimum_agreement:
        return rows
    counted = {
        pair
        for pair, votes in votes_of(row for row in rows if _by_those(row, filters)).items()
        if votes.total() >= max(1, filters.minimum_votes)
        and max(votes.values()) / votes.total() >= filters.minimum_agreement
    }
    if filters.aggregation == "adjudicated":
        counted |= adjudicated(db).keys()
    return [row for row in rows if row["pair_id"] in counted]


def no_preference(pick: Mapping[str, Any], filters: Filters) -> str | None:
    """Why a matching pick is none of the preferences that are asked for; None if it is one.

    ``repeat`` and ``gold`` picks, and those ``by_models``, are only where the filters name them.
    """
    if not _by_those(pick, filters):
        return "by_models"
    return None if filters.kinds is not None or pick["kind"] == "regular" else str(pick["kind"])


def _by_those(pick: Mapping[str, Any], filters: Filters) -> bool:
    return filters.labeler_kind is not None or pick["labeler_kind"] == "person"


def votes_of(picks: Iterable[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    """For each pair how often its regular picks, skips aside, say ``a b tie both_bad``."""
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for pick in picks:
        if pick["kind"] == "regular" and pick["choice"] != "skip":
            votes[pick["pair_id"]][pick["outcome"]] += 1
    return dict(votes)


def adjudicated(db: Database) -> dict[str, str]:
    """The outcome that leads gave each pair they decided."""
    rows = db.query("SELECT pair_id, outcome FROM current_adjudications")
    return {str(row["pair_id"]): str(row["outcome"]) for row in rows}


def select(db: Database, filters: Filters = Filters()) -> list[Row]:
    """The rows of ``preferences`` that match ``filters``, in the order in which they were made.

    Only regular picks of people, unless ``filters`` names other kinds. Raises ``UserError`` for
    an unknown batch or labeler.
    """
    picks = matching(db, filters)
    wanted = {pick["seq"] for pick in picks if no_preference(pick, filters) is None}
    return list(full(db, wanted))


def full(db: Database, wanted: Collection[int]) -> Iterator[Row]:
    """The picks whose ``seq`` is wanted, in that order, with all that is known of them.

    Besides the columns of ``preferences``, the versions of both policies and the times at which
    the pair was given out and looked behind.
    """
    versions = ", ".join(
        f"{side[0]}{'c' if name == 'sampling' else 'p'}.{name} AS {side}_{name}"
        for side in ("left", "right")
        for name in VERSION
    )
    query = f"""
        SELECT p.*, a.assigned_at, a.revealed_at, {versions}
        FROM preferences AS p JOIN assignments AS a ON a.id = p.assignment_id
        JOIN policies AS lp ON lp.id = p.left_policy_id
        JOIN policies AS rp ON rp.id = p.right_policy_id
        JOIN candidates AS lc ON lc.id = p.left_candidate
        JOIN candidates AS rc ON rc.id = p.right_candidate
        ORDER BY p.seq
    """
    return (row for row in db.query(query) if row["seq"] in wanted)


def _where(db: Database, filters: Filters) -> tuple[str, dict[str, object]]:
    """The SQL condition on ``preferences AS p``, and its values."""
    refuse_unknown_batch(db, filters.batch)
    conditions = {
        "batch": "p.batch = :batch",
        "split": "p.split = :split",
        "labeler_kind": "p.labeler_kind = :labeler_kind",
        "since": "p.picked_at >= :since",
        "until": "p.picked_at < :until",
    }
    values: dict[str, object] = {
        name: value
        for name in conditions
        if (value := getattr(filters, name)) is not None
        and (name, value) != ("labeler_kind", "all")
    }
    used = [conditions[name] for name in values]
    if filters.labelers is not None:
        used.append(f"p.labeler_id IN ({_ids(db, filters.labelers)})")
    if filters.without:
        used.append(f"p.labeler_id NOT IN ({_ids(db, filters.without)})")
    if filters.kinds is not None:
        used.append("p.kind IN (" + ", ".join(f"'{kind}'" for kind in filters.kinds) + ")")
    if filters.blind_only:
        used.append("p.informed = 0")
    return " AND ".join(used) or "1", values


def _prompts_of(db: Database, task: str) -> set[str]:
    rows = db.query("SELECT id, prompt FROM prompts")
    return {str(row["id"]) for row in rows if task_of(row["prompt"]) == task}


def refuse_unknown_batch(db: Database, batch: str | None) -> None:
    """Raises ``UserError`` for a batch that is not there."""
    if batch is not None and not next(db.query("SELECT 1 FROM batches WHERE name = ?", [batch]), 0):
        raise UserError(f"There is no batch '{batch}': load one with `labeling pairs`.")


def _ids(db: Database, names: Collection[str]) -> str:
    return ", ".join(str(labeler["id"]) for labeler in _labelers(db, names))


def _labelers(db: Database, names: Collection[str]) -> list[Row]:
    found: list[Row] = []
    for name in names:
        query = "SELECT id, pseudonym FROM labelers WHERE name = :name OR pseudonym = :name"
        rows = list(db.query(query, {"name": name}))
        if not rows:
            raise UserError(
                f"There is no labeler '{name}': give a name as it was signed in with, or a "
                "pseudonym."
            )
        found += rows
    return found


@dataclass(frozen=True)
class Offered:
    """What there is to choose from: batches, and labelers by pseudonym with their picks."""

    batches: tuple[str, ...]
    labelers: tuple[tuple[str, int], ...]


def offered(db: Database) -> Offered:
    """The batches, oldest first, and the labelers with a current pick, the busiest first."""
    batches = db.query("SELECT name FROM batches ORDER BY created, name")
    labelers = db.query(
        "SELECT l.pseudonym, count(*) AS picks FROM current_picks AS c"
        " JOIN assignments AS a ON a.id = c.assignment_id JOIN labelers AS l ON l.id = a.labeler_id"
        " GROUP BY l.id ORDER BY picks DESC, l.pseudonym"
    )
    return Offered(
        tuple(str(row["name"]) for row in batches),
        tuple((str(row["pseudonym"]), int(row["picks"])) for row in labelers),
    )


def public(db: Database, filters: Filters) -> dict[str, Any]:
    """``filters`` as a manifest tells them: labelers by their pseudonyms."""
    told = asdict(filters)
    for name in ("labelers", "without"):
        if told[name] is not None:
            told[name] = [row["pseudonym"] for row in _labelers(db, told[name])]
    return told


def snapshot_hash(preferences: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 over the picks' uuids, pairs and outcomes, in order."""
    digest = hashlib.sha256()
    for row in preferences:
        digest.update(f"{row['pick']} {row['pair_id']} {row['outcome']}\n".encode())
    return digest.hexdigest()
