"""From the text that was generated to the text that is offered: the same for every arm.

The server trims what it offers and the learner trims what it evaluates, with this one function,
so that held-out figures speak of what a user would have seen.
"""

from __future__ import annotations

import re

from learner.records import Task

_FENCE = re.compile(r"\A\s*```[^\n`]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_PREAMBLE = re.compile(r"\A\s*(?:sure|certainly|of course|here(?:'s| is| are))\b[^\n]{0,120}:[ \t]*\n+", re.IGNORECASE)
LOOP_CHARS = 200
"""The paper trims an answer that repeats itself for this many characters (section "Experiments")."""


LONGEST_UNIT = 5000
"""Longer repeated units are not looked for, which bounds the time by the length of the text."""


def trim(text: str, task: Task) -> str:
    """Trim an answer: fences and preambles around it, white space at its end, endless repetition.

    A completion keeps its leading white space, since it continues a line. May return "", which is
    no offer.
    """
    text = without_loop(text)
    if task is Task.COMPLETION:
        return text.rstrip()
    fenced = _FENCE.match(text)
    if fenced and "```" not in fenced[1]:  # two blocks with prose between them are not one fence
        text = fenced[1]
    return _PREAMBLE.sub("", text).strip()


def without_loop(text: str) -> str:
    """Cut an answer that ends in one unit, repeated over at least `LOOP_CHARS` characters, after the first.

    A list whose items differ is no loop; the unit may be up to half of the repeated stretch.
    """
    tail = text.rstrip()
    if len(tail) < LOOP_CHARS:
        return text
    for unit in range(1, min(len(tail) // 2, LONGEST_UNIT) + 1):
        repeats = 1
        piece = tail[-unit:]
        while tail.endswith(piece, 0, len(tail) - repeats * unit):
            repeats += 1
        if repeats >= 2 and repeats * unit >= LOOP_CHARS and (repeats >= 3 or unit >= LOOP_CHARS // 2):
            return tail[: len(tail) - (repeats - 1) * unit]
    return text
