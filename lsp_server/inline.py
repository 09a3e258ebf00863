"""Ghost text: `textDocument/inlineCompletion`, and `textDocument/completion` for clients that lack it.

Typing through an offer keeps it: the rest is answered from here, without the model. An offer is
never made inside a word, nor in front of text that is not closing brackets; it never repeats what
follows the cursor. One generation per document at a time: a newer request replaces the older.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from learner.exceptions import RedraftError
from learner.privacy import excluded
from learner.records import Decision, Offer
from lsp_server import offers
from lsp_server.delta import Position
from lsp_server.session import Session

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant

logger = logging.getLogger(__name__)
WINDOW_IDLE_SECONDS = 30.0
WINDOW_SECONDS = 180.0
"""A decision about ghost text holds in its document for this long at most."""
MOST_CONTEXT_LINES = 200
_CLOSERS = frozenset(")]}>\"'`;,:. \t\r\n")


@dataclass(slots=True)
class Window:
    """A decision that holds for a while in a document."""

    decision: Decision
    opened_at: float
    used_at: float
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Ghost text to show: it would replace `start` to `end`."""

    offer_id: str
    text: str
    start: Position
    end: Position


class Inline:
    """Ghost text in all documents of a client."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self._windows: dict[str, Window] = {}
        self._running: dict[str, asyncio.Task[object]] = {}

    async def suggest(
        self, uri: str, position: Position, *, asked: bool, selected: str | None = None
    ) -> Suggestion | None:
        """Ghost text at `position`, or None; `redraft.why` says why not.

        `asked` is True when the user asked for it. `selected` is what the client's own list has
        selected: ghost text must go on from it.
        """
        session = self._assistant.session(uri)
        session.tracker.cursor = position
        again = self._through(session, position)
        if again is not None:
            return again if selected is None else None
        session.depart(time.monotonic())
        reason = self._silent(session, position, asked)
        if reason is None and selected is not None:
            reason = "the editor shows its own list"
        if reason is not None:
            session.why = reason
            return None
        older = self._running.get(uri)
        if older is not None:
            older.cancel()
        task = asyncio.current_task()
        assert task is not None
        self._running[uri] = task
        try:
            if not asked:
                await asyncio.sleep(self._assistant.settings.inline_completion.debounce_ms / 1000)
            return await self._ask(session, position)
        except RedraftError as error:
            session.why = str(error)
            return None
        finally:
            if self._running.get(uri) is task:
                del self._running[uri]

    def _through(self, session: Session, position: Position) -> Suggestion | None:
        """The rest of what is shown, while its beginning is typed."""
        shown = session.ghost
        if shown is None:
            return None
        rest = shown.ghost.through(session.document, position)
        if not rest:
            return None
        return Suggestion(shown.offer.id, shown.ghost.text, shown.ghost.start, position)

    def _silent(self, session: Session, position: Position, asked: bool) -> str | None:
        """Why nothing is offered here, in words; None if something may be."""
        settings = self._assistant.settings.inline_completion
        language = session.document.language
        paused = self._assistant.paused()
        if paused:
            return paused
        if not settings.enabled and not asked:
            return "ghost text is off in the settings (inlineCompletion.enabled)"
        if settings.languages is not None and language not in settings.languages:
            return f"ghost text is off for {language} (inlineCompletion.languages)"
        reason = excluded(session.document.uri)
        if reason:
            return reason
        line = session.document.line(position.line)
        before, after = line[: position.char], line[position.char :]
        if before[-1:].isalnum() and after[:1].isalnum():
            return "the cursor is inside a word"
        if set(after) - _CLOSERS:
            return "there is text after the cursor"
        above = session.document.slice(Position(max(0, position.line - MOST_CONTEXT_LINES), 0), position)
        if not above.strip():
            return "there is no text before the cursor to go on from"
        return None

    async def _ask(self, session: Session, position: Position) -> Suggestion | None:
        document = session.document
        line = document.line(position.line)[: position.char]
        above = document.slice(Position(max(0, position.line - MOST_CONTEXT_LINES), 0), Position(position.line, 0))
        ask = offers.completion(
            document.uri, document.language, session.workspace, document.version, (*position, *position),
            above.replace("\r\n", "\n").replace("\r", "\n"), line,
        )  # fmt: skip
        window = await self._window(session, ask)
        made = await offers.make(
            ask, self._assistant.host, self._assistant.recorder, held=window.decision if window else None
        )
        if made is None:
            session.why = "the model had nothing to offer"
            return None
        decision, offer = made
        if window is None or window.decision.id != decision.id:
            window = self._open(session, decision)
        fitting = self._fitting(session, offer, position)
        if fitting is None:
            session.why = "the model repeated what follows the cursor"
            return None
        offer = fitting
        if self._assistant.sessions.get(document.uri) is not session or session.lost:
            return None
        typed = document.slice(position, session.tracker.cursor) if session.tracker.cursor else ""
        text = offer.offered.replace("\n", session.eol)
        if document.version != ask.version and not text.startswith(typed):
            session.why = "the text changed while the model was thinking"
            return None
        recorded = await self._assistant.recorder.offered(None if window.recorded else window.decision, offer)
        window.recorded = window.recorded or recorded
        session.show(offer, text, position, position, time.monotonic(), recorded=recorded)
        session.why = "there was one"
        return Suggestion(offer.id, text, position, position)

    def _fitting(self, session: Session, offer: Offer, position: Position) -> Offer | None:
        """The offer without an end that repeats what follows the cursor; None if nothing is left."""
        document = session.document
        rest = document.line(position.line)[position.char :].strip()
        text = offer.offered
        if rest and text.rstrip().endswith(rest):
            text = text.rstrip()[: -len(rest)]
        following = document.line(position.line + 1).strip() if position.line + 1 < document.line_count else ""
        if following and text.strip().split("\n")[0] == following:
            return None
        return replace(offer, offered=text) if text.strip() else None

    # --- windows -------------------------------------------------------------------------------

    async def _window(self, session: Session, ask: offers.Ask) -> Window | None:
        """The decision that still holds in this document; one that does not is closed."""
        at = time.monotonic()
        window = self._windows.get(ask.uri)
        if window is None:
            return None
        if at - window.used_at > WINDOW_IDLE_SECONDS or at - window.opened_at > WINDOW_SECONDS:
            self.close(ask.uri)
            return None
        window.used_at = at
        return window

    def _open(self, session: Session, decision: Decision) -> Window:
        self.close(session.document.uri)
        at = time.monotonic()
        window = Window(replace(decision, closed_at=None), at, at)
        self._windows[session.document.uri] = window
        return window

    def close(self, uri: str) -> None:
        """End the window of a document: what it decided can settle."""
        window = self._windows.pop(uri, None)
        if window is not None and window.recorded:
            self._assistant.queue(lambda: self._assistant.recorder.close_decision(window.decision.id))
