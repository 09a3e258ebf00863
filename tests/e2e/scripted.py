"""A model host by URL that says exactly what a test wants, well or badly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from rogue_server import CHAT, EVENTS, Rogue, event, models, rogue


class Script:
    """What the host does with the next requests for an answer."""

    def __init__(self) -> None:
        self.text = "Well said."
        self.how = "well"
        """well, hang, die (in mid-stream), rubbish, refuse (HTTP 500), slow (one piece, then wait for `go`)."""
        self.go = asyncio.Event()
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        """Set when a client left before the answer was whole."""
        self.host: Rogue | None = None

    @property
    def options(self) -> dict[str, Any]:
        assert self.host is not None
        return {"record": True, "host": {"url": self.host.url}, "inlineCompletion": {"debounceMs": 0}}

    @property
    def count(self) -> int:
        assert self.host is not None
        return len(self.host.bodies(CHAT))

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        self.asked.set()
        if self.how == "refuse":
            writer.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 7\r\nConnection: close\r\n\r\nno luck")
            return
        if self.how == "rubbish":
            writer.write(EVENTS + b"data: {this is no json\n\n")
            return
        writer.write(EVENTS)
        if self.how != "hang":
            writer.write(event(self.text[:4]))
        await writer.drain()
        if self.how == "die":
            return
        if self.how in ("hang", "slow"):
            await self._wait(writer)
        writer.write(event(self.text[4:]) + event(finish="stop") + b"data: [DONE]\n\n")

    async def _wait(self, writer: asyncio.StreamWriter) -> None:
        """Until `go`; notices that the client left by writing comments to it."""
        while not self.go.is_set():
            writer.write(b": still here\n\n")
            try:
                await writer.drain()
                await asyncio.wait_for(self.go.wait(), 0.05)
            except TimeoutError:
                continue
            except (ConnectionError, asyncio.CancelledError):
                self.left.set()
                raise
        if writer.transport.is_closing():
            self.left.set()


@asynccontextmanager
async def scripted() -> AsyncIterator[Script]:
    script = Script()
    async with rogue({"/v1/models": models({"id": "scripted"}), CHAT: script.answer}) as host:
        script.host = host
        yield script
