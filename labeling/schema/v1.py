"""The first version: prompts, policies, candidates, pairs, assignments, picks."""

from __future__ import annotations

CHOICES = ("left", "right", "tie", "both_bad", "skip")
STRENGTHS = ("slightly", "clearly")
SPLITS = ("train", "validation", "test")


def one_of(values: tuple[str, ...]) -> str:
    """The right side of a SQL ``IN``."""
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


TABLES = f"""
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE prompts (
    id TEXT PRIMARY KEY,
    dialogue_id TEXT NOT NULL,
    dialogue TEXT NOT NULL,
    prompt TEXT NOT NULL,
    topic TEXT,
    tone TEXT,
    source TEXT,
    split TEXT NOT NULL CHECK (split IN {one_of(SPLITS)})
);
CREATE INDEX prompts_dialogue_id ON prompts (dialogue_id);
CREATE TABLE policies (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    base TEXT,
    adapter TEXT,
    fingerprint TEXT,
    created TEXT NOT NULL
);
CREATE INDEX policies_name ON policies (name);
CREATE TABLE candidates (
    id TEXT PRIMARY KEY,
    prompt_id TEXT NOT NULL REFERENCES prompts (id),
    policy_id TEXT NOT NULL REFERENCES policies (id),
    text TEXT NOT NULL,
    sampling TEXT NOT NULL,
    reward REAL,
    toxicity REAL
);
CREATE INDEX candidates_prompt_id ON candidates (prompt_id);
CREATE TABLE pairs (
    id TEXT PRIMARY KEY,
    prompt_id TEXT NOT NULL REFERENCES prompts (id),
    candidate_a TEXT NOT NULL REFERENCES candidates (id),
    candidate_b TEXT NOT NULL REFERENCES candidates (id),
    batch TEXT NOT NULL,
    created TEXT NOT NULL,
    CHECK (candidate_a <> candidate_b)
);
CREATE UNIQUE INDEX pairs_candidates
    ON pairs (min(candidate_a, candidate_b), max(candidate_a, candidate_b));
CREATE INDEX pairs_batch ON pairs (batch);
CREATE INDEX pairs_prompt_id ON pairs (prompt_id);
CREATE TABLE labelers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    pseudonym TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('person', 'model'))
);
CREATE TABLE assignments (
    id TEXT PRIMARY KEY,
    pair_id TEXT NOT NULL REFERENCES pairs (id),
    labeler_id INTEGER NOT NULL REFERENCES labelers (id),
    left_candidate TEXT NOT NULL REFERENCES candidates (id),
    right_candidate TEXT NOT NULL REFERENCES candidates (id),
    assigned_at TEXT NOT NULL,
    app_version TEXT NOT NULL,
    CHECK (left_candidate <> right_candidate)
);
CREATE INDEX assignments_labeler_pair ON assignments (labeler_id, pair_id);
CREATE INDEX assignments_pair_id ON assignments (pair_id);
CREATE TABLE picks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    assignment_id TEXT NOT NULL REFERENCES assignments (id),
    choice TEXT NOT NULL CHECK (choice IN {one_of(CHOICES)}),
    strength TEXT CHECK (strength IN {one_of(STRENGTHS)}),
    reasons TEXT NOT NULL DEFAULT '[]',
    note TEXT NOT NULL DEFAULT '',
    seconds REAL CHECK (seconds >= 0),
    picked_at TEXT NOT NULL,
    supersedes TEXT UNIQUE REFERENCES picks (uuid),
    retracted INTEGER NOT NULL DEFAULT 0 CHECK (retracted IN (0, 1))
);
CREATE INDEX picks_assignment_id ON picks (assignment_id);
CREATE UNIQUE INDEX picks_one_chain ON picks (assignment_id) WHERE supersedes IS NULL;
CREATE TABLE reward_models (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    base TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    picks INTEGER NOT NULL,
    metrics TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE exports (
    id TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    path TEXT NOT NULL,
    rows INTEGER NOT NULL,
    filters TEXT NOT NULL,
    left_out TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    manifest TEXT NOT NULL,
    created TEXT NOT NULL
);
"""

TRIGGERS = """
CREATE TRIGGER picks_no_update BEFORE UPDATE ON picks
BEGIN SELECT RAISE(ABORT, 'picks are append-only'); END;
CREATE TRIGGER picks_no_delete BEFORE DELETE ON picks
BEGIN SELECT RAISE(ABORT, 'picks are append-only'); END;
CREATE TRIGGER picks_no_replace BEFORE INSERT ON picks
WHEN EXISTS (
    SELECT 1 FROM picks WHERE uuid = NEW.uuid OR seq = NEW.seq
        OR (NEW.supersedes IS NOT NULL AND supersedes = NEW.supersedes)
        OR (NEW.supersedes IS NULL AND supersedes IS NULL AND assignment_id = NEW.assignment_id)
)
BEGIN SELECT RAISE(ABORT, 'picks are append-only'); END;
CREATE TRIGGER picks_chain BEFORE INSERT ON picks
WHEN NEW.supersedes IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM picks WHERE uuid = NEW.supersedes AND assignment_id = NEW.assignment_id
)
BEGIN SELECT RAISE(ABORT, 'a pick supersedes one of its own assignment'); END;
"""

VIEWS = """
CREATE VIEW current_picks AS
SELECT p.* FROM picks AS p
WHERE p.retracted = 0
    AND NOT EXISTS (SELECT 1 FROM picks AS later WHERE later.supersedes = p.uuid);

CREATE VIEW preferences AS
SELECT
    c.seq, c.uuid AS pick, c.assignment_id, a.pair_id, pair.batch, pair.prompt_id,
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
    lp.name AS left_policy, rp.name AS right_policy,
    lc.reward AS left_reward, rc.reward AS right_reward,
    lc.toxicity AS left_toxicity, rc.toxicity AS right_toxicity,
    l.id AS labeler_id, l.pseudonym AS labeler, l.kind AS labeler_kind,
    c.strength, c.reasons, c.note, c.seconds, c.picked_at, a.app_version
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
