"""Whether the record is whole: the file, its references, its hashes and its counts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlite_utils import Database

from labeling.schema import OUTCOMES
from labeling.store import Store
from labeling.text import content_id

# Problems of one sort that are named; the rest are counted.
NAMED = 5


@dataclass(frozen=True)
class Health:
    """What was looked at, and one sentence for each sort of problem; none means all is well."""

    prompts: int
    candidates: int
    pairs: int
    picks: int
    problems: tuple[str, ...]


def check_record(store: Store) -> Health:
    """Reads the whole database and recomputes what it says of itself. Changes nothing.

    Raises ``StoreError`` when the file cannot be read at all.
    """
    with store.reading() as db:
        problems = [
            *_file(db),
            *_hashes(db),
            *_told("pick chains are broken: {}", _rows(db, _BROKEN_CHAINS)),
            *_told("assignments are in the wrong state: {}", _rows(db, _WRONG_STATES)),
            *_told("pairs have wrong counts: {}", _rows(db, _WRONG_COUNTS)),
            *_told("batches have wrong counts: {}", _rows(db, _WRONG_BATCHES)),
            *_told("labelers have wrong counts: {}", _rows(db, _WRONG_TALLIES)),
        ]
        counts = {
            table: int(next(db.query(f"SELECT count(*) AS n FROM {table}"))["n"])
            for table in ("prompts", "candidates", "pairs", "picks")
        }
    return Health(**counts, problems=tuple(problems))


_BROKEN_CHAINS = """
SELECT p.uuid AS id FROM picks AS p JOIN picks AS earlier ON earlier.uuid = p.supersedes
WHERE earlier.seq >= p.seq OR earlier.assignment_id <> p.assignment_id
"""
_WRONG_STATES = """
SELECT a.id FROM assignments AS a WHERE (a.state = 'done') <>
    EXISTS (SELECT 1 FROM current_picks AS c WHERE c.assignment_id = a.id)
"""
_WRONG_COUNTS = (
    """
WITH votes AS (
    SELECT v.pair_id, count(*) AS votes,
"""
    + ", ".join(f"sum(v.outcome = '{name}') AS votes_{name}" for name in OUTCOMES)
    + """
    FROM cast_votes AS v JOIN current_picks AS c ON c.uuid = v.uuid GROUP BY v.pair_id
), holds AS (
    SELECT a.pair_id, count(*) AS holds FROM assignments AS a
    JOIN labelers AS l ON l.id = a.labeler_id AND l.kind = 'person'
    WHERE a.state = 'open' AND a.kind = 'regular' GROUP BY a.pair_id
)
SELECT p.id FROM pairs AS p LEFT JOIN votes AS v ON v.pair_id = p.id
LEFT JOIN holds AS h ON h.pair_id = p.id
WHERE p.holds <> coalesce(h.holds, 0) OR p.votes <> coalesce(v.votes, 0)
"""
    + " ".join(f"OR p.votes_{name} <> coalesce(v.votes_{name}, 0)" for name in OUTCOMES)
)
_WRONG_BATCHES = """
SELECT b.name AS id FROM batches AS b LEFT JOIN (
    SELECT batch, count(*) AS pairs, sum(votes) AS votes FROM pairs GROUP BY batch
) AS p ON p.batch = b.name
WHERE b.pairs <> coalesce(p.pairs, 0) OR b.votes <> coalesce(p.votes, 0)
"""
_WRONG_TALLIES = """
SELECT t.labeler_id || ' in ' || t.batch AS id FROM tallies AS t WHERE t.done <> (
    SELECT count(*) FROM assignments AS a JOIN pairs AS p ON p.id = a.pair_id
    WHERE a.labeler_id = t.labeler_id AND p.batch = t.batch AND a.state = 'done'
        AND a.kind <> 'repeat'
)
"""


def _file(db: Database) -> list[str]:
    said = [str(row["integrity_check"]) for row in db.query("PRAGMA integrity_check")]
    problems = [] if said == ["ok"] else [f"the file is damaged: {'; '.join(said[:NAMED])}"]
    missing = [f"{row['table']} {row['rowid']}" for row in db.query("PRAGMA foreign_key_check")]
    return problems + _told("rows refer to what is not there: {}", missing)


def _hashes(db: Database) -> list[str]:
    """Prompts and responses whose text is not the one their id was made from."""
    prompts = [
        row["id"]
        for row in db.query("SELECT id, dialogue_id, dialogue, prompt FROM prompts")
        if row["id"] != content_id(row["dialogue"], row["prompt"])
        or row["dialogue_id"] != content_id(row["dialogue"])
    ]
    candidates = [
        row["id"]
        for row in db.query("SELECT id, prompt_id, policy_id, text, sampling FROM candidates")
        if row["id"] != content_id(row["prompt_id"], row["policy_id"], row["text"], row["sampling"])
    ]
    return [
        *_told("prompts are not what their ids were made from: {}", prompts),
        *_told("responses are not what their ids were made from: {}", candidates),
    ]


def _rows(db: Database, query: str) -> list[str]:
    return [str(row["id"]) for row in db.query(query)]


def _told(sentence: str, found: list[str]) -> list[str]:
    if not found:
        return []
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return [f"{len(found)} {sentence.format(', '.join(found[:NAMED]))}{more}"]
