"""The store of a million edits against plain sqlite3: recording an edit, opening, choosing, exporting.

    python -m tests.benchmarks.bench_store [ROWS]

The peer of a record is one autocommitted INSERT of the same row into one table of as many rows, with the same
settings; that of opening, `sqlite3.connect` and one SELECT; that of a choice, the same choice with the bandit's state
folded anew; that of the export's memory, an export of ten thousand rows, of which it may not take more (of the large
store two hundred thousand rows are exported). On a busy machine p99 is the scheduler's (a step of 4 ms): run it under
`chrt -f 1` to see ours.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from learner import bandit, cost, documents, exchange
from learner.records import Decision, Message, Offer, Outcome, Prompt, SettledBy, Settlement, Task, new_id, now
from learner.store import EDIT_COLUMNS, Store
from tests.benchmarks.row import Row, share

PARAGRAPHS = 100
"""How many different texts are offered and edited: what is remembered of their words is not there the first time."""
SHORT = "The quick brown fox jumps over the lazy dog."
"""What the edits say that are there before: a million paragraphs would take minutes to write."""
SMALL = 10_000
EXPORTED = 200_000
"""Rows that are exported at most: a million take two minutes, and no more memory."""
RECORDS = 600
"""Edits recorded per measurement: p99 stands on the slowest six."""


def timed(act: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of `times` calls."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        took.append((time.perf_counter() - started) * 1e3)
    return took


def fill(path: Path, rows: int) -> None:
    """Make a store with that many settled edits of a sentence each, by set operations."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
    with Store.open(path) as store, store.transaction() as db:
        db.execute(
            "INSERT INTO decisions (id, task, arm, propensity, bandit, document, chosen_at, closed_at) "
            f"{numbers} SELECT 'd' || i, 'rewrite', 'base', 0.5, 'thompson', 'file:///' || (i / 20), i, i FROM n"
        )
        db.execute(
            "INSERT INTO offers (id, decision_id, created_at, task, language, document, workspace, author, origin,"
            " version, range, instruction, prompt, prompt_version, generated, offered, finish_reason, prompt_tokens,"
            " completion_tokens, latency_ms, arm, base_model, engine) "
            f"{numbers} SELECT 'o' || i, 'd' || i, i, 'rewrite', 'markdown', 'file:///' || (i / 20), 'file:///w', '',"
            " 'editor', 1, '[0, 0, 0, 0]', '', ?, '1', ?, ?, 'stop', 100, 100, 10.0, 'base', 'fp', 'llama.cpp' FROM n",
            [Prompt((Message("user", SHORT),)).to_json(), SHORT, SHORT],
        )
        db.execute(
            "INSERT INTO outcomes (offer_id, outcome, kept, cost, cost_max, kept_chars, modified_chars, deleted_chars,"
            f" appended_chars, settled_by, settled_at) {numbers}"
            " SELECT 'o' || i, 'edited', ?, 0.1, 0.1, 1, 1, 1, 0, 'quiet', i FROM n",
            [SHORT.replace("lazy", "sleepy")],
        )
        for kind in ("chosen", "settled"):
            loss = "0.1" if kind == "settled" else "NULL"
            db.execute(
                f"INSERT INTO events (kind, decision_id, task, arm, loss) {numbers}"
                f" SELECT '{kind}', 'd' || i, 'rewrite', 'base', {loss} FROM n"
            )
    with Store.open(path) as store:
        store.checkpoint(truncate=True)


@lru_cache(maxsize=1)
def paragraphs() -> tuple[str, ...]:
    """Real texts of about 75 words, 500 characters."""
    texts = [text.body for text in documents.find(2 * PARAGRAPHS)]
    return tuple(f"{one} {other}" for one, other in zip(texts[::2], texts[1::2], strict=True))


def record(store: Store, outcome: Outcome, text: str) -> None:
    """One edit of `text`: its choice, its offer, its settlement."""
    chosen = Decision(
        new_id(), Task.REWRITE, "base", None, 0.5, "thompson", "file:///bench.md", now(), now()
    )  # fmt: skip
    offer = Offer(
        new_id(), chosen.id, now(), Task.REWRITE, "markdown", chosen.document, "file:///w", 1, (0, 0, 0, 0),
        Prompt((Message("system", "Answer with the text itself."), Message("user", f"Make it shorter.\n\n{text}"))),
        "1", text, text, "stop", 100, 100, 10.0, "base", None, "fp", "llama.cpp",
    )  # fmt: skip
    store.add_decision(chosen)
    store.add_offer(offer)
    kept = text if outcome is Outcome.ACCEPTED else text.replace("e ", "e small ", 2)
    store.settle(Settlement(offer.id, outcome, SettledBy.QUIET, now(), kept=kept, kept_chars=len(kept)))


