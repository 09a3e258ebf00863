"""What an experiment found: the table, and everything that the pictures show. Plain values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from learner.experiment import table
from learner.experiment.table import Cell, Key, Row

LATE = "late_ensemble"


@dataclass(frozen=True)
class Result:
    """The cells of a run, and its curves.

    `arms` are the fixed arms that the late ensembles choose from. `fits` are the trainings with their
    figures. `curves` are lines by title and name: {title: {name: (xs, ys)}}, with `axes` {title: (x, y)}.
    """

    size: str
    cells: Sequence[Cell]
    arms: Sequence[str]
    identity: Mapping[str, str] = field(default_factory=dict)
    fits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]] = field(default_factory=dict)
    axes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def methods(self) -> list[str]:
        """The methods that MaxSubOpt compares: the fixed arms and the paper's late ensemble."""
        return [*self.arms, LATE]

    def tested(self, tester: str = "strong") -> list[Cell]:
        """The cells of one user of the online rounds."""
        return [c for c in self.cells if c.tester == tester]

    def settings(self) -> list[Key]:
        """The (domain, user) settings, the paper's four first, as far as they are complete."""
        return list(dict.fromkeys((c.domain, c.user) for c in self.tested()))

    def compared(self, tester: str = "strong") -> list[Cell]:
        """The cells that MaxSubOpt is over: the methods above, in domains that have a strong and a weak user."""
        both = {d for d, user in self.settings() if user == "weak"}
        return [c for c in self.tested(tester) if c.domain in both and c.method in self.methods]

    def rows(self, tester: str = "strong") -> list[Row]:
        """The table, method by method."""
        return table.rows(self.tested(tester))

    def by_method(self, tester: str = "strong") -> dict[str, dict[Key, Row]]:
        """The table: what each method costs in each setting."""
        found: dict[str, dict[Key, Row]] = {}
        for row in self.rows(tester):
            found.setdefault(row.method, {})[row.domain, row.user] = row
        return found

    def max_subopt(self, tester: str = "strong") -> dict[str, float]:
        """MaxSubOpt by method, averaged over the seeds that are complete; empty without one."""
        found = table.suboptimality(self.compared(tester), self.methods)
        return {name: fmean(values) for name, values in found.items() if values}

    def late_names(self) -> list[str]:
        """The late ensembles that were played."""
        return list(dict.fromkeys(c.method for c in self.tested() if c.method.startswith(LATE)))

    def regrets(self) -> dict[str, dict[str, float]]:
        """Regret of every late ensemble by setting (`domain/user`), averaged over seeds."""
        return {
            name: {"/".join(key): fmean(values) for key, values in table.regret(self.tested(), name, self.arms).items()}
            for name in self.late_names()
        }

    @cached_property
    def differences(self) -> dict[str, dict[str, list[float]]]:
        """MaxSubOpt of each ensemble less that of each single type: mean and 95% interval, paired by round."""
        singles = [arm for arm in self.arms if arm not in ("base", "early_ensemble")]
        draws = table.resampled(self.compared(), self.methods) if self.cells else None
        if draws is None:
            return {}
        exact = self.max_subopt()
        return {
            ensemble: {
                single: [exact[ensemble] - exact[single], *table.interval(draws[ensemble] - draws[single])]
                for single in singles
            }
            for ensemble in ("early_ensemble", LATE)
            if ensemble in exact
        }

    def to_json(self) -> dict[str, Any]:
        """The public result of `learner reproduce --json`."""
        return {
            "size": self.size,
            "rows": [row.to_json() for row in self.rows()],
            "max_subopt": self.max_subopt(),
            "transfer": {
                "rows": [row.to_json() for row in self.rows("transfer")],
                "max_subopt": self.max_subopt("transfer"),
            },
            "regret": self.regrets(),
            "differences": self.differences,
            "fits": {name: dict(fit) for name, fit in self.fits.items()},
            "curves": {
                title: {name: [list(xs), list(ys)] for name, (xs, ys) in lines.items()}
                for title, lines in self.curves.items()
            },
            "identity": dict(self.identity),
            "seconds": self.seconds,
        }
