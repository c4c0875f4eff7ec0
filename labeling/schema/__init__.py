"""The SQLite schema, as migrations; ``labeling.store`` is the only module that writes to it.

What was picked is append-only: triggers refuse UPDATE, DELETE and REPLACE. The picks of one
assignment form a chain through ``supersedes``, each row replacing the one before it, so an
assignment has at most one current pick whatever the number of writers.

``v1``, ``v2`` and ``v3`` hold the SQL of each version; a released version's SQL is never edited.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlite_utils import Database, Migrations

from labeling.schema import v1, v2, v3

MIGRATION_SET = "labeling"
CHOICES = v1.CHOICES
STRENGTHS = v1.STRENGTHS
SPLITS = v1.SPLITS
OUTCOMES = v2.OUTCOMES
STATUSES = v2.STATUSES
KINDS = v2.KINDS
STRATEGIES = v2.STRATEGIES
ROLES = v2.ROLES
ANSWERS = v3.ANSWERS

migrations = Migrations(MIGRATION_SET)


@migrations()
def m001_initial(db: Database) -> None:
    """Tables, append-only triggers, views, and the salt of the labelers' pseudonyms."""
    db.executescript(v1.TABLES)
    db.executescript(v1.TRIGGERS)
    db.executescript(v1.VIEWS)
    salt: dict[str, Any] = {"key": "salt", "value": secrets.token_hex(16)}
    db.table("meta").insert(salt)


@migrations()
def m002_batches(db: Database) -> None:
    """Batches, gold, adjudications, accounts and practice; counts kept as picks come in."""
    db.executescript(v2.TABLES)
    db.executescript(v2.VOTES)
    db.executescript(v2.BACKFILL)
    db.executescript(v2.TRIGGERS)
    db.executescript(v2.VIEWS)


@migrations()
def m003_judges(db: Database) -> None:
    """Models as judges and their answers; votes, holds and tallies are of people only."""
    db.executescript(v3.TABLES)
    db.executescript(v3.VOTES)
    db.executescript(v3.RECOUNT)
    db.executescript(v3.TRIGGERS)
