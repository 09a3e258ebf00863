"""A scripted writer with a hidden habit: what a person does to an answer before keeping it.

The habit shows nowhere but in the edits; no prompt, adapter or bandit is told of it. Each rule is
idempotent and pure, so an answer that follows the habit already is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from learner.cost import tokens

TITLE = "In short:"
CLOSING = "Anything to add? Tell me before Friday."
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(-])")
_BULLET = re.compile(rf"^\s*(?:(?:[-*•]|\d+[.)]|{TITLE})\s+)+")
_ENDED = re.compile(r"[.!?][)\"']*$")
_OPEN = " ,;:-"


def points(text: str) -> list[str]:
    """The sentences of an answer, without bullets, title and closing."""
    found = []
    for line in text.splitlines():
        bare = _BULLET.sub("", line.strip()).strip()
        if not bare or bare in (TITLE, CLOSING):
            continue
        for sentence in _SENTENCE.split(bare):
            body = _BULLET.sub("", sentence.strip()).strip()
            if any(map(str.isalnum, body)) and body not in (TITLE, *_SENTENCE.split(CLOSING)):
                found.append(body[0].upper() + body[1:])
    return found


def habit(text: str) -> str:
    """What the writer keeps of an answer: a title, a bullet for every sentence, a closing line.

    A sentence said twice stands once; the last one is left out where the text breaks off in it (after a
    closing line it does not), and others get the full stop that they lack.
    """
    sentences = points(text)
    broken_off = not text.rstrip().endswith(CLOSING)
    if broken_off and len(sentences) > 1 and not _ENDED.search(sentences[-1]):
        sentences.pop()
    whole = [s if _ENDED.search(s) else s.rstrip(_OPEN) + "." for s in sentences]
    return "\n".join([TITLE, *(f"- {s}" for s in dict.fromkeys(whole)), CLOSING])


@dataclass(frozen=True, slots=True)
class Keystroke:
    """One change: characters `start` to `end` of the text as it stands then give way to `text`."""

    start: int
    end: int
    text: str


def keystrokes(before: str, after: str) -> Iterator[Keystroke]:
    """The changes by which a person turns `before` into `after`, last one first, so that offsets hold.

    Words that stay are not touched. At the ends a person retypes the word that the new text is put
    beside: what is typed there takes the place of a part of the answer.
    """
    a, b = tokens(before), tokens(after)
    starts_a, starts_b = _offsets(a), _offsets(b)
    changes = [
        (o.src_start, o.src_end, o.dest_start, o.dest_end) for o in Levenshtein.opcodes(a, b) if o.tag != "equal"
    ]
    for i1, i2, j1, j2 in reversed(_joined(changes)):
        first, last, new_first, new_last = i1, i2, j1, j2
        if first == last == 0 and a:
            last, new_last = last + 1, new_last + 1
        elif first == last == len(a) and a:
            first, new_first = first - 1, new_first - 1
        yield Keystroke(starts_a[first], starts_a[last], after[starts_b[new_first] : starts_b[new_last]])


def _offsets(pieces: list[str]) -> list[int]:
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    return offsets


def _joined(changes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Neighbouring changes as one: people retype a stretch, not its tokens."""
    joined: list[tuple[int, int, int, int]] = []
    for i1, i2, j1, j2 in changes:
        if joined and joined[-1][1] == i1 and joined[-1][3] == j1:
            joined[-1] = (joined[-1][0], i2, joined[-1][2], j2)
        else:
            joined.append((i1, i2, j1, j2))
    return joined
