"""Work-done progress: something slow that says how far it is, and can be stopped (LSP 3.17, "Work Done Progress")."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING
from uuid import uuid4

from lsprotocol import types

if TYPE_CHECKING:
    from lsp_server.server import RedraftServer


class Work:
    """An async context in which progress is shown. Its cancel button cancels the task that entered it.

    Uses the client's token if it sent one, else asks for one if the client can show progress,
    else shows nothing.
    """

    def __init__(
        self,
        server: RedraftServer,
        title: str,
        token: types.ProgressToken | None,
        *,
        first: str = "asking the model",
        measured: bool = False,
    ) -> None:
        self._server = server
        self._title = title
        self._token = token
        self._first = first
        self._percentage = 0 if measured else None  # a client shows shares only where the beginning has one
        self._count = 0

    async def __aenter__(self) -> Work:
        progress = self._server.work_done_progress
        window = self._server.client_capabilities.window
        if self._token is None and window is not None and window.work_done_progress:
            token = str(uuid4())
            try:
                await asyncio.wait_for(progress.create_async(token), 5)
                self._token = token
            except Exception:  # a client that declines shows no progress; the work goes on
                self._token = None
        if self._token is not None:
            begin = types.WorkDoneProgressBegin(
                title=self._title, cancellable=True, message=self._first, percentage=self._percentage
            )
            progress.begin(self._token, begin)
            task = asyncio.current_task()
            stopped = progress.tokens[self._token]
            if task is not None:
                stopped.add_done_callback(lambda f: task.cancel() if f.cancelled() else None)
        return self

    def text(self, piece: str) -> None:
        """Some text of the answer has arrived."""
        self._count += len(piece)
        self.report(f"{self._count} characters")

    def report(self, message: str, share: float | None = None) -> None:
        """How far it is: in words, and as a share in [0, 1] where that can be told."""
        if self._token is not None:
            percentage = None if share is None else round(100 * min(1.0, max(0.0, share)))
            report = types.WorkDoneProgressReport(message=message, percentage=percentage, cancellable=True)
            self._server.work_done_progress.report(self._token, report)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is None:
            return
        words = "done" if kind is None else "stopped" if kind is asyncio.CancelledError else "failed"
        self._server.work_done_progress.end(self._token, types.WorkDoneProgressEnd(message=words))
        self._server.work_done_progress.tokens.pop(self._token, None)
