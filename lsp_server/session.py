"""One open document: its mirror, the offers that stand in it, those under way, and the ghost text.

Pure but for its own state: times are passed in, and what has settled waits in `settled` until the
assistant takes it to the recorder. Nothing here is asynchronous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from learner.records import Offer, Outcome, SettledBy, Settlement, now
from lsp_server.delta import Delta, Position, advance
from lsp_server.document import Document, DocumentError
from lsp_server.ghost import Ghost, GhostState
from lsp_server.kept import Tracked, Tracker
from lsp_server.reanchor import resumed
from lsp_server.settlements import of_span, unix
from lsp_server.shown import Pending, Preview, Shown
from lsp_server.span import Span

if TYPE_CHECKING:
    from lsprotocol import types

DEPARTED_QUIET_SECONDS = 3.0
"""What was typed instead of ghost text is read after this long without a change."""
MOST_DEPARTED = 8
"""Ghost texts whose place is still watched; when more are gone from the screen, the oldest is read at once."""
MOST_CHANGES = 20_000
"""Changes of one message that are followed: more would hold up all other documents for a second."""


@dataclass(slots=True)
class Session:
    """What the server knows of one open document."""

    document: Document
    workspace: str
    full_sync: bool = False
    """Whether this client has only ever sent whole documents."""
    saving_until: float = 0.0
    """Until when changes are a formatter's: between `willSave` and `didSave`."""
    switched_until: float = 0.0
    """Until when changes are the editor's, which reads the file again after git switched its contents."""
    tracker: Tracker = field(default_factory=Tracker)
    pending: dict[str, Pending] = field(default_factory=dict)
    previews: dict[str, Preview] = field(default_factory=dict)
    ghost: Shown | None = None
    departed: list[Shown] = field(default_factory=list)
    watched: dict[str, Span] = field(default_factory=dict)
    """Stretches that a request under way works on, followed through changes meanwhile."""
    framed: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What was put in before and after an open offer and is no part of it."""
    seen_ms: dict[str, float | None] = field(default_factory=dict)
    """How long the ghost text was shown that an open offer was."""
    tells: bool = False
    """Whether this client says what it shows: then what it says nothing of was never seen."""
    settled: list[Settlement] = field(default_factory=list)
    dirty: set[str] = field(default_factory=set)
    """Offers whose span has changed since it was last saved."""
    fresh: set[str] = field(default_factory=set)
    """Offers whose span was never saved."""
    changed_at: float = 0.0
    lost: str | None = None
    """Why the mirror can no longer be trusted; None while it can."""
    autosave: bool = False
    """Whether the save that comes is the editor's own."""
    why: str = "nothing was asked for here yet"
    """Why the last request here was answered with nothing; empty when it was answered."""
    _ranged: bool = False

    @property
    def eol(self) -> str:
        """The document's line end: that of its first line."""
        first = self.document.line(0)
        return "\r\n" if first.endswith("\r\n") else "\r" if first.endswith("\r") else "\n"

    # --- changes -------------------------------------------------------------------------------

    def change(self, version: int, changes: Sequence[types.TextDocumentContentChangeEvent], at: float) -> None:
        """Apply the changes of one `didChange`. Raises DocumentError; then nothing here can be told any more."""
        deltas: list[Delta] = []
        try:
            self.document.advance_version(version)
            if len(changes) > MOST_CHANGES:
                raise DocumentError(
                    f"{self.document.uri} (version {version}): {len(changes):,} changes at once, "
                    f"and {MOST_CHANGES:,} are followed"
                )
            for change in changes:
                self._note_sync(change)
                delta = self.document.apply(change)
                deltas.append(delta)
                for key, span in self.watched.items():
                    self.watched[key] = span.apply(delta)
                for pending in self.pending.values():
                    pending.place.apply(delta, self.document)
                for shown in [self.ghost, *self.departed]:
                    if shown is not None:
                        shown.ghost.apply(delta, self.document)
                if self._arrived():  # Neovim may send what was put in and the user's first change of it as one
                    self._carry(deltas, at)
                    deltas = []
        except Exception as error:
            self.lose(str(error))
            raise
        self._carry(deltas, at)
        self.changed_at = at

    def _note_sync(self, change: types.TextDocumentContentChangeEvent) -> None:
        """A client that sends a range once can do so always; one that never did sends whole documents."""
        ranged = getattr(change, "range", None) is not None
        self._ranged = self._ranged or ranged
        self.full_sync = not self._ranged

    def _arrived(self) -> bool:
        """Whether an offer stands whole in the document just now."""
        ghost = self.ghost is not None and self.ghost.ghost.state is GhostState.ACCEPTED
        return ghost or any(p.place.state is GhostState.ACCEPTED for p in self.pending.values())

    def _carry(self, deltas: list[Delta], at: float) -> None:
        """Carry open offers through changes, the last of which was made just now; then follow what has arrived."""
        texts = [p.text for p in self.pending.values()]
        texts += [] if self.ghost is None else [self.ghost.offer.offered]
        machine = at < max(self.saving_until, self.switched_until)
        self.tracker.apply(deltas, self.document, at, full_sync=self.full_sync, machine=machine, offered=texts)
        self.dirty.update(self.tracker.open)
        self._look_for_pending(at)
        self._look_at_ghost(at)

    def lose(self, why: str) -> None:
        """The mirror no longer equals the client's text: every open offer here is censored."""
        self.lost = why
        self.withdraw(SettledBy.ERROR)

    def withdraw(self, by: SettledBy) -> None:
        """Stop following everything here, judging nothing: it is censored."""
        self.tracker.censor()
        for offer_id in list(self.tracker.open):
            self._settle_tracked(offer_id, by)
        for offer_id in list(self.pending):
            self.drop_pending(offer_id, by)
        for offer_id in list(self.previews):
            self.drop_preview(offer_id, by)
        for shown in [self.ghost, *self.departed]:
            if shown is not None and shown.recorded and not shown.put_in:
                self.settled.append(Settlement(shown.offer.id, Outcome.CENSORED, by, now()))
        self.ghost, self.departed = None, []

    def _look_for_pending(self, at: float) -> None:
        for offer_id, pending in list(self.pending.items()):
            if pending.place.state is GhostState.ACCEPTED:
                self._place(offer_id, pending, at)

    def _place(self, offer_id: str, pending: Pending, at: float) -> None:
        del self.pending[offer_id]
        lead = pending.lead
        start = advance(pending.place.start, lead, len(lead)) if lead else pending.place.start
        end = self.document.after(start, len(pending.text))
        span = Span.placed(pending.text, start, end, replaced=pending.original)
        self.tracker.place(offer_id, span, at)
        self.framed[offer_id] = (lead, pending.tail)
        self.fresh.add(offer_id)

    def _look_at_ghost(self, at: float) -> None:
        shown = self.ghost
        if shown is None:
            return
        state = shown.ghost.state
        if state in (GhostState.PARTIAL, GhostState.ACCEPTED) and shown.recorded:
            taken = shown.ghost.taken
            if shown.put_in and shown.offer.id in self.tracker.open:
                if taken > shown.put_in:
                    self.tracker.extend(shown.offer.id, taken - shown.put_in, self.document, at)
            elif not shown.put_in:
                self.tracker.place(shown.offer.id, shown.ghost.span(self.document), at)
                self.seen_ms[shown.offer.id] = self._seen(shown, at)
            shown.put_in = taken
            self.fresh.add(shown.offer.id)
        if state is GhostState.ACCEPTED:
            shown.ended_at = at
            self.ghost = None
        elif state is GhostState.DEPARTED:
            self.depart(at)

    # --- ghost text ----------------------------------------------------------------------------

    def show(self, offer: Offer, text: str, start: Position, end: Position, at: float, *, recorded: bool) -> None:
        """Ghost text is on its way to the screen; what was shown before is superseded."""
        self.depart(at)
        before = self.document.line(start.line)[: start.char]
        self.ghost = Shown(offer, Ghost(text, start, end, self.document), at, recorded, before)

    def through(self, position: Position) -> Shown | None:
        """The ghost text, if it still holds at `position`: its beginning was typed, and nothing before it changed."""
        shown = self.ghost
        if shown is None or not shown.ghost.through(self.document, position):
            return None
        start = shown.ghost.start
        return shown if self.document.line(start.line)[: start.char] == shown.before else None

    def tell(self, offer_id: str, at: float) -> bool:
        """The client says that it shows an offer now. False if it is none of here."""
        shown = next((s for s in [self.ghost, *self.departed] if s and s.offer.id == offer_id), None)
        if shown is None or shown.told:
            return False
        shown.told, shown.shown_at = True, at
        return True

    def _seen(self, shown: Shown, at: float) -> float | None:
        """How long ghost text was shown, in milliseconds; None if it never was."""
        return None if self.tells and not shown.told else shown.shown_ms(at)

    def unseen(self, offer_id: str, by: SettledBy) -> None:
        """An offer was recorded and never reached the client: nobody saw it."""
        self.settled.append(Settlement(offer_id, Outcome.CENSORED, by, now()))

    def unrecorded(self, offer_id: str) -> None:
        """Ghost text could not be recorded: it is shown, and not followed."""
        if self.ghost is not None and self.ghost.offer.id == offer_id:
            self.ghost.recorded = False
        self.departed = [shown for shown in self.departed if shown.offer.id != offer_id]
        self.settled = [settlement for settlement in self.settled if settlement.offer_id != offer_id]
        self.tracker.open.pop(offer_id, None)
        self._forget(offer_id)

    def depart(self, at: float) -> None:
        """The ghost text is gone from the screen. What is typed instead is read a little later."""
        shown, self.ghost = self.ghost, None
        if shown is None:
            return
        shown.ended_at = at
        if shown.recorded and not shown.put_in:
            self.departed.append(shown)
            if len(self.departed) > MOST_DEPARTED:
                self._ignored(self.departed.pop(0), at, SettledBy.SUPERSEDED)

    def settle_departed(self, at: float, by: SettledBy = SettledBy.SUPERSEDED) -> None:
        """Record ignored ghost text together with what was typed in its place."""
        departed, self.departed = self.departed, []
        for shown in departed:
            self._ignored(shown, at, by)

    def _ignored(self, shown: Shown, at: float, by: SettledBy) -> None:
        typed = shown.ghost.typed(self.document)
        self.settled.append(
            Settlement(
                shown.offer.id, Outcome.IGNORED, by, now(),
                typed=unix(typed) or None, shown_ms=self._seen(shown, at),
                deleted_chars=len(shown.offer.offered),
            )
        )  # fmt: skip

    # --- settling ------------------------------------------------------------------------------

    def settle_due(self, at: float, quiet: float, limit: float, occasion: SettledBy | None = None) -> None:
        """Settle what is due now: by quiet or limit, or on the occasion of a save or close."""
        for offer_id in [i for i, p in self.pending.items() if at - p.asked_at >= limit]:
            self.drop_pending(offer_id, SettledBy.LIMIT)
        for offer_id in [i for i, p in self.previews.items() if at - p.asked_at >= limit]:
            self.drop_preview(offer_id, SettledBy.LIMIT)
        if self.departed and (occasion is not None or at - self.changed_at >= DEPARTED_QUIET_SECONDS):
            self.settle_departed(at)
        for offer_id, by in self.tracker.due(at, quiet, limit, occasion):
            self._settle_tracked(offer_id, by)

    def saved(self, at: float, quiet: float, limit: float) -> None:
        """The document was saved: settles, if a person saved it."""
        autosave, self.autosave = self.autosave, False
        if not autosave:
            self.settle_due(at, quiet, limit, SettledBy.SAVE)

    def closed(self, at: float, quiet: float, limit: float) -> None:
        """The document was closed: everything here settles."""
        self.depart(at)
        self.settle_due(at, quiet, limit, SettledBy.CLOSE)
        for offer_id in list(self.pending):
            self.drop_pending(offer_id, SettledBy.CLOSE)
        for offer_id in list(self.previews):
            self.drop_preview(offer_id, SettledBy.CLOSE)

    def drop_pending(self, offer_id: str, by: SettledBy, outcome: Outcome = Outcome.CENSORED) -> None:
        """An offer that never stood in the document: declined (rejected), or lost (censored)."""
        pending = self.pending.pop(offer_id, None)
        if pending is not None:
            self._settle_absent(pending.offer, by, outcome)

    def drop_preview(self, offer_id: str, by: SettledBy, outcome: Outcome = Outcome.CENSORED) -> bool:
        """An offer that was looked at and not put in: declined (rejected), or lost (censored). False if it is none."""
        preview = self.previews.pop(offer_id, None)
        self.watched.pop(offer_id, None)
        if preview is not None and preview.recorded:
            self._settle_absent(preview.offer, by, outcome)
        return preview is not None

    def _settle_absent(self, offer: Offer, by: SettledBy, outcome: Outcome) -> None:
        deleted = len(offer.offered) if outcome is Outcome.REJECTED else 0
        self.settled.append(Settlement(offer.id, outcome, by, now(), deleted_chars=deleted))

    def reject_ghost(self, offer_id: str, at: float) -> bool:
        """The user declined ghost text in words (`redraft.reject`). False if it is none, or stands in part."""
        shown = next((s for s in [self.ghost, *self.departed] if s and s.offer.id == offer_id), None)
        if shown is None or shown.put_in:
            return False
        if shown is self.ghost:
            self.ghost = None
        else:
            self.departed.remove(shown)
        if shown.recorded:
            deleted = len(shown.offer.offered)
            self.settled.append(
                Settlement(
                    offer_id, Outcome.REJECTED, SettledBy.COMMAND, now(),
                    deleted_chars=deleted, shown_ms=self._seen(shown, at),
                )
            )  # fmt: skip
        return True

    def reject(self, offer_id: str) -> None:
        """The user declined an offer that stands (`redraft.reject`)."""
        tracked = self.tracker.open.pop(offer_id)
        deleted, shown_ms = len(unix(tracked.span.offered)), self._forget(offer_id)
        self.settled.append(
            Settlement(
                offer_id, Outcome.REJECTED, SettledBy.COMMAND, now(), deleted_chars=deleted, shown_ms=shown_ms,
            )
        )  # fmt: skip

    def _forget(self, offer_id: str) -> float | None:
        """Drop what is kept beside the tracker of an offer that settles; how long it was shown."""
        self.dirty.discard(offer_id)
        self.fresh.discard(offer_id)
        self.framed.pop(offer_id, None)
        return self.seen_ms.pop(offer_id, None)

    def _settle_tracked(self, offer_id: str, by: SettledBy) -> None:
        tracked = self.tracker.open[offer_id]
        judged = self.tracker.settle(offer_id, self.document)
        shown_ms = self._forget(offer_id)
        if judged.outcome is Outcome.CENSORED:
            self.settled.append(Settlement(offer_id, judged.outcome, by, now()))
            return
        self.settled.append(of_span(offer_id, tracked, judged, by, shown_ms))

    # --- a restart -----------------------------------------------------------------------------

    def resume(self, offer_id: str, state: str, at: float) -> bool:
        """Take up an offer of a server that is gone. False: it cannot be found again, and is censored."""
        try:
            tracked = Tracked.from_json(state, at)
            span = resumed(tracked.span, self.document)
        except (ValueError, KeyError, TypeError, IndexError):
            span = None
        if span is None:
            self.settled.append(Settlement(offer_id, Outcome.CENSORED, SettledBy.RESTART, now()))
            return False
        tracked.span = span
        self.tracker.resume(offer_id, tracked)
        self.fresh.add(offer_id)
        return True
