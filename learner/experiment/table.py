"""From rounds to the paper's table: means over seeds, MaxSubOpt, regret, and intervals of the differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

Key = tuple[str, str]
"""(domain, user)."""

POSTER_SETTINGS: tuple[Key, ...] = (
    ("summarization", "strong"), ("summarization", "weak"), ("email", "strong"), ("email", "weak"),
)  # fmt: skip
POSTER: Mapping[str, tuple[float, ...]] = {
    "base": (0.9455, 0.9445, 0.5108, 0.4923, 0.7364),
    "sft": (0.5377, 0.9304, 0.4159, 0.4539, 0.5772),
    "dpo": (1.0790, 0.8267, 0.3365, 0.3368, 0.8698),
    "early_ensemble": (0.2092, 0.3586, 0.3438, 0.4864, 0.1612),
    "late_ensemble": (0.2768, 0.4403, 0.4202, 0.3739, 0.1586),
}
"""The paper's first table: the four settings, and MaxSubOpt."""
POSTER_TRANSFER: Mapping[str, tuple[float, ...]] = {
    "base": (0.8498, 0.8558, 0.4241, 0.4239, 0.6654),
    "sft": (0.4890, 0.7698, 0.3377, 0.3866, 0.5121),
    "dpo": (0.9650, 0.7800, 0.2955, 0.3047, 0.7805),
    "early_ensemble": (0.1845, 0.2577, 0.2406, 0.4001, 0.0955),
    "late_ensemble": (0.2509, 0.3403, 0.3123, 0.3428, 0.0862),
}
"""Its second table, with the transfer user at test time."""
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class Cell:
    """One method in one setting under one seed: the mean cost of its rounds, and each round's."""

    domain: str
    user: str
    seed: int
    tester: str
    method: str
    costs: tuple[float, ...]
    bounded: tuple[float, ...]
    played: tuple[str, ...] = ()
    """The arm of each round, for a late ensemble."""

    @property
    def mean(self) -> float:
        """The paper's figure: mean edit cost over the T rounds."""
        return fmean(self.costs)


@dataclass(frozen=True, slots=True)
class Row:
    """A cell of the table: mean and standard deviation over seeds, of the paper's cost and of `cost_max`."""

    method: str
    domain: str
    user: str
    tester: str
    cost_mean: float
    cost_sd: float
    cost_max_mean: float
    untouched: float
    seeds: int

    @property
    def spread(self) -> str:
        """The standard deviation over seeds, where there are several."""
        return f"± {self.cost_sd:.3f}" if self.seeds > 1 else "1 seed"

    def to_json(self) -> dict[str, Any]:
        """The public row of `learner reproduce --json`."""
        return {name: getattr(self, name) for name in self.__slots__}


def rows(cells: Sequence[Cell]) -> list[Row]:
    """Means over seeds."""
    gathered: dict[tuple[str, str, str, str], list[Cell]] = {}
    for cell in cells:
        gathered.setdefault((cell.method, cell.domain, cell.user, cell.tester), []).append(cell)
    return [
        Row(
            *key,
            cost_mean=fmean(c.mean for c in own),
            cost_sd=stdev(c.mean for c in own) if len(own) > 1 else 0.0,
            cost_max_mean=fmean(fmean(c.bounded) for c in own),
            untouched=fmean(fmean(x == 0 for x in c.bounded) for c in own),
            seeds=len(own),
        )
        for key, own in gathered.items()
    ]


def suboptimality(cells: Sequence[Cell], methods: Sequence[str]) -> dict[str, list[float]]:
    """MaxSubOpt of each method, seed by seed: the worst, over the settings, of its cost less the best method's.

    Only seeds whose every (setting, method) is there count.
    """
    by = {(c.seed, c.domain, c.user, c.method): c.mean for c in cells}
    settings = list(dict.fromkeys((c.domain, c.user) for c in cells))
    found: dict[str, list[float]] = {method: [] for method in methods}
    for seed in sorted({c.seed for c in cells}):
        if any((seed, *setting, m) not in by for setting in settings for m in methods):
            continue
        best = {s: min(by[seed, *s, m] for m in methods) for s in settings}
        for method in methods:
            found[method].append(max(by[seed, *s, method] - best[s] for s in settings))
    return found


def regret(cells: Sequence[Cell], late: str, arms: Sequence[str], base: str = "base") -> dict[Key, list[float]]:
    """(mean of the late ensemble - best fixed arm) / (base - best), by setting, seed by seed."""
    by = {(c.domain, c.user, c.seed, c.method): c.mean for c in cells}
    found: dict[Key, list[float]] = {}
    for domain, user, seed in dict.fromkeys((c.domain, c.user, c.seed) for c in cells):
        means = {m: by[domain, user, seed, m] for m in arms if (domain, user, seed, m) in by}
        mine = by.get((domain, user, seed, late))
        if mine is None or base not in means:
            continue
        best = min(means.values())
        gap = means[base] - best
        found.setdefault((domain, user), []).append((mine - best) / gap if gap > 0 else 0.0)
    return found


def resampled(cells: Sequence[Cell], methods: Sequence[str]) -> dict[str, Any] | None:
    """Bootstrap draws of each method's MaxSubOpt, averaged over seeds: an array of `RESAMPLES` for each.

    Rounds are drawn anew, the same for all methods, within each (seed, setting), and MaxSubOpt is worked out
    again from each draw. None where no seed is complete.
    """
    import numpy as np

    settings = list(dict.fromkeys((c.domain, c.user) for c in cells))
    by = {(c.seed, c.domain, c.user, c.method): np.asarray(c.costs) for c in cells}
    seeds = [s for s in sorted({c.seed for c in cells}) if all((s, *k, m) in by for k in settings for m in methods)]
    if not seeds:
        return None
    generator = np.random.default_rng(0)
    total = np.zeros((RESAMPLES, len(methods)))
    for seed in seeds:
        worst = np.full((RESAMPLES, len(methods)), -np.inf)
        for setting in settings:
            table = np.stack([by[seed, *setting, m] for m in methods])
            size = table.shape[1]
            counts = generator.multinomial(size, np.full(size, 1 / size), RESAMPLES)
            means = counts @ table.T / size
            worst = np.maximum(worst, means - means.min(1, keepdims=True))
        total += worst / len(seeds)
    return {method: total[:, i] for i, method in enumerate(methods)}


def interval(draws: Any, confidence: float = 0.95) -> tuple[float, float]:
    """The middle `confidence` of bootstrap draws."""
    import numpy as np

    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)
