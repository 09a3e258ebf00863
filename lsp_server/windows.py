"""Decisions about ghost text, each of which holds for a window of requests in a document."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from learner.records import Decision
from lsp_server.recent import Recent

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant

IDLE_SECONDS = 30.0
LONGEST_SECONDS = 180.0
"""A decision about ghost text holds in its document for this long at most."""


@dataclass(slots=True)
class Window:
    """A decision that holds for a while in a document."""

    decision: Decision
    opened_at: float
    used_at: float
    recorded: bool = False
    closed: bool = False
    recent: Recent = field(default_factory=Recent)
    """What the model said in this window: an answer of another adapter must not be taken for this one's."""


class Windows:
    """The open window of each document."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self._open: dict[str, Window] = {}

    def find(self, uri: str) -> Window | None:
        """The window that still holds in a document."""
        at = time.monotonic()
        self.expire(at)
        window = self._open.get(uri)
        if window is not None:
            window.used_at = at
        return window

    def open(self, uri: str, decision: Decision) -> Window:
        """Begin a window with a decision, ending the one before."""
        self.close(uri)
        at = time.monotonic()
        window = Window(replace(decision, closed_at=None), at, at)
        self._open[uri] = window
        return window

    def forget_answers(self, uri: str) -> None:
        """What the model said in a document is not said again: the user declined it."""
        window = self._open.get(uri)
        if window is not None:
            window.recent = Recent()

    def note_recorded(self, window: Window) -> None:
        """An offer of the window was recorded, and so its decision. It may have ended meanwhile."""
        if not window.recorded:
            window.recorded = True
            if window.closed:
                self._settle(window)

    def expire(self, at: float) -> None:
        """End the windows that were not used for a while, or are old."""
        for uri, window in list(self._open.items()):
            if at - window.used_at > IDLE_SECONDS or at - window.opened_at > LONGEST_SECONDS:
                self.close(uri)

    def close(self, uri: str) -> None:
        """End the window of a document: what it decided can settle."""
        window = self._open.pop(uri, None)
        if window is not None:
            window.closed = True
            if window.recorded:
                self._settle(window)

    def close_all(self) -> None:
        """End every window."""
        for uri in list(self._open):
            self.close(uri)

    def _settle(self, window: Window) -> None:
        self._assistant.ledger.queue(partial(self._assistant.recorder.close_decision, window.decision.id))
