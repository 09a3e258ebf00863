"""A run of the experiment: what is to be done, over several processes, from where it was stopped."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.engine import cores
from learner.experiment.ledger import Ledger
from learner.experiment.plan import Dials, Plan
from learner.experiment.protocol import Cast, Fit, Protocol, growth_arm, picked, source_of
from learner.models import BaseModel, Progress

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Unit:
    """What one process does in one go: trainings, or the rounds of edit and retraining of a (user, seed).

    `also` are the domains that each adapter answers in too.
    """

    fits: tuple[Fit, ...] = ()
    also: tuple[tuple[str, ...], ...] = ()
    growth: tuple[str, int] | None = None

    def trainings(self, plan: Plan) -> int:
        """How many there are."""
        return len(self.fits) if self.growth is None or plan.growth is None else plan.growth.rounds


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run is, and by what."""

    folder: Path
    corpora: Path
    base: BaseModel
    plan: Plan
    cast: Cast

    def identity(self) -> dict[str, str]:
        """What a run's rows depend on: a folder holds the rows of one of these."""
        read = sorted(
            {
                source_of(k.source, k.fallback, self.corpora)
                for d in self.plan.domains.values()
                for k in d.kinds.values()
            }
        )
        return {
            "plan": self.plan.digest,
            "base": self.base.fingerprint,
            "documents": " ".join(read),
            "user": self.cast.told(),
        }

    def ledger(self) -> Ledger:
        """The run's rows. Raises ConfigError where another plan, model or version made them."""
        return Ledger(self.folder, self.identity())


def sweep(plan: Plan) -> list[Unit]:
    """The grid, in the first setting and seed."""
    setting = plan.settings[0]
    return [
        Unit(tuple(Fit(setting, 0, name, dials) for dials in plan.grid.get(name, (Dials(),))), ())
        for name in plan.feedback
    ]


def remaining(plan: Plan, ledger: Ledger) -> list[Unit]:
    """Every setting and seed with the dials that were picked; then what goes beyond the paper."""
    dials = {name: picked(plan, ledger, name) for name in plan.feedback}
    both = [d for d, user in plan.settings if user == "weak"]
    main = [setting for setting in plan.settings if setting[0] in both]
    rest = [setting for setting in plan.settings if setting[0] not in both]
    units = []
    for settings in (main, rest):
        for seed in range(plan.seeds):
            for setting in settings:
                fits = tuple(Fit(setting, seed, name, dials[name]) for name in plan.feedback)
                others = tuple(d for d in both if d != setting[0]) if setting in main and setting[1] == "strong" else ()
                units.append(Unit(fits, tuple(others if name in plan.crossed else () for name in plan.feedback)))
        if settings is main and plan.beyond:
            for setting in main[:2]:
                beyond = tuple(Fit(setting, 0, name, plan.grid.get(name, (Dials(),))[0]) for name in plan.beyond)
                units.append(Unit(beyond, ()))
    if plan.growth is not None:
        units += [Unit(growth=(user, seed)) for seed in range(plan.growth.seeds) for user in ("strong", "weak")]
    return units


def done(unit: Unit, plan: Plan, ledger: Ledger) -> bool:
    """Whether nothing of it is left to do."""
    fits = ledger.fits()
    if unit.growth is not None and plan.growth is not None:
        user, seed = unit.growth
        return growth_arm(plan.growth.domain, seed, user, plan.growth.rounds) in fits
    crossed = [f"{fit.arm}>{d}" for fit, also in zip(unit.fits, unit.also, strict=False) for d in also]
    return all(fit.arm in fits for fit in unit.fits) and all(ledger.answers(arm) for arm in crossed)


_protocol: Protocol | None = None
_ledger: Ledger | None = None


def _follow_parent() -> None:
    """End with the process that began this one, also where that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _begin(place: Place, told: Any) -> None:
    """In each process, once: load the base."""
    global _protocol, _ledger
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the one that began us ends us
    threading.Thread(target=_follow_parent, daemon=True).start()
    from learner.experiment.agent import Agent
    from learner.training.quiet import quiet

    told.cancel_join_thread()  # what was not heard is not waited for
    with quiet():
        plan = place.plan
        _ledger = place.ledger()
        agent = Agent(place.base, plan.epochs, plan.batch_size, place.folder / "work")
        _protocol = Protocol(plan, _ledger, agent, place.corpora, place.cast, lambda words, _share: told.put(words))


def _work(unit: Unit) -> int:
    from learner.training.quiet import quiet

    assert _protocol is not None
    with quiet():
        if unit.growth is not None:
            _protocol.grow(*unit.growth)
        for number, fit in enumerate(unit.fits):
            _protocol.fit(fit, unit.also[number] if unit.also else ())
    return unit.trainings(_protocol.plan)


def work(place: Place, jobs: int, say: Progress) -> None:
    """Do all that is left, `jobs` trainings at once. What is done is in the ledger, whenever this is stopped.

    Raises what a training raises, once the trainings at work have ended.
    """
    ledger = place.ledger()
    stages: Sequence[Callable[[], list[Unit]]] = (lambda: sweep(place.plan), lambda: remaining(place.plan, ledger))
    for stage in stages:
        units = [unit for unit in stage() if not done(unit, place.plan, ledger)]
        if units:
            _pool(place, units, min(jobs, len(units)), say)
    ledger.close()


def _pool(place: Place, units: Sequence[Unit], jobs: int, say: Progress) -> None:
    context = multiprocessing.get_context("spawn")
    told = context.Queue()  # a Manager's process would outlive a kill of this one
    # read by torch when a process begins: processes that share the cores must not each take all of them
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(max(1, cores() // jobs))
    total = sum(unit.trainings(place.plan) for unit in units)
    finished = 0
    try:
        with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(place, told)) as pool:
            pending: set[Future[int]] = {pool.submit(_work, unit) for unit in units}
            say(f"{total} trainings", 0.0)
            try:
                while pending:
                    ready, pending = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                    finished += sum(future.result() for future in ready)
                    _tell(told, say, finished, total)
            except BaseException as error:
                pool.shutdown(wait=False, cancel_futures=True)
                if not isinstance(error, Exception):  # interrupted: what is done is kept, what is at work is not
                    for process in multiprocessing.active_children():
                        process.terminate()
                raise
    finally:
        if before is None:
            os.environ.pop("OMP_NUM_THREADS")
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _tell(told: Any, say: Progress, finished: int, total: int) -> None:
    words = None
    try:
        while True:
            words = told.get_nowait()
    except queue.Empty:
        if words is not None:
            say(f"{finished} of {total} trainings. {words}", finished / total)
