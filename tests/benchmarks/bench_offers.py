"""The server's own share of an offer's latency: what is left when the host's time is taken off. Peer: bare pygls.

A host by URL answers at once and notes how long it took. Each request comes after a letter typed in the
middle of a long document, with recording on; so the time holds the change, the prompt, the choice of an
arm, HTTP both ways, trimming, and the row in the store. The client writes bytes (`wire.py`), so that the
time is the server's. The peer is a bare pygls server that takes the same change and answers the same
request with nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from time import sleep
from typing import Any

from tests.benchmarks.instant_host import instant_host
from tests.benchmarks.row import Row, share
from tests.benchmarks.wire import Wire, served

LINES = (10_000, 100_000)
REQUESTS = 120
WARM = 10
"""Requests before those that count."""
BETWEEN_SECONDS = 0.02
"""Nobody types faster: what is recorded of an offer is written meanwhile."""
OFFER = " turned at noon, and the boats floated."
LINE = "the quick brown fox jumps over the lazy dog"
URI = "file:///bench.md"
BARE = """
from lsprotocol import types
from pygls.lsp.server import LanguageServer
server = LanguageServer("bare", "1")
@server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
async def nothing(params):
    return None
server.start_io()
"""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of new offers without the host's time, and of requests typed through an offer."""

    fresh: list[float]
    through: list[float]


class Typist:
    """Types in the middle of a document of `lines` lines, and asks for ghost text."""

    def __init__(self, wire: Wire, lines: int, uri: str = URI) -> None:
        self._wire, self._line, self._uri = wire, lines // 2, uri
        item = {"uri": uri, "languageId": "markdown", "version": 1, "text": f"{LINE}\n" * lines}
        wire.tell("textDocument/didOpen", {"textDocument": item})
        self._version, self._character = 1, len(LINE)

    def ask(self, typed: str) -> tuple[float, Any]:
        """Type, ask; seconds until the answer, and the answer."""
        params, change = self._typed(typed)
        return self._wire.ask("textDocument/inlineCompletion", params, change)

    def send(self, typed: str) -> int:
        """Type and ask, without waiting for the answer: what `receive` needs."""
        params, change = self._typed(typed)
        return self._wire.send("textDocument/inlineCompletion", params, change)

    def receive(self, number: int) -> Any:
        """The answer to what was asked by `send`."""
        return self._wire.receive(number)

    def _typed(self, typed: str) -> tuple[dict[str, Any], tuple[str, Any]]:
        at = {"line": self._line, "character": self._character}
        self._version, self._character = self._version + 1, self._character + len(typed)
        change = {
            "textDocument": {"uri": self._uri, "version": self._version},
            "contentChanges": [{"range": {"start": at, "end": at}, "text": typed}],
        }
        params = {
            "textDocument": {"uri": self._uri},
            "position": {"line": self._line, "character": self._character},
            "context": {"triggerKind": 1},
        }
        return params, ("textDocument/didChange", change)


def ours(lines: int, requests: int = REQUESTS) -> Times:
    """Ask for new offers and type into each. Raises AssertionError where something was not answered as it should."""
    fresh, through = [], []
    with instant_host(OFFER) as host, tempfile.TemporaryDirectory(prefix="rd-") as home:
        options = {"record": True, "host": {"url": host.url}}
        with served(["-m", "lsp_server.cli"], home, options) as wire:
            typist = Typist(wire, lines)
            for number in range(WARM + requests):
                asked = host.asked
                seconds, answer = typist.ask(f" {number}x")
                assert answer is not None, "a request was not answered"
                assert host.asked == asked + 1, "the host was not asked"
                fresh.append(1e3 * (seconds - host.last()))
                sleep(BETWEEN_SECONDS)
                seconds, answer = typist.ask(OFFER[0])
                assert answer is not None, "typing through was not answered"
                assert host.asked == asked + 1, "typing through asked the host"
                through.append(1e3 * seconds)
                sleep(BETWEEN_SECONDS)
    return Times(fresh[WARM:], through[WARM:])


def bare(lines: int, requests: int = 30) -> list[float]:
    """Milliseconds of a bare pygls server that offers nothing."""
    with tempfile.TemporaryDirectory(prefix="rd-") as home, served(["-c", BARE], home) as wire:
        typist = Typist(wire, lines)
        return [1e3 * typist.ask(f" {number}x")[0] for number in range(WARM + requests)][WARM:]


def rows() -> Iterator[Row]:
    """Offers and typing through them, in a long document and in a very long one."""
    for lines in LINES:
        times, peer = ours(lines), bare(lines)
        name = f"{lines:,} lines"
        for part, limit in ((0.5, 2.0), (0.95, 5.0)):
            what = f"offer without the host's time, p{100 * part:.0f}, {name}"
            yield Row.of(what, share(times.fresh, part), share(peer, part), limit, "ms", on="ours")
        yield Row.of(
            f"typed through an offer, p50, {name}", share(times.through, 0.5), share(peer, 0.5), 1.0, "ms", on="ours"
        )


if __name__ == "__main__":
    for row in rows():
        print(row)
