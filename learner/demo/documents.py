"""Real documents that every machine has: what installed packages and the standard library say of themselves.

Nothing is shipped and nothing is downloaded. Only plain prose is taken: paragraphs of 25 to 50
words with sentences, no markup, no addresses.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
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


def paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of plain prose, unwrapped."""
    for block in re.split(r"\n\s*\n", text):
        body = " ".join(block.split())
        words = body.split(" ")
        if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
            continue
        if _MARKUP.search(body) or not body[0].isupper() or body[-1] not in ".!?":
            continue
        if len(_SENTENCE_END.findall(body)) < 2 or sum(c.isdigit() for c in body) > 12:
            continue
        if not body.isascii() or secret_in(body):
            continue
        yield body


def _package_texts() -> Iterator[Text]:
    for distribution in metadata.distributions():
        name = distribution.name or "?"
        for body in paragraphs(distribution.read_text("METADATA") or ""):
            yield Text(f"package {name}", body)


def _library_texts() -> Iterator[Text]:
    """Docstrings of the standard library, read from its files; nothing is imported."""
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*root.glob("*.py"), *root.glob("*/*.py")]):
        if "site-packages" in path.parts or "test" in path.parts or "idlelib" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, OSError):
            continue
        nodes = [tree, *(n for n in ast.walk(tree) if isinstance(n, (ast.ClassDef, ast.FunctionDef)))]
        for node in nodes:
            for body in paragraphs(ast.get_docstring(node) or ""):
                yield Text(f"library {path.relative_to(root)}", body)


def find(count: int, seed: int = 0) -> list[Text]:
    """`count` different texts, shuffled by `seed`, at most three from one source.

    Raises LookupError when this machine has fewer.
    """
    seen: set[str] = set()
    per_source: dict[str, int] = {}
    found = []
    for text in [*_library_texts(), *_package_texts()]:
        own = set(marks(text.body))
        if own & seen or per_source.get(text.source, 0) >= 3:
            continue
        seen |= own
        per_source[text.source] = per_source.get(text.source, 0) + 1
        found.append(text)
    found.sort(key=lambda t: (t.source, t.body))
    Random(seed).shuffle(found)
    if len(found) < count:
        raise LookupError(f"found {len(found)} texts of {FEWEST_WORDS} to {MOST_WORDS} words here and need {count}")
    return found[:count]
