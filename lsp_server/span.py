"""Where an offer stands in a document, and what is left of it: provenance per character.

A span has three zones, side by side:

    outer_start      start              end       outer_end
         | typed before | the offer's place | typed after |

The place holds `segments`: characters of the offer that survive (`Kept`) and text that stands
among them or instead of them (`Inserted`). `text` is always what the document holds from `start`
to `end`; it is y', the kept text, when the span settles. Of the text typed before and after only
the length is carried. `Span.apply` carries a span through one change, and costs the size of the
change and of the place, never of the document; a change elsewhere costs O(1).

Where inserted text belongs:

1. Inside the place: to the place.
2. At an end of it: outside, as text typed before or after, unless offer text was deleted at that
   end. Then it stands instead of that text and belongs to the place.
3. In place of removed text: to the zone that lost most. What is removed and inserted alike
   survives (`Delta.trimmed`); if that was the offer's end, text new at that end belongs to the
   place when the change covered more of the place than of its surroundings. So too when a change
   crosses an end: what of it stands for the offer cannot be told otherwise.
4. Text that stands at an end instead of deleted offer text is cut at its first blank line if the
   deleted text had none; in ghost text after as many line ends as the deleted text had. The rest
   was typed after the offer (or before, at the other end).
5. Inserted text that equals the offer's text deleted just there is that text, come back.

A place that a deletion left with inserted text at its end keeps it: whether the old words are
deleted before or after the new ones are typed makes no difference.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise

from lsp_server.delta import Delta, Position, Reader, advance, line_start
from lsp_server.segments import Inserted, Kept, Segment, from_plain, heal, overhang, plain, splice, text_of

Bounds = tuple[Position, Position, Position, Position]


@dataclass(frozen=True, slots=True)
class Undone:
    """What stood in the place before it was undone; `text` None when a redo could not be told."""

    text: str | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """An offer that was put into a document. Make one with `placed`."""

    offered: str
    """y: the text that was put in; for a partial accept the accepted part."""
    rest: str
    """The end of the offer that was never put in."""
    replaced: str
    """What stood in the place before the offer: a rewrite's original."""
    ghost: bool
    """Ghost text: y' ends with the last offered line."""
    bounds: Bounds
    """`outer_start`, `start`, `end`, `outer_end`."""
    segments: tuple[Segment, ...]
    before: int = 0
    """Characters typed right before the place."""
    after: int = 0
    """Characters typed right after the place."""
    undone: Undone | None = None

    @classmethod
    def placed(
        cls,
        offered: str,
        start: Position,
        end: Position | None = None,
        *,
        replaced: str = "",
        ghost: bool = False,
        taken: int | None = None,
    ) -> Span:
        r"""The span of an offer that stands from `start` to `end` in the document.

        `end` may be left out unless the offer ends with `\r` before a `\n`. With `taken` only
        that many characters of `offered` were put in (a partial accept).
        Raises ValueError for an offer of no character.
        """
        taken = len(offered) if taken is None else taken
        put, rest = offered[:taken], offered[taken:]
        if not put:
            raise ValueError("an offer of no character has no span")
        end = end or advance(start, put, len(put))
        return cls(put, rest, replaced, ghost, (start, start, end, end), (Kept(0, len(put)),))

    @property
    def outer_start(self) -> Position:
        """Where the text typed before begins."""
        return self.bounds[0]

    @property
    def start(self) -> Position:
        """Where the offer's place begins."""
        return self.bounds[1]

    @property
    def end(self) -> Position:
        """Where the offer's place ends."""
        return self.bounds[2]

    @property
    def outer_end(self) -> Position:
        """Where the text typed after ends."""
        return self.bounds[3]

    @property
    def text(self) -> str:
        """What the document holds from `start` to `end`."""
        return text_of(self.segments, self.offered)

    @property
    def kept_chars(self) -> int:
        """Characters of the offer that survive."""
        return sum(s.b - s.a for s in self.segments if isinstance(s, Kept))

    @property
    def untouched(self) -> bool:
        """Whether the offer stands as it was put in, whatever was typed around it."""
        return self.segments == (Kept(0, len(self.offered)),)

    def near(self, line: int) -> bool:
        """Whether `line` is one of the place's lines or next to one."""
        return self.start.line - 1 <= line <= self.end.line + 1

    def apply(self, change: Delta) -> Span:
        """The span after one change of the document."""
        if change.start > self.outer_end:
            return self
        if change.end < self.outer_start:
            return self._moved(change)
        delta = change.trimmed()
        if delta.start > self.outer_end or not (delta.removed or delta.inserted):
            return self
        if delta.end < self.outer_start:
            return self._moved(delta)
        removed = _per_zone(delta, self.bounds)
        home = self._home(change, delta, removed) if delta.inserted else 4
        outer_start, start, end, outer_end = (self._bound(i, p, delta, home) for i, p in enumerate(self.bounds))
        gained = len(delta.inserted)
        before = self.before - removed[1] + (gained if home == 1 else 0)
        after = self.after - removed[3] + (gained if home == 3 else 0)
        segments = self.segments
        if removed[2] or home == 2:
            at = self._offset(delta.start)
            segments = splice(segments, at, removed[2], delta.inserted if home == 2 else "")
            segments = heal(segments, self.offered)
        span = self._with((outer_start, start, end, outer_end), segments, before, after)
        return span if segments is self.segments else span._cut()

    def judged(self, earlier: Span, reader: Reader) -> Span:
        """The span with undo and redo noticed, after the changes of one `didChange`.

        `earlier` is the span before them; `reader` reads the document after them. An undo takes
        the offer away in one go: the whole of an insertion, or a rewrite as it was put in, and
        what stood before stands again. From then on the offer is rejected, whatever else is
        written there, until a redo brings back exactly what was undone, or all of the offer stands.
        """
        if self is earlier:
            return self
        if earlier.undone is not None:
            text = earlier.undone.text
            if text and self._stands(text, reader):
                ends = (self.outer_start, self.outer_start, self.outer_end, self.outer_end)
                return replace(self._with(ends, earlier.undone.segments, 0, 0), undone=None)
            return replace(self, undone=None) if self._stands(self.offered, reader) else self
        if not self._undoes(earlier, reader):
            return self
        alone = earlier.before == earlier.after == 0
        return replace(self, undone=Undone(earlier.text if alone else None, earlier.segments if alone else ()))

    def restored(self, reader: Reader) -> bool:
        """Whether what stood in a rewrite's place before the offer stands there again."""
        return self.replaced not in ("", self.offered) and self._stands(self.replaced, reader)

    def extended(self, count: int, reader: Reader) -> Span:
        """The span after `count` more characters of `rest` were accepted and put in at the end.

        They have arrived by a change already: as text typed after, or in the place where the
        change put the accepted part in once more (VS Code). Unchanged if they do not stand there:
        then they were typed over since.
        """
        part = self.rest[:count]
        again = self._extended_inside(part)
        if again is not None:
            return again
        place = advance(self.end, part, len(part))
        tail = self.segments[-1] if self.segments else None
        whole = isinstance(tail, Kept) and tail.b == len(self.offered)
        if not part or not whole or self.after < len(part) or reader.slice(self.end, place) != part:
            return self
        segments = heal((*self.segments, Inserted(part)), self.offered + part)
        longer = replace(self, offered=self.offered + part, rest=self.rest[count:])
        bounds = (self.outer_start, self.start, place, self.outer_end)
        return longer._with(bounds, segments, self.before, self.after - len(part))

    def _extended_inside(self, part: str) -> Span | None:
        """The span with `part` as the offer's, where it stands in the place right after the accepted part."""
        if len(self.segments) < 2 or not part:
            return None
        kept, tail = self.segments[-2:]
        whole = isinstance(kept, Kept) and kept.b == len(self.offered)
        if not whole or not isinstance(tail, Inserted) or not tail.text.startswith(part):
            return None
        pieces = (*self.segments[:-1], Inserted(part), Inserted(tail.text[len(part) :]))
        longer = replace(self, offered=self.offered + part, rest=self.rest[len(part) :])
        return longer._with(self.bounds, heal(pieces, longer.offered), self.before, self.after)

    def _undoes(self, earlier: Span, reader: Reader) -> bool:
        if self.replaced:
            return earlier.untouched and self.restored(reader)
        in_one_go = len(earlier.text) > 1 or len(self.offered) == 1
        return not self.segments and self.before + self.after == 0 and in_one_go

    def _stands(self, text: str, reader: Reader) -> bool:
        """Whether place and surroundings together hold exactly `text`."""
        length = self.before + len(self.text) + self.after
        return length == len(text) and reader.slice(self.outer_start, self.outer_end) == text

    def _with(self, bounds: Bounds, segments: tuple[Segment, ...], before: int, after: int) -> Span:
        return Span(self.offered, self.rest, self.replaced, self.ghost, bounds, segments, before, after, self.undone)

    def _moved(self, delta: Delta) -> Span:
        """The span after a change that ended before it. O(1)."""
        if delta.end.line == delta.new_end.line < self.outer_start.line:
            return self
        outer_start, start, end, outer_end = map(delta.moved, self.bounds)
        return self._with((outer_start, start, end, outer_end), self.segments, self.before, self.after)

    def _offset(self, position: Position) -> int:
        """How many characters of the place stand before `position`, 0 or all if it is outside."""
        if position <= self.start:
            return 0
        text = self.text
        if position >= self.end:
            return len(text)
        down = position.line - self.start.line
        return position.char - self.start.char if down == 0 else line_start(text, down) + position.char

    def _home(self, change: Delta, delta: Delta, removed: list[int]) -> int:
        """The zone that the inserted text belongs to: 0 outside, 1 before, 2 place, 3 after, 4 outside."""
        if delta.removed:
            inside = removed[2]
            if inside > len(delta.removed) - inside:
                return 2
            outside = [removed[0], removed[1], -1, removed[3], removed[4]]
            return max((4, 0, 3, 1), key=outside.__getitem__)
        at = delta.start
        if self.start < at < self.end:
            return 2
        if at < self.start:
            return 1
        if at > self.end:
            return 3
        covered = _per_zone(change, self.bounds)
        at_edge = (at == self.end and change.start < at) or (at == self.start and change.end > at)
        if at_edge and covered[2] > len(change.removed) - covered[2]:
            return 2
        survivors = [s for s in self.segments if isinstance(s, Kept)]
        if not survivors or (at == self.end and survivors[-1].b < len(self.offered)):
            return 2
        if at == self.start and survivors[0].a > 0:
            return 2
        return 3 if at == self.end else 1

    @staticmethod
    def _bound(zone: int, position: Position, delta: Delta, home: int) -> Position:
        """Where the end of zone `zone` stands after a change whose text went to zone `home`."""
        if position < delta.start:
            return position
        if position > delta.end:
            return delta.moved(position)
        return delta.new_start if zone < home else delta.new_end

    def _cut(self) -> Span:
        """Rule 4: what was typed beyond the offer's ends is not part of the place."""
        head, tail = overhang(self.segments, self.offered, by_line=self.ghost)
        if not head and not tail:
            return self
        text = self.text
        last = len(text) - tail
        start = advance(self.start, text, head) if head else self.start
        end = advance(self.start, text, last) if tail else self.end
        segments = heal(splice(splice(self.segments, last, tail, ""), 0, head, ""), self.offered)
        return self._with(
            (self.outer_start, start, end, self.outer_end), segments, self.before + head, self.after + tail
        )

    def to_json(self) -> str:
        """The span as text for the store; see `from_json`."""
        return json.dumps(
            {
                "offered": self.offered,
                "rest": self.rest,
                "replaced": self.replaced,
                "ghost": self.ghost,
                "bounds": self.bounds,
                "segments": plain(self.segments),
                "before": self.before,
                "after": self.after,
                "undone": self.undone and [self.undone.text, plain(self.undone.segments)],
            }
        )

    @classmethod
    def from_json(cls, state: str) -> Span:
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError on anything else."""
        body = json.loads(state)
        outer_start, start, end, outer_end = (Position(int(line), int(char)) for line, char in body["bounds"])
        undone = body["undone"]
        return cls(
            body["offered"],
            body["rest"],
            body["replaced"],
            body["ghost"],
            (outer_start, start, end, outer_end),
            from_plain(body["segments"]),
            body["before"],
            body["after"],
            Undone(undone[0], from_plain(undone[1])) if undone else None,
        )


def _per_zone(delta: Delta, bounds: tuple[Position, ...]) -> list[int]:
    """How many characters each of the five zones lost: outside, before, place, after, outside."""
    cuts = [0, *(delta.index(p) for p in bounds), len(delta.removed)]
    return [b - a for a, b in pairwise(cuts)]
