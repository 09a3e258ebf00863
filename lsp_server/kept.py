"""The offers that stand in a document: what is kept of each, and when it has settled.

Pure: times are passed in, in seconds on any clock that does not run backwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from learner.records import Outcome, SettledBy
from lsp_server.cut import Cut, pasted
from lsp_server.delta import Delta, Position, Reader
from lsp_server.frozen import Frozen
from lsp_server.span import Span

SAVE_GRACE_SECONDS = 10.0
"""A save this soon after acceptance settles nothing."""
SMALL_CHANGE = 400
"""Characters, removed and inserted together, up to which a whole replacement by a client that
only ever sends whole documents counts as an ordinary change."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an offer that was put in.

    `kept` is y', None when nothing was kept. Characters are code points: unless censored,
    `kept_chars + deleted_chars` is the length of the offer and `kept_chars + modified_chars`
    that of `kept`; `appended_chars` were typed right before or after it.
    """

    outcome: Outcome
    kept: str | None
    kept_chars: int
    modified_chars: int
    deleted_chars: int
    appended_chars: int


CENSORED = Verdict(Outcome.CENSORED, None, 0, 0, 0, 0)
"""What became of the offer cannot be told."""


def verdict(span: Span, reader: Reader) -> Verdict:
    """What became of the offer of `span`; `reader` reads its document as it stands."""
    kept, length = span.text, len(span.offered)
    appended = span.before + span.after
    if span.undone is not None or not kept or span.restored(reader):
        return Verdict(Outcome.REJECTED, None, 0, 0, length, appended)
    if kept == span.offered:
        return Verdict(Outcome.ACCEPTED, kept, length, 0, 0, appended)
    survived = span.kept_chars
    return Verdict(Outcome.EDITED, kept, survived, len(kept) - survived, length - survived, appended)


@dataclass(frozen=True, slots=True)
class _Own:
    """Reads a span's own text in the document before a change, where nothing was typed beside it."""

    span: Span

    def slice(self, start: Position, end: Position) -> str:
        """The span's text, if that is what stands from `start` to `end`."""
        alone = (start, end) == (self.span.start, self.span.end)
        return self.span.text if alone else ""


