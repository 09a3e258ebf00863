"""The server's own share of an offer's latency: what is left when the host's time is taken off. Peer: bare pygls.

A host by URL answers at once and notes how long it took. Each request comes after a letter typed in the
middle of a long document, with recording on; so the time holds the change, the prompt, the choice of an
arm, HTTP both ways, trimming, and the row in the store. The peer is a bare pygls server that takes the
same change and answers the same request with nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from lsprotocol import types
from pygls.lsp.client import LanguageClient

from tests.benchmarks.row import Row

sys.path.append(str(Path(__file__).parents[1] / "learner"))
from rogue_server import CHAT, EVENTS, event, models, rogue

LINES = (10_000, 100_000)
REQUESTS = 60
OFFER = " turned at noon, and the boats floated."
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


@dataclass
class Host:
    """Answers at once; `seconds` is how long each answer took."""

    seconds: list[float] = field(default_factory=list)

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        started = perf_counter()
        writer.write(EVENTS + event(OFFER) + event(finish="stop") + b"data: [DONE]\n\n")
        await writer.drain()
        self.seconds.append(perf_counter() - started)


@asynccontextmanager
async def server(arguments: list[str], home: str, options: Any) -> AsyncIterator[LanguageClient]:
    client = LanguageClient("bench", "1")
    await client.start_io(sys.executable, *arguments, env=os.environ | {"REDRAFT_HOME": home})
    inline = types.TextDocumentClientCapabilities(inline_completion=types.InlineCompletionClientCapabilities())
    params = types.InitializeParams(
        capabilities=types.ClientCapabilities(text_document=inline), initialization_options=options
    )
    await client.initialize_async(params)
    client.initialized(types.InitializedParams())
    try:
        yield client
    finally:
        await client.shutdown_async(None)
        client.exit(None)
        await client.stop()  # type: ignore[no-untyped-call]


class Typist:
    """Types in the middle of a document of `lines` lines, and asks for ghost text."""

    def __init__(self, client: LanguageClient, lines: int) -> None:
        self._client, self._line = client, lines // 2
        text = "the quick brown fox jumps over the lazy dog\n" * lines
        item = types.TextDocumentItem(uri=URI, language_id="markdown", version=1, text=text)
        client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=item))
        self._version, self._character = 1, len("the quick brown fox jumps over the lazy dog")

    async def ask(self, typed: str) -> tuple[float, Any]:
        """Type, ask; seconds until the answer, and the answer."""
        at = types.Position(line=self._line, character=self._character)
        self._version, self._character = self._version + 1, self._character + len(typed)
        change = types.TextDocumentContentChangePartial(range=types.Range(start=at, end=at), text=typed)
        document = types.VersionedTextDocumentIdentifier(uri=URI, version=self._version)
        params = types.InlineCompletionParams(
            text_document=types.TextDocumentIdentifier(uri=URI),
            position=types.Position(line=self._line, character=self._character),
            context=types.InlineCompletionContext(trigger_kind=types.InlineCompletionTriggerKind.Invoked),
        )
        started = perf_counter()
        self._client.text_document_did_change(
            types.DidChangeTextDocumentParams(text_document=document, content_changes=[change])
        )
        answer = await self._client.text_document_inline_completion_async(params)
        return perf_counter() - started, answer


async def ours(lines: int) -> tuple[list[float], list[float]]:
    """Milliseconds of new offers without the host's, and of those that are typed through."""
    host = Host()
    fresh, through = [], []
    async with rogue({"/v1/models": models({"id": "bench"}), CHAT: host.answer}) as there:
        options = {"record": True, "host": {"url": there.url}}
        with tempfile.TemporaryDirectory(prefix="rd-") as home:
            async with server(["-m", "lsp_server.cli"], home, options) as client:
                typist = Typist(client, lines)
                for number in range(REQUESTS):
                    asked = len(host.seconds)
                    seconds, answer = await typist.ask(f" {number}x")
                    assert answer is not None, "a request was not answered"
                    assert len(host.seconds) == asked + 1, "the host was not asked"
                    fresh.append(1e3 * (seconds - host.seconds[-1]))
                    seconds, answer = await typist.ask(OFFER[0])
                    assert answer is not None
                    assert len(host.seconds) == asked + 1, "typing through asked the host"
                    through.append(1e3 * seconds)
    return fresh[5:], through[5:]


async def bare(lines: int) -> list[float]:
    with tempfile.TemporaryDirectory(prefix="rd-") as home:
        async with server(["-c", BARE], home, None) as client:
            typist = Typist(client, lines)
            return [1e3 * (await typist.ask(f" {number}x"))[0] for number in range(REQUESTS)][5:]


def share(values: list[float], part: float) -> float:
    """The value below which a part of the values lies."""
    return sorted(values)[int(part * (len(values) - 1))]


def rows() -> Iterator[Row]:
    for lines in LINES:
        fresh, through = asyncio.run(ours(lines))
        peer = asyncio.run(bare(lines))
        name = f"{lines:,} lines"
        yield Row.of(f"offer without the host's time, p50, {name}", share(fresh, 0.5), share(peer, 0.5), None, "ms")
        yield Row.of(f"offer without the host's time, p95, {name}", share(fresh, 0.95), share(peer, 0.95), None, "ms")
        yield Row.of(f"typed through an offer, p50, {name}", share(through, 0.5), share(peer, 0.5), None, "ms")


if __name__ == "__main__":
    for row in rows():
        print(row)