def record_accepted(store: Store) -> None:
    """One edit that was accepted as it was offered."""
    record(store, Outcome.ACCEPTED, paragraphs()[0])


def bare_inserts(folder: Path, like: tuple[Any, ...], rows: int) -> list[float]:
    """Milliseconds of single INSERTs of a row of the view into one table that already holds `rows` of them."""
    with contextlib.closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"CREATE TABLE edits ({', '.join(EDIT_COLUMNS)})")
        insert = f"INSERT INTO edits VALUES ({', '.join('?' * len(EDIT_COLUMNS))})"
        db.execute("BEGIN")
        db.executemany(insert, (like for _ in range(rows)))
        db.execute("COMMIT")
        return timed(lambda: db.execute(insert, like), RECORDS)


def exporting(path: Path, pipe: Any) -> None:
    """In a process of its own: MB that it takes at most while it exports, and seconds for it."""

    class Nowhere:
        def write(self, text: str) -> int:
            return len(text)

    started = time.perf_counter()
    with Store.open(path, read_only=True) as store:
        count = exchange.export(store, Nowhere(), edits=islice(store.edits(), EXPORTED))  # type: ignore[arg-type]
    pipe.send((peak_memory(), (time.perf_counter() - started) / count))


def peak_memory() -> float:
    """MB at most. `getrusage` would count what the parent had before it started this process."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def export_cost(path: Path) -> tuple[float, float]:
    """Peak MB and seconds a row of an export."""
    here, there = get_context("spawn").Pipe()
    child = get_context("spawn").Process(target=exporting, args=(path, there))
    child.start()
    found: tuple[float, float] = here.recv()
    child.join()
    return found


def rows(size: int = 1_000_000) -> Iterator[Row]:
    """Measure a store of `size` edits: two minutes at a million."""
    with tempfile.TemporaryDirectory() as name:
        yield from _measure(Path(name), size)


def _measure(folder: Path, size: int) -> Iterator[Row]:
    path, small = folder / "home" / "edits.db", folder / "small" / "edits.db"
    fill(path, size)
    fill(small, SMALL)
    at = f"at {size:,} rows"

    memory, seconds = export_cost(path)
    least, few = export_cost(small)
    yield Row.of(f"export: peak memory {at}, against {SMALL:,}", memory, least, 1.1, "MB")
    yield Row.of(f"export: a row {at}, against {SMALL:,}", 1e6 * seconds, 1e6 * few, 1.5, "us")

    opened = timed(lambda: Store.open(path).close(), 50)
    plain = timed(lambda: sqlite3.connect(path).execute("SELECT count(*) FROM sqlite_master").connection.close(), 50)
    yield Row.of(f"open {at}, p50", share(opened, 0.5), share(plain, 0.5), 100, "ms", on="ours")

    cost.paper_tokens("the first edit of a process loads nltk; that is not measured here")
    with Store.open(path) as store:
        like = store.read(f"SELECT {', '.join(EDIT_COLUMNS)} FROM edits LIMIT 1")[0]
        bare = bare_inserts(folder, like, size)
        gc.collect()
        for outcome in (Outcome.ACCEPTED, Outcome.EDITED):
            texts = cycle(paragraphs())
            took = timed(lambda kind=outcome, of=texts: record(store, kind, next(of)), RECORDS)  # type: ignore[misc]
            for part, limit in ((0.5, None), (0.99, 2.0)):
                what = f"record an edit ({outcome}) {at}, p{part * 100:.0f}"
                yield Row.of(what, share(took, part), share(bare, part), limit, "ms", on="ours")

        thompson, arms = bandit.load("thompson"), [bandit.Arm("base"), bandit.Arm("sft", ("sft-1",))]
        context, rng = bandit.Context(Task.REWRITE), Random(1)
        store.bandit_state()  # caches
        cached = timed(lambda: bandit.choose(thompson, context, arms, store.bandit_state(), rng), 200)
        anew = timed(lambda: bandit.choose(thompson, context, arms, store.bandit_state(rebuild=True), rng), 3)
        for part in (0.5, 0.99):
            yield Row.of(f"choose {at}, p{part * 100:.0f}", share(cached, part), share(anew, 0.5), 1.0, "ms", on="ours")


def main() -> None:
    """Print the rows."""
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        print(row)


if __name__ == "__main__":
    main()
