"""An offer that a formatter changed: what the user kept of it is told apart from what the formatter did.

The user's last text before the formatter and the formatted one differ in white space only (else
nothing is merged), so each character of the one has its place in the other. What the user changes
afterwards in the formatted text is made in the user's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from lsp_server.segments import Segment, heal, splice
from lsp_server.span import Span

LONGEST = 20_000
"""A longer text is not merged: telling its changes apart takes the square of its length."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """`span` is the user's before somebody else's change, `text` what its place held right after it."""

    span: Span
    text: str

    def merged(self, now: str) -> Span | None:
        """The user's span with what the user changed since, `now` being what its place holds.

        None where it cannot be told: the other's change was more than white space, and the user
        then changed the offer too.
        """
        if now == self.text:
            return self.span
        own = self.span.text
        if own.split() != self.text.split() or max(len(own), len(self.text), len(now)) > LONGEST:
            return None
        places = _places(own, self.text)
        segments: tuple[Segment, ...] = self.span.segments
        for step in reversed(list(Levenshtein.opcodes(self.text, now))):
            if step.tag != "equal":
                start, end = places[step.src_start], places[step.src_end]
                segments = splice(segments, start, max(0, end - start), now[step.dest_start : step.dest_end])
        return replace(self.span, segments=heal(segments, self.span.offered))


def _places(own: str, formatted: str) -> list[int]:
    """For each offset of `formatted`, its end included, the offset in `own`; they differ in white space only."""
    letters = [i for i, c in enumerate(own) if not c.isspace()]
    places: list[int] = []
    seen = 0
    for char in formatted:
        space = char.isspace()
        # white space belongs to the letter before it
        places.append(letters[seen] if not space else (letters[seen - 1] + 1 if seen else 0))
        seen += not space
    return [*places, len(own)]
