"""Named, append-only, transactional migrations of `edits.db`, and its public view `edits`.

Never change a migration that has been released: add one. `apply` is called under a file lock and
inside BEGIN IMMEDIATE, since several editors may start at once on a first run.
"""

from __future__ import annotations

import secrets

from learner.sqlite import Database, Migrations

migrations = Migrations("redraft")


@migrations()
def m001_first(db: Database) -> None:
    """Decisions, offers, outcomes, open spans, events, adapters, runs, consents; the view."""
    for statement in _FIRST.split(";\n\n"):
        db.execute(statement)
    db.execute("INSERT INTO meta (key, value) VALUES ('salt', ?)", [secrets.token_hex(16)])


_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

CREATE TABLE consents (
    id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL,
    scope TEXT NOT NULL,
    granted INTEGER NOT NULL CHECK (granted IN (0, 1)),
    source TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;

CREATE TABLE decisions (
    id TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    arm TEXT NOT NULL,
    adapter_version TEXT,
    propensity REAL NOT NULL CHECK (propensity > 0 AND propensity <= 1),
    bandit TEXT NOT NULL,
    document TEXT NOT NULL,
    chosen_at REAL NOT NULL,
    closed_at REAL
) STRICT;

CREATE TABLE offers (
    id TEXT PRIMARY KEY,
    decision_id TEXT REFERENCES decisions (id),
    created_at REAL NOT NULL,
    task TEXT NOT NULL,
    language TEXT NOT NULL,
    document TEXT NOT NULL,
    workspace TEXT NOT NULL,
    author TEXT NOT NULL,
    origin TEXT NOT NULL,
    version INTEGER NOT NULL,
    range TEXT NOT NULL,
    instruction TEXT NOT NULL,
    prompt TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    generated TEXT NOT NULL,
    offered TEXT NOT NULL CHECK (offered <> ''),
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    latency_ms REAL,
    arm TEXT,
    adapter_version TEXT,
    base_model TEXT NOT NULL,
    engine TEXT NOT NULL,
    shown_at REAL,
    consent_id INTEGER REFERENCES consents (id)
) STRICT;

CREATE INDEX offers_by_decision ON offers (decision_id);

CREATE INDEX offers_by_document ON offers (document);

CREATE INDEX offers_by_time ON offers (created_at, id);

CREATE TABLE outcomes (
    offer_id TEXT PRIMARY KEY REFERENCES offers (id) ON DELETE CASCADE,
    outcome TEXT NOT NULL CHECK (outcome IN ('accepted', 'edited', 'rejected', 'ignored', 'censored')),
    kept TEXT,
    typed TEXT,
    offered TEXT,
    cost REAL,
    cost_max REAL,
    kept_chars INTEGER NOT NULL,
    modified_chars INTEGER NOT NULL,
    deleted_chars INTEGER NOT NULL,
    appended_chars INTEGER NOT NULL,
    settled_by TEXT NOT NULL,
    settled_at REAL NOT NULL,
    shown_ms REAL,
    first_change_ms REAL
) STRICT;

CREATE TABLE spans (
    offer_id TEXT PRIMARY KEY REFERENCES offers (id) ON DELETE CASCADE,
    document TEXT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    updated_at REAL NOT NULL
) STRICT;

CREATE INDEX spans_by_document ON spans (document);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('chosen', 'settled')),
    decision_id TEXT NOT NULL REFERENCES decisions (id),
    task TEXT NOT NULL,
    arm TEXT NOT NULL,
    adapter_version TEXT,
    loss REAL CHECK (loss IS NULL OR (loss >= 0 AND loss <= 1)),
    UNIQUE (decision_id, kind)
) STRICT;

CREATE TABLE bandit_cache (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, state TEXT NOT NULL) STRICT;

CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    started_at REAL NOT NULL,
    finished_at REAL,
    status TEXT NOT NULL,
    base_fingerprint TEXT NOT NULL,
    settings TEXT NOT NULL,
    report TEXT NOT NULL
) STRICT;

CREATE TABLE adapters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    feedback TEXT NOT NULL,
    base_fingerprint TEXT NOT NULL,
    form TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('candidate', 'trial', 'serving', 'retired')),
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    created_at REAL NOT NULL,
    run_id TEXT NOT NULL REFERENCES runs (id),
    rows INTEGER NOT NULL,
    settings TEXT NOT NULL,
    held_out TEXT NOT NULL,
    ever_live INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, version)
) STRICT;

CREATE TABLE adapter_rows (
    adapter_id TEXT NOT NULL REFERENCES adapters (id) ON DELETE CASCADE,
    offer_id TEXT NOT NULL,
    PRIMARY KEY (adapter_id, offer_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE lineages (document TEXT PRIMARY KEY, lineage TEXT NOT NULL, held_out INTEGER NOT NULL) STRICT;

CREATE TABLE shingles (
    mark TEXT NOT NULL,
    lineage TEXT NOT NULL,
    PRIMARY KEY (mark, lineage)
) STRICT, WITHOUT ROWID;

CREATE VIEW edits AS
SELECT
    o.id AS offer_id, o.decision_id, o.created_at, o.task, o.language, o.document, o.workspace, o.author, o.origin,
    o.prompt, o.prompt_version, o.generated, coalesce(r.offered, o.offered) AS offered, r.kept, r.typed, r.outcome,
    r.cost, r.cost_max, r.kept_chars, r.modified_chars, r.deleted_chars, r.appended_chars, r.settled_by,
    o.finish_reason, o.arm, o.adapter_version, d.propensity, d.bandit, o.base_model, o.engine,
    r.shown_ms, o.latency_ms, c.version AS consent_version
FROM offers o
LEFT JOIN outcomes r ON r.offer_id = o.id
LEFT JOIN decisions d ON d.id = o.decision_id
LEFT JOIN consents c ON c.id = o.consent_id
"""


VERSION = len(migrations._migrations)
"""Set as `PRAGMA user_version`, so that a writer can tell at once that it has become the older one."""


def unknown(db: Database) -> list[str]:
    """Migrations that this database has and this Redraft does not know: it is newer than we are."""
    known = {m.name for m in migrations._migrations}
    return [m.name for m in migrations.applied(db) if m.name not in known]


def pending(db: Database) -> bool:
    """Whether anything is left to apply."""
    return bool(migrations.pending(db))


def apply(db: Database) -> None:
    """Apply what is pending, each in a savepoint of the caller's transaction."""
    migrations.apply(db)
    db.execute(f"PRAGMA user_version = {VERSION}")
