"""Where the experiment's documents come from: what the machine has, a corpus folder, or files of one's own.

A source is named in the plan as `KIND[:ARGUMENT]`:

- `library`, `packages`, `reference`: docstrings of the standard library, descriptions of installed
  packages, the Python language reference; on every machine;
- `functions`, `classes`: code of the standard library without its docstring;
- `added`, `removed`: a change to a module of the standard library, as a diff;
- `brown:GENRE[+GENRE]`: passages of the Brown corpus, from the folder `corpora/brown` (see docs/reproduce.md);
- `folder:PATH`: the paragraphs of every text file; `jsonl:PATH`: an object a line with a `text`.

Everything is scrubbed of addresses, numbers of telephones and secrets when it is read, and never committed.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from learner.documents import Text, definitions, library_modules, library_texts, package_texts, paragraphs, shuffled
from learner.exceptions import ConfigError
from learner.privacy import redacted

PER_SOURCE = 8
"""Documents from one file or package at most, so that none outweighs the others."""
FEWEST_LINES, MOST_LINES = 3, 14
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_TELEPHONE = re.compile(r"\+?\d[\d ().-]{7,}\d")
_SALUTATION = re.compile(r"^((?:Dear|Hi|Hello|Hey)\s+)[A-Z][\w.'-]*(?:\s+[A-Z][\w.'-]*)*", re.MULTILINE)
BROWN = {
    "news": "ca", "editorial": "cb", "reviews": "cc", "religion": "cd", "hobbies": "ce", "lore": "cf",
    "belles_lettres": "cg", "government": "ch", "learned": "cj", "fiction": "ck", "mystery": "cl",
    "science_fiction": "cm", "adventure": "cn", "romance": "cp", "humor": "cr",
}  # fmt: skip
"""Genres of the Brown corpus, and how their files begin."""


def scrub(text: str) -> str:
    """`text` without mail addresses, links, telephone numbers, people who are addressed, and secrets."""
    for pattern, instead in ((_ADDRESS, "someone"), (_LINK, "a link"), (_TELEPHONE, "a number")):
        text = pattern.sub(instead, text)
    return redacted(_SALUTATION.sub(r"\1you", text))


def load(spec: str, corpora: Path, words: tuple[int, int], seed: int) -> list[Text]:
    """The documents of a source, of `words` words at least and at most, in an order of `seed`'s.

    Raises ConfigError for a source that is not known or not there, saying what to do.
    """
    return shuffled(_read(spec, corpora, words), PER_SOURCE, seed)


@lru_cache(maxsize=32)
def _read(spec: str, corpora: Path, words: tuple[int, int]) -> tuple[Text, ...]:
    """Everything that a source holds; read once."""
    kind, _, argument = spec.partition(":")
    fewest, most = words
    readers: Mapping[str, Callable[[], Iterator[Text]]] = {
        "library": partial(library_texts, fewest, most),
        "packages": partial(package_texts, fewest, most),
        "reference": partial(_reference, fewest, most),
        "functions": partial(_code, ast.FunctionDef),
        "classes": partial(_code, ast.ClassDef),
        "added": partial(_changes, "+"),
        "removed": partial(_changes, "-"),
        "brown": partial(_brown, corpora / "brown", argument, fewest, most),
        "folder": partial(_folder, Path(argument), fewest, most),
        "jsonl": partial(_jsonl, Path(argument)),
    }
    if kind not in readers:
        raise ConfigError(f"source {spec!r}: there is no kind {kind!r}; there are {', '.join(readers)}")
    return tuple(Text(text.source, scrub(text.body)) for text in readers[kind]())


def _reference(fewest: int, most: int) -> Iterator[Text]:
    from pydoc_data.topics import topics

    for name, body in sorted(topics.items()):
        for paragraph in paragraphs(body, fewest, most):
            yield Text(f"reference {name}", paragraph)


@lru_cache(maxsize=1)
def _pieces() -> tuple[tuple[type[ast.AST], str, str], ...]:
    """What it is, module and code of every function and class of a readable size, without its docstring."""
    found = []
    for name, source, tree in library_modules():
        lines = source.splitlines()
        for node in definitions(tree):
            has_doc = ast.get_docstring(node) is not None
            body = node.body[1:] if has_doc else node.body
            if not body:
                continue
            head = lines[node.lineno - 1 : (node.body[0].lineno - 1 if has_doc else body[0].lineno - 1)]
            code = "\n".join([*head, *lines[body[0].lineno - 1 : node.end_lineno]])
            indent = len(head[0]) - len(head[0].lstrip()) if head else 0
            code = "\n".join(line[indent:] for line in code.splitlines() if line.strip())
            if FEWEST_LINES <= code.count("\n") + 1 <= MOST_LINES and len(code) <= 600 and code.isascii():
                found.append((type(node), name, code))
    return tuple(found)


def _code(node_type: type[ast.AST]) -> Iterator[Text]:
    for found, name, code in _pieces():
        if found is node_type:
            yield Text(f"library {name}", code)


def _changes(sign: str) -> Iterator[Text]:
    """A function of a real module that comes (`+`) or goes (`-`), as a diff shows it."""
    for found, name, code in _pieces():
        if found is ast.FunctionDef:
            changed = "\n".join(sign + line for line in code.splitlines())
            yield Text(f"library {name}", f"--- a/{name}\n+++ b/{name}\n{changed}")


def _brown(folder: Path, genres: str, fewest: int, most: int) -> Iterator[Text]:
    chosen = genres.split("+")
    if unknown := [g for g in chosen if g not in BROWN]:
        raise ConfigError(f"source brown:{genres}: no genre {unknown[0]!r}; there are {', '.join(BROWN)}")
    files = [f for g in chosen for f in sorted(folder.glob(f"{BROWN[g]}[0-9][0-9]"))]
    if not files:
        raise ConfigError(f"source brown:{genres}: {folder} holds none of it; docs/reproduce.md says how to get it")
    for file in files:
        for passage in _passages(file.read_text(encoding="utf-8", errors="replace"), fewest, most):
            yield Text(f"brown {file.name}", passage)


def _passages(tagged: str, fewest: int, most: int) -> Iterator[str]:
    """Whole sentences of one paragraph, joined until there are enough words. A paragraph begins with a tab."""
    sentences: list[str] = []
    for line in tagged.splitlines():
        words = [word.rsplit("/", 1) for word in line.split()]
        if not words:
            continue
        if line.startswith("\t"):
            sentences = []
        sentence = _joined([word[0] for word in words])
        heading = any(word[-1].endswith("-hl") for word in words)
        if heading or not sentence[0].isupper() or sentence[-1] not in ".!?" or not sentence.isascii():
            sentences = []
            continue
        sentences.append(sentence)
        count = sum(len(s.split()) for s in sentences)
        if count >= fewest and len(sentences) >= 2:
            if count <= most:
                yield " ".join(sentences)
            sentences = []


def _joined(words: list[str]) -> str:
    """Running text from tokens."""
    text = " ".join(words).replace("`` ", '"').replace(" ''", '"').replace("( ", "(")
    text = re.sub(r" ([,.;:!?)])", r"\1", text)
    return re.sub(r"([.?!])(?: ?[.?!;])+$", r"\1", text)


def _folder(folder: Path, fewest: int, most: int) -> Iterator[Text]:
    if not folder.is_dir():
        raise ConfigError(f"source folder:{folder}: there is no such folder")
    for file in sorted(chain(folder.rglob("*.txt"), folder.rglob("*.md"))):
        for paragraph in paragraphs(file.read_text(encoding="utf-8", errors="replace"), fewest, most):
            yield Text(file.name, paragraph)


def _jsonl(file: Path) -> Iterator[Text]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"source jsonl:{file}: {error.strerror or error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            body = json.loads(line)["text"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ConfigError(f"source jsonl:{file}, line {number}: expected an object with a `text`") from error
        yield Text(f"{file.name}:{number}", str(body))
