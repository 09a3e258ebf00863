"""Offers of servers that are gone: whose they were, and what is done with those that nobody takes up.

Every offer that is recorded has a row in `spans` until it settles. A server that opens the document
again takes up what a dead one left (`lsp_server.reanchor`); what nobody opened for a week is censored.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from learner.records import Outcome, SettledBy, Settlement, now

if TYPE_CHECKING:
    from learner.store import Store

NOT_PUT_IN = "not put in"
"""State of an offer that does not stand in its document, as far as was written."""
ABANDONED_SECONDS = 7 * 86400.0
STALE_WINDOW_SECONDS = 900.0
"""A window of ghost-text requests lasts 3 minutes; one that is open after this lost its server."""


def owner() -> str:
    """Identifies this process among all, so that a restart knows whose spans are orphans."""
    import psutil

    return f"{os.getpid()}:{psutil.Process().create_time():.3f}"


def is_alive(owned_by: str) -> bool:
    """Whether the process that an `owner()` string names still runs."""
    import psutil

    pid, _, created = owned_by.partition(":")
    try:
        process = psutil.Process(int(pid))
        return f"{process.create_time():.3f}" == created and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):
        return False


def sweep(store: Store) -> None:
    """Censor what was abandoned, and close the windows of dead servers, so that their bandit events can come."""
    found = store.read("SELECT offer_id, owner FROM spans WHERE updated_at < ?", [now() - ABANDONED_SECONDS])
    for offer_id, owned_by in found:
        if not is_alive(owned_by):
            store.settle(Settlement(offer_id, Outcome.CENSORED, SettledBy.RESTART, now()))
    stale = "SELECT id FROM decisions WHERE closed_at IS NULL AND chosen_at < ?"
    for (decision_id,) in store.read(stale, [now() - STALE_WINDOW_SECONDS]):
        store.close_decision(decision_id)
