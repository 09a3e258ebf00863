"""Offers that do not stand in the document yet: asked to be put in, or shown as ghost text."""

from __future__ import annotations

from dataclasses import dataclass

from learner.records import Offer
from lsp_server.ghost import Ghost


@dataclass(slots=True)
class Pending:
    """An offer that the client was asked to put in and that does not stand there yet.

    `lead` and `tail` are put in around it and are no part of the offer (an empty line, quotes).
    """

    offer: Offer
    place: Ghost
    lead: str
    text: str
    tail: str
    original: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Preview:
    """An offer that the user looks at before it is put in (`preview: true`); `kind` is None for a rewrite.

    The text that it was made from is followed in `Session.watched`, under the offer's id.
    """

    offer: Offer
    kind: str | None
    recorded: bool
    asked_at: float


@dataclass(slots=True)
class Shown:
    """Ghost text on the screen, or just departed from."""

    offer: Offer
    ghost: Ghost
    shown_at: float
    recorded: bool
    before: str
    """What stood before it on its line."""
    told: bool = False
    """Whether the client said that it shows it (`textDocument/didShowCompletion`)."""
    put_in: int = 0
    """Characters of it that stand in the document and are tracked."""
    ended_at: float | None = None

    def shown_ms(self, at: float) -> float:
        """How long it was shown, in milliseconds."""
        return 1000 * max(0.0, (at if self.ended_at is None else self.ended_at) - self.shown_at)
