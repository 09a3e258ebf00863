"""`learner reproduce` of the sizes that train: from the plan to a place to run it in, and from a run to its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from learner.experiment import online
from learner.experiment import plan as plans
from learner.experiment.plan import Plan
from learner.experiment.protocol import Cast, documents
from learner.experiment.result import Result
from learner.experiment.run import Place
from learner.models import BaseModel, Progress


def place(
    size: str,
    folder: Path,
    corpora: Path,
    base: Callable[[], BaseModel] | None,
    cast: Cast,
    seeds: int | None,
    say: Progress,
    *,
    sources: Mapping[str, str] | None = None,
) -> Place:
    """Where an experiment that trains is run: `tiny` on a base that is made there (`base` None), else on `base`.

    `sources` take the place of the plan's, by kind. Raises ConfigError for a kind that the plan does not have
    and a source with too few documents, before anything is trained.
    """
    plan = plans.load(size).reading(sources or {})
    if seeds is not None:
        plan = msgspec.structs.replace(plan, seeds=seeds, growth=_fewer(plan, seeds))
    cases = [
        case
        for domain in plan.domains
        for seed in range(plan.seeds)
        for part in [documents(plan, domain, seed, corpora)]
        for case in (*part.offline, *part.held)
    ]
    if base is None:
        from learner.experiment import tiny

        folder.mkdir(parents=True, exist_ok=True)
        model = tiny.base(folder, plan, cases, say)
    else:
        model = base()
    return Place(folder, corpora, model, plan, replace(cast, cache=folder / "user"))


def _fewer(plan: Plan, seeds: int) -> plans.Growth | None:
    return None if plan.growth is None else msgspec.structs.replace(plan.growth, seeds=min(seeds, plan.growth.seeds))


def result(place: Place, seconds: float) -> Result:
    """What the run in `place` has found so far."""
    ledger = place.ledger()
    try:
        cells = online.cells(place, ledger)
        grown = online.growth(place.plan, ledger)
        fits = {arm: fit for arm, fit in ledger.fits().items() if "growth" not in arm}
    finally:
        ledger.close()
    curves: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]] = {}
    axes: Mapping[str, tuple[str, str]] = {}
    if grown:
        title = "Rounds of edit and retraining"
        curves = {title: {user: (list(range(1, len(ys) + 1)), ys) for user, ys in grown.items()}}
        axes = {title: ("rounds", "edit cost, strong user")}
    identity = place.identity()
    return Result(place.plan.size, cells, ("base", *place.plan.feedback), identity, fits, curves, axes, seconds)
