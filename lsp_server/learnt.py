"""`redraft.learnt`: what the edits came to, by week and by adapter, for machines and in words."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from learner import registry
from learner.records import BASE_ARM
from learner.stats import IMPORTED, EditStats, edit_stats
from learner.store import Store

NOTHING: dict[str, Any] = {
    "text": "Nothing was recorded yet.", "count": 0, "outcomes": {}, "arms": [], "weeks": [], "adapters": [],
}  # fmt: skip


def summary(store: Store, fingerprint: str) -> dict[str, Any]:
    """Edit cost by week and by arm, and the adapters of the base `fingerprint`."""
    found = edit_stats(store)
    if not found.count:
        return NOTHING
    adapters = [
        {
            "id": a.id, "name": a.name, "state": a.state.value, "rows": a.rows,
            "proxyCost": a.held_out.get("proxy_cost"), "baseProxyCost": a.held_out.get("base_proxy_cost"),
        }
        for a in registry.adapters(store, base_fingerprint=fingerprint or None)
    ]  # fmt: skip
    return asdict(found) | {"adapters": adapters, "text": told(found)}


def told(found: EditStats) -> str:
    """The figures in a sentence or two."""
    measured = [arm for arm in found.arms if arm.cost_max is not None and arm.arm != IMPORTED]
    words = [f"{found.count} {'offer' if found.count == 1 else 'offers'} so far."]
    by_name = {arm.arm: arm.cost_max for arm in measured}
    best = min(measured, key=lambda arm: arm.cost_max or 0.0, default=None)
    if best is not None and best.arm != BASE_ARM and BASE_ARM in by_name:
        words.append(
            f"Of what the base wrote you changed {by_name[BASE_ARM]:.0%}, of what {best.arm} wrote {best.cost_max:.0%}."
        )
    elif best is not None:
        name = "the base" if best.arm == BASE_ARM else best.arm
        words.append(f"Of what {name} wrote you changed {best.cost_max:.0%}.")
    return " ".join(words)
