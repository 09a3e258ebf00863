"""Offers that are cut out of a document and pasted elsewhere in it: they go on where they are pasted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lsp_server.delta import Delta, Position, advance
from lsp_server.span import Span

CUT_SECONDS = 60.0
"""An offer that was cut out is followed to where it is pasted within this time."""
CUT_CHARS = 8
"""A shorter text is not followed: it may be typed anywhere."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An offer that vanished in one go: its span and first change before, and when."""

    span: Span
    first_change_at: float | None
    at: float


def pasted(cut: Cut, inserted: Iterable[tuple[Position, str]], now: float, offered: Iterable[str]) -> Span | None:
    """The span where the offer was pasted, if it was and that is unambiguous.

    Its text must stand once in what was `inserted`, and not be the text of an offer that is just
    being made (`offered`): then it was put in anew.
    """
    text = cut.span.text
    if now - cut.at > CUT_SECONDS or len(text.strip()) < CUT_CHARS or any(text in other for other in offered):
        return None
    places = [(start, new, new.find(text)) for start, new in inserted if text in new]
    if len(places) != 1 or places[0][1].count(text) != 1:
        return None
    start, new, at = places[0]
    first, last = advance(start, new, at), advance(start, new, at + len(text))
    return replace(cut.span, bounds=(first, first, last, last), before=0, after=0, undone=None)


def insertions(changes: Iterable[Delta]) -> tuple[tuple[Position, str], ...]:
    """What the changes of one `didChange` put in that still stands whole after them, and where it begins."""
    found: list[tuple[Position, str]] = []
    for change in changes:
        standing = []
        for start, text in found:
            if change.end <= start:
                standing.append((change.moved(start), text))
            elif change.start >= advance(start, text, len(text)):
                standing.append((start, text))
        found = standing
        if change.inserted and not change.whole:
            found.append((change.new_start, change.inserted))
    return tuple(found)
