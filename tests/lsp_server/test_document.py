"""The mirror: line rules, encodings, clamping, errors, one delta per change."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from lsprotocol import types

from learner.exceptions import RedraftError
from lsp_server.delta import Delta, Position, split_lines
from lsp_server.document import Document, DocumentError, Encoding


def _document(text: str, encoding: Encoding = "utf-16") -> Document:
    return Document("file:///a.txt", text, 3, "plaintext", encoding)


def _range(a: int, b: int, c: int, d: int) -> types.Range:
    return types.Range(start=types.Position(line=a, character=b), end=types.Position(line=c, character=d))


def _put(document: Document, span: types.Range, text: str) -> Delta:
    return document.apply(types.TextDocumentContentChangePartial(range=span, text=text))


def _lines(document: Document) -> list[str]:
    return [document.line(i) for i in range(document.line_count)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a\n", ["a\n", ""]),
        ("a\r\nb\rc\nd", ["a\r\n", "b\r", "c\n", "d"]),
        ("\r\r\n\n", ["\r", "\r\n", "\n", ""]),
        ("a\fb\vc\x1cd\x85e\u2028f\u2029g", ["a\fb\vc\x1cd\x85e\u2028f\u2029g"]),
        ("\0\ud800\n\udc00", ["\0\ud800\n", "\udc00"]),
    ],
)
def test_lines_end_only_where_the_lsp_says(text: str, lines: list[str]) -> None:
    assert split_lines(text) == lines
    assert _document(text).text() == text


@pytest.mark.parametrize(
    ("encoding", "character", "char"),
    [
        ("utf-8", 2, 1),
        ("utf-8", 3, 1),  # inside é
        ("utf-8", 6, 2),  # inside the emoji
        ("utf-8", 8, 3),
        ("utf-16", 2, 2),
        ("utf-16", 3, 2),  # inside the surrogate pair
        ("utf-16", 4, 3),
        ("utf-32", 3, 3),
        ("utf-8", 99, 4),
        ("utf-16", 99, 4),
        ("utf-32", 99, 4),
    ],
)
def test_positions_count_in_the_clients_units(encoding: Encoding, character: int, char: int) -> None:
    document = _document("\u0301é🎉x\r\nnext", encoding)
    assert document.from_client(types.Position(line=0, character=character)) == Position(0, char)


@pytest.mark.parametrize(("encoding", "character"), [("utf-8", 8), ("utf-16", 4), ("utf-32", 3)])
def test_positions_go_back_to_the_client(encoding: Encoding, character: int) -> None:
    document = _document("\u0301é🎉x\r\nnext", encoding)
    assert document.to_client(Position(0, 3)) == types.Position(line=0, character=character)
    assert document.to_client(Position(0, 5)) == types.Position(line=0, character=character + 1)  # inside the line end


def test_a_line_past_the_last_is_the_end_and_no_further() -> None:
    document = _document("a\nbc")
    assert document.from_client(types.Position(line=2, character=0)) == Position(1, 2)
    with pytest.raises(DocumentError, match=r"file:///a\.txt \(version 3\).*past the last line"):
        document.from_client(types.Position(line=3, character=0))


@pytest.mark.parametrize(
    "place",
    [(0, 3, 0, 1), (1, 0, 0, 2), (0, -1, 0, 2), (-1, 0, 0, 0), (0, 0, 7, 0)],
    ids=["reversed", "reversed lines", "negative char", "negative line", "past the end"],
)
def test_an_impossible_range_leaves_the_document_alone(place: tuple[int, int, int, int]) -> None:
    # Plain objects: lsprotocol itself refuses to build a negative position.
    a, b, c, d = place
    span = SimpleNamespace(start=SimpleNamespace(line=a, character=b), end=SimpleNamespace(line=c, character=d))
    document = _document("abcd\nef")
    with pytest.raises(DocumentError):
        document.apply(SimpleNamespace(range=span, text="x"))
    assert document.text() == "abcd\nef"


def test_a_document_error_is_one_of_ours() -> None:
    assert issubclass(DocumentError, RedraftError)
    with pytest.raises(DocumentError, match="no line 4"):
        _document("a").line(4)


def test_versions_do_not_go_backwards() -> None:
    document = _document("a")
    document.advance_version(5)
    with pytest.raises(DocumentError, match="version 4 came after version 5"):
        document.advance_version(4)
    assert document.version == 5


def test_a_change_reports_where_it_was_and_where_it_went() -> None:
    document = _document("one\ntwo\nthree")
    delta = _put(document, _range(0, 1, 1, 2), "🎉\nx")
    assert delta == Delta(Position(0, 1), Position(1, 2), Position(0, 1), Position(1, 1), "ne\ntw", "🎉\nx")
    assert _lines(document) == ["o🎉\n", "xo\n", "three"]
    assert delta.moved(Position(1, 3)) == Position(1, 2)
    assert delta.moved(Position(2, 4)) == Position(2, 4)


def test_cr_and_lf_that_meet_become_one_line_end() -> None:
    document = _document("a\nb")
    delta = _put(document, _range(0, 1, 0, 1), "x\r")
    assert _lines(document) == ["ax\r\n", "b"]
    assert delta.new_end == Position(0, 3)
    assert delta.moved(Position(0, 1)) == Position(0, 3)


def test_lf_typed_after_a_lone_cr_joins_it() -> None:
    document = _document("a\rb")
    delta = _put(document, _range(1, 0, 1, 0), "\nc")
    assert _lines(document) == ["a\r\n", "cb"]
    assert (delta.start, delta.new_start, delta.new_end) == (Position(1, 0), Position(0, 2), Position(1, 1))


def test_what_parted_cr_and_lf_is_deleted() -> None:
    document = _document("a\rbb\nc")
    delta = _put(document, _range(1, 0, 1, 2), "")
    assert _lines(document) == ["a\r\n", "c"]
    assert (delta.new_start, delta.new_end) == (Position(0, 2), Position(0, 2))
    assert delta.moved(Position(2, 1)) == Position(1, 1)


def test_a_line_end_is_joined_at_the_end_of_the_document() -> None:
    document = _document("a\r")
    _put(document, _range(1, 0, 1, 0), "\n")
    assert _lines(document) == ["a\r\n", ""]


@pytest.mark.parametrize(
    ("old", "new", "removed", "inserted", "start"),
    [
        ("a\nbcd\ne", "a\nbXd\ne", "c", "X", Position(1, 1)),
        ("a\nb", "a\nb", "", "", Position(1, 1)),
        ("a\n", "a\nb\n", "", "b\n", Position(1, 0)),
        ("aaa", "aaaa", "", "a", Position(0, 3)),
        ("a\r\nb", "a\rb", "\r\n", "\r", Position(0, 1)),
        ("a\r\nb", "a\nb", "\r\n", "\n", Position(0, 1)),
        ("a\rb\nc", "a\r\nc", "\rb\n", "\r\n", Position(0, 1)),
        ("", "x", "", "x", Position(0, 0)),
        ("x\ny", "", "x\ny", "", Position(0, 0)),
    ],
)
def test_a_whole_text_is_the_smallest_single_change(
    old: str, new: str, removed: str, inserted: str, start: Position
) -> None:
    document = _document(old)
    delta = document.apply(types.TextDocumentContentChangeWholeDocument(text=new))
    assert (delta.removed, delta.inserted, delta.start, delta.whole) == (removed, inserted, start, True)
    assert document.text() == new


def test_reading_by_length_and_offset() -> None:
    document = _document("ab\r\ncd\n\nef")
    assert document.read(Position(0, 1), 5) == "b\r\ncd"
    assert document.after(Position(0, 1), 5) == Position(1, 2)
    assert document.after(Position(1, 0), 99) == document.end == Position(3, 2)
    assert document.offset(Position(2, 0)) == 7
    assert document.position(7) == Position(2, 0)
    assert document.slice(Position(0, 3), Position(2, 0)) == "\ncd\n"
    assert document.slice(Position(2, 0), Position(9, 9)) == "\nef"
    assert document.slice(Position(8, 0), Position(9, 9)) == ""


def test_a_trimmed_delta_parts_a_line_end_exactly() -> None:
    document = _document("a\r\nb")
    delta = document.replace(Position(0, 1), Position(1, 0), "\n").trimmed()
    assert (delta.removed, delta.inserted) == ("\r", "")
    assert (delta.start, delta.end, delta.new_end) == (Position(0, 1), Position(0, 2), Position(0, 1))


def test_a_change_from_an_offset_to_the_line_past_the_end() -> None:
    document = _document("a\nb\n")
    delta = _put(document, _range(0, 1, 3, 0), "!")
    assert document.text() == "a!"
    assert delta.removed == "\nb\n"
