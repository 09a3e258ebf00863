"""Finding an offer again after a restart, by what stood in its place."""

from __future__ import annotations

from dataclasses import replace

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from lsp_server.document import Document
from lsp_server.segments import Segment, heal, splice
from lsp_server.span import Span

EXACT_CHARS = 8
"""A shorter text is not looked for elsewhere than in its place: it may stand anywhere."""
FUZZY_CHARS = 24
"""A shorter text is not looked for by likeness."""
FUZZY_SCORE = 85.0
"""Likeness, in percent, from which a stretch counts as the text; a second one makes it ambiguous."""
FUZZY_REACH = 100_000
"""Characters before and after the old place that are searched by likeness."""
FUZZY_LONGEST = 3000
"""A longer text is not looked for by likeness: the search grows with its cube (0.4 s at this length)."""
ANCHOR_CHARS = 12
"""The ends of a changed text are looked for by this many of its characters."""


def reanchor(text: str, near: int, region: str) -> tuple[int, int] | None:
    """Where `region`, which stood at offset `near`, stands in `text`: offsets of start and end.

    In its place if it is there unchanged; else where it stands unchanged, or nearly, if there is
    one such place only; else None.
    """
    if not region:
        return None
    if text.startswith(region, near):
        return near, near + len(region)
    if len(region.strip()) >= EXACT_CHARS:
        at = text.find(region)
        if at >= 0:
            return None if text.find(region, at + 1) >= 0 else (at, at + len(region))
    if len(region.strip()) < FUZZY_CHARS or len(region) > FUZZY_LONGEST:
        return None
    begin = max(0, near - FUZZY_REACH)
    found = _alike(text[begin : near + len(region) + FUZZY_REACH], region)
    return found and (begin + found[0], begin + found[1])


def resumed(span: Span, document: Document) -> Span | None:
    """The span of an earlier run in the document as it stands, or None if it cannot be found.

    What changed in between is applied to it as changes by the user. A span that was undone needs
    no place.
    """
    if span.undone is not None:
        return span
    text = document.text()
    old = span.text
    near = document.offset(span.start) if span.start <= document.end else len(text)
    found = reanchor(text, near, old)
    if found is None:
        return None
    start, end = found
    if start == near and text[start:end] == old and span.outer_end <= document.end:
        return span
    segments: tuple[Segment, ...] = span.segments
    for step in reversed(list(Levenshtein.opcodes(old, text[start:end]))):
        if step.tag != "equal":
            new = text[start + step.dest_start : start + step.dest_end]
            segments = splice(segments, step.src_start, step.src_end - step.src_start, new)
    first, last = document.position(start), document.position(end)
    return replace(
        span,
        bounds=(first, first, last, last),
        segments=heal(segments, span.offered),
        before=0,
        after=0,
    )


def _alike(text: str, region: str) -> tuple[int, int] | None:
    """The one stretch of `text` that is like `region`."""
    best = fuzz.partial_ratio_alignment(region, text, score_cutoff=FUZZY_SCORE)
    if best is None or len(text) < len(region) // 2:
        return None
    start, end = best.dest_start, best.dest_end
    rest = text[:start] + "\0" * len(region) + text[end:]
    if fuzz.partial_ratio(region, rest, score_cutoff=FUZZY_SCORE):
        return None
    reach = len(region) // 4
    head = text.find(region[:ANCHOR_CHARS], max(0, start - reach), start + reach)
    tail = text.rfind(region[-ANCHOR_CHARS:], max(0, end - reach), end + reach)
    start = head if head >= 0 else start
    end = tail + ANCHOR_CHARS if tail >= 0 else end
    steps = list(Levenshtein.opcodes(region, text[start:end]))
    if steps and steps[0].tag == "insert":  # the stretch is as long as the region: it may take in more
        start += steps[0].dest_end - steps[0].dest_start
    if steps and steps[-1].tag == "insert":
        end -= steps[-1].dest_end - steps[-1].dest_start
    return (start, end) if start < end and fuzz.ratio(region, text[start:end]) >= FUZZY_SCORE - 10 else None
