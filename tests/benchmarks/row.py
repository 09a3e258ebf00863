"""A line of the benchmark table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Literal

On = Literal["ours", "ratio"]


@dataclass(frozen=True, slots=True)
class Row:
    """`ours` and `peer` in `unit`; `ratio` is ours over the peer's; `limit` is what `on` should not exceed."""

    name: str
    ours: float
    peer: float | None
    ratio: float | None
    limit: float | None
    unit: str
    on: On = "ratio"

    @classmethod
    def of(
        cls, name: str, ours: float, peer: float | None, limit: float | None, unit: str, *, on: On | None = None
    ) -> Row:
        """A row; its limit is one of the ratio where there is a peer, unless `on` says otherwise."""
        return cls(name, ours, peer, ours / peer if peer else None, limit, unit, on or ("ratio" if peer else "ours"))

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        value = self.ours if self.on == "ours" else self.ratio
        return None if self.limit is None or value is None else value <= self.limit

    @property
    def goal(self) -> str:
        """The limit in words."""
        if self.limit is None:
            return ""
        return f"ratio {self.limit:.3g}" if self.on == "ratio" else f"{self.limit:.3g} {self.unit}"


def timed(act: Callable[[], object], repeats: int) -> float:
    """Median seconds of one call."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        act()
        times.append(perf_counter() - started)
    return median(times)


def share(values: list[float], part: float) -> float:
    """The value below which a part of the values lies."""
    return sorted(values)[int(part * (len(values) - 1))]
