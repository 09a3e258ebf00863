"""Forgetting: rows, what was made of them, and the bytes that they left behind.

Adapters remember their training texts, so an adapter that saw a forgotten row is retired and its
weights are removed; a training from the base makes a new one. What remains of a forgotten offer:
the numbers of its choice (task, arm, propensity, loss) without its document, so that the bandit's
state still adds up, and no text.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from learner import holdout
from learner.exceptions import StoreError
from learner.records import Prompt
from learner.sqlite import Database
from learner.store import Store

CACHE = "cache"
"""Folder beside `edits.db` for what is computed from edits and may hold their text."""
TRAINING_LOCK = "train.lock"
"""Beside `edits.db`, held by the training that runs."""
SMALL = 100_000_000
"""Bytes of a database that is written anew whenever something is forgotten: under a second."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was forgotten. `left` names what could not be removed, in words; empty when all is gone."""

    offers: int
    documents: int
    adapters_retired: tuple[str, ...]
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A sentence for people."""
        text = f"Forgot {self.offers} offer(s) in {self.documents} document(s), and every cache."
        if self.adapters_retired:
            text += (
                f" Retired {', '.join(self.adapters_retired)} and removed the weights, since they had learned from "
                "them: `learner serve --stop` ends a model host that still holds them, `learner train` makes new ones. "
                "Copies that you published elsewhere (`learner adapters publish`) are not reached from here."
            )
        if self.left:
            text += f" NOT removed: {'; '.join(self.left)}."
        return text


def forget(
    store: Store,
    *,
    document: str | None = None,
    since: float | None = None,
    author: str | None = None,
    everything: bool = False,
) -> Receipt:
    """Forget the offers of one document (its URI), those since a time (UTC seconds), one author's, or all of them.

    An author is somebody else, as `learner.authors` names them: what one made oneself has none.

    The rows go in one transaction; then caches, adapters' weights and the database's own remnants.
    Consents stay, so that a "no" is remembered. Raises StoreError unless exactly one is given.
    """
    if (document is not None) + (since is not None) + (author is not None) + everything != 1:
        raise StoreError("say what to forget: a document, everything since a time, an author's edits, or everything")
    if author == "":
        raise StoreError("say whose edits to forget: `learner edits authors` lists everybody")
    with store.transaction() as db:
        if document is not None:
            _choose(db, "o.document = ?", [document])
        elif since is not None:
            _choose(db, "o.created_at >= ?", [since])
        elif author is not None:
            _choose(db, "o.author = ?", [author])
        else:
            _choose(db, "1", [])
        receipt, paths = _forget_rows(db, store)
        if document is not None:
            db.execute("UPDATE decisions SET document = '' WHERE document = ?", [document])
        elif since is not None:
            db.execute("UPDATE decisions SET document = '' WHERE chosen_at >= ?", [since])
        elif everything:
            db.execute("UPDATE decisions SET document = ''")
            db.execute("UPDATE runs SET settings = '{}', report = '{}'")
            db.execute("DELETE FROM lineages")
            db.execute("DELETE FROM shingles")
        db.execute("DROP TABLE temp.forgotten")
    left = [*_remove_files(store, paths), *_remove_remnants(store, anew=everything), *_being_read(store)]
    return Receipt(receipt.offers, receipt.documents, receipt.adapters_retired, tuple(left))


def _being_read(store: Store) -> list[str]:
    """What a training that runs now may still hold, in words; it keeps no adapter of what is forgotten."""
    if store.path is None:
        return []
    lock = store.path.parent / TRAINING_LOCK
    if not lock.exists():
        return []
    try:
        with FileLock(lock, timeout=0, mode=0o600):
            return []
    except Timeout:
        return ["what a training that runs now has read: stop it, and forget again (it fills the cache anew)"]


def _choose(db: Database, where: str, parameters: list[object]) -> None:
    """Name the offers to forget in `temp.forgotten` (no text but their documents' URIs)."""
    db.execute("CREATE TEMP TABLE forgotten (id TEXT PRIMARY KEY, decision_id TEXT, document TEXT)")
    db.execute(f"INSERT INTO forgotten SELECT o.id, o.decision_id, o.document FROM offers o WHERE {where}", parameters)


def _forget_rows(db: Database, store: Store) -> tuple[Receipt, list[Path]]:
    offers, documents = db.execute("SELECT count(*), count(DISTINCT document) FROM forgotten").fetchone()
    decisions = [d for (d,) in db.execute("SELECT DISTINCT decision_id FROM forgotten WHERE decision_id IS NOT NULL")]
    saw = db.execute(
        "SELECT id, path, state FROM adapters WHERE id IN "
        "(SELECT adapter_id FROM adapter_rows WHERE offer_id IN (SELECT id FROM forgotten)) ORDER BY id"
    ).fetchall()
    db.execute("UPDATE decisions SET document = '' WHERE id IN (SELECT decision_id FROM forgotten)")
    db.execute("DELETE FROM offers WHERE id IN (SELECT id FROM forgotten)")  # outcomes and spans go with it
    for decision_id in decisions:
        store.settle_decision(decision_id)  # nothing of it stays in flight
    for document in [d for (d,) in db.execute("SELECT DISTINCT document FROM forgotten")]:
        if db.execute("SELECT 1 FROM offers WHERE document = ? LIMIT 1", [document]).fetchone() is None:
            _leave_lineage(db, document)
    for adapter_id, _, _ in saw:
        db.execute("UPDATE adapters SET state = 'retired', held_out = '{}' WHERE id = ?", [adapter_id])
    retired = tuple(adapter_id for adapter_id, _, _ in saw)
    return Receipt(offers, documents, retired), [Path(path) for _, path, _ in saw]


def _leave_lineage(db: Database, document: str) -> None:
    """Take a document out of its lineage; the others of it keep their decision, under another's name."""
    row = db.execute("SELECT lineage FROM lineages WHERE document = ?", [document]).fetchone()
    if row is None:
        return
    lineage = row[0]
    db.execute("DELETE FROM lineages WHERE document = ?", [document])
    db.execute("DELETE FROM shingles WHERE lineage = ?", [lineage])  # its own cannot be told from the others'
    others = [d for (d,) in db.execute("SELECT document FROM lineages WHERE lineage = ? ORDER BY document", [lineage])]
    name = others[0] if others and lineage == document else lineage
    db.execute("UPDATE lineages SET lineage = ? WHERE lineage = ?", [name, lineage])
    for other in others:
        first = db.execute(
            "SELECT prompt FROM offers WHERE document = ? ORDER BY created_at, id LIMIT 1", [other]
        ).fetchone()
        if first is not None:
            with suppress(ValueError, KeyError, TypeError, IndexError):
                holdout.add_marks(db, name, holdout.document_marks(Prompt.from_json(first[0])))


def _remove_files(store: Store, adapters: list[Path]) -> list[str]:
    """Remove the caches and the adapters' folders; what could not be removed, in words."""
    if store.path is None:
        return []
    home = store.path.parent.resolve()
    left = []
    for path in (home / CACHE, *adapters):
        try:
            if path.is_symlink():
                path.unlink()
            elif path.exists():
                if path.parent.resolve() not in (home, home / "adapters"):
                    left.append(f"{path}, which lies outside of {home}")
                else:
                    shutil.rmtree(path)
        except OSError as error:
            left.append(f"{path} ({error.strerror or error})")
    return left


def _remove_remnants(store: Store, *, anew: bool) -> list[str]:
    """Empty the WAL, and write the database anew where asked for or quick; what is left, in words.

    `secure_delete` blanks what our connections delete. VACUUM also drops what another tool, without
    that setting, has deleted before; it holds the write lock for seconds per gigabyte.
    """
    try:
        if anew or store.read("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")[0][0] < SMALL:
            store.db.execute("VACUUM")
    except sqlite3.Error as error:
        return [f"traces in {store.path}'s free space ({error}): forget again when no other program uses it"]
    if store.path is not None and not store.checkpoint(truncate=True):
        return [f"traces in {store.path}-wal, which another process is reading: they go when it ends"]
    return []
