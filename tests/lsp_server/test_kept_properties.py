"""The mirror and the spans against a second opinion that carries every character's origin."""

from __future__ import annotations

import oracle
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lsprotocol import types

from learner.records import Outcome
from lsp_server.document import Document, Encoding
from lsp_server.kept import Tracker, verdict
from lsp_server.segments import Inserted, Kept
from lsp_server.span import Span

ENCODINGS: list[Encoding] = ["utf-8", "utf-16", "utf-32"]
PIECES = [
    *"aab. \t\n\n\r",
    "\r\n",
    "\n\n",
    "\n \n",
    "\r\r",
    "é",
    "e\u0301",
    "\N{GRINNING FACE}",
    "\u2028",
    "\x0c",
    "\x85",
    "\0",
    "\ud83d",
    "\ude00",
    "word",
    "two words",
]
TEXT = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
OFFER = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
WHERE = st.sampled_from(["anywhere", "start", "end", "inside", "before", "after", "back"])
STEP = st.tuples(WHERE, st.integers(0, 40), st.integers(0, 9), TEXT)
Step = tuple[str, int, int, str]


def _range(second: oracle.Oracle, step: Step) -> tuple[int, int, str]:
    """Offsets and text of a change near an interesting place, so that clients can name both ends."""
    where, distance, length, text = step
    outer_start, start, end, outer_end = second.bounds()
    size = len(second.text)
    at = {
        "anywhere": distance * 7 % (size + 1),
        "start": start - distance % 3,
        "end": end - distance % 3,
        "inside": start + distance % (end - start + 1),
        "before": outer_start - distance % 2,
        "after": outer_end,
        "back": max(0, end - length),
    }[where]
    first = min(max(at, 0), size)
    last = min(first + length, size)
    while not oracle.nameable(second.text, first):
        first -= 1
    while not oracle.nameable(second.text, last):
        last += 1
    if distance % 5 == 0:  # a client that sends more than what changed
        text = (
            second.text[first : first + 2] + text if distance % 2 else text + second.text[max(first, last - 2) : last]
        )
    return first, last, text


def _change(text: str, first: int, last: int, new: str, encoding: Encoding) -> types.TextDocumentContentChangePartial:
    a, b = (types.Position(*oracle.client_position(text, at, encoding)) for at in (first, last))
    return types.TextDocumentContentChangePartial(range=types.Range(start=a, end=b), text=new)


def _agree(document: Document, span: Span, second: oracle.Oracle) -> None:
    assert document.text() == second.text
    assert [document.offset(p) for p in span.bounds] == second.bounds()
    assert list(span.bounds) == [document.position(n) for n in second.bounds()]
    assert span.text == second.place == document.slice(span.start, span.end)
    survivors = [i for s in span.segments if isinstance(s, Kept) for i in range(s.a, s.b)]
    assert survivors == second.survivors
    assert (span.before, span.after) == (second.count(oracle.BEFORE), second.count(oracle.AFTER))
    assert not any(type(a) is type(b) is Inserted for a, b in zip(span.segments, span.segments[1:], strict=False))
    found = verdict(span, document)
    assert found.kept_chars + found.deleted_chars == len(span.offered)
    assert found.kept_chars + found.modified_chars == len(found.kept or "")
    assert (found.outcome is Outcome.REJECTED) == (not second.place)
    assert (found.outcome is Outcome.ACCEPTED) == (second.place == span.offered)


def _survives_the_store(span: Span) -> None:
    if "\ud83d\ude00" not in span.offered + span.text:  # JSON joins the halves of a pair into one character
        assert Span.from_json(span.to_json()) == span


def _run(before: str, offered: str, behind: str, ghost: bool, steps: list[Step], encoding: Encoding) -> int:
    """How often span and oracle were compared and found alike."""
    document = Document("file:///x", before + behind, 1, "plaintext", encoding)
    at = len(before)
    if not oracle.nameable(before + behind, at):
        before, behind = before[:-1], before[-1] + behind
        at -= 1
    delta = document.apply(_change(before + behind, at, at, offered, encoding))
    span = Span.placed(offered, delta.new_start, delta.new_end, ghost=ghost)
    second = oracle.Oracle(before, offered, behind, ghost=ghost)
    _agree(document, span, second)
    for step in steps:
        first, last, text = _range(second, step)
        span = span.apply(document.apply(_change(second.text, first, last, text, encoding)))
        second.apply(first, last, text)
        _agree(document, span, second)
        _survives_the_store(span)
    return 1 + len(steps)


