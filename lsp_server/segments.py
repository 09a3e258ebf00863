"""What is left of an offer, piece by piece: its own characters, and text among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lsp_server.delta import LINE_END

_BLANK_LINE = re.compile(r"(?:(?<=\n)|(?<=\r)(?!\n))[ \t]*(?>\r\n|\r|\n)")
"""A line of nothing but white space, from after the line end before it to after its own."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Characters `a` to `b` of the offer."""

    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Inserted:
    """Text that is not the offer's."""

    text: str


Segment = Kept | Inserted


def text_of(segments: Iterable[Segment], offered: str) -> str:
    """The text of segments of the offer `offered`."""
    return "".join(s.text if isinstance(s, Inserted) else offered[s.a : s.b] for s in segments)


def splice(segments: Iterable[Segment], at: int, count: int, text: str) -> tuple[Segment, ...]:
    """Segments after `count` characters from offset `at` gave way to `text`; neighbours are joined."""
    new: list[Segment] = []
    offset = 0
    pending = text
    for segment in segments:
        length = len(segment.text) if isinstance(segment, Inserted) else segment.b - segment.a
        left = min(max(at - offset, 0), length)
        right = min(max(at + count - offset, 0), length)
        _append(new, _part(segment, 0, left))
        if offset + length > at:
            _append(new, Inserted(pending))
            pending = ""
        _append(new, _part(segment, right, length))
        offset += length
    _append(new, Inserted(pending))
    return tuple(new)


def heal(segments: tuple[Segment, ...], offered: str) -> tuple[Segment, ...]:
    """Segments in which inserted text that equals what was deleted just there is the offer's again."""
    new: list[Segment] = []
    for i, segment in enumerate(segments):
        if isinstance(segment, Inserted):
            before, after = segments[i - 1] if i else None, segments[i + 1] if i + 1 < len(segments) else None
            a = before.b if isinstance(before, Kept) else 0
            b = after.a if isinstance(after, Kept) else len(offered)
            if segment.text == offered[a:b]:
                segment = Kept(a, b)
        _append(new, segment)
    return tuple(new)


def overhang(segments: tuple[Segment, ...], offered: str, *, by_line: bool) -> tuple[int, int]:
    """How many characters at the beginning and at the end stand for nothing that was deleted there.

    Text at an end, where offer text was deleted, is cut at its first blank line (seen from the
    offer) if the deleted text had none; with `by_line`, at the end, after as many line ends as
    the deleted text had. Where nothing of the offer survives all of it is seen as an end.
    """
    if not segments:
        return 0, 0
    first, last = segments[0], segments[-1]
    text = text_of(segments, offered)
    head = tail = 0
    if isinstance(last, Inserted):
        kept = segments[-2] if len(segments) > 1 else None
        gone_from = kept.b if isinstance(kept, Kept) else 0
        tail = _beyond_tail(text, len(text) - len(last.text), offered, gone_from, by_line)
    if isinstance(first, Inserted) and len(segments) > 1:
        kept = segments[1]
        gone_to = kept.a if isinstance(kept, Kept) else 0
        head = 0 if _blank_line_end(offered, gone_to) else _blank_line_end(text, len(first.text))
    return head, tail


def _beyond_tail(text: str, begin: int, offered: str, gone_from: int, by_line: bool) -> int:
    """Characters at the end of `text` past the cut, of those from `begin` on."""
    cut = len(text)
    blank = None if _BLANK_LINE.search(offered, gone_from) else _BLANK_LINE.search(text, begin)
    if blank:
        above = 2 if text.endswith("\r\n", 0, blank.start()) else 1  # the line end before it goes too
        cut = max(begin, blank.start() - above)
    if by_line:
        allowed = sum(1 for _ in LINE_END.finditer(offered, gone_from))
        breaks = [match.start() for match in LINE_END.finditer(text, begin)]
        cut = min(cut, breaks[allowed]) if len(breaks) > allowed else cut
    return len(text) - cut


def _blank_line_end(text: str, length: int) -> int:
    """Where the last blank line that begins in the first `length` characters ends, at most there; or 0."""
    end = 0
    for blank in _BLANK_LINE.finditer(text):
        if blank.start() > length:
            break
        end = min(blank.end(), length)
    return end


def _part(segment: Segment, a: int, b: int) -> Segment:
    if isinstance(segment, Inserted):
        return Inserted(segment.text[a:b])
    return Kept(segment.a + a, segment.a + b)


def _append(segments: list[Segment], segment: Segment) -> None:
    """Add a segment; empty ones vanish, one that goes on where the last ends joins it."""
    last = segments[-1] if segments else None
    if isinstance(segment, Inserted):
        if isinstance(last, Inserted):
            segments[-1] = Inserted(last.text + segment.text)
        elif segment.text:
            segments.append(segment)
    elif segment.a < segment.b:
        if isinstance(last, Kept) and last.b == segment.a:
            segments[-1] = Kept(last.a, segment.b)
        else:
            segments.append(segment)


def plain(segments: Iterable[Segment]) -> list[str | list[int]]:
    """Segments as JSON knows them: `[a, b]` or the inserted text."""
    return [s.text if isinstance(s, Inserted) else [s.a, s.b] for s in segments]


def from_plain(plain: Iterable[str | list[int]]) -> tuple[Segment, ...]:
    """Inverse of `plain`."""
    return tuple(Inserted(s) if isinstance(s, str) else Kept(s[0], s[1]) for s in plain)
