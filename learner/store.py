"""The store: `edits.db`, one SQLite file that editors, trainings and the command line share.

`learner.database` opens it and shares it; here are its rows. A `Store` belongs to the thread that
opened it. What each table and column holds: docs/store.md.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from learner.bandit import Event, State, Tally, fold
from learner.cost import cost, cost_max
from learner.database import SharedDatabase, translated
from learner.exceptions import StoreError
from learner.records import Decision, Edit, Offer, Outcome, Settlement, Task, now
from learner.sqlite import Database

SEEN_MS = 750.0
"""Ghost text that stood for less than this was not really seen."""
CONSENT_VERSION = 1
"""Version of the words that the user agrees to (docs/privacy.md)."""
EDIT_COLUMNS = tuple(f.name for f in fields(Edit))
FOLD_AT = 64
"""New events from which on the bandit's state is cached again."""


class Store(SharedDatabase):
    """An open `edits.db`."""

    # --- offers and outcomes -------------------------------------------------------------------

    def add_decision(self, decision: Decision) -> None:
        """Record a choice, with its propensity, and the bandit's event of it."""
        with self.transaction() as db:
            insert(db, "decisions", columns(decision))
            self._add_event("chosen", decision.id, decision.task, decision.arm, decision.adapter_version, None)

    def add_offer(self, offer: Offer, *, consent_id: int | None = None) -> None:
        """Record an offer. Its decision must be there."""
        row = columns(offer)
        row["range"] = json.dumps(offer.range)
        row["prompt"] = offer.prompt.to_json()
        row["consent_id"] = consent_id
        with self.transaction() as db:
            insert(db, "offers", row)

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
        found = self.read("SELECT decision_id, offered FROM offers WHERE id = ?", [settlement.offer_id])
        if not found:
            raise StoreError(f"no offer {settlement.offer_id} to settle: it was forgotten, or never recorded")
        decision_id, offered = found[0]
        row = columns(settlement)
        row.update(costs(settlement, settlement.offered or offered))  # slow: before the write lock is taken
        with self.transaction() as db:
            db.execute("DELETE FROM spans WHERE offer_id = ?", [settlement.offer_id])
            if db.execute("SELECT 1 FROM outcomes WHERE offer_id = ?", [settlement.offer_id]).fetchone():
                return False
            insert(db, "outcomes", row)
            if decision_id is not None:
                self.settle_decision(decision_id)
        return True

    def close_decision(self, decision_id: str, closed_at: float | None = None) -> None:
        """End a window of requests: no more offers will join this decision."""
        with self.transaction() as db:
            db.execute(
                "UPDATE decisions SET closed_at = ? WHERE id = ? AND closed_at IS NULL",
                [now() if closed_at is None else closed_at, decision_id],
            )
            self.settle_decision(decision_id)

    def settle_decision(self, decision_id: str) -> None:
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
        with translated(self.path):
            for seq, kind, decision_id, task, arm, version, loss in self.db.execute(sql, [after]):
                yield seq, Event(kind, decision_id, Task(task), arm, version, loss)

    def bandit_state(self, *, rebuild: bool = False) -> State:
        """The fold over all events: from the cache and what came after it, or from nothing."""
        state: State = {}
        seq = 0
        cached = [] if rebuild else self.read("SELECT seq, state FROM bandit_cache")
        if cached:
            seq = cached[0][0]
            state = {k: Tally(**v) for k, v in json.loads(cached[0][1]).items()}
        alike = (
            "SELECT kind, task, arm, adapter_version, loss, count(*), max(seq) FROM events WHERE seq > ? "
            "GROUP BY kind, task, arm, adapter_version, loss"
        )  # counted by SQLite: a million events one by one take half a minute
        fresh, last = 0, seq
        for kind, task, arm, version, loss, count, newest in self.read(alike, [seq]):
            fold(state, Event(kind, "", Task(task), arm, version, loss), count)
            fresh, last = fresh + count, max(last, newest)
        if fresh >= FOLD_AT and not self.read_only:
            body = json.dumps({k: asdict(v) for k, v in state.items()})
            # a choice does not wait for a writer, nor fail because of one
            with contextlib.suppress(StoreError), self.without_waiting(), self.transaction() as db:
                db.execute("INSERT OR REPLACE INTO bandit_cache (id, seq, state) VALUES (1, ?, ?)", [last, body])
        return state

    # --- consent -------------------------------------------------------------------------------

    def set_consent(self, granted: bool, *, scope: str = "*", source: str, version: int = CONSENT_VERSION) -> int:
        """Record a yes or a no for a workspace (its URI), or for all (`*`); the last one counts."""
        with self.transaction() as db:
            row = {"version": version, "scope": scope, "granted": int(granted), "source": source, "at": now()}
            return insert(db, "consents", row)

    def consent(self, workspace: str) -> int | None:
        """Id of the consent that covers `workspace`, None where there is none."""
        said = self.consent_word(workspace)
        if said is None:
            return None
        identifier, granted, version = said
        return identifier if granted and version >= CONSENT_VERSION else None

    def consent_word(self, workspace: str) -> tuple[int, bool, int] | None:
        """(id, granted, version) of the word that holds for `workspace`; None where nothing was said.

        A word about the workspace itself goes before one about all of them, but for a later no to all.
        """
        own, every = (
            next(
                iter(
                    self.read("SELECT id, granted, version FROM consents WHERE scope = ? ORDER BY id DESC LIMIT 1", [s])
                ),
                None,
            )
            for s in (workspace, "*")
        )
        later_no = every is not None and not every[1] and (own is None or every[0] > own[0])
        found = every if own is None or later_no else own
        return None if found is None else (int(found[0]), bool(found[1]), int(found[2]))

    # --- open spans ----------------------------------------------------------------------------

    def save_span(self, offer_id: str, document: str, owner: str, state: str) -> None:
        """Keep where an unsettled offer stands, so that a restart can take it up again.

        Does nothing for an offer that is settled or was forgotten.
        """
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO spans (offer_id, document, owner, state, updated_at) "
                "SELECT ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM offers WHERE id = ?) "
                "AND NOT EXISTS (SELECT 1 FROM outcomes WHERE offer_id = ?)",
                [offer_id, document, owner, state, now(), offer_id, offer_id],
            )

    def open_spans(self, document: str | None = None) -> list[tuple[str, str, str, str]]:
        """(offer id, document, owner, state) of every unsettled offer that was put in."""
        sql = "SELECT offer_id, document, owner, state FROM spans"
        rows = self.read(sql) if document is None else self.read(sql + " WHERE document = ?", [document])
        return [(str(offer), str(where), str(owner), str(state)) for offer, where, owner, state in rows]

    def meta(self, key: str) -> str:
        """A value of the table `meta`. Raises StoreError for an unknown key."""
        rows = self.read("SELECT value FROM meta WHERE key = ?", [key])
        if not rows:
            raise StoreError(f"{self.path} has no {key!r}: it was not made by Redraft")
        return str(rows[0][0])


def columns(record: Any) -> dict[str, Any]:
    """A record's fields by name, not copied (`asdict` copies deeply, and is slow)."""
    return {f.name: getattr(record, f.name) for f in fields(record)}


def insert(db: Database, table: str, row: Mapping[str, Any]) -> int:
    """Insert one row; its rowid. Plain SQL: sqlite-utils asks for the table's schema each time."""
    places = ", ".join("?" * len(row))
    cursor = db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", list(row.values()))
    return int(cursor.lastrowid or 0)


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
