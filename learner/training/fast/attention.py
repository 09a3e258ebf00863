"""Grouped-query attention of a forest: each segment sees its prefix, the segments above it and its own past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from learner.training.fast.forest import Segment

SAVED_BYTES = 2**30
"""Probabilities of one pass beyond this are computed again in the backward pass instead of kept."""


class Layout:
    """What all layers share: segments, their prompts' keys and values, rotary angles, whether probabilities are kept.

    `cos` and `sin` are (tokens, 1, half a head); `before` holds (layers, 2, key heads, prompt tokens, size) per
    prefix.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        before: Sequence[Tensor],
        cos: Tensor,
        sin: Tensor,
        scale: float,
        *,
        keep: bool,
    ) -> None:
        self.segments = segments
        self._before = before
        self.cos, self.sin = cos, sin
        self.scaled = cos * scale, sin * scale  # the scale of the scores goes into the queries' rotation
        self.keep = keep
        longest = max(s.end - s.begin for s in segments)
        later = torch.full((longest, longest), -torch.inf, device=cos.device, dtype=cos.dtype)
        self._later = later.triu(1)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """(tokens, heads * size) of q (tokens, heads, size), k and v (tokens, key heads, size) of this layer."""
        before = [b[layer] for b in self._before]
        out: Tensor = _TreeAttention.apply(q, k, v, before, self)  # type: ignore[no-untyped-call]
        return out

    def future(self, count: int) -> Tensor:
        """(count, count), added to scores: -inf where the key comes later than the query."""
        return self._later[:count, :count]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + half) of x (tokens, heads, size) by its angle; with -sin it is the transpose."""
    first, second = x.chunk(2, -1)
    turned = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    one, two = turned.chunk(2, -1)
    torch.mul(first, cos, out=one).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=two).addcmul_(first, sin)
    return turned


class _TreeAttention(torch.autograd.Function):
    """softmax(q k^T) v per segment, with the rotation of q and k.

    q is (tokens, heads, size), k and v (tokens, key heads, size); the result is (tokens, heads * size). A group's
    query heads are folded into the rows of one product with its key head, so keys are never repeated. `before` are
    keys and values per prefix, each (2, key heads, prompt tokens, size), without gradient.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, before: Sequence[Tensor], layout: Layout) -> Tensor:
        q = rotate(q, *layout.scaled)
        k = rotate(k, layout.cos, layout.sin)
        out = torch.empty_like(q)
        wanted = any(ctx.needs_input_grad)
        probabilities = []
        for segment in layout.segments:
            keys, values = _seen(k, v, before, segment)
            p = _probabilities(_folded(q, segment, k.shape[1]), keys, segment, layout)
            _unfold(torch.bmm(p, values), out, segment)
            if wanted and layout.keep:
                probabilities.append(p)
        if wanted:
            ctx.save_for_backward(q, k, v, *probabilities)
        ctx.before, ctx.layout = before, layout
        return out.view(len(q), -1)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        layout: Layout = ctx.layout
        q, k, v, *kept = ctx.saved_tensors
        slope = upstream[0].view(q.shape)
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for i, segment in enumerate(layout.segments):
            keys, values = _seen(k, v, ctx.before, segment)
            folded = _folded(q, segment, k.shape[1])
            p = kept[i] if kept else _probabilities(folded, keys, segment, layout)
            d = _folded(slope, segment, k.shape[1])
            _give(torch.bmm(p.transpose(1, 2), d), dv, segment)
            ds = torch.ops.aten._softmax_backward_data(torch.bmm(d, values.transpose(1, 2)), p, -1, p.dtype)
            _unfold(torch.bmm(ds, keys), dq, segment)
            _give(torch.bmm(ds.transpose(1, 2), folded), dk, segment)
        cos, sin = layout.scaled
        return rotate(dq, cos, -sin), rotate(dk, layout.cos, -layout.sin), dv, None, None


def _seen(k: Tensor, v: Tensor, before: Sequence[Tensor], segment: Segment) -> tuple[Tensor, Tensor]:
    """Keys and values that the segment sees, its own last: (key heads, tokens, size) each."""
    known = [] if segment.prefix is None else [before[segment.prefix]]
    ranges = (*segment.above, (segment.begin, segment.end))
    keys = [*(b[0] for b in known), *(k[begin:end].transpose(0, 1) for begin, end in ranges)]
    values = [*(b[1] for b in known), *(v[begin:end].transpose(0, 1) for begin, end in ranges)]
    return torch.cat(keys, 1), torch.cat(values, 1)


def _give(gradient: Tensor, total: Tensor, segment: Segment) -> None:
    """Add a gradient of what `_seen` returned to the tokens that it belongs to; the prefix takes none."""
    ranges = (*segment.above, (segment.begin, segment.end))
    at = gradient.shape[1] - sum(end - begin for begin, end in ranges)
    for begin, end in ranges:
        total[begin:end] += gradient[:, at : at + end - begin].transpose(0, 1)
        at += end - begin


def _probabilities(folded: Tensor, keys: Tensor, segment: Segment, layout: Layout) -> Tensor:
    """(key heads, heads per key head * tokens, tokens seen); the softmax is fp32."""
    count = segment.end - segment.begin
    scores = torch.bmm(folded, keys.transpose(1, 2))
    if count > 1:
        scores.view(len(keys), -1, count, keys.shape[1])[..., -count:] += layout.future(count)
    return torch.softmax(scores, -1, dtype=torch.float32).to(scores.dtype)


def _folded(x: Tensor, segment: Segment, key_heads: int) -> Tensor:
    """(tokens, heads, size) -> (key heads, heads per key head * tokens, size) of the segment."""
    part = x[segment.begin : segment.end]
    return part.view(len(part), key_heads, -1, x.shape[-1]).permute(1, 2, 0, 3).reshape(key_heads, -1, x.shape[-1])


def _unfold(folded: Tensor, out: Tensor, segment: Segment) -> None:
    """Write what `_folded` makes back to its tokens."""
    part = out[segment.begin : segment.end]
    count, heads, size = part.shape
    groups = folded.view(len(folded), heads // len(folded), count, size).permute(2, 0, 1, 3)
    part.view(count, len(folded), heads // len(folded), size).copy_(groups)
