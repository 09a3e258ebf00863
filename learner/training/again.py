"""Training again after some new edits: from the adapter there is, on the new edits and a sample of the old ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from learner import registry
from learner.adapter_files import adapter_sha256
from learner.exceptions import AdapterError
from learner.records import AdapterVersion
from learner.store import Store
from learner.training.settings import TrainSettings

GROWTH = 1.5
"""Edits for one at the last training from scratch beyond which the next is from scratch again.

So what such trainings cost in all stays in proportion to the edits, and no adapter drifts for ever.
"""
REPLAY = 1.0
"""Old edits that are seen again, for each new one."""
LEAST_REPLAY = 8
SETTINGS = (
    "rank", "alpha", "epochs", "learning_rate", "rate_scale", "batch_size",
    "max_prompt_tokens", "max_answer_tokens", "accepted_weight",
)  # fmt: skip
"""Who changes one of these wants to see what it does to all edits."""
RATE = 0.5
"""Share of the peak learning rate: what is known is to be kept."""


@dataclass(frozen=True, slots=True)
class GoingOn:
    """A training that goes on from the adapter `adapter_id`, whose folder is `start`.

    `new` and `replayed` are the offers that it trains on, `known` all that the adapter saw before; `whole` counts
    the edits of the last training from scratch.
    """

    adapter_id: str
    start: Path
    new: frozenset[str]
    replayed: frozenset[str]
    known: frozenset[str]
    whole: int

    def slowed(self, settings: TrainSettings) -> TrainSettings:
        """The settings with the lower peak rate of going on."""
        rate = settings.learning_rate
        if rate is not None:
            return replace(settings, learning_rate=rate * RATE)
        return replace(settings, rate_scale=settings.rate_scale * RATE)

    def to_json(self) -> dict[str, Any]:
        """What the new version's row records of it."""
        return {"from": self.adapter_id, "new": len(self.new), "replayed": len(self.replayed), "whole": self.whole}


def going_on(
    store: Store, arm: str, feedback: str, fingerprint: str, settings: TrainSettings, offers: Sequence[str]
) -> GoingOn | None:
    """How to go on to `offers` from the live adapter of this arm and base; None where to begin from scratch.

    That is so without such an adapter, without a new edit, with other settings than its own, with damaged files,
    when it saw what is forgotten, and when there are GROWTH times the edits of the last training from scratch.
    """
    if settings.from_scratch:
        return None
    live = [a for a in registry.adapters(store, base_fingerprint=fingerprint) if a.name == arm]
    live = [a for a in live if a.state in registry.LIVE and _same(a, feedback, settings)]
    if not live:
        return None
    before = live[-1]
    sql = "SELECT offer_id FROM adapter_rows WHERE adapter_id = ?"
    known = frozenset(offer for (offer,) in store.read(sql, [before.id]))
    forgotten = store.read(f"{sql} AND offer_id NOT IN (SELECT id FROM offers) LIMIT 1", [before.id])
    new = [offer for offer in offers if offer not in known]
    whole = int(before.settings.get("again", {}).get("whole", before.rows))
    if not new or forgotten or len(known) + len(new) > GROWTH * whole or not _intact(before):
        return None
    old = [offer for offer in offers if offer in known]
    count = min(len(old), max(LEAST_REPLAY, round(REPLAY * len(new))))
    replayed = Random(f"{settings.seed} {before.id}").sample(old, count)
    return GoingOn(before.id, Path(before.path), frozenset(new), frozenset(replayed), known, whole)


def _same(adapter: AdapterVersion, feedback: str, settings: TrainSettings) -> bool:
    own = adapter.settings
    asked = settings.to_json()
    return (
        adapter.feedback == feedback and adapter.form == settings.form and all(own.get(n) == asked[n] for n in SETTINGS)
    )


def _intact(adapter: AdapterVersion) -> bool:
    try:
        return adapter_sha256(Path(adapter.path)) == adapter.sha256
    except (OSError, AdapterError):
        return False
