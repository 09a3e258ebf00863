"""Token log-probabilities of answers, for any causal language model, adapter or not.

The LM head is applied to the tokens of answers only, in chunks, and the logits are never kept: a
token's gradient is its upstream scalar times a vector that the forward pass can compute at once.

An activated adapter leaves the prompt to the base, so the prompt's keys and values come from
`Prefixes`, computed once without gradient and shared by all texts and all adapters; only the
invocation tokens and the answer run under the adapter.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learner.training.prefixes import Prefixes, cache_argument

CHUNK = 256
"""Tokens whose logits are in memory at once."""
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Text:
    """An answer after its prompt, in tokens. An activated adapter acts from `prompt[start]` on."""

    prompt: tuple[int, ...]
    start: int
    answer: tuple[int, ...]


class _ChunkedLogprobs(torch.autograd.Function):
    """log softmax(project(hidden))[target] per token, in fp32, without keeping logits.

    Tokens do not interact here, so d logp_i / d hidden_i is a vector of the hidden size that the
    forward pass computes chunk by chunk; the backward pass only scales it.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, project: Callable[[Tensor], Tensor]) -> Tensor:
        logprobs = hidden.new_zeros(len(hidden), dtype=torch.float32)
        wanted = ctx.needs_input_grad[0]
        slopes = torch.empty_like(hidden) if wanted else None
        for begin in range(0, len(hidden), CHUNK):
            part = slice(begin, begin + CHUNK)
            leaf = hidden[part].detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                logits = project(leaf).float()
                chosen = logits.gather(-1, targets[part, None])[:, 0] - logits.logsumexp(-1)
                if slopes is not None:
                    (slopes[part],) = torch.autograd.grad(chosen.sum(), leaf)
            logprobs[part] = chosen.detach()
        ctx.save_for_backward(*(() if slopes is None else (slopes,)))
        return logprobs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return (upstream[0][:, None] * slopes).to(slopes.dtype), None, None


def projection(causal_lm: Any) -> Callable[[Tensor], Tensor]:
    """hidden (tokens, hidden) -> logits (tokens, vocabulary), with the family's scaling and capping."""
    config = causal_lm.config.get_text_config()
    scale = 1.0
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        value = getattr(config, name, None)
        if value is not None:
            scale = float(value)
            break
    else:
        divisor = getattr(config, "logits_scaling", None)
        if divisor is not None:
            scale = 1.0 / float(divisor)
    cap = getattr(config, "final_logit_softcapping", None)

    def project(hidden: Tensor) -> Tensor:
        logits: Tensor = causal_lm.get_output_embeddings()(hidden)
        if scale != 1.0:
            logits = logits * scale
        return logits if cap is None else cap * torch.tanh(logits / cap)

    return project


@contextlib.contextmanager
def answer_head(causal_lm: Any) -> Iterator[None]:
    """Let `causal_lm(..., answer_targets=targets)` return log-probabilities instead of logits.

    `targets` (batch, tokens) holds at each position the token that follows, `IGNORED` where it is
    not an answer's; the result is (answer tokens,), row by row. The call goes through the model's
    own `forward`, so that adapters' hooks and accelerate's wrappers see it.
    """
    original = causal_lm.forward
    project = projection(causal_lm)

    def forward(self: Any, *args: Any, answer_targets: Tensor | None = None, **kwargs: Any) -> Any:
        if answer_targets is None:
            return original(*args, **kwargs)
        hidden = self.base_model(*args, **kwargs).last_hidden_state
        mask = answer_targets != IGNORED
        return _ChunkedLogprobs.apply(hidden[mask], answer_targets[mask], project)  # type: ignore[no-untyped-call]

    causal_lm.forward = types.MethodType(forward, causal_lm)
    try:
        yield
    finally:
        causal_lm.__dict__.pop("forward", None)


def token_logprobs(
    model: Any,
    texts: Sequence[Text],
    *,
    device: torch.device,
    prefixes: Prefixes | None = None,
    activated: bool = False,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the answers' tokens under `model`, in nats, and their mask.

    Both are (texts, longest answer); padding holds 0 and False. `model` is a causal language
    model with `answer_head`, or peft's or accelerate's wrapper of one. With `prefixes` the prompts
    up to `start` come from the base; without, whole texts run, and `activated` tells a peft
    model of that form from where its adapter acts.
    """
    longest = max(len(t.answer) for t in texts)
    mask = torch.tensor([[i < len(t.answer) for i in range(longest)] for t in texts], dtype=torch.bool)
    mask = mask.view(len(texts), longest).to(device)
    if longest == 0:
        return torch.zeros(mask.shape, device=device), mask
    inputs, begins = answer_inputs(texts, device, prefixes, model)
    width = inputs["input_ids"].shape[1]
    targets = torch.full((len(texts), width), IGNORED)
    for i, (text, begin) in enumerate(zip(texts, begins, strict=True)):
        first = len(text.prompt) - begin - 1  # the position that predicts the answer's first token
        targets[i, first : first + len(text.answer)] = torch.tensor(text.answer)
    if activated and prefixes is None:
        inputs["alora_offsets"] = [width - t.start for t in texts]
    flat = model(**inputs, answer_targets=targets.to(device))
    return torch.zeros(mask.shape, device=device).masked_scatter(mask, flat), mask


def answer_inputs(
    texts: Sequence[Text], device: torch.device, prefixes: Prefixes | None, model: Any
) -> tuple[dict[str, Any], list[int]]:
    """What `model` is called with for these texts, padded on the right, and where in its prompt each begins.

    With `prefixes` a text begins at its `start`, after the cached keys and values; without, at 0.
    """
    begins = [t.start if prefixes is not None else 0 for t in texts]
    sequences = [(*t.prompt[b:], *t.answer) for t, b in zip(texts, begins, strict=True)]
    width = max(len(s) for s in sequences)
    ids = torch.zeros(len(texts), width, dtype=torch.long)
    attention = torch.zeros(len(texts), width, dtype=torch.long)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        attention[i, : len(sequence)] = 1
    inputs: dict[str, Any] = {"input_ids": ids.to(device), "use_cache": False}
    if prefixes is not None:
        inputs["position_ids"] = (torch.arange(width)[None] + torch.tensor(begins)[:, None]).to(device)
        cache, before = prefixes.batch([t.prompt[: t.start] for t in texts])
        inputs[cache_argument(model)] = cache
        attention = torch.cat([before, attention], 1)
    inputs["attention_mask"] = attention.to(device)
    return inputs, begins
