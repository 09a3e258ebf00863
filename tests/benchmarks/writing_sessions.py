"""Scripted writing sessions that know what they mean to keep, since they decide before they type."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

WORDS = re.findall(
    r"\w+",
    """
    the of and a to in is it that was for on are with as they be at one have this from by hot word but what some you
    had we can out other were all there when up use your how said an each she which do their time if will way about
    many then them write would like so these her long make thing see him two has look more day could go come did
    number sound no most people my over know water than call first who may down side been now find any new work part
    """,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One change as an editor sends it: characters `start` to `end` give way to `text`.

    `machine`: a formatter's or a branch's. `restart`: before it the server is stopped and started.
    """

    start: int
    end: int
    text: str
    machine: bool = False
    restart: bool = False


@dataclass(slots=True)
class Writing:
    """A document with an offer put in, what the writer does to it, and means to keep of it (None: nothing)."""

    kind: str
    before: str
    offer: str
    behind: str
    steps: list[Step] = field(default_factory=list)
    kept: str | None = None
    text: str = ""
    """The document as the writer sees it."""

    def do(self, start: int, end: int, text: str, *, machine: bool = False, restart: bool = False) -> None:
        """Make a change."""
        self.steps.append(Step(start, end, text, machine, restart))
        self.text = self.text[:start] + text + self.text[end:]

    @property
    def accepted(self) -> str:
        """The document right after the offer was put in."""
        return self.before + self.offer + self.behind


def sentence(random: Random, least: int = 5, most: int = 12) -> str:
    """A sentence of random words, with a number so that it stands once."""
    words = [random.choice(WORDS) for _ in range(random.randint(least, most))]
    words.insert(1, str(random.randint(1000, 999_999)))
    return " ".join(words).capitalize() + "."


def paragraph(random: Random, sentences: int) -> str:
    """Sentences, one a line."""
    return "\n".join(sentence(random) for _ in range(sentences))


def change_words(writing: Writing, random: Random, count: int) -> None:
    """Other words in the place of some inside the offer, one after the other, letter by letter."""
    assert writing.kept is not None
    for _ in range(count):
        place = writing.text.index(writing.kept)
        words = writing.kept.split(" ")
        number = random.randrange(1, len(words) - 1)
        old = words[number]
        if "\n" in old:
            continue
        new = random.choice(WORDS) + str(random.randint(10, 99))
        at = place + len(" ".join(words[:number])) + 1
        writing.do(at, at + len(old), new[0])
        for i, letter in enumerate(new[1:], 1):
            writing.do(at + i, at + i, letter)
        words[number] = new
        writing.kept = " ".join(words)


def left_alone(writing: Writing, random: Random) -> None:
    """Nothing is changed; a page is written after it."""
    page = "\n\n" + paragraph(random, 30)
    at = len(writing.before + writing.offer)
    for begin in range(0, len(page), 40):
        part = page[begin : begin + 40]
        writing.do(at + begin, at + begin, part)


def words_changed(writing: Writing, random: Random) -> None:
    """Some words are changed."""
    change_words(writing, random, random.randint(1, 4))


def edits_above(writing: Writing, random: Random) -> None:
    """Lines are written and taken away above it, and a word is changed."""
    writing.do(0, 0, paragraph(random, random.randint(1, 8)) + "\n")
    change_words(writing, random, 1)
    writing.do(0, writing.text.index("\n") + 1, "")
    writing.do(0, 0, "# Head\n\n")


def written_on(writing: Writing, random: Random) -> None:
    """A word is changed, and another sentence follows on the same line."""
    change_words(writing, random, 1)
    assert writing.kept is not None
    at = writing.text.index(writing.kept) + len(writing.kept)
    for i, letter in enumerate(" " + sentence(random, 10, 30)):
        writing.do(at + i, at + i, letter)


def tail_retyped(writing: Writing, random: Random) -> None:
    """The last words are deleted and others typed instead."""
    assert writing.kept is not None
    words = writing.kept.split(" ")
    count = random.randint(1, 4)
    tail = " ".join(words[-count:])
    end = writing.text.index(writing.kept) + len(writing.kept)
    new = " ".join(random.choice(WORDS) for _ in range(count)) + "!"
    for _ in tail:
        writing.do(end - 1, end, "")
        end -= 1
    for i, letter in enumerate(new):
        writing.do(end + i, end + i, letter)
    writing.kept = writing.kept[: len(writing.kept) - len(tail)] + new


