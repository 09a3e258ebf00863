"""RMSNorm and SwiGLU with frozen weights, each as one step of autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _RMSNorm(torch.autograd.Function):
    """y = w x / sqrt(mean(x^2) + eps) per row; statistics in fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = inverse.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(x, inverse, weight)
        return torch.mul(x, inverse).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        x, inverse, weight = ctx.saved_tensors
        slope = upstream[0] * weight
        along = torch.mul(slope, x).sum(-1, keepdim=True, dtype=torch.float32)
        along = along.mul_(inverse.pow(3)).div_(-x.shape[-1])
        return slope.mul_(inverse).addcmul_(x, along.to(x.dtype)), None, None


class _SwiGLU(torch.autograd.Function):
    """y = silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        (slope,) = upstream
        return (
            torch.ops.aten.silu_backward(slope * up, gate),
            torch.nn.functional.silu(gate).mul_(slope),
        )


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x (tokens, hidden), normed and weighted by `weight` (hidden,), which takes no gradient."""
    out: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up, each (tokens, inner)."""
    out: Tensor = _SwiGLU.apply(gate, up)  # type: ignore[no-untyped-call]
    return out
