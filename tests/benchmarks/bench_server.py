"""The language server's own time: a keystroke in a long document, being ready, and memory. Peer: bare pygls."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter

import psutil
from lsprotocol import types
from pygls.lsp.client import LanguageClient
from pygls.workspace import TextDocument

from learner.store import Store
from lsp_server.delta import Position
from lsp_server.document import Document
from lsp_server.kept import Tracker
from lsp_server.span import Span
from tests.benchmarks.bench_offers import OFFER, URI, Typist
from tests.benchmarks.instant_host import instant_host
from tests.benchmarks.row import Row, timed
from tests.benchmarks.wire import served

LINES = (10_000, 100_000)
OPEN_OFFERS = 20
BARE = """
from pygls.lsp.server import LanguageServer
LanguageServer("bare", "1").start_io()
"""


def keystrokes() -> Iterator[Row]:
    """One letter typed in the middle of a document with 20 open offers, against pygls' own document alone."""
    for count in LINES:
        text = "the quick brown fox jumps over the lazy dog\n" * count
        document = Document("file:///bench", text, 1, "text", "utf-16")
        tracker = Tracker()
        for i in range(OPEN_OFFERS):
            line = (i + 1) * count // (OPEN_OFFERS + 1)
            start = Position(line, 0)
            tracker.place(str(i), Span.placed(document.line(line)[:-1], start), 0.0)
        theirs = TextDocument("file:///bench", text, language_id="text", version=1)
        where = types.Position(line=count // 2, character=7)
        change = types.TextDocumentContentChangePartial(range=types.Range(start=where, end=where), text="x")

        ours = timed(partial(_keystroke, document, tracker, change), 400)
        peer = timed(partial(theirs.apply_change, change), 15)
        yield Row.of(f"keystroke, {count:,} lines, {OPEN_OFFERS} offers", ours * 1e3, peer * 1e3, 0.2, "ms", on="ours")


def an_hour() -> Iterator[Row]:
    """What an hour's typing, ten keys a second, leaves in memory beside the text, with 20 open offers."""
    text = "the quick brown fox jumps over the lazy dog\n" * 2000
    document, tracker = Document("file:///bench", text, 1, "text", "utf-16"), Tracker()
    for i in range(OPEN_OFFERS):
        start = Position(50 * i, 0)
        tracker.place(str(i), Span.placed(document.line(start.line)[:-1], start), 0.0)
    random = Random(0)

    def type_and_delete(count: int) -> None:
        for _ in range(count):
            line, char = random.randrange(1000), random.randrange(40)
            place, after = Position(line, char), Position(line, char + 1)
            tracker.apply([document.replace(place, place, "x")], document, 1.0)
            tracker.apply([document.replace(place, after, "")], document, 1.0)

    type_and_delete(1000)  # what grows once has grown
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    type_and_delete(18_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    yield Row.of("memory left by an hour's typing, 20 offers", grown / 2**10, None, 256, "KiB")


def _keystroke(document: Document, tracker: Tracker, change: types.TextDocumentContentChangePartial) -> None:
    tracker.apply([document.apply(change)], document, 1.0)


async def _ready(arguments: list[str], home: str) -> tuple[float, float]:
    """Seconds until `initialize` is answered, and resident MiB then."""
    client = LanguageClient("bench", "1")
    started = perf_counter()
    await client.start_io(sys.executable, *arguments, env=os.environ | {"REDRAFT_HOME": home})
    await client.initialize_async(types.InitializeParams(capabilities=types.ClientCapabilities()))
    seconds = perf_counter() - started
    process = client._server
    assert process is not None
    memory = psutil.Process(process.pid).memory_info().rss / 2**20
    await client.shutdown_async(None)
    client.exit(None)
    await client.stop()  # type: ignore[no-untyped-call]
    return seconds, memory


def ready() -> Iterator[Row]:
    """From the start of the process to the answer of `initialize`, and memory then, against a bare pygls server."""
    ours, peer = [], []
    with tempfile.TemporaryDirectory(prefix="rd-") as home:
        for _ in range(5):  # in turn, so that the machine's mood is shared
            peer.append(asyncio.run(_ready(["-c", BARE], home)))
            ours.append(asyncio.run(_ready(["-m", "lsp_server.cli"], home)))
    yield Row.of("redraft-lsp ready", median(s for s, _ in ours), median(s for s, _ in peer), 1.5, "s")
    theirs = median(m for _, m in peer)
    yield Row.of("redraft-lsp memory", median(m for _, m in ours), theirs, 2.0, "MiB")
    yield Row.of("redraft-lsp memory once an edit is recorded", _memory_after_an_edit(), theirs, 2.0, "MiB")


def _memory_after_an_edit() -> float:
    """Resident MiB of a server that made an offer, saw it accepted letter by letter, and wrote down what it cost."""
    with instant_host(OFFER) as host, tempfile.TemporaryDirectory(prefix="rd-") as home:
        with served(["-m", "lsp_server.cli"], home, {"record": True, "host": {"url": host.url}}) as wire:
            typist = Typist(wire, 100)
            for typed in (" ", *OFFER):
                typist.ask(typed)
            wire.tell("textDocument/didClose", {"textDocument": {"uri": URI}})
            wire.ask("workspace/executeCommand", {"command": "redraft.status"})  # answered once all is written
            memory: float = psutil.Process(wire.process.pid).memory_info().rss / 2**20
        with Store.open(Path(home) / "edits.db", read_only=True) as store:
            assert store.read("SELECT count(*) FROM outcomes WHERE cost IS NOT NULL")[0][0], "no cost was recorded"
    return memory


def rows() -> Iterator[Row]:
    yield from keystrokes()
    yield from an_hour()
    yield from ready()
