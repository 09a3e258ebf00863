"""Which edits are held out: by a salted hash of the document's lineage, near-duplicates with it, forever.

A document's first appearance decides: a near-duplicate of a known document joins its lineage, any
other starts one. The decision is a row in the store, so that no later warm start trains on a
held-out text, however documents are copied, renamed or edited afterwards.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from learner.records import Edit
from learner.store import Store

SHARE = 0.2
"""Share of lineages that are held out."""
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


def is_held_out(lineage: str, salt: str) -> bool:
    """Whether a lineage is held out: its salted hash falls into the first fifth."""
    digest = hashlib.sha256(f"{salt}\0{lineage}".encode(errors="replace")).digest()
    return int.from_bytes(digest[:8]) / 2**64 < SHARE


def assign(store: Store, edits: Iterable[Edit]) -> dict[str, bool]:
    """Decide for every document of `edits` that has no decision yet; all decisions, by document.

    The text that counts is the last message of the document's first prompt: what the model was
    shown of it.
    """
    salt = store.meta("salt")
    with store.transaction() as db:
        known = {d: bool(h) for d, h in db.execute("SELECT document, held_out FROM lineages")}
        for edit in edits:
            if edit.document in known:
                continue
            text = edit.chat.messages[-1].content
            own = marks(text.partition("\n\n")[2] or text)
            lineage = _near_duplicate(store, own) or edit.document
            row = db.execute("SELECT held_out FROM lineages WHERE document = ?", [lineage]).fetchone()
            held = bool(row[0]) if row else is_held_out(lineage, salt)
            known[edit.document] = held
            db.table("lineages").insert({"document": edit.document, "lineage": lineage, "held_out": int(held)})
            db.table("shingles").insert_all(({"mark": m, "lineage": lineage} for m in own), ignore=True)
    return known


def _near_duplicate(store: Store, own: list[str]) -> str | None:
    """The lineage that shares at least half of these marks, if there is one."""
    if not own:
        return None
    places = ",".join("?" * len(own))
    row = store.db.execute(
        f"SELECT lineage, count(*) AS shared FROM shingles WHERE mark IN ({places}) "
        "GROUP BY lineage ORDER BY shared DESC, lineage LIMIT 1",
        own,
    ).fetchone()
    return str(row[0]) if row and row[1] >= NEAR * len(own) else None
