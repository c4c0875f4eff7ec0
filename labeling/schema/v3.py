"""The third version: models as judges, whose picks take up nobody's place.

``judges`` says what each judge is, ``judge_answers`` what it said to each order of a pair; the
pick is made of both. From here on ``cast_votes``, the counts of ``pairs`` and ``batches``, holds
and ``tallies`` are of people only: a model's pick fills no place that a batch wants, makes no
conflict and is no labeler in a batch's standing, however it came in (a judge, an import).
"""

from __future__ import annotations

from labeling.schema.v1 import one_of

ANSWERS = ("first", "second", "tie")

TABLES = f"""
CREATE TABLE judges (
    labeler_id INTEGER PRIMARY KEY REFERENCES labelers (id),
    version TEXT NOT NULL,
    settings TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE judge_answers (
    pick TEXT NOT NULL REFERENCES picks (uuid),
    first_candidate TEXT NOT NULL REFERENCES candidates (id),
    answer TEXT NOT NULL CHECK (answer IN {one_of(ANSWERS)}),
    log_odds REAL,
    explanation TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (pick, first_candidate)
);
"""


def _kept(table: str, key: str, what: str) -> str:
    """Triggers that refuse to change, delete or replace a row of ``table``."""
    return f"""
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table}
BEGIN SELECT RAISE(ABORT, '{what}'); END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{what}'); END;
CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table}
WHEN EXISTS (SELECT 1 FROM {table} WHERE {key})
BEGIN SELECT RAISE(ABORT, '{what}'); END;
"""


TRIGGERS = (
    _kept("judges", "labeler_id = NEW.labeler_id", "a judge stays as it is")
    + _kept(
        "judge_answers",
        "pick = NEW.pick AND first_candidate = NEW.first_candidate",
        "answers of judges are append-only",
    )
    + """
DROP TRIGGER assignments_added;
CREATE TRIGGER assignments_added AFTER INSERT ON assignments
WHEN NEW.kind = 'regular' AND NEW.state = 'open'
    AND (SELECT kind FROM labelers WHERE id = NEW.labeler_id) = 'person' BEGIN
    UPDATE pairs SET holds = holds + 1 WHERE id = NEW.pair_id;
END;
DROP TRIGGER assignments_moved;
CREATE TRIGGER assignments_moved AFTER UPDATE OF state ON assignments
WHEN NEW.state <> OLD.state
    AND (SELECT kind FROM labelers WHERE id = NEW.labeler_id) = 'person' BEGIN
    UPDATE pairs SET holds = holds + (NEW.state = 'open') - (OLD.state = 'open')
    WHERE id = NEW.pair_id AND NEW.kind = 'regular';
    INSERT INTO tallies (labeler_id, batch, done)
    SELECT NEW.labeler_id, p.batch, (NEW.state = 'done') - (OLD.state = 'done')
    FROM pairs AS p WHERE p.id = NEW.pair_id AND NEW.kind <> 'repeat'
    ON CONFLICT DO UPDATE SET done = done + excluded.done;
END;
"""
)

# What each row of `picks` says of its pair, if it is a person's vote; an undo and a skip are none.
VOTES = """
DROP VIEW cast_votes;
CREATE VIEW cast_votes AS
SELECT p.uuid, a.pair_id, CASE
    WHEN p.choice NOT IN ('left', 'right') THEN p.choice
    WHEN (p.choice = 'left') = (a.left_candidate = x.candidate_a) THEN 'a'
    ELSE 'b' END AS outcome
FROM picks AS p JOIN assignments AS a ON a.id = p.assignment_id JOIN pairs AS x ON x.id = a.pair_id
JOIN labelers AS l ON l.id = a.labeler_id
WHERE p.retracted = 0 AND p.choice <> 'skip' AND a.kind = 'regular' AND l.kind = 'person';
"""

# Only pairs that a model was given can have counted one; `pairs_voted` carries batches along.
RECOUNT = """
CREATE TEMP VIEW current_votes AS SELECT v.pair_id, v.outcome
FROM cast_votes AS v JOIN current_picks AS c ON c.uuid = v.uuid;
UPDATE pairs SET
    votes = (SELECT count(*) FROM current_votes AS v WHERE v.pair_id = pairs.id),
    votes_a = (SELECT count(*) FROM current_votes AS v
        WHERE v.pair_id = pairs.id AND v.outcome = 'a'),
    votes_b = (SELECT count(*) FROM current_votes AS v
        WHERE v.pair_id = pairs.id AND v.outcome = 'b'),
    votes_tie = (SELECT count(*) FROM current_votes AS v
        WHERE v.pair_id = pairs.id AND v.outcome = 'tie'),
    votes_both_bad = (SELECT count(*) FROM current_votes AS v
        WHERE v.pair_id = pairs.id AND v.outcome = 'both_bad'),
    holds = (SELECT count(*) FROM assignments AS a JOIN labelers AS l ON l.id = a.labeler_id
        WHERE a.pair_id = pairs.id AND a.kind = 'regular' AND a.state = 'open'
            AND l.kind = 'person')
WHERE id IN (
    SELECT a.pair_id FROM assignments AS a JOIN labelers AS l ON l.id = a.labeler_id
    WHERE l.kind = 'model'
);
DROP VIEW current_votes;
DELETE FROM tallies WHERE labeler_id IN (SELECT id FROM labelers WHERE kind = 'model');
"""
