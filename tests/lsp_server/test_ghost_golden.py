"""Stories of ghost text, one readable file each in `golden/ghost/`, told in all three position encodings.

A file gives the document, the cursor (`at`), the ghost text, what happens one second after the other,
and what must be recorded of it once the document is closed. What happens is a change as the client
sends it, or an `event`: `offer` (another ghost text is shown at the cursor), `reject` (in words).
Positions are line:char in code points and are turned into the client's units here.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from sample_offers import offer
from test_kept_golden import change_of, position_of

from lsp_server.document import Document, Encoding
from lsp_server.session import Session

CASES = sorted(Path(__file__).with_name("golden").glob("ghost/*.toml"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_story(path: Path, encoding: Encoding) -> None:
    case: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    session = Session(Document("file:///story", case["document"], 1, "plaintext", encoding), "w")

    def show(text: str, at: str, identifier: str, now: float) -> None:
        place = session.document.from_client(position_of(session.document.text(), at, encoding))
        session.show(offer(text, identifier), text, place, place, now, recorded=True)

    show(case["offer"], case["at"], "first", 0.0)
    for now, step in enumerate(case["steps"], start=1):
        if step.get("event") == "offer":
            show(step["text"], step["at"], "second", float(now))
        elif step.get("event") == "reject":
            assert session.reject_ghost("first", float(now))
        else:
            change = change_of(session.document.text(), step["range"], step["text"], encoding)
            session.change(session.document.version + 1, [change], float(now))
    session.closed(len(case["steps"]) + 1.0, 60.0, 600.0)
    expect = case["expect"]
    assert session.document.text() == expect["document"]
    (found,) = (s for s in session.settled if s.offer_id == "first")
    told = {
        "outcome": found.outcome,
        "settled_by": found.settled_by,
        "kept": found.kept,
        "offered": found.offered,
        "typed": found.typed,
        "shown_ms": found.shown_ms,
    }
    assert {name: value for name, value in told.items() if value is not None} == {
        name: value for name, value in expect.items() if name != "document"
    }


def test_there_are_stories() -> None:
    assert len(CASES) >= 8
