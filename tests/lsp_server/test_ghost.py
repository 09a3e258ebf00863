"""Ghost text: what becomes of it is told from the text, whatever change the client sends."""

from __future__ import annotations

import pytest

from lsp_server.delta import Position
from lsp_server.document import Document
from lsp_server.ghost import Ghost, GhostState
from lsp_server.kept import verdict
from lsp_server.span import Span


class Screen:
    """A document with ghost text shown at an offset, over `over` characters before it."""

    def __init__(self, text: str, at: int, ghost: str, over: int = 0) -> None:
        self.document = Document("file:///a", text, 1, "plaintext", "utf-32")
        start, end = self.document.position(at - over), self.document.position(at)
        self.ghost = Ghost(ghost, start, end, self.document)

    def edit(self, start: int, end: int, text: str) -> GhostState:
        places = self.document.position(start), self.document.position(end)
        return self.ghost.apply(self.document.replace(*places, text), self.document)


def test_changes_elsewhere_leave_it_untouched() -> None:
    screen = Screen("one\ntwo \nthree", 8, "fish")
    assert screen.edit(0, 0, "zero\n") is GhostState.UNTOUCHED
    assert screen.edit(14, 15, "T") is GhostState.UNTOUCHED
    assert screen.ghost.start == Position(2, 4)
    assert screen.ghost.remainder == "fish"


def test_typing_through_leaves_the_remainder() -> None:
    screen = Screen("a ", 2, "fish")
    assert [screen.edit(2 + i, 2 + i, c) for i, c in enumerate("fi")] == [GhostState.TYPED_THROUGH] * 2
    assert screen.ghost.remainder == "sh"
    assert screen.ghost.through(screen.document, Position(0, 4)) == "sh"
    assert screen.ghost.through(screen.document, Position(0, 3)) == "ish"
    assert screen.ghost.through(screen.document, Position(0, 1)) is None
    assert screen.edit(3, 4, "") is GhostState.TYPED_THROUGH
    assert screen.ghost.remainder == "ish"
    assert screen.edit(2, 3, "") is GhostState.UNTOUCHED
    assert screen.ghost.remainder == "fish"


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [(2, 2, "print(x)"), (0, 2, "> print(x)"), (0, 2, "> print(x) # and typing on")],
    ids=["insertion", "the whole line", "with what was typed next"],
)
def test_accepted_by_whatever_change(start: int, end: int, text: str) -> None:
    screen = Screen("> \nend", 2, "print(x)")
    assert screen.edit(start, end, text) is GhostState.ACCEPTED
    span = screen.ghost.span(screen.document)
    assert span.text == screen.document.slice(span.start, span.end) == "print(x)"


def test_accepted_over_a_typed_prefix_and_undone() -> None:
    screen = Screen("> pri", 5, "print(x)", over=3)
    assert screen.edit(5, 5, "nt(x)") is GhostState.ACCEPTED  # minimised: only what is new
    span: Span = screen.ghost.span(screen.document)
    assert (span.text, span.replaced) == ("print(x)", "pri")
    earlier = span
    delta = screen.document.replace(Position(0, 5), Position(0, 10), "")
    span = span.apply(delta).judged(earlier, screen.document)
    assert verdict(span, screen.document).outcome == "rejected"


def test_typed_to_the_end_is_accepted() -> None:
    screen = Screen("", 0, "ab")
    assert screen.edit(0, 0, "a") is GhostState.TYPED_THROUGH
    assert screen.edit(1, 1, "b") is GhostState.ACCEPTED
    assert screen.ghost.span(screen.document).replaced == ""


@pytest.mark.parametrize(
    ("ghost", "start", "text"),
    [("\nfoo", 2, "foo\n"), ("\nfoo", 1, "\nfoo")],
    ids=["as a line before the next", "as text after the line"],
)
def test_an_insertion_that_could_stand_in_two_places(ghost: str, start: int, text: str) -> None:
    screen = Screen("x\ny", 1, ghost)
    assert screen.edit(start, start, text) is GhostState.ACCEPTED
    assert screen.document.text() == "x\nfoo\ny"


