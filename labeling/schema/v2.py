"""The second version: batches with a plan, gold pairs, adjudications, accounts, kept counts.

``pairs.votes`` counts the current picks of regular assignments that are not skips, the columns
after it say for what, and ``pairs.holds`` counts the regular assignments that are open: shown, not
judged, not yet timed out. ``batches.pairs`` and ``batches.votes`` sum them up, ``tallies`` counts
what each labeler did. Triggers keep them all, so that the next pair and the next conflict cost an
index look-up whatever the number of picks.
"""

from __future__ import annotations

from labeling.schema.v1 import one_of

OUTCOMES = ("a", "b", "tie", "both_bad")
STATUSES = ("open", "paused", "closed")
KINDS = ("regular", "repeat", "gold")
STRATEGIES = ("balanced", "uncertainty", "disagreement")
ROLES = ("viewer", "labeler", "lead")

TABLES = f"""
CREATE TABLE batches (
    name TEXT PRIMARY KEY,
    status TEXT NOT NULL DEFAULT 'open' CHECK (status IN {one_of(STATUSES)}),
    votes_wanted INTEGER CHECK (votes_wanted > 0),
    repeat_share REAL NOT NULL DEFAULT 0 CHECK (repeat_share >= 0 AND repeat_share < 1),
    gold_share REAL NOT NULL DEFAULT 0 CHECK (gold_share >= 0 AND gold_share < 1),
    strategy TEXT NOT NULL DEFAULT 'balanced' CHECK (strategy IN {one_of(STRATEGIES)}),
    hold_minutes REAL NOT NULL DEFAULT 30 CHECK (hold_minutes > 0),
    reveal INTEGER NOT NULL DEFAULT 1 CHECK (reveal IN (0, 1)),
    guidelines TEXT NOT NULL DEFAULT '',
    seed INTEGER NOT NULL DEFAULT 0,
    pairs INTEGER NOT NULL DEFAULT 0,
    votes INTEGER NOT NULL DEFAULT 0,
    created TEXT NOT NULL
);
ALTER TABLE pairs ADD COLUMN votes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN votes_a INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN votes_b INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN votes_tie INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN votes_both_bad INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN holds INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pairs ADD COLUMN priority REAL NOT NULL DEFAULT 0;
DROP INDEX pairs_batch;
CREATE INDEX pairs_by_load ON pairs (batch, votes + holds, id);
CREATE INDEX pairs_by_priority ON pairs (batch, priority, id);
CREATE INDEX pairs_in_conflict ON pairs (batch, id)
    WHERE votes > max(votes_a, votes_b, votes_tie, votes_both_bad);
ALTER TABLE assignments ADD COLUMN kind TEXT NOT NULL DEFAULT 'regular'
    CHECK (kind IN {one_of(KINDS)});
ALTER TABLE assignments ADD COLUMN state TEXT NOT NULL DEFAULT 'open'
    CHECK (state IN ('open', 'done', 'released'));
ALTER TABLE assignments ADD COLUMN held_until TEXT NOT NULL DEFAULT '';
ALTER TABLE assignments ADD COLUMN revealed_at TEXT;
ALTER TABLE picks ADD COLUMN flagged INTEGER NOT NULL DEFAULT 0 CHECK (flagged IN (0, 1));
ALTER TABLE picks ADD COLUMN informed INTEGER NOT NULL DEFAULT 0 CHECK (informed IN (0, 1));
ALTER TABLE picks ADD COLUMN app_version TEXT NOT NULL DEFAULT '';
CREATE TABLE tallies (
    labeler_id INTEGER NOT NULL REFERENCES labelers (id),
    batch TEXT NOT NULL REFERENCES batches (name),
    done INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (labeler_id, batch)
) WITHOUT ROWID;
CREATE TABLE gold (
    pair_id TEXT PRIMARY KEY REFERENCES pairs (id),
    outcome TEXT NOT NULL CHECK (outcome IN {one_of(OUTCOMES)}),
    note TEXT NOT NULL DEFAULT '',
    source TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE adjudications (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    pair_id TEXT NOT NULL REFERENCES pairs (id),
    labeler_id INTEGER NOT NULL REFERENCES labelers (id),
    left_candidate TEXT NOT NULL REFERENCES candidates (id),
    outcome TEXT NOT NULL CHECK (outcome IN {one_of(OUTCOMES)}),
    note TEXT NOT NULL DEFAULT '',
    adjudicated_at TEXT NOT NULL,
    app_version TEXT NOT NULL
);
CREATE INDEX adjudications_pair_id ON adjudications (pair_id);
CREATE TABLE accounts (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN {one_of(ROLES)}),
    password TEXT,
    disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    created TEXT NOT NULL
);
CREATE TABLE practice (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    labeler_id INTEGER NOT NULL REFERENCES labelers (id),
    item TEXT NOT NULL,
    choice TEXT NOT NULL,
    correct INTEGER NOT NULL CHECK (correct IN (0, 1)),
    practised_at TEXT NOT NULL
);
CREATE INDEX practice_labeler_id ON practice (labeler_id);
"""

