"""Many answers at once, from the weights that are loaded for training: drawn at temperature 1, or greedy.

The engine answers one person quickly; here nobody waits for a single answer, and a wide batch of the
same 135M model draws twice as many tokens a second on two cores (docs/experiments.md). What is drawn
depends on the prompt and its seed alone, not on what else stands in the batch: every answer has
random numbers of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from learner.training.prefixes import Prefixes, cache_argument

CACHE_BYTES = 2**30
"""What the keys and values of one batch may take."""
MOST_ROWS = 32
"""More is not faster on two cores, and the cache, which is copied as it grows, takes 4 GB more for 128."""

Done = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sampled answer; `cut` says that the token limit ended it."""

    ids: tuple[int, ...]
    cut: bool


class _Step(LogitsProcessor):  # type: ignore[misc]
    """Changes nothing; tells when a step is made."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step

    def __call__(self, _ids: Any, scores: Tensor) -> Tensor:
        self._step()
        return scores


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Leaves each row the one token that its own random number draws."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._randoms = [Random(seed) for seed in seeds]

    def __call__(self, _ids: Any, scores: Tensor) -> Tensor:
        mass = scores.float().softmax(-1).cumsum(-1)
        drawn = torch.tensor([[random.random()] for random in self._randoms], device=scores.device) * mass[:, -1:]
        # right: the first token whose mass reaches beyond, never one of no mass
        token = torch.searchsorted(mass, drawn, right=True).clamp_(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)


def sample(
    causal_lm: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int] | None,
    *,
    max_tokens: int,
    prefixes: Prefixes | None = None,
    invocation: int = 0,
    done: Done | None = None,
) -> list[Drawn]:
    """One answer of at most `max_tokens` tokens to each prompt (token ids), drawn with its seed; greedy without seeds.

    With `prefixes` an adapter on `causal_lm` acts on the last `invocation` tokens of a prompt and on the
    answer only. `done` is told steps so far, and how many there are at most.
    """
    ends = _ends(causal_lm, tokenizer)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    chunks: list[list[int]] = []
    while order:
        rows = _rows(causal_lm, len(prompts[order[-1]]) + max_tokens)
        chunks.append(order[-rows:])
        order = order[:-rows]
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if done is not None:
            done(steps, len(chunks) * max_tokens)

    found: dict[int, Drawn] = {}
    before = causal_lm.training
    causal_lm.eval()
    for number, chunk in enumerate(chunks, 1):
        texts = [prompts[i] for i in chunk]
        draw = [] if seeds is None else [_Draw([seeds[i] for i in chunk])]
        shared = {}
        if prefixes is not None:
            cache, _ = prefixes.batch([tuple(p[: len(p) - invocation]) for p in texts])
            shared[cache_argument(causal_lm)] = cache
        answers = _generate(causal_lm, texts, ends, max_tokens, [_Step(step), *draw], shared)
        found |= zip(chunk, (_drawn(row, ends) for row in answers), strict=True)
        steps = number * max_tokens
    causal_lm.train(before)
    return [found[i] for i in range(len(prompts))]


def _ends(causal_lm: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer."""
    own = causal_lm.generation_config.eos_token_id
    named = own if isinstance(own, list) else [own]
    return sorted({int(e) for e in (*named, tokenizer.eos_token_id) if e is not None})


def _rows(causal_lm: Any, tokens: int) -> int:
    """How many answers fit into a batch, if a row holds so many tokens."""
    config = causal_lm.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    per_token: int = 2 * config.num_hidden_layers * heads * size * causal_lm.dtype.itemsize
    return max(1, min(MOST_ROWS, CACHE_BYTES // (per_token * tokens)))


def _generate(
    causal_lm: Any,
    prompts: Sequence[Sequence[int]],
    ends: Sequence[int],
    max_tokens: int,
    processors: Sequence[LogitsProcessor],
    shared: Mapping[str, Any],
) -> list[list[int]]:
    width = max(len(p) for p in prompts)
    ids = torch.full((len(prompts), width), ends[0] if ends else 0, dtype=torch.long)
    mask = torch.zeros(len(prompts), width, dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(list(prompt))
        mask[i, width - len(prompt) :] = 1
    plain = GenerationConfig(
        max_new_tokens=max_tokens,
        do_sample=False,
        num_beams=1,
        eos_token_id=list(ends) or None,
        pad_token_id=ends[0] if ends else 0,
    )
    kept = causal_lm.generation_config
    causal_lm.generation_config = plain  # else its own defaults (penalties, top_p) fill the gaps
    try:
        out = causal_lm.generate(
            input_ids=ids.to(causal_lm.device),
            attention_mask=mask.to(causal_lm.device),
            generation_config=plain,
            logits_processor=LogitsProcessorList(processors),
            **shared,
        )
    finally:
        causal_lm.generation_config = kept
    rows: list[list[int]] = out[:, width:].tolist()
    return rows


def _drawn(row: Sequence[int], ends: Sequence[int]) -> Drawn:
    """The answer up to the token that ends it."""
    for i, token in enumerate(row):
        if token in ends:
            return Drawn(tuple(row[:i]), cut=False)
    return Drawn(tuple(row), cut=True)
