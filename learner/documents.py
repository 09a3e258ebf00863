"""Real documents that every machine has: what installed packages and the standard library say of themselves.

Nothing is shipped and nothing is downloaded. Only plain prose is taken: paragraphs of a few dozen
words with sentences, no markup, no addresses. The demo and the experiment read them.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from itertools import chain
from pathlib import Path
from random import Random

from learner.holdout import marks
from learner.privacy import secret_in

FEWEST_WORDS, MOST_WORDS = 25, 50
_MARKUP = re.compile(r"[`|<>{}=\\\[\]_#~^]|\*\*|::|https?:|www\.|@|>>>|\.\. |\$ ")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")


@dataclass(frozen=True, slots=True)
class Text:
    """A real text: where it is from, and what it says."""

    source: str
    body: str


def paragraphs(text: str, fewest: int = FEWEST_WORDS, most: int = MOST_WORDS) -> Iterator[str]:
    """Paragraphs of plain prose of `fewest` to `most` words, unwrapped."""
    for block in re.split(r"\n\s*\n", text):
        body = " ".join(block.split())
        words = body.split(" ")
        if not fewest <= len(words) <= most:
            continue
        if _MARKUP.search(body) or not body[0].isupper() or body[-1] not in ".!?":
            continue
        if len(_SENTENCE_END.findall(body)) < 2 or sum(c.isdigit() for c in body) > 12:
            continue
        if not body.isascii() or secret_in(body):
            continue
        yield body


def package_texts(fewest: int = FEWEST_WORDS, most: int = MOST_WORDS) -> Iterator[Text]:
    """What installed packages say of themselves."""
    for distribution in metadata.distributions():
        name = distribution.name or "?"
        for body in paragraphs(distribution.read_text("METADATA") or "", fewest, most):
            yield Text(f"package {name}", body)


def library_modules() -> Iterator[tuple[str, str, ast.Module]]:
    """The standard library's modules: name, source and syntax tree, read from files; nothing is imported."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*root.glob("*.py"), *root.glob("*/*.py")]):
        if "site-packages" in path.parts or "test" in path.parts or "idlelib" in path.parts:
            continue
        try:
            source = path.read_text(encoding="utf-8")
            yield str(path.relative_to(root)), source, ast.parse(source)
        except (SyntaxError, UnicodeDecodeError, OSError):
            continue


def definitions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes in the order of `ast.walk`, which would also walk every expression, to find none there."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        waiting.extend(
            child
            for block in (getattr(node, name, None) for name in node._fields)
            if isinstance(block, list)
            for child in block
            if isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case))
        )
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node


def library_texts(fewest: int = FEWEST_WORDS, most: int = MOST_WORDS) -> Iterator[Text]:
    """Docstrings of the standard library."""
    for name, _, tree in library_modules():
        for node in (tree, *definitions(tree)):
            for body in paragraphs(ast.get_docstring(node) or "", fewest, most):
                yield Text(f"library {name}", body)


def shuffled(texts: Iterable[Text], per_source: int, seed: int) -> list[Text]:
    """The texts in an order of `seed`'s, near-duplicates left out, at most `per_source` from one source."""
    seen: set[str] = set()
    taken: Counter[str] = Counter()
    found = []
    for text in texts:
        own = set(marks(text.body))
        if own & seen or taken[text.source] >= per_source:
            continue
        seen |= own
        taken[text.source] += 1
        found.append(text)
    found.sort(key=lambda t: (t.source, t.body))
    Random(seed).shuffle(found)
    return found


def find(count: int, seed: int = 0) -> list[Text]:
    """`count` different texts, shuffled by `seed`, at most three from one source.

    Raises LookupError when this machine has fewer.
    """
    found = shuffled(chain(library_texts(), package_texts()), 3, seed)
    if len(found) < count:
        raise LookupError(f"found {len(found)} texts of {FEWEST_WORDS} to {MOST_WORDS} words here and need {count}")
    return found[:count]
