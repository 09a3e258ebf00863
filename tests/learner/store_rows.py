"""Rows for the store's tests: a decision, an offer and a settlement, all of them valid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from learner.records import Decision, Message, Offer, Outcome, Prompt, SettledBy, Settlement, Task, new_id
from learner.store import Store

TEXT = "The committee will meet on Monday."


def decision(task: Task = Task.REWRITE, *, document: str = "file:///d.md", **changes: Any) -> Decision:
    """A closed decision for the base arm."""
    made = Decision(new_id(), task, "base", None, 0.5, "thompson", document, 100.0, 100.0)
    return replace(made, **changes)


def offer(
    of: Decision, text: str = TEXT, *, prompt: str = "Make this shorter.\n\nIt will meet.", **changes: Any
) -> Offer:
    """An offer made under `of`, by its arm."""
    made = Offer(
        new_id(), of.id, 101.0, of.task, "markdown", of.document, "file:///w", 1, (0, 0, 1, 2),
        Prompt((Message("system", "s"), Message("user", prompt))), "1", text, text, "stop", 10, 8, 12.5,
        of.arm, of.adapter_version, "smol", "llama.cpp",
    )  # fmt: skip
    return replace(made, **changes)


def settlement(of: Offer, outcome: Outcome = Outcome.EDITED, kept: str | None = None, **changes: Any) -> Settlement:
    """What became of an offer; edited means that "Monday" became "Tuesday" unless `kept` says otherwise."""
    if outcome is Outcome.EDITED and kept is None:
        kept = of.offered.replace("Monday", "Tuesday")
    elif outcome is Outcome.ACCEPTED:
        kept = of.offered
    return replace(Settlement(of.id, outcome, SettledBy.QUIET, 200.0, kept=kept), **changes)


def record(
    store: Store, outcome: Outcome | None = Outcome.EDITED, *, document: str = "file:///d.md", **of: Any
) -> Offer:
    """Record a whole edit: decision, offer, and (unless None) its settlement."""
    chosen = decision(document=document)
    made = offer(chosen, **of)
    store.add_decision(chosen)
    store.add_offer(made)
    if outcome is not None:
        assert store.settle(settlement(made, outcome))
    return made
