"""A document with one offer in it, for the tests of what is kept."""

from __future__ import annotations

from lsprotocol import types

from lsp_server.document import Document
from lsp_server.kept import Tracked, Tracker, Verdict, verdict
from lsp_server.span import Span

OFFER = "the quick fox"


class Desk:
    """A document, an offer in it, and offsets instead of positions."""

    def __init__(
        self,
        before: str = "",
        offer: str = OFFER,
        behind: str = "",
        replaced: str = "",
        ghost: bool = False,
        **put: int,
    ) -> None:
        self.document = Document("file:///a", before + replaced + behind, 1, "plaintext", "utf-32")
        at = self.document.position(len(before))
        end = self.document.position(len(before) + len(replaced))
        shown = offer[: put.get("taken")]
        delta = self.document.replace(at, end, shown)
        span = Span.placed(offer, delta.new_start, delta.new_end, replaced=replaced, ghost=ghost, **put)
        self.tracker = Tracker()
        self.tracker.place("o", span, now=0.0)

    def edit(self, start: int, end: int, text: str, now: float = 1.0, **flags: bool) -> Desk:
        places = self.document.position(start), self.document.position(end)
        self.tracker.apply([self.document.replace(*places, text)], self.document, now, **flags)
        return self

    def whole(self, text: str, **flags: bool) -> Desk:
        delta = self.document.apply(types.TextDocumentContentChangeWholeDocument(text=text))
        self.tracker.apply([delta], self.document, 1.0, **flags)
        return self

    @property
    def tracked(self) -> Tracked:
        return self.tracker.open["o"]

    @property
    def verdict(self) -> Verdict:
        return verdict(self.tracked.span, self.document)
