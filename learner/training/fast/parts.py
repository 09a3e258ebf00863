"""Several cores: each computes a part of the batch from beginning to end, with one thread.

torch splits every operation over its threads and waits for all of them each time; on cores that others use as well,
that costs more than it gains (docs/experiments.md). Parts meet only where the log-probabilities are put together,
and where their gradients are added, always in the same order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

Job = Callable[[], Tensor]
T = TypeVar("T")


def shares(costs: Sequence[int], count: int) -> list[list[int]]:
    """Numbers of the costs in at most `count` parts of like sum, none of them empty."""
    parts: list[list[int]] = [[] for _ in range(min(count, len(costs)))]
    totals = [0] * len(parts)
    for number in sorted(range(len(costs)), key=lambda i: -costs[i]):
        least = totals.index(min(totals))
        parts[least].append(number)
        totals[least] += costs[number]
    return [sorted(part) for part in parts]


class _Together(torch.autograd.Function):
    """The results of all jobs, (a,), (b,), ..., one after the other; a job's graph stays with its part."""

    @staticmethod
    def forward(ctx: Any, jobs: Sequence[Job], *parameters: Tensor) -> Tensor:
        outs = _at_once([functools.partial(_in_mode, True, job) for job in jobs])
        ctx.outs, ctx.parameters = outs, parameters
        return torch.cat([out.detach() for out in outs])

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        slopes = torch.split(upstream[0], [len(out) for out in ctx.outs])

        def gradients(out: Tensor, slope: Tensor) -> tuple[Tensor | None, ...]:
            found: tuple[Tensor | None, ...] = torch.autograd.grad(out, ctx.parameters, slope, allow_unused=True)
            return found

        found = _at_once([functools.partial(gradients, o, s) for o, s in zip(ctx.outs, slopes, strict=True)])
        ctx.outs = []
        return (None, *(_sum(each) for each in zip(*found, strict=True)))


def together(jobs: Sequence[Job], parameters: Sequence[Tensor]) -> Tensor:
    """The concatenated results of `jobs`, each (any number,), with gradient to `parameters`; one is just called."""
    if len(jobs) == 1:
        return jobs[0]()
    if not (torch.is_grad_enabled() and parameters):
        return torch.cat(_at_once([functools.partial(_in_mode, False, job) for job in jobs]))
    out: Tensor = _Together.apply(jobs, *parameters)  # type: ignore[no-untyped-call]
    return out


def _in_mode(gradient: bool, job: Job) -> Tensor:
    """torch remembers per thread whether it keeps graphs."""
    with torch.set_grad_enabled(gradient):
        return job()


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for gradient in gradients:
        if gradient is not None:
            total = gradient if total is None else total + gradient
    return total


@functools.cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="training-part")


def _at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """The results of `calls`, made at the same time, the threads of torch shared out among them."""
    threads = torch.get_num_threads()
    each = max(1, threads // len(calls))

    def single(call: Callable[[], T]) -> T:
        torch.set_num_threads(each)  # OpenMP keeps the number per thread
        return call()

    try:
        return list(_pool(len(calls)).map(single, calls))
    finally:
        torch.set_num_threads(threads)
