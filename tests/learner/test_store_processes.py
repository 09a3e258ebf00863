"""Several processes on one store: starting at once, writing at once, killed at any moment."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest
from forks import fork
from store_rows import decision, offer, record, settlement

from learner import cost, holdout, registry
from learner.bandit import key
from learner.records import Outcome, Run, new_id, now
from learner.store import Store

PROCESSES = 8
EDITS = 25


def work(path: Path, number: int, ready: Any, results: Any) -> None:
    """Open a fresh store with everybody else, record, settle, read and choose; send what was acknowledged."""
    try:
        ready.wait(30)
        done = []
        with Store.open(path) as store:
            registry.start_run(store, Run(f"run-{number}", now(), None, "running", "fp", {}, {}))
            open_offers = []
            for i in range(EDITS):
                chosen = decision(document=f"file:///{number}/{i}.md")
                made = offer(chosen)
                store.add_decision(chosen)
                store.add_offer(made)
                open_offers.append(made)
                if i % 3 == 2:  # settle out of order
                    for late in reversed(open_offers):
                        assert store.settle(settlement(late, Outcome.EDITED))
                        done.append(late.id)
                    open_offers.clear()
                    store.bandit_state()
                    store.checkpoint()
                if i % 10 == 0:
                    holdout.assign(store, store.edits("outcome IS NOT NULL"))
            store.set_consent(True, scope=f"file:///{number}", source="test")
            state, rebuilt = store.bandit_state(), store.bandit_state(rebuild=True)
            assert rebuilt[key("rewrite", "base", None)].n >= state[key("rewrite", "base", None)].n
        results.send((done, [made.id for made in open_offers]))
    except BaseException as error:
        results.send(repr(error))


def test_eight_processes_share_a_fresh_store(tmp_path: Path) -> None:
    path = tmp_path / "home" / "edits.db"
    cost.paper_tokens("loaded once, before the forks")
    ready = fork.Barrier(PROCESSES)
    pipes, children = [], []
    for number in range(PROCESSES):
        here, there = fork.Pipe()
        children.append(fork.Process(target=work, args=(path, number, ready, there)))
        pipes.append(here)
    for child in children:
        child.start()
    answers = [pipe.recv() for pipe in pipes]
    for child in children:
        child.join(30)
    assert [a for a in answers if isinstance(a, str)] == []  # nobody was told "locked"
    settled = {i for done, _ in answers for i in done}
    unsettled = {i for _, left in answers for i in left}
    assert len(settled) + len(unsettled) == PROCESSES * EDITS
    with Store.open(path) as store:
        rows = {edit.offer_id: edit.outcome for edit in store.edits()}
        assert rows == dict.fromkeys(settled, "edited") | dict.fromkeys(unsettled)
        state = store.bandit_state()
        assert state == store.bandit_state(rebuild=True)
        tally = state[key("rewrite", "base", None)]
        assert (tally.n, tally.in_flight) == (len(settled), len(unsettled))
        assert len(registry.runs(store)) == PROCESSES
        assert store.read("SELECT count(*) FROM consents") == [(PROCESSES,)]
        assert store.read("SELECT count(*) FROM meta WHERE key = 'salt'") == [(1,)]
        assert store.read("PRAGMA integrity_check") == [("ok",)]


def write_for_ever(path: Path, pipe: int) -> None:
    """Record edits without end; after each commit, acknowledge its offer on the pipe."""
    with Store.open(path) as store:
        for i in range(10**6):
            made = record(store, Outcome.REJECTED)
            os.write(pipe, made.id.encode())
            if i % 4 == 0:
                store.checkpoint()
            if i % 7 == 0:
                store.bandit_state()


def kill_cycles(path: Path, cycles: int) -> int:
    """Start a writer, kill it -9 while it writes, open the store again; all cycles' acknowledged rows are there."""
    rng = Random(7)
    acknowledged: set[str] = set()
    for _ in range(cycles):
        read, write = os.pipe()
        writer = fork.Process(target=write_for_ever, args=(path, write))
        writer.start()
        os.close(write)
        wanted = rng.randrange(36, 36 * 15)  # bytes: also in the middle of an acknowledgement's row
        answer = b""
        while len(answer) < wanted:
            piece = os.read(read, 4096)
            assert piece, "the writer ended by itself"
            answer += piece
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
        while piece := os.read(read, 4096):
            answer += piece
        os.close(read)
        acknowledged |= {answer[i : i + 36].decode() for i in range(0, len(answer) - 35, 36)}
        with Store.open(path) as store:
            rows = {i for (i,) in store.read("SELECT offer_id FROM edits WHERE outcome = 'rejected'")}
            assert acknowledged <= rows
            assert store.bandit_state() == store.bandit_state(rebuild=True)
    with Store.open(path) as store:
        assert store.read("PRAGMA integrity_check") == [("ok",)]
        assert store.read("PRAGMA foreign_key_check") == []
    return len(acknowledged)


