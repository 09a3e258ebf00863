"""Whole stories, one readable file each in `golden/`, told in all three position encodings.

A file gives the document, where the offer is put (`place`, a position or a range), the offer, the
changes as the client sends them (`by = "machine"`: a formatter or a branch switch; `by = "restart"`:
made while no server ran), and what must be recorded. Instead of a change there may be an `event`, save,
close, commit or time, `at` so many seconds after the offer: it settles or does not. Positions are
line:char in code points and are turned into the client's units here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from oracle import lines_of, units

from learner.records import SettledBy
from lsp_server.delta import Position
from lsp_server.document import Document, Encoding
from lsp_server.kept import Tracked, Tracker
from lsp_server.reanchor import resumed
from lsp_server.span import Span

CASES = sorted(Path(__file__).with_name("golden").glob("*.toml"))


def position_of(text: str, place: str, encoding: Encoding) -> types.Position:
    line, char = map(int, place.split(":"))
    start, content, _ = lines_of(text)[line]
    assert start + char <= content, f"{place} lies past the end of its line"
    return types.Position(line=line, character=units(text[start : start + char], encoding))


def change_of(text: str, place: str, new: str, encoding: Encoding) -> types.TextDocumentContentChangePartial:
    first, _, last = place.partition("-")
    start, end = position_of(text, first, encoding), position_of(text, last or first, encoding)
    return types.TextDocumentContentChangePartial(range=types.Range(start=start, end=end), text=new)


def _cursor(event: dict[str, Any], tracker: Tracker) -> Position | None:
    """Where the user is: the event's `cursor` in code points, or where the last change was."""
    if "cursor" not in event:
        return tracker.cursor
    line, char = map(int, event["cursor"].split(":"))
    return Position(line, char)


def _restarted(tracker: Tracker, document: Document, at: float) -> Tracker:
    """A new server's tracker, which finds what the old one wrote down in the document as it stands now."""
    tracked = Tracked.from_json(tracker.open["offer"].to_json(at), at)
    span = resumed(tracked.span, document)
    assert span is not None
    tracked.span = span
    again = Tracker()
    again.resume("offer", tracked)
    return again


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_story(path: Path, encoding: Encoding) -> None:
    case: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    document = Document("file:///story", case["document"], 1, "plaintext", encoding)
    delta = document.apply(change_of(case["document"], case["place"], case["offer"], encoding))
    span = Span.placed(
        case["offer"],
        delta.new_start,
        delta.new_end,
        replaced=delta.removed,
        ghost=case.get("kind") == "ghost",
    )
    tracker = Tracker()
    tracker.place("offer", span, now=0.0)
    settled: SettledBy | None = None
    for number, change in enumerate(case["changes"], start=1):
        at = float(change.get("at", number))
        if "event" in change:
            assert settled is None, "it settled before"
            occasion = None if change["event"] == "time" else SettledBy(change["event"])
            tracker.cursor = _cursor(change, tracker)
            settled = dict(tracker.due(at, 60.0, 600.0, occasion)).get("offer")
            continue
        new = document.apply(change_of(document.text(), change["range"], change["text"], encoding))
        if change.get("by") == "restart":
            tracker = _restarted(tracker, document, at)
        else:
            tracker.apply([new], document, at, machine=change.get("by") == "machine")
    expect = case["expect"]
    assert document.text() == expect["document"]
    assert settled == expect.get("settled_by")
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
