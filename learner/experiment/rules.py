"""Rules of style, as a simulated user holds them: each can be seen, applied and undone in a text.

A text is read into a page: lines that open it, sentences, how they are set, lines that close it. A
rule is one field of that page, so rules are idempotent, pure, and independent of each other. A text
in which nothing has to change is left as it is, to the character.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

OPENINGS = {
    "greeting": "Hi there,",
    "hey": "Hey you,",
    "dear": "Dear colleague,",
    "story": "Once upon a time:",
    "picture": "Picture this:",
    "title": "In short:",
    "question": "What is it about?",
    "update": "Quick update:",
    "summary": "Summary:",
    "role": "Role:",
    "feat": "feat: new code",
    "chore": "chore: old code goes",
}
"""Lines that may open a text, in the order in which they stand."""
CLOSINGS = {
    "ask": "What do you think?",
    "reflect": "How would you feel?",
    "more": "Read on for more.",
    "action": "Please reply by Friday.",
    "thanks": "Thank you for your time.",
    "wishes": "Best wishes, Sam",
    "regards": "Kind regards, Sam",
    "returns": "Returns: see above.",
    "note": "Note: internal.",
    "since": "Since: version 1.0.",
    "tested": "Tested: by hand.",
    "signed": "Signed-off-by: Sam",
    "hashtag": "#goodtoknow",
}
"""Lines that may close a text, in the order in which they stand."""
STAR = "✨ "
FILLER = "There is more to say."
"""What undoing `brief` adds."""
MOST_SENTENCES = 2
_OPENING = {phrase: name for name, phrase in OPENINGS.items()}
_CLOSING = {phrase: name for name, phrase in CLOSINGS.items()}
_SENTENCE = re.compile(r"(?<=[.!?])[\"')]?\s+(?=[A-Z0-9\"'(-])")
_BULLET = re.compile(r"^(?:[-*•]|\d+[.)])\s+")
_SALUTATION = re.compile(r"^(?:Dear|Hi|Hello|Hey)\b.{0,60},$")


@dataclass(frozen=True, slots=True)
class Page:
    """A text, taken apart. `salutation` is a greeting of the model's own, which gives way to a rule's."""

    openings: frozenset[str]
    sentences: tuple[str, ...]
    closings: frozenset[str]
    bullets: bool
    excited: bool
    star: bool
    salutation: str = ""

    def text(self) -> str:
        """The page as a text."""
        lines = [OPENINGS[name] for name in OPENINGS if name in self.openings]
        if self.salutation and not self.openings & {"greeting", "hey", "dear"}:
            lines.insert(0, self.salutation)
        body = [_excited(s) if self.excited else s for s in self.sentences]
        if self.star and body:
            body[0] = STAR + body[0]
        lines += [f"- {s}" for s in body] if self.bullets else [" ".join(body)]
        lines += [CLOSINGS[name] for name in CLOSINGS if name in self.closings]
        return "\n".join(line for line in lines if line)


def page(text: str) -> Page:
    """Take a text apart: opening and closing lines are known by their words, the rest is sentences."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    openings, closings, salutation = set(), set(), ""
    while lines and (lines[0] in _OPENING or (not salutation and _SALUTATION.match(lines[0]))):
        if lines[0] in _OPENING:
            openings.add(_OPENING[lines[0]])
        else:
            salutation = lines[0]
        lines.pop(0)
    while lines and lines[-1] in _CLOSING:
        closings.add(_CLOSING[lines.pop()])
    bullets = bool(lines) and all(line.startswith("- ") for line in lines)
    sentences = [s for line in lines for s in _SENTENCE.split(_BULLET.sub("", line)) if s]
    star = bool(sentences) and sentences[0].startswith(STAR)
    if star:
        sentences[0] = sentences[0][len(STAR) :]
    excited = bool(sentences) and all(s.endswith("!") for s in sentences)
    if excited:
        sentences = [s[:-1] + "." for s in sentences]
    return Page(frozenset(openings), tuple(sentences), frozenset(closings), bullets, excited, star, salutation)


def _excited(sentence: str) -> str:
    return sentence.rstrip(" .!,;:") + "!"


class Rule(ABC):
    """One wish about a text."""

    name: str

    @abstractmethod
    def holds(self, text: str) -> bool:
        """Whether the text is as the rule wants it."""

    @abstractmethod
    def set(self, found: Page, wanted: bool) -> Page:
        """The page with the rule holding, or not."""

    def apply(self, text: str) -> str:
        """The text with the rule holding; the same text where it holds already."""
        return text if self.holds(text) else self.set(page(text), True).text()

    def undo(self, text: str) -> str:
        """The text without it; the same text where it does not hold."""
        return self.set(page(text), False).text() if self.holds(text) else text


@dataclass(frozen=True)
class Opening(Rule):
    """A line that opens the text."""

    name: str

    def holds(self, text: str) -> bool:
        """Whether the line stands among the opening ones."""
        return self.name in page(text).openings

    def set(self, found: Page, wanted: bool) -> Page:
        """The page with the line, or without."""
        return replace(found, openings=found.openings | {self.name} if wanted else found.openings - {self.name})


@dataclass(frozen=True)
class Closing(Rule):
    """A line that closes the text."""

    name: str

    def holds(self, text: str) -> bool:
        """Whether the line stands among the closing ones."""
        return self.name in page(text).closings

    def set(self, found: Page, wanted: bool) -> Page:
        """The page with the line, or without."""
        return replace(found, closings=found.closings | {self.name} if wanted else found.closings - {self.name})


@dataclass(frozen=True)
class Flag(Rule):
    """How the sentences are set: `bullets`, `excited` or `star`."""

    name: str

    def holds(self, text: str) -> bool:
        """Whether they are set so."""
        return bool(getattr(page(text), self.name))

    def set(self, found: Page, wanted: bool) -> Page:
        """The page with its sentences set so, or not."""
        wish: dict[str, Any] = {self.name: wanted}
        return replace(found, **wish)


@dataclass(frozen=True)
class Brief(Rule):
    """At most two sentences, none of them twice. What it cut cannot be brought back; undoing adds a filler."""

    name: str = "brief"

    def holds(self, text: str) -> bool:
        """Whether the text is brief."""
        sentences = page(text).sentences
        return len(sentences) <= MOST_SENTENCES and len(set(sentences)) == len(sentences) and FILLER not in sentences

    def set(self, found: Page, wanted: bool) -> Page:
        """The page with its first two sentences, or with the filler."""
        own = tuple(dict.fromkeys(s for s in found.sentences if s != FILLER))
        if wanted:
            return replace(found, sentences=own[:MOST_SENTENCES])
        return replace(found, sentences=(*(s if s[-1] in ".!?" else s.rstrip(" ,;:") + "." for s in own), FILLER))


RULES: Mapping[str, Rule] = {
    **{name: Opening(name) for name in OPENINGS},
    **{name: Flag(name) for name in ("bullets", "excited", "star")},
    "brief": Brief(),
    **{name: Closing(name) for name in CLOSINGS},
}


def resampled(text: str, rules: Sequence[str], wanted: Mapping[str, bool]) -> str:
    """`text` with each rule of `wanted` holding or not; the same text where all are so already."""
    found = page(text)
    changed = [name for name in rules if name in wanted and RULES[name].holds(text) != wanted[name]]
    for name in changed:
        found = RULES[name].set(found, wanted[name])
    return found.text() if changed else text
