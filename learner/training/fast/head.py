"""Log-probabilities of chosen tokens from hidden states, by a plain linear head, logits never kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK = 4096
"""Words of the vocabulary whose logits are in memory at once: a block of the head is read once for all tokens."""
TOKENS = 2048
"""Tokens whose logits are in memory at once."""


class _ChosenLogprobs(torch.autograd.Function):
    """log softmax(h W^T)[target] per token, in fp32.

    d logp / dh = W[target] - softmax(h W^T) W is a vector of the hidden size; the forward pass computes it while it
    has the probabilities, and the backward pass only scales it.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        logprobs = hidden.new_empty(len(hidden), dtype=torch.float32)
        slopes = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for begin in range(0, len(hidden), TOKENS):
            part = slice(begin, begin + TOKENS)
            chosen, expected = _softmax(hidden[part], targets[part], weight, slopes is not None)
            logprobs[part] = chosen
            if slopes is not None and expected is not None:
                slopes[part] = weight[targets[part]] - expected
        if slopes is not None:
            ctx.save_for_backward(slopes)
        return logprobs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return (upstream[0][:, None] * slopes).to(slopes.dtype), None, None


def _softmax(hidden: Tensor, targets: Tensor, weight: Tensor, wanted: bool) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities (tokens,), and if `wanted` softmax(h W^T) W (tokens, hidden), both fp32.

    Block by block of the vocabulary: what was summed is scaled down whenever a larger logit comes ("Online normalizer
    calculation for softmax", Milakov and Gimelshein, arXiv 1805.02867).
    """
    single: dict[str, Any] = {"dtype": torch.float32, "device": hidden.device}
    top, total = torch.full((len(hidden), 1), -torch.inf, **single), torch.zeros(len(hidden), 1, **single)
    expected = torch.zeros(hidden.shape, **single) if wanted else None
    chosen = torch.zeros(len(hidden), **single)
    for start in range(0, len(weight), BLOCK):
        words = weight[start : start + BLOCK]
        logits = (hidden @ words.T).float()
        place = targets - start
        found = logits.gather(-1, place.clamp(0, len(words) - 1)[:, None])[:, 0]
        chosen = torch.where((place >= 0) & (place < len(words)), found, chosen)
        higher = torch.maximum(top, logits.amax(-1, keepdim=True))
        shrunk = (top - higher).exp_()
        exponentials = logits.sub_(higher).exp_()
        total.mul_(shrunk).add_(exponentials.sum(-1, keepdim=True))
        if expected is not None and words.dtype == torch.float32:
            expected.mul_(shrunk).addmm_(exponentials, words)
        elif expected is not None:
            expected.mul_(shrunk).add_(exponentials.to(words.dtype) @ words)
        top = higher
    if expected is not None:
        expected /= total
    return chosen - top[:, 0] - total[:, 0].log(), expected


def chosen_logprobs(hidden: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """(tokens,) in nats, of `targets` (tokens,) after `hidden` (tokens, hidden); `weight` is (vocabulary, hidden)."""
    out: Tensor = _ChosenLogprobs.apply(hidden, targets, weight)  # type: ignore[no-untyped-call]
    return out
