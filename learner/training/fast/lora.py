"""Linear layers of one input, their LoRAs included, as one step: the base's weights take no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Projection:
    """y = x W^T + bias + scale (x A^T) B^T.

    `weight` (out, in) and `bias` (out,) are frozen; `down` is A (rank, in) and `up` B (out, rank), None without an
    adapter.
    """

    weight: Tensor
    bias: Tensor | None
    down: Tensor | None = None
    up: Tensor | None = None
    scale: float = 0.0

    @classmethod
    def of(cls, layer: nn.Module) -> Projection:
        """Of a linear layer, or of peft's wrapper of one with at most one active adapter."""
        if not isinstance(layer, LoraLinear):
            assert isinstance(layer, nn.Linear)
            return cls(layer.weight, layer.bias)
        base = layer.get_base_layer()
        active = [name for name in layer.active_adapters if name in layer.lora_A]
        if layer.disable_adapters or not active:
            return cls(base.weight, base.bias)
        (name,) = active
        return cls(
            base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, float(layer.scaling[name])
        )


class _Project(torch.autograd.Function):
    """All projections of one input; `residual`, if any, is added to the first. The adapters come flat as A, B, A, B."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, layers: Sequence[Projection], *adapters: Tensor
    ) -> tuple[Tensor, ...]:
        downs = torch.cat(adapters[::2]).to(x.dtype) if adapters else x.new_zeros(0, x.shape[1])
        low = x @ downs.T
        outs, at = [], 0
        for layer in layers:
            added = layer.bias if residual is None else residual
            out = torch.mm(x, layer.weight.T) if added is None else torch.addmm(added, x, layer.weight.T)
            if residual is not None and layer.bias is not None:
                out += layer.bias
            if layer.up is not None:
                rank = layer.up.shape[1]
                out.addmm_(low[:, at : at + rank], layer.up.to(x.dtype).T, alpha=layer.scale)
                at += rank
            outs.append(out)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, low, downs, *adapters)
        ctx.layers = layers
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, low, downs, *adapters = ctx.saved_tensors
        low_slope = torch.empty_like(low)
        found: list[Tensor] = []
        at = number = 0
        for layer, slope in zip(ctx.layers, slopes, strict=True):
            if layer.up is None:
                continue
            up = adapters[2 * number + 1]
            part = slice(at, at + up.shape[1])
            low_slope[:, part] = (slope @ up.to(x.dtype)).mul_(layer.scale)
            found.append((slope.T @ low[:, part]).mul_(layer.scale).to(up.dtype))
            at, number = at + up.shape[1], number + 1
        ranks = [a.shape[0] for a in adapters[::2]]
        down_slopes = (low_slope.T @ x).to(adapters[0].dtype).split(ranks) if adapters else ()
        given = [g for pair in zip(down_slopes, found, strict=True) for g in pair]
        dx = None
        if ctx.needs_input_grad[0]:
            dx = slopes[0] @ ctx.layers[0].weight
            for layer, slope in zip(ctx.layers[1:], slopes[1:], strict=True):
                dx.addmm_(slope, layer.weight)
            dx.addmm_(low_slope, downs)
        return (dx, slopes[0] if ctx.needs_input_grad[1] else None, None, *given)


def project(x: Tensor, layers: Sequence[Projection], residual: Tensor | None = None) -> tuple[Tensor, ...]:
    """The outputs of `layers` for x (tokens, in), each (tokens, out); `residual` (tokens, out) is for a single one."""
    adapters = [t for layer in layers if layer.down is not None for t in (layer.down, layer.up)]
    outs: tuple[Tensor, ...] = _Project.apply(x, residual, layers, *adapters)  # type: ignore[no-untyped-call]
    return outs
