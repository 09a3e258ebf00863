"""The registry of adapters: candidate -> trial -> serving -> retired, tied to a base's fingerprint.

A new version that serves retires its predecessors of the same name and base. One on trial stands
beside the serving version until it is judged again, or until a newer one goes on trial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from learner.bandit import Arm
from learner.exceptions import AdapterError
from learner.records import BASE_ARM, AdapterForm, AdapterState, AdapterVersion, Run, now
from learner.served_names import served_name
from learner.sqlite import Database
from learner.store import Store, insert

LIVE = (AdapterState.SERVING, AdapterState.TRIAL)
_COLUMNS = tuple(f.name for f in fields(AdapterVersion))


def start_run(store: Store, run: Run) -> None:
    """Record that a training began."""
    row = asdict(run)
    row["settings"], row["report"] = json.dumps(dict(run.settings)), json.dumps(dict(run.report))
    with store.transaction() as db:
        insert(db, "runs", row)


def finish_run(store: Store, run_id: str, status: str, report: dict[str, Any]) -> None:
    """Record how a training ended: finished, failed or interrupted."""
    with store.transaction() as db:
        db.execute(
            "UPDATE runs SET finished_at = ?, status = ?, report = ? WHERE id = ?",
            [now(), status, json.dumps(report), run_id],
        )


def runs(store: Store) -> list[Run]:
    """All trainings, newest first."""
    sql = "SELECT id, started_at, finished_at, status, base_fingerprint, settings, report FROM runs"
    return [
        Run(i, started, finished, status, base, json.loads(settings), json.loads(report))
        for i, started, finished, status, base, settings, report in store.read(sql + " ORDER BY started_at DESC")
    ]


def next_version(store: Store, name: str) -> int:
    """The version number that the next adapter `name` gets."""
    highest = store.read("SELECT max(version) FROM adapters WHERE name = ?", [name])[0][0]
    return (highest or 0) + 1


def register(store: Store, adapter: AdapterVersion, offer_ids: list[str]) -> None:
    """Record a trained adapter, and the edits that it saw (for `forget`).

    Raises AdapterError where one of them is not in the store: forgotten while the training ran.
    """
    row = asdict(adapter)
    row["settings"], row["held_out"] = json.dumps(dict(adapter.settings)), json.dumps(dict(adapter.held_out))
    row["ever_live"] = int(adapter.state in LIVE)
    with store.transaction() as db:
        there = {offer for (offer,) in db.execute("SELECT id FROM offers")}
        if missing := set(offer_ids) - there:
            raise AdapterError(
                f"{len(missing)} of the edits that {adapter.id} saw were forgotten while it trained: it is not kept. "
                "Run `learner train` again"
            )
        _retire_replaced(db, adapter, adapter.state)
        insert(db, "adapters", row)
        db.conn.executemany(
            "INSERT OR IGNORE INTO adapter_rows (adapter_id, offer_id) VALUES (?, ?)",
            [(adapter.id, o) for o in offer_ids],
        )


def adapters(store: Store, *, base_fingerprint: str | None = None) -> list[AdapterVersion]:
    """All adapter versions, by name and version."""
    sql = f"SELECT {', '.join(_COLUMNS)} FROM adapters"
    found = []
    for row in store.read(sql + " ORDER BY name, version"):
        record = dict(zip(_COLUMNS, row, strict=True))
        record["form"], record["state"] = AdapterForm(record["form"]), AdapterState(record["state"])
        record["settings"], record["held_out"] = json.loads(record["settings"]), json.loads(record["held_out"])
        adapter = AdapterVersion(**record)
        if base_fingerprint in (None, adapter.base_fingerprint):
            found.append(adapter)
    return found


def find(store: Store, adapter_id: str) -> AdapterVersion:
    """The adapter version `adapter_id`. Raises AdapterError that lists those there are."""
    every = adapters(store)
    for adapter in every:
        if adapter.id == adapter_id:
            return adapter
    there = ", ".join(a.id for a in every) or "none"
    raise AdapterError(f"no adapter {adapter_id!r}; there are: {there}")


def set_state(
    store: Store, adapter_id: str, state: AdapterState, *, held_out: dict[str, Any] | None = None
) -> AdapterVersion:
    """Move an adapter to `state`; serving retires its predecessors. Raises AdapterError if unknown."""
    adapter = find(store, adapter_id)
    with store.transaction() as db:
        _retire_replaced(db, adapter, state)
        db.execute(
            "UPDATE adapters SET state = ?, ever_live = max(ever_live, ?) WHERE id = ?",
            [state, int(state in LIVE), adapter_id],
        )
        if held_out is not None:
            db.execute("UPDATE adapters SET held_out = ? WHERE id = ?", [json.dumps(held_out), adapter_id])
    return find(store, adapter_id)


def _retire_replaced(db: Database, adapter: AdapterVersion, state: AdapterState) -> None:
    """Retire what `adapter` replaces: all live versions of its name if it serves, those on trial if it is on trial."""
    replaced = {AdapterState.SERVING: "'serving', 'trial'", AdapterState.TRIAL: "'trial'"}.get(state)
    if replaced:
        db.execute(
            "UPDATE adapters SET state = 'retired' "
            f"WHERE name = ? AND base_fingerprint = ? AND id <> ? AND state IN ({replaced})",
            [adapter.name, adapter.base_fingerprint, adapter.id],
        )


def arms(store: Store, base_fingerprint: str) -> list[Arm]:
    """What the bandit can choose from: the base, and every live adapter of this base.

    `versions` are those of the same name that ever answered, up to this one, so that it inherits.
    """
    ever_live = {row[0] for row in store.read("SELECT id FROM adapters WHERE ever_live")}
    every = adapters(store, base_fingerprint=base_fingerprint)
    prior = None
    found: list[Arm] = []
    for adapter in every:
        if adapter.state not in LIVE:
            continue
        chain = tuple(
            a.id for a in every if a.name == adapter.name and a.version <= adapter.version and a.id in ever_live
        )
        figures = adapter.held_out
        prior = figures.get("base_proxy_cost", prior)
        found.append(Arm(adapter.name, chain, adapter.state is AdapterState.TRIAL, _prior(figures)))
    return [Arm(BASE_ARM, prior=prior), *found]


def _prior(figures: Mapping[str, Any]) -> float | None:
    """What the held-out figures say of an arm's cost; None where the likelihood spoke against the proxy cost."""
    own, base = figures.get("proxy_cost"), figures.get("base_proxy_cost")
    return None if own is None or (base is not None and own > base) else float(own)


def served_names(store: Store, base_fingerprint: str) -> dict[str, str]:
    """Version ids of the live adapters of this base, by the name each is published under."""
    return {served_name(a): a.id for a in adapters(store, base_fingerprint=base_fingerprint) if a.state in LIVE}


def live_files(store: Store, base_fingerprint: str) -> dict[str, Path]:
    """`adapter.gguf` of every live adapter of this base, by adapter version id."""
    return {
        a.id: Path(a.path) / "adapter.gguf"
        for a in adapters(store, base_fingerprint=base_fingerprint)
        if a.state in LIVE
    }
