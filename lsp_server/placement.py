"""Where an answer goes in the document, and how it looks there. Pure.

A rewrite takes the place of what was selected; a docstring goes under its definition's signature, a
commit message on top, every other draft under the notes that it was made from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from learner.exceptions import RedraftError
from learner.records import Offer
from lsp_server.delta import Position
from lsp_server.session import Session
from lsp_server.shown import Preview
from lsp_server.span import Span

_DEFINITION = re.compile(r"\s*(?:async\s+def|def|class)\b")


@dataclass(frozen=True, slots=True)
class Insertion:
    """Where a text goes: it replaces `start` to `end`, between `lead` and `tail`."""

    start: Position
    end: Position
    lead: str
    text: str
    tail: str

    @property
    def whole(self) -> str:
        """All that is put in."""
        return self.lead + self.text + self.tail


def insertion(session: Session, preview: Preview, selected: Span) -> Insertion:
    """Where an offer goes, as the document is now."""
    if preview.kind is None:
        return Insertion(selected.start, selected.end, "", _in(session, preview.offer.offered), "")
    return placed(session, selected, preview.offer, preview.kind)


def _in(session: Session, text: str) -> str:
    """A text with the document's own line ends."""
    return text.replace("\n", session.eol)


def _documents(session: Session, notes: Span, kind: str) -> bool:
    """Whether a draft is the docstring of the Python definition that the notes begin with."""
    first = session.document.line(notes.start.line)
    return kind == "docstring" and session.document.language == "python" and bool(_DEFINITION.match(first))


def shaped(session: Session, notes: Span, offer: Offer, kind: str) -> Offer:
    """The offer as it will stand: a docstring without quotes, indented as its definition's body is."""
    if not _documents(session, notes, kind):
        return offer
    indent = _indent(session, notes)
    body = offer.offered.strip().strip('"').strip().replace('"""', "'''")
    body = f"\n{indent}".join(part.strip() for part in body.split("\n"))
    body = re.sub(r"[ \t]+\n", "\n", body)
    if not body:
        raise RedraftError("the model had nothing to offer; try again with another selection")
    return replace(offer, offered=body)


def _indent(session: Session, notes: Span) -> str:
    """White space before the body of the definition that the notes begin with: the body's own, if it has one."""
    document = session.document
    own = _leading(document.line(notes.start.line))
    begin = _end_of_signature(session, notes.start.line) + 1
    for number in range(begin, min(begin + 20, document.line_count)):
        line = document.line(number)
        if line.strip():
            body = _leading(line)
            if body.startswith(own) and body != own:
                return body
            break
    return own + ("\t" if own.endswith("\t") else "    ")


def _leading(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def placed(session: Session, notes: Span, offer: Offer, kind: str) -> Insertion:
    """Where a draft goes: a docstring under the definition, a commit message on top, all else under the notes."""
    document, eol = session.document, session.eol
    text = _in(session, offer.offered)
    if _documents(session, notes, kind):
        at = _line_end(session, _end_of_signature(session, notes.start.line))
        return Insertion(at, at, f'{eol}{_indent(session, notes)}"""', text, '"""')
    if kind == "commit" and document.language in ("git-commit", "gitcommit"):
        at = Position(0, 0)
        return Insertion(at, at, "", text, eol)
    at = _line_end(session, notes.end.line)
    return Insertion(at, at, eol + eol, text, "")


def _line_end(session: Session, line: int) -> Position:
    return Position(line, len(session.document.line(line).rstrip("\r\n")))


def _end_of_signature(session: Session, line: int) -> int:
    """The line on which the definition that begins on `line` ends with a colon (at most 30 lines down)."""
    for number in range(line, min(line + 30, session.document.line_count)):
        if session.document.line(number).split("#")[0].rstrip().endswith(":"):
            return number
    return line
