r"""Our mirror of an open document: the client's text, changed as the client says.

pygls splits lines at characters that are no line ends to the LSP (`\f`, U+2028 and others) and
rebuilds the whole text at every change. Here a change costs what it touches plus one splice of
the list of lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from learner.exceptions import RedraftError
from lsp_server.delta import Delta, Position, advance, common_prefix, common_suffix, split_lines

if TYPE_CHECKING:
    from lsprotocol import types

Encoding = Literal["utf-8", "utf-16", "utf-32"]
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class DocumentError(RedraftError):
    """A change or position does not fit the document; the document is as it was."""


class Document:
    """The text of one open document.

    `encoding` is the unit of the client's positions (LSP 3.17, PositionEncodingKind). Everything
    else counts code points. The text may hold NUL and lone surrogates.
    """

    def __init__(self, uri: str, text: str, version: int, language: str, encoding: Encoding) -> None:
        self.uri = uri
        self.version = version
        self.language = language
        self.encoding: Encoding = encoding
        self._lines = split_lines(text)

    @property
    def line_count(self) -> int:
        """Number of lines, at least 1; a final line end is followed by an empty line."""
        return len(self._lines)

    @property
    def end(self) -> Position:
        """The position after the last character."""
        return Position(len(self._lines) - 1, len(self._lines[-1]))

    def text(self) -> str:
        """The whole text. O(document)."""
        return "".join(self._lines)

    def line(self, number: int) -> str:
        """Line `number`, from 0, with its line end. Raises DocumentError if there is none."""
        if not 0 <= number < len(self._lines):
            raise self._error(f"there is no line {number}, the document has {len(self._lines)}")
        return self._lines[number]

    def slice(self, start: Position, end: Position) -> str:
        """The text from `start` up to `end`; what lies outside the document is empty."""
        if start >= end:
            return ""
        if start.line == end.line:
            return self._lines[start.line][start.char : end.char] if start.line < len(self._lines) else ""
        lines = self._lines[start.line : end.line + 1]
        if not lines:
            return ""
        if end.line < len(self._lines):
            lines[-1] = lines[-1][: end.char]
        lines[0] = lines[0][start.char :]
        return "".join(lines)

    def read(self, start: Position, count: int) -> str:
        """Up to `count` characters from `start`. O(count)."""
        pieces: list[str] = []
        char = start.char
        for number in range(start.line, len(self._lines)):
            if count <= 0:
                break
            pieces.append(self._lines[number][char : char + count])
            count -= len(pieces[-1])
            char = 0
        return "".join(pieces)

    def after(self, start: Position, count: int) -> Position:
        """The position `count` characters after `start`, at most the end. O(lines between)."""
        line, char = start.line, start.char + count
        while line < len(self._lines) - 1 and char >= len(self._lines[line]):
            char -= len(self._lines[line])
            line += 1
        return Position(line, min(char, len(self._lines[line])))

    def before(self, end: Position, count: int) -> Position:
        """The position `count` characters before `end`, at least the beginning. O(lines between)."""
        line, char = end.line, end.char - count
        while char < 0 and line > 0:
            line -= 1
            char += len(self._lines[line])
        return Position(line, max(0, char))

    def offset(self, position: Position) -> int:
        """Number of characters before `position`. O(lines)."""
        return sum(map(len, self._lines[: position.line])) + position.char

    def position(self, offset: int) -> Position:
        """The position after `offset` characters. O(lines)."""
        return self.after(Position(0, 0), offset)

    def advance_version(self, version: int) -> None:
        """Note the version that a `didChange` announces.

        Raises DocumentError when it lies before the one we have: a change was lost or reordered.
        """
        if version < self.version:
            raise self._error(f"version {version} came after version {self.version}: close and open it again")
        self.version = version

    def from_client(self, position: types.Position) -> Position:
        """A position of the client's, in code points.

        Past the end of the line is the end of the line, inside a character its beginning, and the
        line after the last the end of the document. Raises DocumentError for anything further.
        """
        line, units = position.line, position.character
        if line < 0 or units < 0:
            raise self._error(f"position {line}:{units} is negative")
        if line == len(self._lines):
            return self.end
        if line > len(self._lines):
            raise self._error(f"position {line}:{units} lies past the last line, {len(self._lines) - 1}")
        return Position(line, self._chars(_content(self._lines[line]), units))

    def to_client(self, position: Position) -> types.Position:
        """A position in the client's units; a place inside a line end is the end of the line."""
        from lsprotocol import types

        before = _content(self._lines[position.line])[: position.char]
        return types.Position(line=position.line, character=self._units(before))

    def apply(self, change: types.TextDocumentContentChangeEvent) -> Delta:
        """Apply one content change of a `didChange`.

        Raises DocumentError for an impossible range and leaves the document as it was.
        """
        span: types.Range | None = getattr(change, "range", None)
        if span is None:
            return self._replace_all(change.text)
        first, last = (span.start.line, span.start.character), (span.end.line, span.end.character)
        if first > last:
            raise self._error(f"a range ends at {last} before it begins at {first}")
        start, end = self.from_client(span.start), self.from_client(span.end)
        return self.replace(start, end, change.text)

    def replace(self, start: Position, end: Position, text: str) -> Delta:
        """Put `text` in place of what stands from `start` to `end`. O(both), and one list splice."""
        lines = self._lines
        removed = self.slice(start, end)
        before, rest = lines[start.line][: start.char], lines[end.line][end.char :]
        first, new_start = start.line, start
        if start.char == 0 and first > 0 and lines[first - 1][-1] == "\r" and (text or rest)[:1] == "\n":
            first -= 1  # the line above ended in \r and now ends in \r\n
            before = lines[first]
            new_start = Position(first, len(before))
        if first == end.line and "\n" not in text and "\r" not in text:
            lines[first] = before + text + rest
        else:
            lines[first : end.line + 1] = self._joined(before + text + rest, end.line)
        follows = "\n" if rest[:1] == "\n" else ""  # then a \r at the end of `text` is half a line end
        new_end = advance(new_start, text + follows, len(text))
        return Delta(start, end, new_start, new_end, removed, text)

    def _joined(self, text: str, last: int) -> list[str]:
        """The lines of `text` that take the place of lines up to `last`."""
        new = split_lines(text)
        if last < len(self._lines) - 1 and new[-1] == "":
            new.pop()  # `text` ends with the line end of a line that others follow
        return new

    def _replace_all(self, text: str) -> Delta:
        """Take over a whole new text as the smallest single change. O(document)."""
        old, new = self._lines, split_lines(text)
        shorter = min(len(old), len(new))
        top = 0
        while top < shorter and old[top] == new[top]:
            top += 1
        bottom = 0
        while bottom < shorter - top and old[-1 - bottom] == new[-1 - bottom]:
            bottom += 1
        a, b = "".join(old[top : len(old) - bottom]), "".join(new[top : len(new) - bottom])
        prefix = common_prefix(a, b)
        while prefix and a[prefix - 1] == "\r" and "\n" in (a[prefix : prefix + 1], b[prefix : prefix + 1]):
            prefix -= 1  # never part a \r\n
        suffix = common_suffix(a, b, min(len(a), len(b)) - prefix)
        while suffix and a[len(a) - suffix] == "\n" and "\r" in (_before(a, suffix), _before(b, suffix)):
            suffix -= 1
        removed, inserted = a[prefix : len(a) - suffix], b[prefix : len(b) - suffix]
        origin = Position(top, 0)
        if top == len(old) == len(new):  # nothing changed
            origin = self.end
        start = advance(origin, a, prefix)
        end, new_end = advance(origin, a, len(a) - suffix), advance(origin, b, len(b) - suffix)
        self._lines = new
        return Delta(start, end, start, new_end, removed, inserted, whole=True)

    def _chars(self, content: str, units: int) -> int:
        """Code points in the first `units` units of a line without its line end."""
        if self.encoding == "utf-32" or content.isascii():
            return min(units, len(content))
        if self.encoding == "utf-8":
            coded = content.encode("utf-8", "surrogatepass")
            while 0 < units < len(coded) and coded[units] & 0xC0 == 0x80:
                units -= 1
            return len(coded[:units].decode("utf-8", "surrogatepass"))
        extra = 0  # characters so far that take two units
        for match in _ASTRAL.finditer(content):
            if match.start() + extra >= units:
                break
            if match.start() + extra + 1 == units:
                return match.start()
            extra += 1
        return min(units - extra, len(content))

    def _units(self, text: str) -> int:
        """Length of `text` in the client's units."""
        if self.encoding == "utf-32" or text.isascii():
            return len(text)
        if self.encoding == "utf-8":
            return len(text.encode("utf-8", "surrogatepass"))
        return len(text.encode("utf-16-le", "surrogatepass")) // 2

    def _error(self, reason: str) -> DocumentError:
        return DocumentError(f"{self.uri} (version {self.version}): {reason}")


def _content(line: str) -> str:
    """A line without its line end."""
    return line.rstrip("\r\n")


def _before(text: str, suffix: int) -> str:
    """The character of `text` before its last `suffix` characters, or nothing."""
    at = len(text) - suffix
    return text[at - 1 : at] if at else ""