# What each row of `picks` says of its pair, if it is a vote; an undo and a skip are none.
VOTES = """
CREATE VIEW cast_votes AS
SELECT p.uuid, a.pair_id, CASE
    WHEN p.choice NOT IN ('left', 'right') THEN p.choice
    WHEN (p.choice = 'left') = (a.left_candidate = x.candidate_a) THEN 'a'
    ELSE 'b' END AS outcome
FROM picks AS p JOIN assignments AS a ON a.id = p.assignment_id JOIN pairs AS x ON x.id = a.pair_id
WHERE p.retracted = 0 AND p.choice <> 'skip' AND a.kind = 'regular';
"""

# Triggers are made after this, but those of v1 stand: they are lifted for the one update.
BACKFILL = """
DROP TRIGGER picks_no_update;
UPDATE picks SET app_version =
    (SELECT a.app_version FROM assignments AS a WHERE a.id = picks.assignment_id);
CREATE TRIGGER picks_no_update BEFORE UPDATE ON picks
BEGIN SELECT RAISE(ABORT, 'picks are append-only'); END;
UPDATE assignments SET kind = 'repeat' WHERE EXISTS (
    SELECT 1 FROM assignments AS earlier
    WHERE earlier.labeler_id = assignments.labeler_id AND earlier.pair_id = assignments.pair_id
        AND earlier.rowid < assignments.rowid
);
UPDATE assignments SET state = 'done' WHERE EXISTS (
    SELECT 1 FROM current_picks AS c WHERE c.assignment_id = assignments.id
);
UPDATE assignments SET held_until = assigned_at;
CREATE TEMP VIEW current_votes AS SELECT v.pair_id, v.outcome
FROM cast_votes AS v JOIN current_picks AS c ON c.uuid = v.uuid;
-- The first version showed both policies after each pick.
UPDATE assignments SET revealed_at =
    (SELECT max(p.picked_at) FROM picks AS p WHERE p.assignment_id = assignments.id);
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
    holds = (SELECT count(*) FROM assignments AS a
        WHERE a.pair_id = pairs.id AND a.kind = 'regular' AND a.state = 'open');
DROP VIEW current_votes;
INSERT INTO batches (name, pairs, votes, created)
    SELECT batch, count(*), sum(votes), min(created) FROM pairs GROUP BY batch;
INSERT INTO tallies (labeler_id, batch, done)
    SELECT a.labeler_id, p.batch, count(*) FROM assignments AS a JOIN pairs AS p
    ON p.id = a.pair_id WHERE a.state = 'done' AND a.kind <> 'repeat'
    GROUP BY a.labeler_id, p.batch;
DROP INDEX assignments_labeler_pair;
CREATE UNIQUE INDEX assignments_labeler_pair ON assignments (labeler_id, pair_id)
    WHERE kind <> 'repeat';
CREATE INDEX assignments_repeats ON assignments (labeler_id, pair_id) WHERE kind = 'repeat';
CREATE INDEX assignments_open ON assignments (labeler_id) WHERE state = 'open';
CREATE INDEX assignments_held ON assignments (held_until) WHERE state = 'open';
CREATE INDEX assignments_released ON assignments (labeler_id) WHERE state = 'released';
"""


def _frozen(table: str, what: str, *, columns: str = "") -> str:
    """Triggers that refuse to delete from ``table`` and to change its ``columns``, or any."""
    changed = f"UPDATE OF {columns}" if columns else "UPDATE"
    return f"""
CREATE TRIGGER {table}_no_update BEFORE {changed} ON {table}
BEGIN SELECT RAISE(ABORT, '{what}'); END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, '{what}'); END;
"""


