"""Texts packed without padding: what texts of one prompt have in common runs once.

Each prompt is the trunk of a tree, its answers are the branches, and answers that begin alike share that part too.
A token sees the tokens on the way to the root only, at the position that it has in its own text, so everything is as
if each text ran alone. The last token of an answer predicts nothing and does not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from learner.training.logprobs import Text

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a tree without a fork: tokens `begin` to `end` of the pack, which see `prefix`, then `above`.

    `above` are ranges of the pack, from the root on. `prefix` numbers a prompt whose keys and values are known;
    None without one.
    """

    begin: int
    end: int
    above: tuple[tuple[int, int], ...]
    prefix: int | None


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees of all prompts, one after the other.

    `ids` and `positions` are (tokens,). Hidden state `sources[i]` predicts the token `targets[i]`, each distinct
    prediction once: (predictions,). `places` (texts, longest answer) are the predictions of each text's tokens,
    and the number of predictions where there is no token. `prefixes` are the prompts that `Segment.prefix` counts.
    """

    ids: Tensor
    positions: Tensor
    segments: tuple[Segment, ...]
    sources: Tensor
    targets: Tensor
    places: Tensor
    prefixes: tuple[Ids, ...]


@dataclass(slots=True)
class _Trie:
    """The texts of one prompt, token by token; node 0 is the first token that runs."""

    tokens: list[int] = field(default_factory=list)
    children: list[dict[int, int]] = field(default_factory=list)

    def step(self, node: int | None, token: int) -> int:
        """The child of `node` for this token, made if need be."""
        if node is not None and token in self.children[node]:
            return self.children[node][token]
        made = len(self.tokens)
        self.tokens.append(token)
        self.children.append({})
        if node is not None:
            self.children[node][token] = made
        return made


class _Planter:
    """Gathers trees into one pack."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segments: list[Segment] = []
        self.sources: list[int] = []
        self.targets: list[int] = []
        self.prefixes: list[Ids] = []

    def plant(self, prefix: Ids, trunk: Ids, answers: Sequence[Ids]) -> list[list[int]]:
        """Add the tree of these answers; returns the predictions of each."""
        if not trunk:
            raise ValueError("a prompt without a token of its own predicts nothing: its `start` is its end")
        trie = _Trie()
        last: int | None = None
        for token in trunk:
            last = trie.step(last, token)
        paths: list[list[int]] = []
        for answer in answers:
            node, path = last, []
            for token in answer:
                node = trie.step(node, token)
                path.append(node)
            paths.append(path)
        predictions = self._grow(trie, prefix, len(trunk) - 1)
        return [[predictions[node] for node in path] for path in paths]

    def _grow(self, trie: _Trie, prefix: Ids, last: int) -> dict[int, int]:
        """Lay the tree out in segments, depth first; returns the prediction of each node after the trunk's `last`."""
        if not trie.children[last]:
            return {}  # nothing but empty answers
        number = None
        if prefix:
            number = len(self.prefixes)
            self.prefixes.append(prefix)
        predictions: dict[int, int] = {}
        stack: list[tuple[int, int, tuple[tuple[int, int], ...]]] = [(0, len(prefix), ())]
        while stack:
            node, depth, above = stack.pop()
            begin = len(self.ids)
            while True:
                self.ids.append(trie.tokens[node])
                self.positions.append(depth)
                depth += 1
                if node >= last:  # trunk nodes are the first ones
                    for token, child in trie.children[node].items():
                        predictions[child] = len(self.sources)
                        self.sources.append(len(self.ids) - 1)
                        self.targets.append(token)
                inner = [child for child in trie.children[node].values() if trie.children[child]]
                if len(inner) != 1:
                    break
                node = inner[0]
            end = len(self.ids)
            self.segments.append(Segment(begin, end, above, number))
            below = (*above[:-1], (above[-1][0], end)) if above and above[-1][1] == begin else (*above, (begin, end))
            stack.extend((child, depth, below) for child in reversed(inner))
        return predictions


def plant(texts: Sequence[Text], *, after_prefixes: bool) -> Forest:
    """Pack `texts`; with `after_prefixes` each prompt runs from its `start` on, without from its first token.

    Raises ValueError for a prompt of which no token runs.
    """
    groups: dict[tuple[Ids, int], list[int]] = {}
    for i, text in enumerate(texts):
        groups.setdefault((text.prompt, text.start if after_prefixes else 0), []).append(i)
    planter = _Planter()
    paths: list[list[int]] = [[] for _ in texts]
    for (prompt, begin), numbers in groups.items():
        found = planter.plant(prompt[:begin], prompt[begin:], [texts[i].answer for i in numbers])
        for i, path in zip(numbers, found, strict=True):
            paths[i] = path
    longest, missing = max(map(len, paths)), len(planter.sources)
    places = [[*path, *[missing] * (longest - len(path))] for path in paths]
    return Forest(
        torch.tensor(planter.ids, dtype=torch.long),
        torch.tensor(planter.positions, dtype=torch.long),
        tuple(planter.segments),
        torch.tensor(planter.sources, dtype=torch.long),
        torch.tensor(planter.targets, dtype=torch.long),
        torch.tensor(places, dtype=torch.long).view(len(texts), longest),
        tuple(planter.prefixes),
    )
