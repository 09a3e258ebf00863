"""Offers that are cut out of a document and pasted elsewhere in it: they go on where they are pasted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from lsp_server.delta import Delta, advance
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


def pasted(cut: Cut, changes: Sequence[Delta], now: float, offered: Iterable[str]) -> Span | None:
    """The span where the changes of one `didChange` pasted the offer, if they did and that is unambiguous.

    Its text must stand once in what they put in, whole after all of them, and not be the text of an
    offer that is just being made (`offered`): then it was put in anew.
    """
    text = cut.span.text
    if now - cut.at > CUT_SECONDS or len(text.strip()) < CUT_CHARS or any(text in other for other in offered):
        return None
    found = [i for i, change in enumerate(changes) if not change.whole and text in change.inserted]
    if len(found) != 1 or changes[found[0]].inserted.count(text) != 1:
        return None
    put = changes[found[0]]
    at = put.inserted.index(text)
    first, last = (advance(put.new_start, put.inserted, n) for n in (at, at + len(text)))
    for later in changes[found[0] + 1 :]:
        if later.end <= first:
            first, last = later.moved(first), later.moved(last)
        elif later.start < last:
            return None
    return replace(cut.span, bounds=(first, first, last, last), before=0, after=0, undone=None)
