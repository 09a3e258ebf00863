"""Which edits are held out: one lineage of documents in every five, chosen by a salted hash, forever.

A document's first appearance decides: a near-duplicate of a known document joins its lineage, any
other starts one. Of each five lineages in the order of their appearance one is held out, so that few
documents have their fifth too: by a hash of each lineage alone 45 documents have fewer than five
with a chance of one in twenty, and then no adapter can be judged. The decision is a row in the store,
so that no later warm start trains on a held-out text, however documents are copied, renamed or
edited afterwards.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from learner.records import Edit, Prompt
from learner.sqlite import Database
from learner.store import Store, insert

BLOCK = 5
"""Of so many lineages in a row one is held out."""
SHINGLE_WORDS = 8
MARKS = 12
"""Smallest shingle hashes kept per document (a bottom-k sketch)."""
NEAR = 0.5
"""Share of common marks from which two documents are near-duplicates."""


def marks(text: str) -> list[str]:
    """The `MARKS` smallest hashes of the text's word shingles: alike texts share most of them."""
    words = re.findall(r"\w+", text.lower())
    shingles = {" ".join(words[i : i + SHINGLE_WORDS]) for i in range(max(1, len(words) - SHINGLE_WORDS + 1))}
    return sorted(hashlib.blake2b(s.encode(errors="replace"), digest_size=8).hexdigest() for s in shingles)[:MARKS]


def is_held_out(number: int, salt: str) -> bool:
    """Whether the lineage that was the `number`th to appear, from 0, is held out."""
    block, place = divmod(number, BLOCK)
    digest = hashlib.sha256(f"{salt}\0{block}".encode()).digest()
    return int.from_bytes(digest[:8]) % BLOCK == place


def document_marks(prompt: Prompt) -> list[str]:
    """Marks of what the model was shown of a document: the last message, without the instruction before it."""
    text = prompt.messages[-1].content
    return marks(text.partition("\n\n")[2] or text)


def assign(store: Store, edits: Iterable[Edit]) -> dict[str, bool]:
    """Decide for every document of `edits` that has no decision yet; all decisions, by document.

    The text that counts is that of the document's first prompt.
    """
    salt = store.meta("salt")
    with store.transaction() as db:
        known = {d: bool(h) for d, h in db.execute("SELECT document, held_out FROM lineages")}
        count = int(db.execute("SELECT count(DISTINCT lineage) FROM lineages").fetchone()[0])
        for edit in edits:
            if edit.document in known:
                continue
            own = document_marks(edit.chat)
            near = _near_duplicate(db, own)
            lineage, held = near or (edit.document, is_held_out(count, salt))
            count += near is None
            known[edit.document] = held
            insert(db, "lineages", {"document": edit.document, "lineage": lineage, "held_out": int(held)})
            add_marks(db, lineage, own)
    return known


def add_marks(db: Database, lineage: str, own: list[str]) -> None:
    """Let later near-duplicates of a text with these marks join `lineage`."""
    db.conn.executemany("INSERT OR IGNORE INTO shingles (mark, lineage) VALUES (?, ?)", [(m, lineage) for m in own])


def _near_duplicate(db: Database, own: list[str]) -> tuple[str, bool] | None:
    """The lineage that shares at least half of these marks, and whether it is held out; None: there is none."""
    places = ",".join("?" * len(own))
    row = db.execute(
        f"SELECT lineage, count(*) AS shared FROM shingles WHERE mark IN ({places}) "
        "GROUP BY lineage ORDER BY shared DESC, lineage LIMIT 1",
        own,
    ).fetchone()
    if row is None or row[1] < NEAR * len(own):
        return None
    held = db.execute("SELECT held_out FROM lineages WHERE lineage = ? LIMIT 1", [row[0]]).fetchone()
    return (str(row[0]), bool(held[0])) if held else None
