"""Ghost text: `textDocument/inlineCompletion`, and `textDocument/completion` for clients that lack it.

Typing through an offer keeps it: the rest is answered from here, without the model. An offer is
never made inside a word, nor in front of text that is not closing brackets; it never repeats what
follows the cursor. One generation per document at a time: a newer request replaces the older.
What the model said a moment ago is not asked for again (`recent.py`), and while the user reads an
offer the model is asked what would follow it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
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


@dataclass(frozen=True, slots=True)
class Question:
    """Where the user is: `line` is the current one up to the cursor, `above` what stands above it.

    The prompt is made of it only when the model is to be asked: that looks for secrets in all of it.
    """

    place: Place
    above: str
    line: str

    @property
    def before(self) -> str:
        """All that stands before the cursor, as a model reads it."""
        return offers.readable(self.above + self.line)

    def ask(self) -> Ask:
        """What the model is asked."""
        return offers.completion(self.place, self.above, self.line)


class Inline:
    """Ghost text in all documents of a client."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self._running: dict[str, asyncio.Task[Suggestion | None]] = {}
        self._ahead: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """What is being asked ahead of a request, by document: the text it would follow, and the asking."""

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
        question = self._question(session, position)  # now: a change that follows at once is not part of it
        task = asyncio.ensure_future(self._later(session, position, question, asked))
        self._running[uri] = task
        try:
            return await task
        except RedraftError as error:
            session.why = str(error)
            return None
        except asyncio.CancelledError:
            if self._running.get(uri) is task or not task.cancelled():
                task.cancel()
                self._unseen(session, task)
                raise  # the client, or the end of the server
            session.why = "a newer request took its place"
            return None
        finally:
            if self._running.get(uri) is task:
                del self._running[uri]

    def _unseen(self, session: Session, task: asyncio.Task[Suggestion | None]) -> None:
        """Take back an answer that was made and never sent."""
        if not task.done() or task.cancelled() or task.exception() is not None:
            return
        made, shown = task.result(), session.ghost
        if made is not None and shown is not None and shown.offer.id == made.offer_id:
            session.ghost = None
            session.unseen(made.offer_id, SettledBy.SUPERSEDED)
            self._assistant.drain(session)

    async def _later(self, session: Session, position: Position, question: Question, asked: bool) -> Suggestion | None:
        """Answer from what is known; else wait for a pause in the typing and ask the model."""
        await self._caught_up(session.document.uri, question.before)
        window = self._assistant.windows.find(session.document.uri)
        known = self._known(window, question.before) is not None
        if not known and not asked:
            await asyncio.sleep(self._pause())
        if session.document.version != question.place.version:
            session.why = "the text changed meanwhile"
            return None
        return await self._ask(session, position, question, asked)

    def _pause(self) -> float:
        """How long to wait for a pause in the typing, in seconds."""
        fixed = self._assistant.settings.inline_completion.debounce_ms
        return self._assistant.pace.seconds if fixed is None else fixed / 1000

    def _through(self, session: Session, position: Position) -> Suggestion | None:
        """The rest of what is shown, while its beginning is typed."""
        shown = session.through(position)
        if shown is None:
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
        if language in settings.disabled_languages:
            return f"ghost text is off for {language} (inlineCompletion.disabledLanguages)"
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

    def _question(self, session: Session, position: Position) -> Question:
        document = session.document
        line = document.line(position.line)[: position.char]
        above = document.slice(_context_start(position), Position(position.line, 0))
        place = Place(document.uri, document.language, session.workspace, document.version, (*position, *position))
        return Question(place, above, line)

    async def _ask(self, session: Session, position: Position, question: Question, asked: bool) -> Suggestion | None:
        assistant, ask, line = self._assistant, question.ask(), question.line
        window = assistant.windows.find(ask.place.uri)
        made = await self._made(ask, question.before, window, asked)
        if made is None:
            session.why = "the model had nothing to offer"
            return None
        decision, offer = made
        if window is not None and window.closed and window.decision.id == decision.id:
            session.why = "the moment has passed: ask again"
            return None
        if window is None or window.closed or window.decision.id != decision.id:
            window = assistant.windows.open(ask.place.uri, decision)
        window.recent.keep(question.before, offer)
        end, reason = self._still(session, ask, position, line, offer)
        if reason is None:
            fitting = self._fitting(session, offer, end)
            reason = "the model repeated what follows the cursor" if fitting is None else None
        if reason is not None or fitting is None:
            session.why = reason or ""
            return None
        text = fitting.offered.replace("\n", session.eol)
        session.show(fitting, text, position, end, time.monotonic(), recorded=True)
        assistant.ledger.queue(partial(self._record, session, window, fitting))
        session.why = ""
        self._prepare(window, question, fitting.offered)
        return Suggestion(fitting.id, text, position, end)

    async def _made(self, ask: Ask, before: str, window: Window | None, asked: bool) -> tuple[Decision, Offer] | None:
        """The model's answer: the one of a moment ago where it still holds, else a new one."""
        assistant = self._assistant
        found = self._known(window, before)
        if window is not None and found is not None:
            return window.decision, offers.again(found[0], ask, found[1])
        held = window.decision if window else None
        made = await offers.make(ask, assistant.host, assistant.recorder, held=held, asked=asked)
        if made is not None:
            assistant.pace.answered(made[1].latency_ms / 1000)
        return made

    def _known(self, window: Window | None, before: str) -> tuple[Offer, int] | None:
        """What the window's adapter said a moment ago, if the host still has it."""
        if window is None:
            return None
        version, info = window.decision.adapter_version, self._assistant.host.info
        if version is not None and (info is None or version not in info.adapters):
            return None
        return window.recent.find(before)

    def forget(self, uri: str | None) -> None:
        """Drop every answer that is kept or prepared for a document (None: for all)."""
        for known in [uri] if uri is not None else list(self._ahead):
            _, asking = self._ahead.pop(known, ("", None))
            if asking is not None:
                asking.cancel()
        if uri is None:
            self._assistant.windows.close_all()
        else:
            self._assistant.windows.close(uri)

    # --- ahead of the next request -------------------------------------------------------------

    def _prepare(self, window: Window, question: Question, offered: str) -> None:
        """Ask what would follow an offer that is being shown, so that it is there once the offer is accepted."""
        assistant, place = self._assistant, question.place
        if not assistant.settings.inline_completion.prepare or assistant.config.host.url is not None:
            return
        after = question.before + offered
        above, line = after[: after.rfind("\n") + 1], after[after.rfind("\n") + 1 :]
        _, older = self._ahead.pop(place.uri, ("", None))
        if older is not None:
            older.cancel()
        asking = assistant.start(self._look_ahead(window, offers.completion(place, above, line), after))
        self._ahead[place.uri] = (after, asking)

    async def _look_ahead(self, window: Window, ask: Ask, after: str) -> None:
        assistant = self._assistant
        with suppress(RedraftError):  # nobody asked: there is nobody to tell
            made = await offers.make(
                ask, assistant.host, assistant.recorder, held=window.decision, asked=False, ahead=True
            )
            if made is not None and made[0].id == window.decision.id:
                window.recent.keep(after, made[1])

    async def _caught_up(self, uri: str, before: str) -> None:
        """Wait for the answer that is being prepared, if it is the one that is asked for now."""
        after, asking = self._ahead.get(uri, ("", None))
        if asking is not None and after == before:
            await asyncio.wait([asking])

    async def _record(self, session: Session, window: Window, offer: Offer) -> None:
        """Record an offer after it was answered: the user does not wait for the disk.

        Until then it counts as recorded. What is said of an offer that the store does not have is ignored there.
        """
        first: Decision | None = None if window.recorded else window.decision
        if await self._assistant.recorder.offered(first, offer):
            self._assistant.windows.note_recorded(window)
        else:
            session.unrecorded(offer.id)

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
