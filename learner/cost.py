"""Edit costs: how far the kept text is from the offered one.

`cost` is the paper's (arXiv 2601.19055, section 2): Levenshtein distance over NLTK word tokens,
divided by the number of tokens of the offer. It is blind to white space and can exceed 1.

`cost_max` decides everywhere else: Levenshtein over the longer of the two, in [0, 1], on tokens
that lose nothing (line breaks, leading white space, single CJK characters), so that it is 0 if
and only if the two texts are equal.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from rapidfuzz.distance import Levenshtein

_CJK = r"\u2e80-\u9fff\ua000-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003fffd"
_TOKEN = re.compile(rf"\r\n|\r|\n| ?[{_CJK}]| ?[^\W_{_CJK}]+| ?(?:[^\w\s]|_)|\s", re.UNICODE)


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
    from nltk.tokenize import NLTKWordTokenizer  # 215-360 ms: only when a row settles

    return NLTKWordTokenizer()


def warm() -> None:
    """Import what the first cost needs, so that whoever waits for it (an editor that closes) waits less."""
    _word_tokenizer()


def paper_tokens(text: str) -> list[str]:
    """Word tokens as the paper counts them; needs no download."""
    words: list[str] = _word_tokenizer().tokenize(text)
    return words


def cost(offered: str, kept: str) -> float:
    """The paper's edit cost: Levenshtein over word tokens per token of the offer.

    Raises ValueError for an offer without a token, which is no offer.
    """
    a, b = paper_tokens(offered), paper_tokens(kept)
    if not a:
        raise ValueError("an empty text is no offer and has no edit cost")
    return Levenshtein.distance(a, b) / len(a)
