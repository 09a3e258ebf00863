"""A line of the benchmark table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Row:
    """`ours` and `peer` in `unit`; `ratio` is ours over the peer's; `limit` is what it should stay under."""

    name: str
    ours: float
    peer: float | None
    ratio: float | None
    limit: float | None
    unit: str

    @classmethod
    def of(cls, name: str, ours: float, peer: float | None, limit: float | None, unit: str) -> Row:
        return cls(name, ours, peer, ours / peer if peer else None, limit, unit)


def timed(act: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        act()
        times.append(perf_counter() - started)
    return median(times)