def mostly_rewritten(writing: Writing, random: Random) -> None:
    """More than half of the words are changed."""
    assert writing.kept is not None
    change_words(writing, random, int(0.6 * len(writing.kept.split(" "))))


def deleted(writing: Writing, random: Random) -> None:
    """It is deleted line by line, and something of the writer's own goes where it stood, later."""
    start = len(writing.before)
    left = writing.offer
    while left:
        line = left[left.rfind("\n", 0, -1) + 1 :] if "\n" in left[:-1] else left
        writing.do(start + len(left) - len(line), start + len(left), "")
        left = left[: len(left) - len(line)]
    writing.kept = None
    writing.do(0, 0, paragraph(random, 2) + "\n")


def undone(writing: Writing, random: Random) -> None:
    """Ctrl-Z, and the writer writes something else further down."""
    start = len(writing.before)
    writing.do(start, start + len(writing.offer), "")
    writing.kept = None
    writing.do(len(writing.text), len(writing.text), "\n" + sentence(random))


def cut_and_pasted(writing: Writing, random: Random) -> None:
    """It is cut and pasted at the end of the document, and a word is changed there."""
    start = len(writing.before)
    writing.do(start, start + len(writing.offer) + 1, "")
    writing.do(len(writing.text), len(writing.text), "\n" + writing.offer)
    change_words(writing, random, 1)


def formatted(writing: Writing, random: Random) -> None:
    """A word is changed; then a formatter indents every line, as it saves."""
    change_words(writing, random, 1)
    kept = writing.kept
    start = 0
    while True:
        writing.do(start, start, "  ", machine=True)
        end = writing.text.find("\n", start)
        if end < 0:
            break
        start = end + 1
    writing.kept = kept


def formatted_and_edited(writing: Writing, random: Random) -> None:
    """A formatter indents every line as it saves; then a word is changed."""
    kept = writing.kept
    assert kept is not None
    formatted(writing, random)
    assert writing.kept is not None
    old = random.choice([w for w in re.findall(r"\w{4,}", writing.kept) if writing.text.count(w) == 1])
    at = writing.text.index(old)
    writing.do(at, at + len(old), "other")
    writing.kept = writing.kept.replace(old, "other")


def end_replaced_and_written_on(writing: Writing, random: Random) -> None:
    """The last word is deleted, another typed instead, and a sentence goes on after it on the same line."""
    assert writing.kept is not None
    tail = writing.kept.split(" ")[-1]
    end = writing.text.index(writing.kept) + len(writing.kept)
    writing.do(end - len(tail), end, "")
    end -= len(tail)
    new = random.choice(WORDS) + "!"
    for i, letter in enumerate(f"{new} {sentence(random)}"):
        writing.do(end + i, end + i, letter)
    writing.kept = writing.kept[: len(writing.kept) - len(tail)] + new


def switched(writing: Writing, random: Random) -> None:
    """A word is changed; then another branch is checked out, in which the paragraph reads differently."""
    change_words(writing, random, 1)
    assert writing.kept is not None
    at = writing.text.index(writing.kept)
    writing.do(at, at + len(writing.kept), paragraph(random, 3), machine=True)


def restarted(writing: Writing, random: Random) -> None:
    """A word is changed, the server stops; meanwhile lines are written above; it starts, a word is changed."""
    change_words(writing, random, 1)
    writing.do(0, 0, paragraph(random, random.randint(1, 5)) + "\n", restart=True)
    change_words(writing, random, 1)


KINDS: dict[str, Callable[[Writing, Random], None]] = {
    "left alone, a page after it": left_alone,
    "some words changed": words_changed,
    "edits above": edits_above,
    "written on": written_on,
    "its end retyped": tail_retyped,
    "mostly rewritten": mostly_rewritten,
    "deleted line by line": deleted,
    "undone": undone,
    "cut and pasted": cut_and_pasted,
    "formatted on save": formatted,
    "formatted, then edited": formatted_and_edited,
    "end replaced, written on": end_replaced_and_written_on,
    "branch switched": switched,
    "server restarted": restarted,
}


def sessions(count: int, seed: int = 0) -> Iterator[Writing]:
    """`count` sessions of each kind."""
    for kind, act in KINDS.items():
        random = Random(f"{kind}{seed}")
        for _ in range(count):
            offer = paragraph(random, random.randint(2, 4))
            made = Writing(kind, paragraph(random, 12) + "\n", offer, "\n" + paragraph(random, 12), kept=offer)
            made.text = made.accepted
            act(made, random)
            yield made
