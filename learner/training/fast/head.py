"""Log-probabilities of chosen tokens from hidden states, by a plain linear head, logits never kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CHUNK = 128
"""Tokens whose logits are in memory at once."""


class _ChosenLogprobs(torch.autograd.Function):
    """log softmax(h W^T)[target] per token, in fp32.

    d logp / dh = W[target] - softmax(h W^T) W is a vector of the hidden size; the forward pass computes it while it
    has the probabilities, and the backward pass only scales it.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        logprobs = hidden.new_empty(len(hidden), dtype=torch.float32)
        slopes = weight[targets] if ctx.needs_input_grad[0] else None
        for begin in range(0, len(hidden), CHUNK):
            part = slice(begin, begin + CHUNK)
            logits = hidden[part] @ weight.T
            chosen = logits.gather(-1, targets[part, None])[:, 0].float()
            if slopes is None:
                logprobs[part] = chosen - logits.float().logsumexp(-1)
                continue
            top, where = logits.max(-1)
            probabilities = torch.softmax(logits, -1, dtype=torch.float32)
            # the most likely token has probability 1 / sum exp(logit - top), so the sum need not be taken again
            logprobs[part] = chosen - top.float() + probabilities.gather(-1, where[:, None])[:, 0].log()
            slopes[part] -= probabilities.to(weight.dtype) @ weight
        if slopes is not None:
            ctx.save_for_backward(slopes)
        return logprobs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return (upstream[0][:, None] * slopes).to(slopes.dtype), None, None


def chosen_logprobs(hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """(tokens,) in nats, of `targets` (tokens,) after `hidden` (tokens, hidden); `weight` is (vocabulary, hidden)."""
    out: Tensor = _ChosenLogprobs.apply(hidden, targets, weight)  # type: ignore[no-untyped-call]
    return out
