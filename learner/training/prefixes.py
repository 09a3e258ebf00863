"""Keys and values of prompts under the base, computed once, without gradient, for all adapters."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

BUDGET_BYTES = 2 * 2**30
"""Beyond it prompts are computed again where they are needed, which costs time and no memory."""
BATCH_TOKENS = 4096

Ids = tuple[int, ...]


def cache_argument(model: Any) -> str:
    """What this model calls its cache of keys and values (it was renamed in transformers 5)."""
    return "cache" if "cache" in _parameters(model) else "past_key_values"


def _parameters(model: Any) -> Mapping[str, inspect.Parameter]:
    """Arguments of the causal language model inside peft's and accelerate's wrappers."""
    while not isinstance(model, PreTrainedModel):
        model = model.get_base_model() if hasattr(model, "get_base_model") else model.module
    return inspect.signature(type(model).forward).parameters


class Prefixes:
    """The prompts' keys and values. `off` gives a context in which no adapter acts on `causal_lm`."""

    def __init__(self, causal_lm: Any, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self.off: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
        self._lm = causal_lm
        self._budget = budget_bytes
        self._held: dict[Ids, Tensor] = {}
        self._bytes = 0

    @classmethod
    def where_supported(cls, causal_lm: Any) -> Prefixes | None:
        """Prefixes of this model, or None where its memory of a prompt is not plain keys and values.

        Sliding windows, recurrent states and layers of different shapes are not.
        """
        found = cls(causal_lm)
        try:
            found._compute([(0, 1), (1,)])
        except _UnsupportedCacheError:
            return None
        return found

    def clear(self) -> None:
        """Drop what is held."""
        self._held.clear()
        self._bytes = 0

    def restore(self) -> None:
        """Say that no adapter is on the model any more."""
        self.off = contextlib.nullcontext

    def fill(self, prompts: Sequence[Ids]) -> None:
        """Compute what is missing, in batches of like length, as far as the budget goes."""
        missing = sorted({p for p in prompts if p and p not in self._held}, key=len)
        while missing and self._bytes < self._budget:
            count = max(1, BATCH_TOKENS // len(missing[-1]))
            batch, missing = missing[-count:], missing[:-count]
            for prompt, tensor in zip(batch, self._compute(batch), strict=True):
                self._held[prompt] = tensor
                self._bytes += tensor.numel() * tensor.element_size()

    def tensors(self, prompts: Sequence[Ids]) -> list[Tensor]:
        """(layers, key and value, heads, tokens, size) of each prompt, none of them empty."""
        missing = sorted({p for p in prompts if p not in self._held})
        known = dict(zip(missing, self._compute(missing), strict=True)) if missing else {}
        return [known[p] if p in known else self._held[p] for p in prompts]

    def batch(self, prompts: Sequence[Ids]) -> tuple[DynamicCache | None, Tensor]:
        """A fresh cache for these prompts, padded on the left, and its attention mask.

        The mask is (prompts, longest prompt) on the CPU. Without any prompt token there is no cache.
        """
        width = max(len(p) for p in prompts)
        before = torch.tensor([[int(i >= width - len(p)) for i in range(width)] for p in prompts], dtype=torch.long)
        before = before.view(len(prompts), width)
        if width == 0:
            return None, before
        missing = sorted({p for p in prompts if p and p not in self._held})
        known = dict(zip(missing, self._compute(missing), strict=True)) if missing else {}
        known |= {p: self._held[p] for p in prompts if p in self._held}
        some = next(iter(known.values()))
        layers, pair, heads, _, size = some.shape
        keys_values = some.new_zeros(layers, pair, len(prompts), heads, width, size)
        for i, prompt in enumerate(prompts):
            if prompt:
                keys_values[:, :, i, :, width - len(prompt) :] = known[prompt]
        cache = DynamicCache()
        for layer in range(layers):
            cache.update(keys_values[layer, 0], keys_values[layer, 1], layer)
        return cache, before

    def _compute(self, prompts: Sequence[Ids]) -> list[Tensor]:
        """(layers, key and value, heads, tokens, size) for each prompt."""
        width = max(len(p) for p in prompts)
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[i, : len(prompt)] = torch.tensor(prompt)
            mask[i, : len(prompt)] = 1
        device = next(self._lm.parameters()).device
        argument = cache_argument(self._lm)
        if argument not in _parameters(self._lm) or "position_ids" not in _parameters(self._lm):
            raise _UnsupportedCacheError
        with torch.no_grad(), self.off():
            out = self._lm.base_model(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=True)
        cache = getattr(out, argument, None)
        if (
            cache is None
            or type(cache) is not DynamicCache
            or any(type(layer) is not DynamicLayer for layer in cache.layers)
        ):
            raise _UnsupportedCacheError
        if len({layer.keys.shape for layer in cache.layers} | {layer.values.shape for layer in cache.layers}) != 1:
            raise _UnsupportedCacheError
        stacked = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])
        return [stacked[:, :, i, :, : len(p)].clone() for i, p in enumerate(prompts)]


class _UnsupportedCacheError(Exception):
    """The model's cache is not plain keys and values per layer."""