CASE = (TEXT, OFFER, TEXT, st.booleans(), st.lists(STEP, min_size=1, max_size=35), st.sampled_from(ENCODINGS))
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
NORMAL = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
LONG = settings(NORMAL, max_examples=6000)


@NORMAL
@given(*CASE)
def test_spans_agree_with_the_oracle(
    before: str, offered: str, behind: str, ghost: bool, steps: list[Step], encoding: Encoding
) -> None:
    assert _run(before, offered, behind, ghost, steps, encoding) == 1 + len(steps)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@LONG
@given(*CASE)
def test_spans_agree_with_the_oracle_at_length(
    before: str, offered: str, behind: str, ghost: bool, steps: list[Step], encoding: Encoding
) -> None:
    assert _run(before, offered, behind, ghost, steps, encoding) == 1 + len(steps)


@settings(NORMAL, max_examples=150)
@given(TEXT, TEXT)
def test_a_whole_replacement_becomes_one_delta(old: str, new: str) -> None:
    document = Document("file:///x", old, 1, "plaintext", "utf-16")
    delta = document.apply(types.TextDocumentContentChangeWholeDocument(text=new))
    again = Document("file:///x", old, 1, "plaintext", "utf-16")
    start, end = again.offset(delta.start), again.offset(delta.end)
    assert delta.whole
    assert document.text() == new
    assert old[start:end] == delta.removed
    assert old[:start] + delta.inserted + old[end:] == new
    assert document.offset(delta.new_start) == start
    assert document.offset(delta.new_end) == start + len(delta.inserted)
    assert [document.line(i) for i in range(document.line_count)] == [new[a:c] for a, _, c in oracle.lines_of(new)]


@settings(NORMAL, max_examples=150)
@given(TEXT, st.lists(STEP, max_size=12), st.sampled_from(ENCODINGS))
def test_the_mirror_keeps_its_lines_and_positions(text: str, steps: list[Step], encoding: Encoding) -> int:
    """How often span and oracle were compared and found alike."""
    document = Document("file:///x", text, 1, "plaintext", encoding)
    second = oracle.Oracle(text, "", "")
    for step in steps:
        first, last, new = _range(second, step)
        delta = document.apply(_change(second.text, first, last, new, encoding))
        assert delta.removed == second.text[first:last]
        second.apply(first, last, new)
        assert document.offset(delta.new_end) == first + len(new)
        lines = [document.line(i) for i in range(document.line_count)]
        assert lines == [second.text[a:c] for a, _, c in oracle.lines_of(second.text)]
        for offset in range(len(second.text) + 1):
            place = document.position(offset)
            assert document.offset(place) == offset
            named = document.to_client(place)
            assert (named.line, named.character) == oracle.client_position(second.text, offset, encoding)
            if oracle.nameable(second.text, offset):
                assert document.from_client(named) == place


@settings(NORMAL, max_examples=100)
@given(st.lists(OFFER, min_size=2, max_size=4), st.lists(STEP, max_size=12), st.sampled_from(ENCODINGS))
def test_several_offers_in_one_document(offers: list[str], steps: list[Step], encoding: Encoding) -> int:
    """How often span and oracle were compared and found alike."""
    document = Document("file:///x", "", 1, "plaintext", encoding)
    tracker = Tracker()
    second = oracle.Oracle("", offers[0], "")
    for number, offered in enumerate(offers):
        text = document.text()
        at = len(text) // 2
        at -= 0 if oracle.nameable(text, at) else 1
        delta = document.apply(_change(text, at, at, offered, encoding))
        tracker.apply([delta], document, float(number))
        tracker.place(str(number), Span.placed(offered, delta.new_start, delta.new_end), float(number))
    second = oracle.Oracle(document.text(), "", "")
    for step in steps:
        first, last, new = _range(second, step)
        delta = document.apply(_change(second.text, first, last, new, encoding))
        second.apply(first, last, new)
        tracker.apply([delta], document, 100.0)
        for tracked in tracker.open.values():
            span = tracked.span
            assert span.text == document.slice(span.start, span.end)
            assert len(document.slice(span.outer_start, span.start)) == span.before
            assert len(document.slice(span.end, span.outer_end)) == span.after
            _survives_the_store(span)
