"""Ghost text: `textDocument/inlineCompletion`, and `textDocument/completion` for clients that lack it.

Typing through an offer keeps it: the rest is answered from here, without the model. An offer is
never made inside a word, nor in front of text that is not closing brackets; it never repeats what
follows the cursor. One generation per document at a time: a newer request replaces the older.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from learner.exceptions import RedraftError
from learner.privacy import excluded
from learner.records import Decision, Offer, SettledBy
from lsp_server import offers
from lsp_server.delta import Position
from lsp_server.offers import Ask, Place
from lsp_server.session import Session
from lsp_server.windows import Window

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant

MOST_CONTEXT_LINES = 200
_CLOSERS = frozenset(")]}>\"'`;,:. \t\r\n")


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
        self._running: dict[str, asyncio.Task[Suggestion | None]] = {}

    async def suggest(
        self, uri: str, position: Position, *, asked: bool, selected: str | None = None
    ) -> Suggestion | None:
        """Ghost text at `position`, or None; `redraft.why` says why not.

        `asked` is True when the user asked for it. `selected` is what the client's own list has
        selected: then nothing is offered, since ghost text would have to go on from it.
        """
        session = self._assistant.session(uri)
        session.tracker.cursor = position
        reason = self._silent(session, position, asked)
        if reason is None and selected is not None:
            reason = "the editor shows its own list"
        again = self._through(session, position) if reason is None else None
        if again is not None:
            return again
        session.depart(time.monotonic())
        if reason is not None:
            session.why = reason
            return None
        older = self._running.get(uri)
        if older is not None:
            older.cancel()
        task = asyncio.ensure_future(self._later(session, position, asked))
        self._running[uri] = task
        try:
            return await task
        except RedraftError as error:
            session.why = str(error)
            return None
        except asyncio.CancelledError:
            if self._running.get(uri) is task or not task.cancelled():
                task.cancel()
                raise  # the client, or the end of the server
            session.why = "a newer request took its place"
            return None
        finally:
            if self._running.get(uri) is task:
                del self._running[uri]

    async def _later(self, session: Session, position: Position, asked: bool) -> Suggestion | None:
        """Wait for a pause in the typing, then ask the model."""
        version = session.document.version
        if not asked:
            await asyncio.sleep(self._assistant.settings.inline_completion.debounce_ms / 1000)
        if session.document.version != version:
            session.why = "the text changed meanwhile"
            return None
        return await self._ask(session, position, asked)

    def _through(self, session: Session, position: Position) -> Suggestion | None:
        """The rest of what is shown, while its beginning is typed."""
        shown = session.ghost
        if shown is None or not shown.ghost.through(session.document, position):
            return None
        return Suggestion(shown.offer.id, shown.ghost.text, shown.ghost.start, position)

    def _silent(self, session: Session, position: Position, asked: bool) -> str | None:
        """Why nothing is offered here, in words; None if something may be."""
        settings = self._assistant.settings.inline_completion
        language = session.document.language
        paused = self._assistant.paused()
        if paused:
            return f"Redraft is {paused}"
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
        if not session.document.slice(_context_start(position), position).strip():
            return "there is no text before the cursor to go on from"
        return None

    async def _ask(self, session: Session, position: Position, asked: bool) -> Suggestion | None:
        assistant, document = self._assistant, session.document
        line = document.line(position.line)[: position.char]
        above = document.slice(_context_start(position), Position(position.line, 0))
        here = (*position, *position)
        place = Place(document.uri, document.language, session.workspace, document.version, here)
        ask = offers.completion(place, above, line)
        window = assistant.windows.find(ask.place.uri)
        held = window.decision if window else None
        made = await offers.make(ask, assistant.host, assistant.recorder, held=held, asked=asked)
        if made is None:
            session.why = "the model had nothing to offer"
            return None
        decision, offer = made
        if window is None or window.closed or window.decision.id != decision.id:
            window = assistant.windows.open(ask.place.uri, decision)
        end, reason = self._still(session, ask, position, line, offer)
        if reason is None:
            fitting = self._fitting(session, offer, end)
            reason = "the model repeated what follows the cursor" if fitting is None else None
        if reason is not None or fitting is None:
            session.why = reason or ""
            return None
        recorded = await self._record(session, window, fitting)
        text = fitting.offered.replace("\n", session.eol)
        end, reason = self._still(session, ask, position, line, fitting)
        if reason is not None:
            session.why = reason
            if recorded:
                session.unseen(fitting.id, SettledBy.SUPERSEDED)
                assistant.drain(session)
            return None
        session.show(fitting, text, position, end, time.monotonic(), recorded=recorded)
        session.why = ""
        return Suggestion(fitting.id, text, position, end)

    async def _record(self, session: Session, window: Window, offer: Offer) -> bool:
        """Record an offer, whole even if the request is cancelled meanwhile: then nobody saw it."""

        async def record() -> bool:
            first: Decision | None = None if window.recorded else window.decision
            recorded = await self._assistant.recorder.offered(first, offer)
            if recorded:
                self._assistant.windows.note_recorded(window)
            return recorded

        task = asyncio.ensure_future(record())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if await task:
                session.unseen(offer.id, SettledBy.SUPERSEDED)
                self._assistant.drain(session)
            raise

    def _still(
        self, session: Session, ask: Ask, position: Position, line: str, offer: Offer
    ) -> tuple[Position, str | None]:
        """Where the cursor is now, and why the answer does not fit there any more."""
        document, cursor = session.document, session.tracker.cursor or position
        if self._assistant.sessions.get(ask.place.uri) is not session or session.lost:
            return position, "the document was closed meanwhile"
        if document.version == ask.place.version:
            return position, None
        same_line = position.line < document.line_count and document.line(position.line).startswith(line)
        text = offer.offered.replace("\n", session.eol)
        if not same_line or cursor < position or not text.startswith(document.slice(position, cursor)):
            return position, "the text changed while the model was thinking"
        return cursor, None

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


def _context_start(position: Position) -> Position:
    return Position(max(0, position.line - MOST_CONTEXT_LINES), 0)
