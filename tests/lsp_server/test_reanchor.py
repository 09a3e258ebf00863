"""Finding an offer again after a restart."""

from __future__ import annotations

import pytest
from desk import Desk

from learner.records import Outcome
from lsp_server.document import Document
from lsp_server.kept import Tracked, verdict
from lsp_server.reanchor import reanchor, resumed


def test_state_survives_the_store_on_another_clock() -> None:
    desk = Desk("a ").edit(4, 5, "X", now=7.0)
    again = Tracked.from_json(desk.tracked.to_json(now=10.0), now=1000.0)
    assert again.span == desk.tracked.span
    assert (again.placed_at, again.touched_at, again.first_change_at) == (990.0, 997.0, 997.0)


TEXT = "Alpha line\n" * 3 + "The offer that stands here is long enough.\n" + "Omega line\n" * 3


@pytest.mark.parametrize(
    ("text", "near", "region", "found"),
    [
        ("abc abc", 4, "abc", (4, 7)),
        ("abc abc", 1, "abc", None),  # too short to be looked for
        (TEXT, 0, "The offer that stands", (33, 54)),
        (TEXT, 0, "Alpha line", (0, 10)),
        (TEXT, 5, "Alpha line", None),  # three of them
        (TEXT, 33, "The offer which stands here is long enough.", (33, 75)),
        (TEXT, 33, "Something else altogether that was here once.", None),
        (TEXT, 0, "", None),
        ("", 0, "The offer which stands here is long enough.", None),
    ],
)
def test_reanchor(text: str, near: int, region: str, found: tuple[int, int] | None) -> None:
    assert reanchor(text, near, region) == found


def test_two_likenesses_are_ambiguous() -> None:
    copies = "The offer that stands here is long enough.\n" * 2
    assert reanchor("xx" + copies, 0, "The offer which stands here is long enough.") is None


def _reopened(text: str) -> Document:
    return Document("file:///a", text, 1, "plaintext", "utf-32")


def test_resume_in_place_keeps_everything() -> None:
    desk = Desk("a ", behind="\n").edit(15, 15, " more").edit(3, 4, "H")
    span = desk.tracked.span
    assert resumed(span, _reopened(desk.document.text())) == span


def test_resume_elsewhere_with_changes_in_between() -> None:
    offer = "A sentence that was offered, and then another one."
    desk = Desk("top\n", offer=offer, behind="\nend")
    document = _reopened("new line\nanother\ntop\nA sentence that was offered; then yet another one.\nend")
    span = resumed(desk.tracked.span, document)
    assert span is not None
    assert span.text == document.slice(span.start, span.end) == "A sentence that was offered; then yet another one."
    found = verdict(span, document)
    assert found.outcome is Outcome.EDITED
    assert found.kept_chars + found.deleted_chars == len(offer)
    assert found.deleted_chars <= 6


def test_resume_gives_up_when_the_offer_is_gone() -> None:
    assert resumed(Desk("a ").tracked.span, _reopened("nothing of it")) is None
    assert resumed(Desk("a\n\n").tracked.span, _reopened("")) is None


def test_resume_of_an_undone_offer_needs_no_place() -> None:
    span = Desk("a ").edit(2, 15, "").tracked.span
    assert resumed(span, _reopened("")) == span
