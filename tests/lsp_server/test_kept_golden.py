"""Whole stories, one readable file each in `golden/`, told in all three position encodings.

A file gives the document, where the offer is put (`place`, a position or a range), the offer, the
changes as the client sends them (`by = "machine"`: a formatter or a branch switch), and what must be
recorded. Positions are line:char in code points and are turned into the client's units here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from oracle import lines_of, units

from lsp_server.document import Document, Encoding
from lsp_server.kept import Tracker
from lsp_server.span import Span

CASES = sorted(Path(__file__).with_name("golden").glob("*.toml"))


def _position(text: str, place: str, encoding: Encoding) -> types.Position:
    line, char = map(int, place.split(":"))
    start, content, _ = lines_of(text)[line]
    assert start + char <= content, f"{place} lies past the end of its line"
    return types.Position(line=line, character=units(text[start : start + char], encoding))


def _change(text: str, place: str, new: str, encoding: Encoding) -> types.TextDocumentContentChangePartial:
    first, _, last = place.partition("-")
    start, end = _position(text, first, encoding), _position(text, last or first, encoding)
    return types.TextDocumentContentChangePartial(range=types.Range(start=start, end=end), text=new)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_story(path: Path, encoding: Encoding) -> None:
    case: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    document = Document("file:///story", case["document"], 1, "plaintext", encoding)
    delta = document.apply(_change(case["document"], case["place"], case["offer"], encoding))
    span = Span.placed(
        case["offer"],
        delta.new_start,
        delta.new_end,
        replaced=delta.removed,
        ghost=case.get("kind") == "ghost",
    )
    tracker = Tracker()
    tracker.place("offer", span, now=0.0)
    for number, change in enumerate(case["changes"], start=1):
        new = document.apply(_change(document.text(), change["range"], change["text"], encoding))
        tracker.apply([new], document, float(number), machine=change.get("by") == "machine")
    expect = case["expect"]
    assert document.text() == expect["document"]
    found = tracker.settle("offer", document)
    assert (found.outcome, found.kept) == (expect["outcome"], expect.get("kept"))
    assert {
        "kept": found.kept_chars,
        "modified": found.modified_chars,
        "deleted": found.deleted_chars,
        "appended": found.appended_chars,
    } == expect["chars"]


def test_there_are_stories() -> None:
    assert len(CASES) >= 15
