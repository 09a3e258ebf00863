"""The store: `edits.db`, one SQLite file that editors, trainings and the command line share.

WAL, foreign keys, every write in a BEGIN IMMEDIATE transaction (sqlite-utils' own `atomic` issues
a plain BEGIN, which fails as "locked" when two processes read and then write). A `Store` belongs
to the thread that opened it.

Durability: `synchronous=NORMAL`; what was committed survives a crash of any process of ours; a
power cut may take the last commits and never damages the file. Automatic checkpoints are off:
the one process that holds `edits.db.checkpoint` checkpoints (SQLite before 3.51.3 can damage a
WAL that two connections reset at once).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlite_utils import Database

from learner import migrations
from learner.bandit import Event, State, Tally, fold_all
from learner.config import private_folder
from learner.cost import cost, cost_max
from learner.exceptions import StoreCorruptError, StoreError, StoreLockedError, StoreNewerError
from learner.records import Decision, Edit, Offer, Outcome, Settlement, Task, now

BUSY_SECONDS = 5.0
CHECKPOINT_EVERY = 200
SEEN_MS = 750.0
"""Ghost text that stood for less than this was not really seen."""
CONSENT_VERSION = 1
"""Version of the words that the user agrees to (docs/privacy.md)."""
EDIT_COLUMNS = tuple(f.name for f in fields(Edit))


class Store:
    """An open `edits.db`."""

    def __init__(self, db: Database, path: Path | None, *, read_only: bool) -> None:
        self.db = db
        self.path = path
        self.read_only = read_only
        self._writes = 0

    @classmethod
    def open(cls, path: Path | None, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS) -> Store:
        """Open the database at `path` (None: in memory), making or migrating it where needed.

        Raises StoreNewerError for a newer database (which may be opened with `read_only`),
        StoreCorruptError for a damaged one, StoreLockedError when it stays locked, StoreError
        when it cannot be opened at all. A damaged file is never replaced.
        """
        with translated(path):
            if path is None:
                connection = sqlite3.connect(":memory:", isolation_level=None)
            elif read_only:
                if not path.exists():
                    raise StoreError(f"there is no database at {path}: nothing was recorded or imported yet")
                uri = f"{path.absolute().as_uri()}?mode=ro"
                connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_seconds)
            else:
                private_folder(path.parent)
                # made by us with the right mode: SQLite gives -wal and -shm the mode of the file
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
                connection = sqlite3.connect(path, isolation_level=None, timeout=busy_seconds)
            try:
                db = Database(connection)
                store = cls(db, path, read_only=read_only)
                store._prepare()
            except BaseException:
                connection.close()
                raise
        return store

    def _prepare(self) -> None:
        execute = self.db.execute
        execute("PRAGMA foreign_keys = ON")
        execute("PRAGMA secure_delete = ON")
        if self.path is not None and not self.read_only:
            execute("PRAGMA journal_mode = WAL")
            execute("PRAGMA synchronous = NORMAL")
            execute("PRAGMA wal_autocheckpoint = 0")
        execute("SELECT count(*) FROM sqlite_master").fetchone()
        newer = migrations.unknown(self.db)
        if newer and not self.read_only:
            raise StoreNewerError(
                f"{self.path} was written by a newer Redraft (it has {newer[-1]!r}): update this one. "
                "Until then it can be read and exported, not written"
            )
        if self.read_only or not migrations.pending(self.db):
            return
        lock = FileLock(f"{self.path}.migrate", mode=0o600) if self.path else contextlib.nullcontext()
        with lock, self.transaction():
            migrations.apply(self.db)

    def close(self) -> None:
        """Close the connection; committed rows are safe at any time."""
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """BEGIN IMMEDIATE ... COMMIT, or everything undone.

        Raises StoreLockedError after a bounded wait, and StoreError when the store is read-only.
        """
        if self.read_only:
            raise StoreError(f"{self.path} was opened for reading only")
        if self._in_transaction():
            yield self.db
            return
        with translated(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                if self._in_transaction():
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        self._writes += 1
        if self._writes % CHECKPOINT_EVERY == 0:
            self.checkpoint()

    def _in_transaction(self) -> bool:
        return self.db.conn.in_transaction

    def checkpoint(self, *, truncate: bool = False) -> bool:
        """Move the WAL into the database, if no other process is at it. True if it was done."""
        if self.path is None:
            return False
        try:
            with FileLock(f"{self.path}.checkpoint", timeout=0, mode=0o600):
                mode = "TRUNCATE" if truncate else "PASSIVE"
                busy = self.db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0]
                return not busy
        except Timeout:
            return False

    # --- offers and outcomes -------------------------------------------------------------------

    def add_decision(self, decision: Decision) -> None:
        """Record a choice, with its propensity, and the bandit's event of it."""
        with self.transaction() as db:
            db.table("decisions").insert(asdict(decision))
            self._add_event("chosen", decision.id, decision.task, decision.arm, decision.adapter_version, None)

    def add_offer(self, offer: Offer, *, consent_id: int | None = None) -> None:
        """Record an offer. Its decision must be there."""
        row = asdict(offer)
        row["range"] = json.dumps(offer.range)
        row["prompt"] = offer.prompt.to_json()
        row["consent_id"] = consent_id
        with self.transaction() as db:
            db.table("offers").insert(row)

    def mark_shown(self, offer_id: str, shown_at: float) -> None:
        """Note when the client showed an offer."""
        with self.transaction() as db:
            db.execute("UPDATE offers SET shown_at = ? WHERE id = ?", [shown_at, offer_id])

    def settle(self, settlement: Settlement) -> bool:
        """Record what became of an offer. The first settlement stands; False if there was one.

        Computes `cost` and `cost_max` from the offered and the kept text. When it was the last
        open offer of a closed decision, the bandit's event is recorded in the same transaction.
        Raises StoreError for an unknown offer.
        """
        with self.transaction() as db:
            found = db.execute(
                "SELECT decision_id, offered, task FROM offers WHERE id = ?", [settlement.offer_id]
            ).fetchone()
            if found is None:
                raise StoreError(f"no offer {settlement.offer_id} to settle: it was forgotten, or never recorded")
            decision_id, offered, _ = found
            if db.execute("SELECT 1 FROM outcomes WHERE offer_id = ?", [settlement.offer_id]).fetchone():
                return False
            row = asdict(settlement)
            row.update(costs(settlement, settlement.offered or offered))
            db.table("outcomes").insert(row)
            db.execute("DELETE FROM spans WHERE offer_id = ?", [settlement.offer_id])
            if decision_id is not None:
                self._settle_decision(decision_id)
        return True

    def close_decision(self, decision_id: str, closed_at: float | None = None) -> None:
        """End a window of requests: no more offers will join this decision."""
        with self.transaction() as db:
            db.execute(
                "UPDATE decisions SET closed_at = ? WHERE id = ? AND closed_at IS NULL",
                [closed_at or now(), decision_id],
            )
            self._settle_decision(decision_id)

    def _settle_decision(self, decision_id: str) -> None:
        """Record the bandit's loss of a decision once it is closed and all its offers are settled."""
        execute = self.db.execute
        decision = execute(
            "SELECT task, arm, adapter_version FROM decisions WHERE id = ? AND closed_at IS NOT NULL", [decision_id]
        ).fetchone()
        if decision is None:
            return
        rows = execute(
            "SELECT r.outcome, r.cost_max, r.shown_ms, o.task, o.arm, o.adapter_version FROM offers o "
            "LEFT JOIN outcomes r ON r.offer_id = o.id WHERE o.decision_id = ?",
            [decision_id],
        ).fetchall()
        if any(outcome is None for outcome, *_ in rows):
            return
        task, arm, version = decision
        losses = [
            bandit_loss(outcome, cost, shown_ms, Task(row_task))
            for outcome, cost, shown_ms, row_task, used, used_version in rows
            if (used, used_version) == (arm, version)  # an answer of another arm teaches nothing about this one
        ]
        known = [loss for loss in losses if loss is not None]
        loss = sum(known) / len(known) if known else None
        self._add_event("settled", decision_id, task, arm, version, loss)

    def _add_event(
        self, kind: str, decision_id: str, task: str, arm: str, version: str | None, loss: float | None
    ) -> None:
        self.db.execute(
            "INSERT OR IGNORE INTO events (kind, decision_id, task, arm, adapter_version, loss) VALUES (?,?,?,?,?,?)",
            [kind, decision_id, task, arm, version, loss],
        )

    def edits(self, where: str = "1", parameters: Sequence[Any] = (), *, limit: int | None = None) -> Iterator[Edit]:
        """Rows of the view `edits`, oldest first, streaming."""
        columns = ", ".join(EDIT_COLUMNS)
        sql = f"SELECT {columns} FROM edits WHERE {where} ORDER BY created_at, offer_id"
        if limit is not None:
            sql += f" LIMIT {int(limit)}"
        with translated(self.path):
            for row in self.db.execute(sql, list(parameters)):
                yield Edit(*row)

    # --- the bandit's memory -------------------------------------------------------------------

    def events(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        """The bandit's events with their sequence numbers, oldest first."""
        sql = "SELECT seq, kind, decision_id, task, arm, adapter_version, loss FROM events WHERE seq > ? ORDER BY seq"
        for seq, kind, decision_id, task, arm, version, loss in self.db.execute(sql, [after]):
            yield seq, Event(kind, decision_id, Task(task), arm, version, loss)

    def bandit_state(self, *, rebuild: bool = False) -> State:
        """The fold over all events: from the cache and what came after it, or from nothing."""
        state: State = {}
        seq = 0
        cached = None if rebuild else self.db.execute("SELECT seq, state FROM bandit_cache").fetchone()
        if cached is not None:
            seq = cached[0]
            state = {k: Tally(**v) for k, v in json.loads(cached[1]).items()}
        fresh = list(self.events(seq))
        fold_all((event for _, event in fresh), state)
        if len(fresh) >= 64 and not self.read_only:
            with self.transaction() as db:
                body = json.dumps({k: asdict(v) for k, v in state.items()})
                db.execute(
                    "INSERT OR REPLACE INTO bandit_cache (id, seq, state) VALUES (1, ?, ?)", [fresh[-1][0], body]
                )
        return state

    # --- consent -------------------------------------------------------------------------------

    def set_consent(self, granted: bool, *, scope: str = "*", source: str, version: int = CONSENT_VERSION) -> int:
        """Record a yes or a no for a workspace (its URI), or for all (`*`); the last one counts."""
        with self.transaction() as db:
            row = {"version": version, "scope": scope, "granted": int(granted), "source": source, "at": now()}
            identifier = db.table("consents").insert(row, pk="id").last_pk
        return int(identifier or 0)

    def consent(self, workspace: str) -> int | None:
        """Id of the consent that covers `workspace`, None where there is none.

        A word about the workspace itself goes before one about all of them.
        """
        for scope in (workspace, "*"):
            row = self.db.execute(
                "SELECT id, granted, version FROM consents WHERE scope = ? ORDER BY id DESC LIMIT 1", [scope]
            ).fetchone()
            if row is not None:
                return int(row[0]) if row[1] and row[2] >= CONSENT_VERSION else None
        return None

    # --- open spans ----------------------------------------------------------------------------

    def save_span(self, offer_id: str, document: str, owner: str, state: str) -> None:
        """Keep where an unsettled offer stands, so that a restart can take it up again."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO spans (offer_id, document, owner, state, updated_at) "
                "SELECT ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM offers WHERE id = ?)",
                [offer_id, document, owner, state, now(), offer_id],
            )

    def open_spans(self, document: str | None = None) -> list[tuple[str, str, str, str]]:
        """(offer id, document, owner, state) of every unsettled offer that was put in."""
        sql = "SELECT offer_id, document, owner, state FROM spans"
        if document is not None:
            return list(self.db.execute(sql + " WHERE document = ?", [document]).fetchall())
        return list(self.db.execute(sql).fetchall())

    def meta(self, key: str) -> str:
        """A value of the table `meta`. Raises StoreError for an unknown key."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", [key]).fetchone()
        if row is None:
            raise StoreError(f"{self.path} has no {key!r}: it was not made by Redraft")
        return str(row[0])


