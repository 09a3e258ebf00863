"""Ghost text that is shown and not yet accepted: what happens to it, told from the text alone.

Clients minimise a change each in its own way, so a change is never matched to an offer by its
text: after every change, what stands in the offer's place is compared with the offer.
"""

from __future__ import annotations

from enum import StrEnum

from lsp_server.delta import Delta, Position, advance
from lsp_server.document import Document
from lsp_server.span import Span

_CLOSERS = frozenset(")]}>\"'`")
"""What editors put in by themselves after an opening bracket or quote."""
_CLOSERS_AT_MOST = 3


class GhostState(StrEnum):
    """What became of ghost text so far."""

    UNTOUCHED = "untouched"
    TYPED_THROUGH = "typed_through"  # the user typed its beginning
    PARTIAL = "partial"  # the user accepted its beginning
    ACCEPTED = "accepted"  # all of it stands
    DEPARTED = "departed"  # something else was typed


class Ghost:
    """One shown offer.

    `text` would replace what stands from `start` to `end`, usually nothing or the beginning of a
    word. `taken` is how much of it stands in the document: 0 while untouched, the accepted or
    typed beginning, all of it.
    """

    def __init__(self, text: str, start: Position, end: Position, document: Document) -> None:
        self.text = text
        self.start = start
        self.end = end
        self.state = GhostState.UNTOUCHED
        self._shown_over = document.slice(start, end)
        self._stood = self._shown_over  # what an undo of the acceptance would bring back
        self._chars = len(self._shown_over)
        self._lost = False
        self.taken = 0

    @property
    def remainder(self) -> str:
        """What of the text is still ghost; empty unless it stands in part or is untouched."""
        if self.state in (GhostState.ACCEPTED, GhostState.DEPARTED):
            return ""
        return self.text[self.taken or self._chars :]

    def through(self, document: Document, cursor: Position) -> str | None:
        """What to show at `cursor`: the rest of the text after what was typed of it, or None."""
        if self._lost or cursor < self.start:
            return None
        length = self.text.count("\n") + self.text.count("\r") + 1
        if cursor.line > self.start.line + length:
            return None
        typed = document.slice(self.start, cursor)
        proper = len(typed) < len(self.text) and self.text.startswith(typed)
        return self.text[len(typed) :] if proper else None

    def typed(self, document: Document, limit: int = 2000) -> str:
        """What stands where the offer was shown, up to `limit` characters."""
        return document.read(self.start, min(self._chars, limit))

    def span(self, document: Document) -> Span:
        """The span of the part that stands. Raises ValueError if nothing does."""
        end = document.after(self.start, self.taken)
        return Span.placed(self.text, self.start, end, replaced=self._stood, ghost=True, taken=self.taken)

    def apply(self, change: Delta, document: Document) -> GhostState:
        """Follow one change; `document` is as it stands after it. O(change and offer)."""
        delta = change.trimmed()
        if self._lost or not (delta.removed or delta.inserted):
            return self.state
        delta = self._slid(delta, document)
        if delta.start > self.end:
            return self.state
        if delta.end < self.start or (delta.end == self.start > delta.start):
            self.start, self.end = delta.moved(self.start), delta.moved(self.end)
            return self.state
        stood = self._stood if self._chars == len(self._shown_over) else ""
        before = self.taken or self._chars
        removed = delta.index(self.end) - delta.index(self.start)
        self._lost = delta.start < self.start
        self.end = delta.new_end if delta.end >= self.end else delta.moved(self.end)
        self.start = delta.new_start if delta.start <= self.start else self.start
        self._chars += len(delta.inserted) - removed
        self._judge(document, before, at_once=len(delta.inserted) > 1)
        if self.state in (GhostState.PARTIAL, GhostState.ACCEPTED) and len(delta.inserted) > 1:
            self._stood = stood or self.text[:before]
        return self.state

    def _judge(self, document: Document, before: int, *, at_once: bool) -> None:
        """Compare what stands with the offer."""
        most = len(self.text) + _CLOSERS_AT_MOST
        stands = document.read(self.start, min(self._chars, most))
        self.taken = 0
        if self._lost or self._chars < 0:
            self.state = GhostState.DEPARTED
        elif stands.startswith(self.text):
            self.state, self.taken = GhostState.ACCEPTED, len(self.text)
        elif (prefix := self._prefix(stands, self._chars)) is None:
            self.state = GhostState.DEPARTED
        elif prefix == len(self._shown_over) and stands == self._shown_over:
            self.state = GhostState.UNTOUCHED
        else:
            partial = at_once and prefix - before > 1 and self._word_ends(prefix)
            self.state = GhostState.PARTIAL if partial else GhostState.TYPED_THROUGH
            self.taken = prefix

    def _prefix(self, stands: str, chars: int) -> int | None:
        """How much of the offer stands, but for brackets that the editor closed; None if none does."""
        for closers in range(_CLOSERS_AT_MOST + 1):
            if chars == len(stands) and self.text.startswith(stands[: len(stands) - closers]):
                return len(stands) - closers
            if not stands[: len(stands) - closers].endswith(tuple(_CLOSERS)):
                return None
        return None

    def _word_ends(self, at: int) -> bool:
        """Whether no word of the offer goes on at offset `at`."""
        return not (self.text[at - 1].isalnum() and self.text[at].isalnum())

    def _slid(self, delta: Delta, document: Document) -> Delta:
        r"""The same insertion, told as one at the end of what stands, where both are the same text.

        Putting `foo\n` before a line is the same as putting `\nfoo` after the line above; which
        of the two a client sends is its own choice.
        """
        if delta.removed:
            return delta
        length = len(delta.inserted)
        if delta.start > self.end and delta.start.line <= self.end.line + length:
            between = document.slice(self.end, delta.new_start)
            turned = between + delta.inserted
            if 0 < len(between) <= length and turned.endswith(between):
                new = turned[:length]
                return Delta(self.end, self.end, self.end, document.after(self.end, length), "", new)
        elif delta.end < self.start and self.start.line <= delta.end.line + length:
            start = delta.moved(self.start)
            between = document.slice(delta.new_end, start)
            turned = delta.inserted + between
            if 0 < len(between) <= length and turned.startswith(between) and self._chars == 0:
                new_start = advance(delta.new_start, between, len(between))
                return Delta(self.start, self.start, new_start, start, "", turned[len(between) :])
        return delta
