"""What a training's steps take by count, and what the machine could do in their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from learner.feedback import load
from learner.training import batches
from learner.training.fast.forest import plant
from tests.benchmarks.row import timed

if TYPE_CHECKING:
    from tests.benchmarks.bench_training import Work


def flops(work: Work, name: str) -> float:
    """Floating-point operations that our steps of one feedback type need, products of matrices only.

    A token in a layer: 2 W forward and 2 W backward to its input, W the weights of its linear layers (their own
    gradient is not wanted); r (in + out) of each adapter 2 forward, 4 backward; 4 heads * size per token that it sees
    forward, twice that backward. A predicted token: 2 hidden * vocabulary forward, as much backward.
    """
    config, settings = work.policy.causal_lm.config, work.settings
    size, heads = config.head_dim, config.num_attention_heads
    hidden, inner, keys = config.hidden_size, config.intermediate_size, config.num_key_value_heads * size
    shapes = [(hidden, heads * size), (hidden, keys), (hidden, keys), (heads * size, hidden)]
    shapes += [(hidden, inner), (hidden, inner), (inner, hidden)]
    linear = 4 * sum(a * b for a, b in shapes) + 6 * settings.rank * sum(a + b for a, b in shapes)
    total = 0.0
    for row in work.rows:
        forest = plant(batches.texts([row], load(name).needs), after_prefixes=work.policy.prefixes is not None)
        for s in forest.segments:
            count = s.end - s.begin
            before = len(forest.prefixes[s.prefix]) if s.prefix is not None else 0
            seen = count * (before + sum(e - b for b, e in s.above)) + count * (count + 1) / 2
            total += config.num_hidden_layers * (count * linear + 12 * heads * size * seen)
        total += 4 * hidden * config.vocab_size * len(forest.sources)
    return total * settings.epochs


def matmul_peak() -> float:
    """fp32 operations per second that this machine reaches in a product of 2048 x 2048 matrices."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    return 2 * 2048**3 / timed(lambda: a @ b, 9)
