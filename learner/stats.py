"""How edit cost went: by outcome, by arm, by week. Whether learning helped is read from this."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import fmean

from learner.store import Store

IMPORTED = "imported"
"""Stands for the arm of rows that came from a file: they have none."""


@dataclass(frozen=True, slots=True)
class ArmStats:
    """One arm: `offers` made, `measured` of them with a cost, means over those; shares in [0, 1] or None.

    `untouched` is the share of cost 0 among the measured, `censored` that of offers whose end cannot be told
    among the settled.
    """

    arm: str
    offers: int
    measured: int
    cost_max: float | None
    untouched: float | None
    censored: float | None


@dataclass(frozen=True, slots=True)
class WeekStats:
    """One ISO week (UTC): how many edits were measured, their mean `cost_max`, and the same by arm."""

    week: str
    edits: int
    cost_max: float
    arms: dict[str, float]


@dataclass(frozen=True, slots=True)
class EditStats:
    """All of it; `outcomes` counts offers, those that are not settled yet as `open`."""

    count: int
    outcomes: dict[str, int]
    arms: tuple[ArmStats, ...]
    weeks: tuple[WeekStats, ...]


def week_of(at: float) -> str:
    """ISO week of a time in UTC seconds: `2026-W48`."""
    year, week, _ = datetime.fromtimestamp(at, UTC).isocalendar()
    return f"{year}-W{week:02}"


def edit_stats(store: Store, task: str | None = None) -> EditStats:
    """Figures over all offers, or those of one task, since costs of different tasks do not compare."""
    outcomes: Counter[str] = Counter()
    by_arm: defaultdict[str, Counter[str]] = defaultdict(Counter)
    costs: defaultdict[str, list[float]] = defaultdict(list)
    weeks: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    sql = "SELECT created_at, arm, outcome, cost_max FROM edits" + (" WHERE task = ?" if task else "")
    for at, named, outcome, cost in store.read(sql, [task] if task else []):
        arm = named or IMPORTED
        outcomes[outcome or "open"] += 1
        by_arm[arm][outcome or "open"] += 1
        if cost is not None:
            costs[arm].append(cost)
            weeks[week_of(at)][arm].append(cost)
    return EditStats(
        outcomes.total(),
        dict(outcomes.most_common()),
        tuple(_arm(arm, by_arm[arm], costs[arm]) for arm in sorted(by_arm, key=lambda a: (a == IMPORTED, a))),
        tuple(_week(week, weeks[week]) for week in sorted(weeks)),
    )


def _arm(arm: str, outcomes: Counter[str], costs: list[float]) -> ArmStats:
    settled = outcomes.total() - outcomes["open"]
    return ArmStats(
        arm,
        outcomes.total(),
        len(costs),
        fmean(costs) if costs else None,
        sum(c == 0 for c in costs) / len(costs) if costs else None,
        outcomes["censored"] / settled if settled else None,
    )


def _week(week: str, costs: dict[str, list[float]]) -> WeekStats:
    every = [c for found in costs.values() for c in found]
    return WeekStats(week, len(every), fmean(every), {arm: fmean(found) for arm, found in costs.items()})
