"""The registry: states, replacement, arms, runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_rows import decision, offer

from learner import registry
from learner.bandit import Arm
from learner.exceptions import AdapterError, StoreError
from learner.records import AdapterForm, AdapterState, AdapterVersion, Run
from learner.store import Store

RUN = Run("run", 10.0, None, "running", "fp", {"lr": 1e-4}, {})


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open(None) as opened:
        registry.start_run(opened, RUN)
        yield opened


def add(
    store: Store, name: str, state: AdapterState = AdapterState.CANDIDATE, base: str = "fp", **held_out: float
) -> AdapterVersion:
    version = registry.next_version(store, name)
    made = AdapterVersion(
        f"{name}-{version}", name, version, name, base, AdapterForm.ALORA, state, f"/a/{name}-{version}", "abc", 20.0,
        "run", 2, {"rank": 8}, held_out,
    )  # fmt: skip
    if not store.read("SELECT 1 FROM offers"):
        chosen = decision()
        store.add_decision(chosen)
        for number in (1, 2):
            store.add_offer(offer(chosen, id=f"o{number}"))
    registry.register(store, made, ["o1", "o2", "o2"])
    return made


def states(store: Store) -> dict[str, str]:
    return {a.id: str(a.state) for a in registry.adapters(store)}


def test_an_adapter_comes_back_as_it_was(store: Store) -> None:
    made = add(store, "sft", proxy_cost=0.25)
    assert registry.find(store, "sft-1") == made
    assert registry.adapters(store) == [made]
    assert store.read("SELECT adapter_id, offer_id FROM adapter_rows") == [("sft-1", "o1"), ("sft-1", "o2")]


def test_versions_count_by_name(store: Store) -> None:
    for name in ("sft", "sft", "dpo"):
        add(store, name)
    assert list(states(store)) == ["dpo-1", "sft-1", "sft-2"]
    assert registry.next_version(store, "sft") == 3
    taken = replace(registry.find(store, "sft-2"), id="sft-2b")
    with pytest.raises(StoreError, match="UNIQUE"):
        registry.register(store, taken, [])
    assert "sft-2b" not in states(store)


def test_serving_retires_its_predecessors_of_the_same_base(store: Store) -> None:
    for _ in range(3):
        add(store, "sft")
    add(store, "sft", AdapterState.SERVING, base="other")
    add(store, "dpo", AdapterState.SERVING)
    registry.set_state(store, "sft-1", AdapterState.SERVING)
    registry.set_state(store, "sft-2", AdapterState.TRIAL)
    assert states(store) == {
        "dpo-1": "serving", "sft-1": "serving", "sft-2": "trial", "sft-3": "candidate", "sft-4": "serving",
    }  # fmt: skip
    registry.set_state(store, "sft-3", AdapterState.SERVING, held_out={"proxy_cost": 0.1})
    assert states(store) == {
        "dpo-1": "serving", "sft-1": "retired", "sft-2": "retired", "sft-3": "serving", "sft-4": "serving",
    }  # fmt: skip
    assert registry.find(store, "sft-3").held_out == {"proxy_cost": 0.1}


def test_a_newer_trial_replaces_the_older_one_and_not_the_serving_one(store: Store) -> None:
    add(store, "sft", AdapterState.SERVING)
    add(store, "sft", AdapterState.TRIAL)
    add(store, "sft", AdapterState.TRIAL)
    assert states(store) == {"sft-1": "serving", "sft-2": "retired", "sft-3": "trial"}


def test_an_unknown_adapter_is_named_with_those_there_are(store: Store) -> None:
    with pytest.raises(AdapterError, match=r"'x'; there are: none"):
        registry.find(store, "x")
    add(store, "sft")
    with pytest.raises(AdapterError, match="there are: sft-1"):
        registry.set_state(store, "dpo-7", AdapterState.SERVING)


def test_arms_are_the_base_and_every_live_adapter_of_it(store: Store) -> None:
    add(store, "dpo")
    add(store, "sft", AdapterState.SERVING)  # sft-1, once live
    add(store, "sft", AdapterState.CANDIDATE)  # sft-2, never live: nothing to inherit
    add(store, "sft", AdapterState.SERVING, proxy_cost=0.2, base_proxy_cost=0.5)
    add(store, "rl", AdapterState.TRIAL, proxy_cost=0.3)
    add(store, "rl", AdapterState.SERVING, base="other")
    assert registry.arms(store, "fp") == [
        Arm("base", (), False, 0.5),
        Arm("rl", ("rl-1",), True, 0.3),
        Arm("sft", ("sft-1", "sft-3"), False, 0.2),
    ]
    assert registry.arms(store, "unknown") == [Arm("base")]
    assert registry.live_files(store, "fp") == {
        "rl-1": Path("/a/rl-1/adapter.gguf"),
        "sft-3": Path("/a/sft-3/adapter.gguf"),
    }


def test_a_retired_adapter_is_no_arm(store: Store) -> None:
    add(store, "sft", AdapterState.SERVING)
    registry.set_state(store, "sft-1", AdapterState.RETIRED)
    assert [arm.name for arm in registry.arms(store, "fp")] == ["base"]
    assert registry.live_files(store, "fp") == {}


def test_runs_newest_first(store: Store) -> None:
    registry.start_run(store, replace(RUN, id="later", started_at=30.0))
    registry.finish_run(store, "run", "interrupted", {"rows": 3})
    later, first = registry.runs(store)
    assert (later.id, later.status) == ("later", "running")
    assert (first.status, first.report, first.settings) == ("interrupted", {"rows": 3}, {"lr": 1e-4})
    assert first.finished_at is not None


def test_an_adapter_needs_its_run(store: Store) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        registry.register(store, replace(add(store, "sft"), id="x-1", name="x", run_id="none"), [])
