"""What happened in the documents, on its way to the recorder: one queue, in order.

No outcome overtakes its offer, and nothing of a span is written after its outcome.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from lsp_server.recorder import Recorder
from lsp_server.session import Session

logger = logging.getLogger(__name__)
Act = Callable[[], Awaitable[object]]
SAVE_SPANS_EVERY = 2.0
"""Seconds between two writes of spans that changed; a new one is written at once."""
GIVE_WAY_SECONDS = 0.002
PATIENCE_SECONDS = 0.1
"""How long what is queued gives way to answers: they need the interpreter that the store's thread would hold."""


class Ledger:
    """The queue before the recorder."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Act] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._busy = 0
        self._free = asyncio.Event()
        self._free.set()
        self._spans_saved_at = 0.0

    def queue(self, act: Act) -> None:
        """Do something with the store, after everything that was queued before."""
        self._queue.put_nowait(act)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.ensure_future(self._work())

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Meanwhile a request is being answered."""
        if not self._busy:
            self._free.clear()
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._free.set()

    async def _work(self) -> None:
        resting = True
        while True:
            act = await self._queue.get()
            if resting:
                await self._give_way()
            try:
                await act()
            except Exception:
                logger.exception("recording failed")
            finally:
                self._queue.task_done()
            resting = self._queue.empty()

    async def _give_way(self) -> None:
        """Let the requests under way be answered first, and one that came along with what is queued; not for long."""
        await asyncio.sleep(GIVE_WAY_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._free.wait()
                await asyncio.sleep(0)  # the answer itself leaves

    async def done(self) -> None:
        """Wait until everything that was queued is done."""
        self._free.set()
        await self._queue.join()

    async def stop(self) -> None:
        """Do what is queued, then end."""
        await self.done()
        if self._worker is not None:
            self._worker.cancel()

    def drain(self, session: Session, recorder: Recorder) -> None:
        """Queue what has settled in a document, and the spans that are new there."""
        settled, session.settled = session.settled, []
        for settlement in settled:
            self.queue(partial(recorder.settled, settlement, session.workspace))
        fresh, session.fresh = session.fresh, set()
        session.dirty -= fresh
        self._save(session, fresh, recorder)

    def save_spans(self, sessions: list[Session], recorder: Recorder, *, everything: bool = False) -> None:
        """Keep where open offers stand, so that a restart can take them up."""
        at = time.monotonic()
        if not everything and at - self._spans_saved_at < SAVE_SPANS_EVERY:
            return
        self._spans_saved_at = at
        for session in sessions:
            dirty, session.dirty = session.dirty, set()
            self._save(session, set(session.tracker.open) if everything else dirty, recorder)

    def _save(self, session: Session, offer_ids: set[str], recorder: Recorder) -> None:
        at = time.monotonic()
        for offer_id in sorted(offer_ids & set(session.tracker.open)):
            tracked = session.tracker.open[offer_id]
            state = replace(tracked)  # as it is now: the span is frozen, the rest is not
            self.queue(partial(recorder.save_span, offer_id, session.document.uri, session.workspace, state, at))
