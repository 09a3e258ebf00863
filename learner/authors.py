"""Who made an edit: pseudonyms of people who share their edits, and which edits are one's own.

A row that was made here has no author in the store; it gets one as it leaves: a name where the user gave
one, else a pseudonym, which is a hash of the store's salt and says nothing of its user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from learner.records import Edit, Origin
from learner.store import Store

LONGEST = 100
"""Characters of an author's name."""
TAUGHT = "outcome IN ('accepted', 'edited', 'rejected')"


def pseudonym(store: Store) -> str:
    """What this store's user is called where no name was given; the same each time."""
    return "author-" + _hash(store, "author")[:12]


def own(store: Store, name: str = "") -> Callable[[Edit], bool]:
    """Whether an edit is one's own: made here, or imported under one's `name` or pseudonym."""
    known = {pseudonym(store), name} - {""}
    return lambda edit: edit.author in known or (not edit.author and edit.origin != Origin.IMPORT)


def leaving(store: Store, name: str = "", *, team: bool = False) -> Iterator[Edit]:
    """The edits as they leave the store, each with its author, streaming.

    For a team: one's own that teach something, with marks in place of the names of documents and none of
    workspaces. A mark is the same each time, so that what is left out for measuring stays together.
    """
    mine, signed = own(store, name), name or pseudonym(store)
    for edit in store.edits(TAUGHT if team else "1"):
        if not mine(edit):
            if not team:
                yield edit
            continue
        edit = replace(edit, author=signed)
        if team:
            edit = replace(edit, document="document:" + _hash(store, edit.document)[:16], workspace="")
        yield edit


@dataclass(frozen=True, slots=True)
class Author:
    """A person whose edits are in the store: all of them, and those that teach."""

    author: str
    own: bool
    edits: int
    taught: int


def authors(store: Store, name: str = "") -> list[Author]:
    """Everybody whose edits are in the store, oneself first; '' stands for imports that do not say."""
    signed, known = name or pseudonym(store), {pseudonym(store), name} - {""}
    found: dict[str, Author] = {}
    sql = f"SELECT author, origin = 'import', count(*), sum({TAUGHT}) FROM edits GROUP BY 1, 2 ORDER BY 1, 2"
    for author, imported, edits, taught in store.read(sql):
        mine = author in known or (not author and not imported)
        who = signed if mine else str(author)
        before = found.get(who, Author(who, mine, 0, 0))
        found[who] = replace(before, edits=before.edits + edits, taught=before.taught + (taught or 0))
    return sorted(found.values(), key=lambda a: (not a.own, a.author))


def _hash(store: Store, text: str) -> str:
    return hashlib.sha256(f"{store.meta('salt')}\0{text}".encode(errors="surrogatepass")).hexdigest()