def costs(settlement: Settlement, offered: str) -> dict[str, float | None]:
    """`cost` and `cost_max` of a settlement: none unless the user had the text and we know its end."""
    if settlement.outcome is Outcome.ACCEPTED:
        return {"cost": 0.0, "cost_max": 0.0}
    if settlement.outcome is Outcome.REJECTED:
        return {"cost": 1.0, "cost_max": 1.0}
    if settlement.outcome is Outcome.EDITED and settlement.kept is not None:
        try:
            paper = cost(offered, settlement.kept)
        except ValueError:
            paper = None
        return {"cost": paper, "cost_max": cost_max(offered, settlement.kept)}
    return {"cost": None, "cost_max": None}


def bandit_loss(outcome: str, cost_max: float | None, shown_ms: float | None, task: Task) -> float | None:
    """The bandit's loss of one offer in [0, 1], by the table "What a row teaches"; None: none."""
    if outcome in (Outcome.ACCEPTED, Outcome.EDITED, Outcome.REJECTED):
        return cost_max
    if outcome == Outcome.IGNORED:
        seen = task is not Task.COMPLETION or (shown_ms is not None and shown_ms >= SEEN_MS)
        return 1.0 if seen else None
    return None


@contextlib.contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into ours, saying what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error).lower()
        if "locked" in text or "busy" in text:
            raise StoreLockedError(
                f"{path} is locked by another process for more than {BUSY_SECONDS:.0f} s; nothing was changed. "
                "Try again, or see `learner doctor`"
            ) from error
        if "malformed" in text or "not a database" in text or "disk image" in text:
            raise StoreCorruptError(
                f"{path} is damaged ({error}). It was left as it is. Copy it away, then try "
                f'`sqlite3 {path} ".recover" | sqlite3 recovered.db`'
            ) from error
        if isinstance(error, sqlite3.OperationalError):
            raise StoreError(f"{path}: {error}") from error
        raise
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