@dataclass(slots=True)
class Tracked:
    """An open offer: its span, and when what happened to it. Times are the tracker's."""

    span: Span
    placed_at: float
    touched_at: float
    """The last change in the offer's place or next to it."""
    first_change_at: float | None = None
    """The first change of the offer itself."""
    censored: bool = False
    """What became of it cannot be told."""
    frozen: Frozen | None = None
    """What the user had kept when somebody else changed the offer: a formatter, a branch switch."""
    cut: Cut | None = None
    """Set while the offer is gone and may be pasted elsewhere. Not written down: a restart forgets it."""

    def last(self) -> Span | None:
        """The span as the user left it; None where that cannot be told."""
        if self.censored:
            return None
        return self.span if self.frozen is None else self.frozen.merged(self.span.text)

    def judged(self, reader: Reader) -> Verdict:
        """What became of the offer; `reader` reads its document as it stands."""
        last = self.last()
        if last is None:
            return CENSORED
        return verdict(last, reader if self.frozen is None else _Own(last))

    def to_json(self, now: float) -> str:
        """State for the store. Times are written as ages, since clocks differ between runs."""
        changed = None if self.first_change_at is None else self.first_change_at - self.placed_at
        return json.dumps(
            {
                "span": self.span.to_json(),
                "placed_ago": now - self.placed_at,
                "touched_ago": now - self.touched_at,
                "first_change_after": changed,
                "censored": self.censored,
                "frozen": self.frozen and [self.frozen.span.to_json(), self.frozen.text],
            }
        )

    @classmethod
    def from_json(cls, state: str, now: float) -> Tracked:
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError on anything else."""
        body = json.loads(state)
        placed = now - float(body["placed_ago"])
        changed = body["first_change_after"]
        return cls(
            Span.from_json(body["span"]),
            placed,
            now - float(body["touched_ago"]),
            None if changed is None else placed + float(changed),
            bool(body["censored"]),
            Frozen(Span.from_json(frozen[0]), frozen[1]) if (frozen := body.get("frozen")) else None,
        )


def due(
    tracked: Tracked,
    now: float,
    *,
    quiet_seconds: float,
    limit_seconds: float,
    cursor: Position | None = None,
    occasion: SettledBy | None = None,
) -> SettledBy | None:
    """What settles an open offer at `now`, or None while it stays open.

    `occasion` is what just happened: SAVE (by a person, never an autosave), CLOSE, COMMIT, or
    None when only time passed. `cursor` is where the user is, None if unknown. An offer that was
    undone settles as UNDO, on the same occasions, wherever the cursor is.
    """
    undone = tracked.span.undone is not None
    settled: SettledBy | None = None
    if occasion in (SettledBy.CLOSE, SettledBy.COMMIT) or (
        occasion is SettledBy.SAVE and now - tracked.placed_at >= SAVE_GRACE_SECONDS
    ):
        settled = occasion
    elif now - tracked.placed_at >= limit_seconds:
        settled = SettledBy.LIMIT
    elif now - tracked.touched_at >= quiet_seconds:
        elsewhere = undone or cursor is None or not tracked.span.near(cursor.line)
        settled = SettledBy.QUIET if elsewhere else None
    return SettledBy.UNDO if settled and undone else settled


class Tracker:
    """The open offers of one document, by offer id."""

    def __init__(self) -> None:
        self.open: dict[str, Tracked] = {}
        self.cursor: Position | None = None
        """Where the user is, as far as it shows: where the last change ended, or set by requests."""

    def place(self, offer_id: str, span: Span, now: float) -> None:
        """Follow an offer that was just put in."""
        self.open[offer_id] = Tracked(span, now, now)

    def resume(self, offer_id: str, tracked: Tracked) -> None:
        """Follow an offer of a run that ended, after `reanchor.resumed` found it."""
        self.open[offer_id] = tracked

    def apply(
        self,
        changes: Iterable[Delta],
        reader: Reader,
        now: float,
        *,
        full_sync: bool = False,
        machine: bool = False,
        offered: Iterable[str] = (),
    ) -> None:
        """Carry every offer through the changes of one `didChange`.

        `reader` reads the document after them. `machine`: a formatter, a branch switch or the like
        made them. What the user had kept of an offer before such a change, or a replacement of the
        whole document, is what counts, and what the user changes in it later (`lsp_server.frozen`).
        Where the client only sends whole documents (`full_sync`), a small change is the user's, and
        whose a large one is cannot be told: it censors.
        `offered` are texts that may be put in by these changes: they are not pasted.
        """
        changes = tuple(changes)
        hands = tuple(_hand(change, full_sync, machine) for change in changes)
        texts = tuple(offered)
        for tracked in self.open.values():
            earlier, first = tracked.span, tracked.first_change_at
            for change, hand in zip(changes, hands, strict=True):
                _carry(tracked, change, now, hand)
            tracked.span = tracked.span.judged(earlier, reader)
            if tracked.frozen is None and (tracked.cut or _changed(earlier, tracked.span)):
                _follow_cut(tracked, Cut(earlier, first, now), changes, texts)
        for change in changes:
            if not machine and not (change.whole and not full_sync):
                self.cursor = change.new_end
            elif self.cursor is not None and self.cursor >= change.end:
                self.cursor = change.moved(self.cursor)

    def extend(self, offer_id: str, count: int, reader: Reader, now: float) -> None:
        """Note that `count` more characters of a partly accepted offer were accepted."""
        tracked = self.open[offer_id]
        tracked.span = tracked.span.extended(count, reader)
        tracked.touched_at = now

    def due(
        self, now: float, quiet_seconds: float, limit_seconds: float, occasion: SettledBy | None = None
    ) -> list[tuple[str, SettledBy]]:
        """The offers that settle at `now`, and by what; see `due`. They stay open until `settle`."""
        found: list[tuple[str, SettledBy]] = []
        for offer_id, tracked in self.open.items():
            by = due(
                tracked,
                now,
                quiet_seconds=quiet_seconds,
                limit_seconds=limit_seconds,
                cursor=self.cursor,
                occasion=occasion,
            )
            if by is not None:
                found.append((offer_id, by))
        return found

    def settle(self, offer_id: str, reader: Reader) -> Verdict:
        """Close an open offer and say what became of it. Raises KeyError if it is not open."""
        return self.open.pop(offer_id).judged(reader)

    def censor(self) -> None:
        """Nothing can be told of any open offer any more: a change was lost."""
        for tracked in self.open.values():
            tracked.censored = True


class _Hand(Enum):
    """Who made a change."""

    USER = 1
    MACHINE = 2
    UNKNOWN = 3


def _hand(change: Delta, full_sync: bool, machine: bool) -> _Hand:
    if machine or (change.whole and not full_sync):
        return _Hand.MACHINE
    return _Hand.UNKNOWN if change.whole and not _small(change) else _Hand.USER


def _carry(tracked: Tracked, change: Delta, now: float, hand: _Hand) -> None:
    """One change of the document, to one offer."""
    span = tracked.span
    if change.start.line <= span.end.line + 1 and change.end.line >= span.start.line - 1:
        tracked.touched_at = now
    tracked.span = span.apply(change)
    if _changed(span, tracked.span):
        if hand is _Hand.MACHINE:
            own = span if tracked.frozen is None else tracked.frozen.merged(span.text)
            tracked.censored = tracked.censored or own is None
            tracked.frozen = Frozen(own or span, tracked.span.text)
        elif hand is _Hand.UNKNOWN:
            tracked.censored = True
        elif tracked.first_change_at is None:
            tracked.first_change_at = now


def _changed(before: Span, after: Span) -> bool:
    """Whether the offer itself changed, and did not only move."""
    return after.segments is not before.segments and after.segments != before.segments


def _follow_cut(tracked: Tracked, before: Cut, changes: Sequence[Delta], offered: Iterable[str]) -> None:
    """Note that an offer was cut out, or go on where it is pasted; `before` is what it was before these changes."""
    if tracked.span.text and tracked.span.undone is None:
        tracked.cut = None
        return
    if before.span.text and before.span.undone is None:
        tracked.cut = before
    cut = tracked.cut
    found = cut and pasted(cut, changes, before.at, offered)
    if cut and found:
        tracked.span, tracked.first_change_at = found, cut.first_change_at
        tracked.touched_at, tracked.cut = before.at, None


def _small(change: Delta) -> bool:
    return len(change.removed) + len(change.inserted) <= SMALL_CHANGE
