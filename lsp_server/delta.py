r"""Positions and changes of text, by the line rules of the LSP.

A line ends at `\r\n`, `\n` or `\r` and nowhere else (LSP 3.17, "Text Documents"). A position is
(line, char) with char in code points, counted from the start of the line with its line end
included: a place between `\r` and `\n`, which no client can name, is the char before the `\n`.
Every place in a text has exactly one position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Protocol

LINE_END = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


class Position(NamedTuple):
    """A place in a text, from 0; `char` in code points."""

    line: int
    char: int


class Reader(Protocol):
    """Whoever can read a stretch of a document's present text."""

    def slice(self, start: Position, end: Position) -> str:
        """The text from `start` up to `end`."""
        ...


def split_lines(text: str) -> list[str]:
    """The lines of `text` with their line ends; never empty, and the last has no line end."""
    lines = _LINE.findall(text)
    if not lines or lines[-1][-1] in "\r\n":
        lines.append("")
    return lines


def line_start(text: str, line: int) -> int:
    """Offset at which line `line` of `text` begins; the end of `text` if it has fewer lines."""
    if line <= 0:
        return 0
    for match in LINE_END.finditer(text):
        line -= 1
        if line == 0:
            return match.end()
    return len(text)


def advance(start: Position, text: str, count: int) -> Position:
    r"""The position after the first `count` characters of `text`, which stands at `start`.

    For `count == len(text)` a final `\r` counts as a line end of its own: the caller knows
    whether a `\n` follows.
    """
    line, begin = start.line, -start.char
    for match in LINE_END.finditer(text):
        if match.end() > count:
            break
        line, begin = line + 1, match.end()
    return Position(line, count - begin)


def common_prefix(a: str, b: str) -> int:
    """Number of characters that both begin with. O(that number), by halving."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def common_suffix(a: str, b: str, limit: int) -> int:
    """Number of characters, at most `limit`, that both end with."""
    low, high = 0, limit + 1
    while high - low > 1:
        middle = (low + high) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Delta:
    r"""One change: `removed`, which stood from `start` to `end`, gave way to `inserted`.

    `start` and `end` are positions before the change, `new_start` and `new_end` after it.
    `new_start` differs from `start` only where the change joined a `\r` and a `\n` into one line
    end, or parted them. `whole` marks a replacement of the whole text by the client, of which
    this is what is left after the common beginning and end.
    """

    start: Position
    end: Position
    new_start: Position
    new_end: Position
    removed: str
    inserted: str
    whole: bool = False

    def moved(self, position: Position) -> Position:
        """Where a position at or after `end` stands after the change. O(1)."""
        if position.line == self.end.line:
            return Position(self.new_end.line, self.new_end.char + position.char - self.end.char)
        return Position(position.line + self.new_end.line - self.end.line, position.char)

    def index(self, position: Position) -> int:
        """How much of `removed` stood before `position`: 0 to `len(removed)`."""
        if position <= self.start:
            return 0
        if position >= self.end:
            return len(self.removed)
        down = position.line - self.start.line
        if down == 0:
            return position.char - self.start.char
        return line_start(self.removed, down) + position.char

    def trimmed(self) -> Delta:
        """The same change without what `removed` and `inserted` begin and end with in common."""
        if not self.removed or not self.inserted:
            return self
        prefix = common_prefix(self.removed, self.inserted)
        suffix = common_suffix(self.removed, self.inserted, min(len(self.removed), len(self.inserted)) - prefix)
        if prefix == 0 and suffix == 0:
            return self
        old, new = len(self.removed) - suffix, len(self.inserted) - suffix
        return Delta(
            self._place(self.start, self.end, self.removed, prefix),
            self._place(self.start, self.end, self.removed, old),
            self._place(self.new_start, self.new_end, self.inserted, prefix),
            self._place(self.new_start, self.new_end, self.inserted, new),
            self.removed[prefix:old],
            self.inserted[prefix:new],
            self.whole,
        )

    @staticmethod
    def _place(start: Position, end: Position, text: str, count: int) -> Position:
        return end if count == len(text) else advance(start, text, count)