TRIGGERS = (
    _frozen("adjudications", "adjudications are append-only")
    + _frozen(
        "assignments",
        "an assignment keeps its pair, labeler and sides",
        columns="id, pair_id, labeler_id, left_candidate, right_candidate, assigned_at,"
        " app_version, kind",
    )
    + _frozen(
        "candidates",
        "a response that was shown stays as it is",
        columns="id, prompt_id, policy_id, text, sampling",
    )
    + _frozen(
        "pairs",
        "a pair stays as it is",
        columns="id, prompt_id, candidate_a, candidate_b, batch, created",
    )
    + _frozen("policies", "a policy version stays as it is")
    + _frozen("prompts", "a prompt that was shown stays as it is")
    + """
CREATE TRIGGER pairs_added AFTER INSERT ON pairs BEGIN
    INSERT OR IGNORE INTO batches (name, created) VALUES (NEW.batch, NEW.created);
    UPDATE batches SET pairs = pairs + 1 WHERE name = NEW.batch;
END;
CREATE TRIGGER pairs_voted AFTER UPDATE OF votes ON pairs WHEN NEW.votes <> OLD.votes BEGIN
    UPDATE batches SET votes = votes + NEW.votes - OLD.votes WHERE name = NEW.batch;
END;
CREATE TRIGGER assignments_added AFTER INSERT ON assignments
WHEN NEW.kind = 'regular' AND NEW.state = 'open' BEGIN
    UPDATE pairs SET holds = holds + 1 WHERE id = NEW.pair_id;
END;
CREATE TRIGGER assignments_moved AFTER UPDATE OF state ON assignments
WHEN NEW.state <> OLD.state BEGIN
    UPDATE pairs SET holds = holds + (NEW.state = 'open') - (OLD.state = 'open')
    WHERE id = NEW.pair_id AND NEW.kind = 'regular';
    INSERT INTO tallies (labeler_id, batch, done)
    SELECT NEW.labeler_id, p.batch, (NEW.state = 'done') - (OLD.state = 'done')
    FROM pairs AS p WHERE p.id = NEW.pair_id AND NEW.kind <> 'repeat'
    ON CONFLICT DO UPDATE SET done = done + excluded.done;
END;
CREATE TRIGGER picks_counted AFTER INSERT ON picks BEGIN
    UPDATE assignments SET state = CASE NEW.retracted WHEN 1 THEN 'open' ELSE 'done' END
    WHERE id = NEW.assignment_id;
    UPDATE pairs SET
        votes = votes + 1,
        votes_a = votes_a + (v.outcome = 'a'),
        votes_b = votes_b + (v.outcome = 'b'),
        votes_tie = votes_tie + (v.outcome = 'tie'),
        votes_both_bad = votes_both_bad + (v.outcome = 'both_bad')
    FROM cast_votes AS v WHERE v.uuid = NEW.uuid AND pairs.id = v.pair_id;
    UPDATE pairs SET
        votes = votes - 1,
        votes_a = votes_a - (v.outcome = 'a'),
        votes_b = votes_b - (v.outcome = 'b'),
        votes_tie = votes_tie - (v.outcome = 'tie'),
        votes_both_bad = votes_both_bad - (v.outcome = 'both_bad')
    FROM cast_votes AS v WHERE v.uuid = NEW.supersedes AND pairs.id = v.pair_id;
END;
"""
)

VIEWS = """
DROP VIEW preferences;
DROP VIEW current_picks;
CREATE VIEW current_picks AS
SELECT p.* FROM picks AS p
WHERE p.retracted = 0
    AND NOT EXISTS (SELECT 1 FROM picks AS later WHERE later.supersedes = p.uuid);

CREATE VIEW current_adjudications AS
SELECT d.* FROM adjudications AS d
WHERE NOT EXISTS (
    SELECT 1 FROM adjudications AS later WHERE later.pair_id = d.pair_id AND later.seq > d.seq
);

CREATE VIEW preferences AS
SELECT
    c.seq, c.uuid AS pick, c.assignment_id, a.kind, a.pair_id, pair.batch, pair.prompt_id,
    prompt.dialogue_id, prompt.dialogue, prompt.prompt, prompt.topic, prompt.tone, prompt.source,
    prompt.split, c.choice,
    CASE
        WHEN c.choice NOT IN ('left', 'right') THEN c.choice
        WHEN (c.choice = 'left') = (a.left_candidate = pair.candidate_a) THEN 'a'
        ELSE 'b'
    END AS outcome,
    CASE c.choice WHEN 'left' THEN lc.text WHEN 'right' THEN rc.text END AS chosen,
    CASE c.choice WHEN 'left' THEN rc.text WHEN 'right' THEN lc.text END AS rejected,
    CASE c.choice WHEN 'left' THEN lp.name WHEN 'right' THEN rp.name END AS chosen_policy,
    CASE c.choice WHEN 'left' THEN rp.name WHEN 'right' THEN lp.name END AS rejected_policy,
    CASE c.choice WHEN 'left' THEN lc.reward WHEN 'right' THEN rc.reward END AS chosen_reward,
    CASE c.choice WHEN 'left' THEN rc.reward WHEN 'right' THEN lc.reward END AS rejected_reward,
    lc.text AS left_text, rc.text AS right_text,
    a.left_candidate, a.right_candidate,
    lp.name AS left_policy, rp.name AS right_policy,
    lp.id AS left_policy_id, rp.id AS right_policy_id,
    lc.reward AS left_reward, rc.reward AS right_reward,
    lc.toxicity AS left_toxicity, rc.toxicity AS right_toxicity,
    l.id AS labeler_id, l.pseudonym AS labeler, l.kind AS labeler_kind,
    c.strength, c.reasons, c.note, c.seconds, c.picked_at, c.flagged, c.informed, c.app_version
FROM current_picks AS c
JOIN assignments AS a ON a.id = c.assignment_id
JOIN pairs AS pair ON pair.id = a.pair_id
JOIN prompts AS prompt ON prompt.id = pair.prompt_id
JOIN candidates AS lc ON lc.id = a.left_candidate
JOIN candidates AS rc ON rc.id = a.right_candidate
JOIN policies AS lp ON lp.id = lc.policy_id
JOIN policies AS rp ON rp.id = rc.policy_id
JOIN labelers AS l ON l.id = a.labeler_id;
"""
