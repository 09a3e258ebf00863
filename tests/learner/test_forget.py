"""Forgetting: rows, adapters, caches, and the bytes on the disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from store_rows import decision, offer, record, settlement

from learner import holdout, registry
from learner.bandit import Tally, key
from learner.exceptions import StoreError
from learner.forget import forget
from learner.records import (
    AdapterForm,
    AdapterState,
    AdapterVersion,
    Message,
    Outcome,
    Prompt,
    Run,
    SettledBy,
    Settlement,
    Task,
)
from learner.store import Store

TOOL = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).executescript(sys.argv[2])"
CANARY = "Quetzalcoatlus-7391"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "home" / "edits.db") as opened:
        yield opened


def files_with(text: str, folder: Path) -> list[str]:
    """Names of the files that hold `text`; read by another process, see learner/database.py."""
    ran = subprocess.run(["grep", "-rlaF", text, str(folder)], capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    return sorted(Path(line).name for line in ran.stdout.splitlines())


def record_canary(store: Store, document: str, text: str = CANARY) -> str:
    """An edit that holds the canary in every text that there is; settled or open."""
    chosen = decision(document=document)
    prompt = Prompt((Message("system", text), Message("user", f"{text}\n\n{text} {document} and so on")), prefill=text)
    made = offer(chosen, text * 20, instruction=text, author=text, generated=text * 30)
    made = replace(made, prompt=prompt, workspace=f"file:///{text}")
    store.add_decision(chosen)
    store.add_offer(made)
    store.save_span(made.id, document, "1", text)
    return made.id


def adapter(store: Store, name: str, offer_ids: list[str], state: AdapterState = AdapterState.SERVING) -> Path:
    assert store.path is not None
    folder = store.path.parent / "adapters" / f"{name}-1"
    folder.mkdir(parents=True)
    (folder / "adapter.gguf").write_text(f"weights that know {CANARY}")
    if not registry.runs(store):
        registry.start_run(store, Run("run", 1.0, None, "finished", "fp", {}, {}))
    registry.register(
        store,
        AdapterVersion(
            f"{name}-1", name, 1, name, "fp", AdapterForm.ALORA, state, str(folder), "0", 1.0, "run", len(offer_ids)
        ),
        offer_ids,
    )
    return folder


@pytest.mark.parametrize("how", ["document", "since", "everything"])
def test_no_byte_of_what_was_forgotten_is_left(store: Store, how: str) -> None:
    """Many rows in mixed order, so that SQLite moves them from page to page, and leaves copies behind."""
    assert store.path is not None
    home, rng = store.path.parent, Random(5)
    document = f"file:///{CANARY}.md"
    ids = []
    for i in range(300):
        if rng.random() < 0.4:
            where = document if how == "document" else f"file:///{rng.random()}/{CANARY}.md"
            ids.append(record_canary(store, where))
            if rng.random() < 0.8:
                typed = Settlement(ids[-1], Outcome.EDITED, SettledBy.SAVE, 1.0, kept=CANARY * 9, typed=CANARY)
                store.settle(replace(typed, offered=CANARY * 8))
        else:
            record(store, document=f"file:///{rng.random()}.md", text=f"Meet on Monday {i}. " * 20, created_at=50.0)
        if i % 100 == 50:
            store.checkpoint()
    holdout.assign(store, store.edits())
    folder = adapter(store, "sft", ids[:3])
    (home / "cache" / "candidates").mkdir(parents=True)
    (home / "cache" / "candidates" / "rl.json").write_text(CANARY)
    assert set(files_with(CANARY, home)) >= {"edits.db", "edits.db-wal", "adapter.gguf", "rl.json"}  # the control

    receipt = forget(
        store,
        document=document if how == "document" else None,
        since=101.0 if how == "since" else None,
        everything=how == "everything",
    )

    assert files_with(CANARY, home) == []
    assert receipt.offers == (300 if how == "everything" else len(ids))
    assert receipt.adapters_retired == ("sft-1",)
    assert receipt.left == ()
    assert "sft-1" in str(receipt)
    assert not folder.exists()
    assert store.read("SELECT count(*) FROM offers") == [(0 if how == "everything" else 300 - len(ids),)]
    assert store.read("PRAGMA integrity_check") == [("ok",)]
    store.close()
    assert files_with(CANARY, home) == []


def test_what_another_tool_deleted_is_gone_too(store: Store) -> None:
    assert store.path is not None
    record(store, text=CANARY * 9)
    store.checkpoint()
    delete = "PRAGMA secure_delete = OFF; PRAGMA foreign_keys = ON; DELETE FROM offers;"
    subprocess.run([sys.executable, "-c", TOOL, str(store.path), delete], check=True)
    store.checkpoint(truncate=True)
    assert files_with(CANARY, store.path.parent) == ["edits.db"]  # the control: deleted, and still there to read
    assert forget(store, everything=True).offers == 0
    assert files_with(CANARY, store.path.parent) == []


def test_only_what_was_named_is_forgotten(store: Store) -> None:
    gone, stays = record(store, document="file:///a"), record(store, document="file:///b")
    dropped, kept = adapter(store, "sft", [gone.id]), adapter(store, "dpo", [stays.id])
    receipt = forget(store, document="file:///a")
    assert (receipt.offers, receipt.documents, receipt.adapters_retired) == (1, 1, ("sft-1",))
    assert [e.offer_id for e in store.edits()] == [stays.id]
    assert {a.id: a.state for a in registry.adapters(store)} == {"dpo-1": "serving", "sft-1": "retired"}
    assert [arm.name for arm in registry.arms(store, "fp")] == ["base", "dpo"]
    assert (dropped.exists(), kept.exists()) == (False, True)
    assert store.read("SELECT document FROM decisions ORDER BY document") == [("",), ("file:///b",)]
    with pytest.raises(StoreError, match="forgotten"):
        store.settle(settlement(gone))


def test_since_a_time(store: Store) -> None:
    for at in (100.0, 200.0, 300.0):
        record(store, document=f"file:///{at}", created_at=at)
    assert forget(store, since=200.0).offers == 2
    assert [e.created_at for e in store.edits()] == [100.0]


def test_the_bandit_keeps_its_numbers_and_nothing_stays_in_flight(store: Store) -> None:
    record(store, Outcome.REJECTED)
    record(store, None)
    assert store.bandit_state()[key(Task.REWRITE, "base", None)] == Tally(1.0, 1.0, 1.0, 1)
    forget(store, everything=True)
    assert store.bandit_state(rebuild=True) == {key(Task.REWRITE, "base", None): Tally(1.0, 1.0, 1.0, 0)}


def test_a_window_with_other_offers_settles_by_those(store: Store) -> None:
    window = decision(Task.COMPLETION, closed_at=None)
    store.add_decision(window)
    first = offer(window, created_at=100.0)
    second = offer(window, created_at=200.0)
    store.add_offer(first)
    store.add_offer(second)
    store.settle(settlement(first, Outcome.ACCEPTED))
    store.close_decision(window.id)
    forget(store, since=150.0)  # the one that was still open
    assert store.bandit_state() == {key(Task.COMPLETION, "base", None): Tally(n=1.0)}


def test_consents_stay(store: Store) -> None:
    given = store.set_consent(True, source="test")
    store.set_consent(False, scope="file:///w", source="test")
    record_canary(store, "file:///a")
    forget(store, everything=True)
    assert store.consent("file:///other") == given
    assert store.consent("file:///w") is None


def test_near_duplicates_keep_their_decision_when_the_first_goes(store: Store) -> None:
    text = " ".join(f"word{i}" for i in range(60))
    for name in "abc":
        record(store, document=f"file:///{name}", prompt=f"Shorten.\n\n{text} {name}", created_at=float(ord(name)))
    before = holdout.assign(store, store.edits())
    assert len(set(before.values())) == 1
    forget(store, document="file:///a")
    assert store.read("SELECT document, lineage FROM lineages ORDER BY document") == [
        ("file:///b", "file:///b"),
        ("file:///c", "file:///b"),
    ]
    record(store, document="file:///d", prompt=f"Shorten.\n\n{text} d")
    after = holdout.assign(store, store.edits())
    assert after == {f"file:///{name}": before["file:///a"] for name in "bcd"}


def test_what_cannot_be_removed_is_named(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    made = record(store)
    adapter(store, "sft", [made.id])
    with store.transaction() as db:
        db.execute("UPDATE adapters SET path = ?", [str(elsewhere)])
    receipt = forget(store, everything=True)
    assert elsewhere.exists()  # nothing outside of the data folder is ever deleted
    assert "outside of" in receipt.left[0]
    assert "NOT removed" in str(receipt)


def test_a_reader_in_the_way_of_the_wal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "edits.db"
    with Store.open(path, busy_seconds=0.1) as store, Store.open(path, read_only=True) as reader:
        for i in range(3):
            record(store, created_at=float(i))
        reading = reader.edits()
        next(reading)
        receipt = forget(store, everything=True)
        assert any("edits.db-wal" in what for what in receipt.left)
        reading.close()
        assert forget(store, everything=True).left == ()


def test_a_link_to_a_cache_elsewhere_is_removed_and_not_followed(store: Store, tmp_path: Path) -> None:
    assert store.path is not None
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_text("x")
    (store.path.parent / "cache").symlink_to(target)
    assert forget(store, everything=True).left == ()
    assert (target / "file").exists()
    assert not (store.path.parent / "cache").is_symlink()


@pytest.mark.parametrize("arguments", [{}, {"document": "a", "everything": True}, {"document": "a", "since": 0.0}])
def test_exactly_one_must_be_named(store: Store, arguments: dict[str, object]) -> None:
    record(store)
    with pytest.raises(StoreError, match="say what to forget"):
        forget(store, **arguments)  # type: ignore[arg-type]
    assert len(list(store.edits())) == 1


def test_an_empty_store_has_nothing_to_forget() -> None:
    with Store.open(None) as store:
        receipt = forget(store, everything=True)
    assert (receipt.offers, receipt.left) == (0, ())
    assert str(receipt).startswith("Forgot 0 offer(s)")
