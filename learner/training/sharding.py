"""What the processes of a training compute for each other: shares of the texts, each scored once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from learner.training.batches import Score
from learner.training.logprobs import Text
from learner.training.processes import World
from learner.training.reference import Reference


def portions(texts: Sequence[Text], size: int) -> list[Sequence[Text]]:
    """`size` runs of the texts, in order, of about as many tokens each; some may be empty."""
    tokens = [len(t.answer) + len(t.prompt) - t.start for t in texts]
    total, done, bounds = sum(tokens), 0, [0]
    for place, count in enumerate(tokens):
        # a text goes to the process in whose share of all tokens its middle lies
        while len(bounds) < size and (done + count / 2) * size >= total * len(bounds):
            bounds.append(place)
        done += count
    bounds += [len(texts)] * (size + 1 - len(bounds))
    return [texts[a:b] for a, b in pairwise(bounds)]


def shared_scores(world: World, texts: Sequence[Text], score: Score, device: torch.device) -> Score:
    """A `score` of any of `texts`, distinct, that all processes have computed by the time that this returns.

    The gradient goes to this process's own share only: summed over the processes, it is the whole.
    """
    shares = portions(texts, world.size)
    own = shares[world.rank]
    mine = torch.zeros(0, device=device)
    if own:
        logprobs, mask = score(own)
        mine = logprobs[mask]
    sizes = [sum(len(t.answer) for t in share) for share in shares]
    begin = sum(sizes[: world.rank])
    flat = torch.zeros(sum(sizes))
    flat[begin : begin + len(mine)] = mine.detach().float().cpu()
    flat = world.sum(flat).to(device)  # all but one add zeros: exact
    flat = torch.cat([flat[:begin], mine, flat[begin + len(mine) :]])
    parts = dict(zip(texts, torch.split(flat, [len(t.answer) for t in texts]), strict=True))

    def known(wanted: Sequence[Text]) -> tuple[Tensor, Tensor]:
        longest = max(len(t.answer) for t in wanted)
        mask = torch.tensor([[i < len(t.answer) for i in range(longest)] for t in wanted], device=device)
        filled = torch.cat([parts[t] for t in wanted])
        return torch.zeros(mask.shape, device=device).masked_scatter(mask, filled), mask

    return known


def fill_reference(
    world: World, reference: Reference, texts: Sequence[Text], done: Callable[[int, int], None] | None = None
) -> None:
    """Have the reference of all texts, of which each process computes its share."""
    own = texts[world.rank :: world.size]
    reference.fill(own, done)
    if not world.alone:
        for known in world.gather({t: reference.get(t) for t in own if t.answer}):
            reference.take(known)
