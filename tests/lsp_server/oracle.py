"""A slow, obvious second opinion: a document as a list of characters that know where they come from.

Imports nothing from `lsp_server`. Places are plain offsets; every rule is a loop over characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

OUTSIDE_LEFT, BEFORE, PLACE, AFTER, OUTSIDE_RIGHT = range(5)


@dataclass
class Char:
    """A character of the document: its zone, and which character of the offer it is, if any."""

    text: str
    zone: int
    origin: int | None = None


def lines_of(text: str) -> list[tuple[int, int, int]]:
    """(start, end of content, end) of every line; only CR LF, LF and CR end one."""
    lines, start, i = [], 0, 0
    while i < len(text):
        if text[i] == "\r" and i + 1 < len(text) and text[i + 1] == "\n":
            lines.append((start, i, i + 2))
            i += 2
            start = i
        elif text[i] in "\r\n":
            lines.append((start, i, i + 1))
            i += 1
            start = i
        else:
            i += 1
    return [*lines, (start, len(text), len(text))]


def units(text: str, encoding: str) -> int:
    """Length of `text` in a client's units."""
    count = 0
    for char in text:
        code = ord(char)
        if encoding == "utf-8":
            count += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
        elif encoding == "utf-16":
            count += 2 if code > 0xFFFF else 1
        else:
            count += 1
    return count


def client_position(text: str, offset: int, encoding: str) -> tuple[int, int]:
    """The client's (line, character) of an offset; an offset inside a line end is its beginning."""
    lines = lines_of(text)
    number = max(i for i, (start, _, _) in enumerate(lines) if start <= offset)
    start, content, _ = lines[number]
    return number, units(text[start : min(offset, content)], encoding)


def nameable(text: str, offset: int) -> bool:
    """Whether a client can name the place: not between CR and LF."""
    return not (0 < offset < len(text) and text[offset - 1] == "\r" and text[offset] == "\n")


class Oracle:
    """One document and one offer in it."""

    def __init__(self, before: str, offered: str, behind: str, *, ghost: bool = False) -> None:
        self.offered = offered
        self.ghost = ghost
        self.chars = [Char(c, OUTSIDE_LEFT) for c in before]
        self.chars += [Char(c, PLACE, i) for i, c in enumerate(offered)]
        self.chars += [Char(c, OUTSIDE_RIGHT) for c in behind]

    @property
    def text(self) -> str:
        return "".join(c.text for c in self.chars)

    @property
    def place(self) -> str:
        return "".join(c.text for c in self.chars if c.zone == PLACE)

    @property
    def survivors(self) -> list[int]:
        """Which characters of the offer stand, in order."""
        return [c.origin for c in self.chars if c.origin is not None]

    def bounds(self) -> list[int]:
        """Offsets at which zones 1 to 4 begin."""
        return [sum(1 for c in self.chars if c.zone < zone) for zone in (BEFORE, PLACE, AFTER, OUTSIDE_RIGHT)]

    def count(self, zone: int) -> int:
        return sum(1 for c in self.chars if c.zone == zone)

    def apply(self, start: int, end: int, text: str) -> None:
        """Put `text` in place of characters `start` to `end`."""
        old = [c.text for c in self.chars[start:end]]
        head = 0
        while head < len(old) and head < len(text) and old[head] == text[head]:
            head += 1
        tail = 0
        while tail < min(len(old), len(text)) - head and old[-1 - tail] == text[-1 - tail]:
            tail += 1
        first, last = start + head, end - tail
        new = text[head : len(text) - tail]
        if not new and first == last:
            return
        if first > self.bounds()[3] or last < self.bounds()[0]:
            zone = OUTSIDE_RIGHT if first > self.bounds()[3] else OUTSIDE_LEFT
        else:
            zone = self.home((start, end), (first, last))
        touched = any(c.zone == PLACE for c in self.chars[first:last]) or (zone == PLACE and new != "")
        self.chars[first:last] = [Char(c, zone) for c in new]
        zones = [c.zone for c in self.chars]
        assert zones == sorted(zones), "the oracle put a character into a zone that is elsewhere"
        if touched:
            self.heal()
            self.cut()
            self.heal()

    def home(self, change: tuple[int, int], core: tuple[int, int]) -> int:
        """The zone for inserted text."""
        lost = [c.zone for c in self.chars[core[0] : core[1]]]
        if lost:
            if 2 * lost.count(PLACE) > len(lost):
                return PLACE
            best = OUTSIDE_RIGHT
            for zone in (OUTSIDE_LEFT, AFTER, BEFORE):
                if lost.count(zone) > lost.count(best):
                    best = zone
            return best
        at = core[0]
        _, start, end, _ = self.bounds()
        if at < start:
            return BEFORE
        if at > end:
            return AFTER
        if start < at < end:
            return PLACE
        covered = [c.zone for c in self.chars[change[0] : change[1]]]
        over_the_edge = (at == end and change[0] < at) or (at == start and change[1] > at)
        if over_the_edge and 2 * covered.count(PLACE) > len(covered):
            return PLACE
        if not self.survivors:
            return PLACE
        if at == end:
            return AFTER if self.survivors[-1] == len(self.offered) - 1 else PLACE
        return BEFORE if self.survivors[0] == 0 else PLACE

    def heal(self) -> None:
        """Inserted text that equals what was deleted just there is the offer's again."""
        placed = [c for c in self.chars if c.zone == PLACE]
        run: list[Char] = []
        last = -1
        for char in [*placed, Char("", PLACE, len(self.offered))]:
            if char.origin is None:
                run.append(char)
                continue
            if run and "".join(c.text for c in run) == self.offered[last + 1 : char.origin]:
                for i, fresh in enumerate(run):
                    fresh.origin = last + 1 + i
            run = []
            last = char.origin

    def cut(self) -> None:
        """Text at an end, where the offer's was deleted, ends at a blank line."""
        placed = [c for c in self.chars if c.zone == PLACE]
        text = self.place
        own = [i for i, c in enumerate(placed) if c.origin is not None]
        blanks = blank_lines(text)
        begin = own[-1] + 1 if own else 0
        gone_from = (placed[own[-1]].origin or 0) + 1 if own else 0
        keep = len(placed)
        if begin < len(placed):
            if not any(start >= gone_from for _, start, _ in blank_lines(self.offered)):
                keep = min([keep, *(max(begin, above) for above, start, _ in blanks if start >= begin)])
            if self.ghost:
                breaks = [begin + content for _, content, end in lines_of(text[begin:]) if content < end]
                allowed = len(lines_of(self.offered[gone_from:])) - 1
                if len(breaks) > allowed:
                    keep = min(keep, breaks[allowed])
        for char in placed[keep:]:
            char.zone = AFTER
        gone_to = (placed[own[0]].origin or 0) if own else 0
        if own and own[0] > 0 and not any(start <= gone_to for _, start, _ in blank_lines(self.offered)):
            drop = max([0, *(min(end, own[0]) for _, start, end in blanks if start <= own[0])])
            for char in placed[:drop]:
                char.zone = BEFORE


def blank_lines(text: str) -> list[tuple[int, int, int]]:
    """(end of content of the line above, start, end) of lines of nothing but white space and a line end."""
    lines = lines_of(text)
    found = []
    for above, (start, content, end) in pairwise(lines):
        if text[start:content].strip(" \t") == "" and content < end:
            found.append((above[1], start, end))
    return found