def test_the_same_told_from_the_line_above() -> None:
    screen = Screen("x\ny", 2, "foo\n")
    assert screen.edit(1, 1, "\nfoo") is GhostState.ACCEPTED
    assert screen.ghost.start == Position(1, 0)


def test_text_that_stood_there_before_accepts_nothing() -> None:
    screen = Screen("a foo", 2, "foo")
    assert screen.edit(0, 0, "b") is GhostState.UNTOUCHED
    assert screen.edit(3, 3, "f") is GhostState.TYPED_THROUGH


def test_accepted_by_word_by_line_then_whole() -> None:
    screen = Screen("", 0, "the quick\nbrown fox")
    assert screen.edit(0, 0, "the") is GhostState.PARTIAL
    assert (screen.ghost.taken, screen.ghost.remainder) == (3, " quick\nbrown fox")
    span = screen.ghost.span(screen.document)
    assert (span.offered, span.rest) == ("the", " quick\nbrown fox")
    assert screen.edit(3, 3, " quick") is GhostState.PARTIAL
    assert screen.edit(0, 9, "the quick\nbrown fox") is GhostState.ACCEPTED  # VS Code replaces the prefix
    assert screen.ghost.taken == 19


def test_a_quick_typist_within_a_word_accepts_nothing() -> None:
    assert Screen("", 0, "remarkable").edit(0, 0, "rema") is GhostState.TYPED_THROUGH


def test_closing_brackets_of_the_editor_do_not_count() -> None:
    screen = Screen("f", 1, "(a, b)")
    assert screen.edit(1, 1, "()") is GhostState.TYPED_THROUGH
    assert screen.ghost.remainder == "a, b)"
    assert screen.edit(2, 2, "a") is GhostState.TYPED_THROUGH
    assert screen.edit(1, 4, "(a, b)") is GhostState.ACCEPTED


def test_what_was_typed_instead() -> None:
    screen = Screen("let ", 4, "fish")
    assert screen.edit(4, 4, "f") is GhostState.TYPED_THROUGH
    assert screen.edit(5, 5, "r") is GhostState.DEPARTED
    assert screen.edit(6, 6, "og = 1;") is GhostState.DEPARTED
    assert screen.ghost.typed(screen.document) == "frog = 1;"
    assert screen.ghost.typed(screen.document, limit=4) == "frog"
    assert screen.ghost.remainder == ""


def test_backspacing_to_the_offer_brings_it_back() -> None:
    screen = Screen("let ", 4, "fish")
    assert screen.edit(4, 4, "fr") is GhostState.DEPARTED
    assert screen.edit(5, 6, "") is GhostState.TYPED_THROUGH
    assert screen.ghost.remainder == "ish"


def test_deleting_across_its_place_loses_it() -> None:
    screen = Screen("let it be", 4, "fish")
    assert screen.edit(2, 6, "") is GhostState.DEPARTED
    assert screen.edit(2, 2, "fish") is GhostState.DEPARTED
    assert screen.ghost.through(screen.document, Position(0, 2)) is None


def test_backspacing_before_its_place_moves_it() -> None:
    screen = Screen("let  x", 4, "fish")
    assert screen.edit(3, 4, "") is GhostState.UNTOUCHED
    assert screen.ghost.start == Position(0, 3)
    assert screen.edit(3, 3, "fish") is GhostState.ACCEPTED


def test_nothing_taken_has_no_span() -> None:
    screen = Screen("", 0, "fish")
    with pytest.raises(ValueError, match="no character"):
        screen.ghost.span(screen.document)


def test_a_long_paste_is_not_compared_whole() -> None:
    screen = Screen("", 0, "fish")
    assert screen.edit(0, 0, "x" * 100_000) is GhostState.DEPARTED
    assert len(screen.ghost.typed(screen.document)) == 2000
