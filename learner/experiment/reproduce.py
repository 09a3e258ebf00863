"""`learner reproduce`: a size, from its plan to its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from learner.experiment import online, run
from learner.experiment import plan as plans
from learner.experiment.plan import Plan
from learner.experiment.protocol import Cast, documents
from learner.experiment.result import Result
from learner.experiment.run import Place
from learner.model_files import BaseModel

Say = Callable[[str, float | None], None]
SIZES = ("enumerable", "tiny", "smollm2")
ROUNDS_OF_EDITS = 8


def enumerable(seeds: int | None, say: Say) -> Result:
    """The exact experiment: every policy is a table."""
    from learner.experiment import enumerable as exact

    started = time.monotonic()
    seeds = seeds or exact.SEEDS
    curves: dict[str, dict[str, tuple[Sequence[float], Sequence[float]]]] = {}
    axes = {}
    pairs = [(domain, user) for domain in exact.COVERAGE for user in exact.SUBSETS]
    for number, (domain, user) in enumerate(pairs):
        title = f"SubOpt over offline edits: {domain}, {user} edits"
        say(title, number / (len(pairs) + 1))
        found = exact.subopt_curve(domain, user, seeds)
        curves[title] = {name: (list(exact.SIZES), values) for name, values in found.items()}
        axes[title] = ("offline edits n", "SubOpt (exact)")
    title = "Rounds of edit and retraining"
    curves[title] = {
        user: (
            list(range(ROUNDS_OF_EDITS + 1)),
            exact.convergence("covered", user, ROUNDS_OF_EDITS),
        )
        for user in exact.SUBSETS
    }
    axes[title] = ("rounds", "TV to the optimum")
    say("Online rounds", len(pairs) / (len(pairs) + 1))
    cells = exact.cells(seeds)
    return Result("enumerable", cells, exact.METHODS, curves=curves, axes=axes, seconds=time.monotonic() - started)


def trained(
    size: str,
    out: Path,
    corpora: Path,
    base: Callable[[Plan], BaseModel] | None,
    cast: Cast,
    jobs: int,
    seeds: int | None,
    say: Say,
) -> Result:
    """An experiment that trains: `tiny` on a base that is made here (`base` None), else on `base`.

    Goes on from where it was stopped in `out`. Raises ConfigError for a folder that another run made, or a
    source with too few documents, before anything is trained.
    """
    started = time.monotonic()
    plan = plans.load(size)
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

        out.mkdir(parents=True, exist_ok=True)
        model = tiny.base(out, plan, cases, say)
    else:
        model = base(plan)
    place = Place(out, corpora, model, plan, replace(cast, cache=out / "user"), jobs)
    run.work(place, say)
    return result(place, time.monotonic() - started)


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
