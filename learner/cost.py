"""Edit costs: how far the kept text is from the offered one.

`cost` is the paper's (arXiv 2601.19055, section 2): Levenshtein distance over NLTK word tokens,
divided by the number of tokens of the offer. It is blind to white space and can exceed 1.

`cost_max` decides everywhere else: Levenshtein over the longer of the two, in [0, 1], on tokens
that lose nothing (line breaks, leading white space, single CJK characters), so that it is 0 if
and only if the two texts are equal.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Any

from rapidfuzz.distance import Levenshtein

_CJK = r"\u2e80-\u9fff\ua000-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003fffd"
_TOKEN = re.compile(rf"\r\n|\r|\n| ?[{_CJK}]| ?[^\W_{_CJK}]+| ?(?:[^\w\s]|_)|\s", re.UNICODE)

_MARK = "\ue000"  # for private use; whoever uses it has the text split whole
_FENCE = f" {_MARK} "
_REMEMBERED, _LONGEST = 10_000, 40
"""How many pieces of text, and of how many characters at most: about 3 MB."""


def tokens(text: str) -> list[str]:
    """Split without loss: `"".join(tokens(text)) == text`.

    A word takes one space before it along, so that the white space between two words costs
    nothing of its own, while indentation and line breaks are tokens.
    """
    return _TOKEN.findall(text)


def cost_max(offered: str, kept: str) -> float:
    """Levenshtein over lossless tokens, divided by the longer text's; 0 if and only if equal."""
    a, b = tokens(offered), tokens(kept)
    longest = max(len(a), len(b))
    if longest == 0:
        return 0.0
    return Levenshtein.distance(a, b) / longest


@lru_cache(maxsize=1)
def _word_tokenizer() -> Any:
    with _as_if_missing("numpy", "scipy"):
        from nltk.tokenize import NLTKWordTokenizer  # 300 ms: only when a row settles

    return NLTKWordTokenizer()


@contextmanager
def _as_if_missing(*names: str) -> Iterator[None]:
    """Where nobody has imported `names` yet, let imports go on without them, as NLTK does where they are missing.

    Its tokenizer needs neither, and its other parts would import them: 1.2 s, and 75 MB of every server.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name, ...) is None:
                del sys.modules[name]


def warm() -> None:
    """Import what the first cost needs, so that whoever waits for it (an editor that closes) waits less."""
    _word_tokenizer()


def paper_tokens(text: str) -> list[str]:
    """Word tokens as the paper counts them; needs no download.

    NLTK's rules look no further than the next space, except those for a text's beginning and end. So what
    stands between two spaces is split once and then remembered, words of letters only not even once: NLTK's
    regular expressions are what recording an edit would spend its time on.
    """
    first, *pieces = text.split(" ")
    last = next((i for i in range(len(pieces) - 1, -1, -1) if any(map(str.isalnum, pieces[i]))), None)
    if last is None or _MARK in text:
        return _split(text)
    end, known = " ".join(pieces[last:]), _pieces()
    keys = [f" {first}", *pieces[:last], f"  {end}"]  # no piece begins with a space: what begins and ends differs
    new: dict[str, list[str]] = {}
    if fresh := [key for key in dict.fromkeys(keys) if key not in known]:
        known.update((word, [word]) for word in _whole(fresh))
        middle = [piece for piece in fresh if not piece.startswith(" ") and piece not in known]
        parts = _between(_split(_FENCE.join([first, *middle, end])))
        new = dict(zip([keys[0], *middle, keys[-1]], parts, strict=True))
        if len(known) > _REMEMBERED:
            _pieces.cache_clear()
        known.update((key, words) for key, words in new.items() if len(key) <= _LONGEST)
    return [*chain.from_iterable(new[key] if key in new else known[key] for key in keys)]


def _whole(pieces: list[str]) -> list[str]:
    """Words of letters only that NLTK leaves whole: its rules for contractions are the only ones that split letters."""
    words = [piece for piece in pieces if piece.isalpha() and len(piece) <= _LONGEST]
    tokenizer, text = _word_tokenizer(), " ".join(["", *words, ""])
    contracted = any(rule.search(text) for rule in (*tokenizer.CONTRACTIONS2, *tokenizer.CONTRACTIONS3))
    return [] if contracted else words


@lru_cache(maxsize=1)
def _pieces() -> dict[str, list[str]]:
    return {}


def _split(text: str) -> list[str]:
    words: list[str] = _word_tokenizer().tokenize(text)
    return words


def _between(words: list[str]) -> Iterator[list[str]]:
    """What stands between the marks."""
    part: list[str] = []
    for word in words:
        if word == _MARK:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def cost(offered: str, kept: str) -> float:
    """The paper's edit cost: Levenshtein over word tokens per token of the offer.

    Raises ValueError for an offer without a token, which is no offer.
    """
    a, b = paper_tokens(offered), paper_tokens(kept)
    if not a:
        raise ValueError("an empty text is no offer and has no edit cost")
    return Levenshtein.distance(a, b) / len(a)
