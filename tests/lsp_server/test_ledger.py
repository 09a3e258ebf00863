"""The queue before the recorder: in order, after the answers under way, and at once for whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from lsp_server.ledger import Ledger


def noting(done: list[str], word: str) -> Callable[[], Awaitable[object]]:
    async def act() -> None:
        done.append(word)

    return act


class Watched(asyncio.Event):
    """Says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited_for = asyncio.Event()

    async def wait(self) -> Literal[True]:
        self.waited_for.set()
        return await super().wait()


async def test_what_is_queued_gives_way_to_a_request() -> None:
    ledger, done = Ledger(), list[str]()
    ledger._free = free = Watched()
    with ledger.under_way():
        ledger.queue(noting(done, "written"))
        ledger.queue(noting(done, "written too"))
        await asyncio.wait_for(free.waited_for.wait(), 5)
        done.append("answered")
    await ledger.done()
    assert done == ["answered", "written", "written too"]


async def test_but_not_for_long() -> None:
    ledger, written = Ledger(), asyncio.Event()

    async def act() -> None:
        written.set()

    with ledger.under_way():
        ledger.queue(act)
        assert await asyncio.wait_for(written.wait(), 5), "an answer that takes long holds up what is to be written"


async def test_nor_to_a_request_that_waits_for_it() -> None:
    ledger, done = Ledger(), list[str]()
    with ledger.under_way():
        ledger.queue(noting(done, "written"))
        await ledger.done()
    assert done == ["written"]
