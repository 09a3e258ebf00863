"""The order in which rows are trained on: shuffled, with like lengths in a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

POOL_BATCHES = 8
"""Batches that are sorted by length together. transformers' sampler takes 50, which for a few hundred
edits is one fixed order, long texts first, in every epoch."""


class GroupedSampler(Sampler[int]):
    """Indices of rows: each epoch another permutation, in which each run of `batch_size` rows is alike in length."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + 1_000_003 * self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator).tolist()
        pool = POOL_BATCHES * self._batch_size
        grouped = [
            index
            for begin in range(0, len(order), pool)
            for index in sorted(order[begin : begin + pool], key=self._lengths.__getitem__)
        ]
        full = len(grouped) // self._batch_size
        batches = [grouped[i * self._batch_size : (i + 1) * self._batch_size] for i in range(full)]
        shuffled = [batches[i] for i in torch.randperm(full, generator=generator).tolist()]
        self._epoch += 1  # where nobody sets it
        return iter([index for batch in [*shuffled, grouped[full * self._batch_size :]] for index in batch])
