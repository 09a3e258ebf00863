"""Attention of all trees of a forest at once, padded to the longest: for devices where many small products are slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from learner.training.fast.attention import rotate
from learner.training.fast.forest import Forest, Segment

ALIGNED = 8
"""Keys are padded to a multiple of this, as fused attention with a mask wants it."""


class _Rotate(torch.autograd.Function):
    """`rotate`, whose gradient is the rotation back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return rotate(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return rotate(upstream[0], cos, -sin), None, None


class TreesAttention:
    """Grouped-query attention of a forest, one fused call per layer.

    `cos` and `sin` are (tokens, 1, half a head); `before` are keys and values per prefix, each
    (layers, 2, key heads, prompt tokens, size), without gradient.
    """

    def __init__(self, forest: Forest, before: Sequence[Tensor], cos: Tensor, sin: Tensor, scale: float) -> None:
        trees = _trees(forest.segments)
        self._cos, self._sin, self._scale = cos, sin, scale
        longest = max(own[-1].end - own[0].begin for own in trees)
        prompts = [None if own[0].prefix is None else before[own[0].prefix] for own in trees]
        width = max((p.shape[3] for p in prompts if p is not None), default=0)
        longest += -(width + longest) % ALIGNED
        index = torch.zeros(len(trees), longest, dtype=torch.long)  # padding reads a token that nothing sees
        back = torch.empty(len(forest.ids), dtype=torch.long)
        seen = torch.zeros(len(trees), longest, width + longest, dtype=torch.bool)
        for number, (own, prompt) in enumerate(zip(trees, prompts, strict=True)):
            first, end = own[0].begin, own[-1].end
            index[number, : end - first] = torch.arange(first, end)
            back[first:end] = torch.arange(end - first) + number * longest
            if prompt is not None:
                seen[number, : end - first, : prompt.shape[3]] = True
            for s in own:
                rows = slice(s.begin - first, s.end - first)
                for begin, stop in s.above:
                    seen[number, rows, width + begin - first : width + stop - first] = True
                count = s.end - s.begin
                seen[number, rows, width + s.begin - first : width + s.end - first] = torch.ones(
                    count, count, dtype=torch.bool
                ).tril()
            seen[number, end - first :, width] = True  # padding sees something, or its softmax is no number
        device, dtype = cos.device, cos.dtype
        self._index, self._back = index.to(device), back.to(device)
        hidden = torch.zeros(seen.shape, dtype=dtype, device=device)
        self._mask = hidden.masked_fill_(~seen.to(device), -torch.inf)[:, None]
        self._before = _padded(prompts, width, device, dtype)

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, layer: int) -> Tensor:
        """(tokens, heads * size) of q (tokens, heads, size), k and v (tokens, key heads, size) of this layer."""
        q = self._apart(_Rotate.apply(q, self._cos, self._sin))  # type: ignore[no-untyped-call]
        k = self._apart(_Rotate.apply(k, self._cos, self._sin))  # type: ignore[no-untyped-call]
        v = self._apart(v)
        if self._before is not None:
            keys, values = self._before[layer]
            k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=self._mask, scale=self._scale)
        return out.transpose(1, 2).reshape(-1, out.shape[1] * out.shape[3]).index_select(0, self._back)

    def _apart(self, x: Tensor) -> Tensor:
        """(tokens, heads, size) -> (trees, heads, longest, size)."""
        rows = x.index_select(0, self._index.flatten())
        return rows.view(*self._index.shape, *x.shape[1:]).transpose(1, 2)


def _trees(segments: Sequence[Segment]) -> list[list[Segment]]:
    """The segments of each tree; its root sees nothing above it."""
    trees: list[list[Segment]] = []
    for segment in segments:
        if not segment.above:
            trees.append([])
        trees[-1].append(segment)
    return trees


def _padded(prompts: Sequence[Tensor | None], width: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    """(layers, 2, trees, key heads, width, size) of the prompts, None without any."""
    some = next((p for p in prompts if p is not None), None)
    if some is None:
        return None
    layers, pair, heads, _, size = some.shape
    made = torch.zeros(layers, pair, len(prompts), heads, width, size, device=device, dtype=dtype)
    for number, prompt in enumerate(prompts):
        if prompt is not None:
            made[:, :, number, :, : prompt.shape[3]] = prompt
    return made