def test_kill_9_loses_no_acknowledged_row(tmp_path: Path) -> None:
    assert kill_cycles(tmp_path / "edits.db", 30) > 60


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_kill_9_a_thousand_times(tmp_path: Path) -> None:
    assert kill_cycles(tmp_path / "edits.db", 1000) > 2000


def test_a_death_while_migrating_leaves_a_store_that_opens(tmp_path: Path) -> None:
    for i in range(10):
        path = tmp_path / str(i) / "edits.db"
        read, write = os.pipe()
        writer = fork.Process(target=write_for_ever, args=(path, write))
        writer.start()
        for _ in range(i * 2000):  # the kill comes a little later each time
            writer.is_alive()
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(30)
        os.close(write)
        os.close(read)
        with Store.open(path) as store:
            record(store)
            assert store.read("PRAGMA integrity_check") == [("ok",)]


TAKE = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=0); print(*c.execute('PRAGMA journal_mode=DELETE'))"


def taken_over(path: Path) -> bool:
    """Whether another process can have the database for itself, which SQLite grants if nobody holds a lock."""
    ran = subprocess.run([sys.executable, "-c", TAKE, str(path)], capture_output=True, text=True, check=False)
    return "delete" in ran.stdout


def test_a_second_store_in_a_process_does_not_drop_the_locks_of_the_first(tmp_path: Path) -> None:
    """POSIX: closing any descriptor of a file drops all of the process's locks on it."""
    path = tmp_path / "edits.db"
    with Store.open(path) as store:
        record(store)
        Store.open(path).close()
        Store.open(path, read_only=True).close()
        assert not taken_over(path)
        os.close(os.open(path, os.O_RDONLY))  # the control: this is what must never be done
        assert taken_over(path)


def test_a_writer_does_not_stop_readers_nor_choices(tmp_path: Path) -> None:
    path = tmp_path / "edits.db"
    with Store.open(path, busy_seconds=30) as store:
        for _ in range(40):
            record(store, Outcome.ACCEPTED)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            assert len(list(store.edits())) == 40
            assert store.bandit_state()[key("rewrite", "base", None)].n == 40
            assert store.read("SELECT * FROM bandit_cache") == []  # left for later, not waited for
            assert store.checkpoint() is False
        store.bandit_state()
        assert len(store.read("SELECT * FROM bandit_cache")) == 1
        assert store.checkpoint() is True


def test_ids_are_unique_across_processes() -> None:
    pipes = [fork.Pipe() for _ in range(4)]
    children = [fork.Process(target=lambda to: to.send([new_id() for _ in range(500)]), args=(to,)) for _, to in pipes]
    for child in children:
        child.start()
    made = [i for here, _ in pipes for i in here.recv()]
    for child in children:
        child.join(30)
    assert len(set(made)) == 2000
