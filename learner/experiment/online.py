"""The online phase, played from what a run's arms answered: T rounds of every arm and every late ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from learner.experiment import late
from learner.experiment.agent import Case
from learner.experiment.ledger import Answer, Ledger
from learner.experiment.plan import Dials, Plan
from learner.experiment.protocol import BASE, Fit, Setting, contexts, documents, growth_arm, picked, rng, rounds
from learner.experiment.run import Place, sweep
from learner.experiment.table import Cell

TESTERS = ("strong", "transfer")
"""Who edits online: the paper's two tables."""


@dataclass(frozen=True, slots=True)
class Played:
    """What every arm costs in every round with one tester: the paper's cost and `cost_max`."""

    costs: Mapping[str, Sequence[float]]
    bounded: Mapping[str, Sequence[float]]


def cells(place: Place, ledger: Ledger) -> list[Cell]:
    """Play the rounds of everything that was trained so far; they are kept in the ledger too."""
    if not _swept(place.plan, ledger):
        return []
    found = [
        cell
        for setting in place.plan.settings
        for seed in range(place.plan.seeds)
        for cell in _setting(place, ledger, setting, seed)
    ]
    for c in found:
        ledger.put_costs((c.domain, c.user), c.seed, c.tester, c.method, c.costs, c.bounded)
    return found


def _swept(plan: Plan, ledger: Ledger) -> bool:
    fits = ledger.fits()
    return all(fit.arm in fits for unit in sweep(plan) for fit in unit.fits)


def _setting(place: Place, ledger: Ledger, setting: Setting, seed: int) -> list[Cell]:
    plan, (domain, user) = place.plan, setting
    arms = _arms(plan, ledger, setting, seed)
    answers = {name: own for name, arm in arms.items() if (own := ledger.answers(arm))}
    if BASE not in answers:
        return []
    pool = documents(plan, domain, seed, place.corpora).pool
    texts = [c.prompt.messages[-1].content.partition("\n\n")[2] for c in contexts(plan, domain, seed, pool)]
    found: list[Cell] = []
    for tester in TESTERS:
        played = _play(place, domain, seed, tester, pool, answers)
        choices = _choices(plan, played, texts, rng(seed, *setting, tester, "thompson"))
        for name, costs in played.costs.items():
            found.append(Cell(domain, user, seed, tester, name, tuple(costs), tuple(played.bounded[name])))
        for name, choice in choices.items():
            paid = tuple(played.costs[arm][t] for t, arm in enumerate(choice))
            bounded = tuple(played.bounded[arm][t] for t, arm in enumerate(choice))
            found.append(Cell(domain, user, seed, tester, name, paid, bounded, tuple(choice)))
    return found


def _arms(plan: Plan, ledger: Ledger, setting: Setting, seed: int) -> dict[str, str]:
    """Every method that may have answered in this setting, and where in the ledger its answers stand."""
    domain, user = setting
    found = {BASE: f"{domain}/{seed}/{BASE}"}
    for name in (*plan.feedback, *plan.beyond):
        grid = plan.grid.get(name, (Dials(),))
        chosen = picked(plan, ledger, name) if name in plan.feedback else grid[0]
        found[name] = Fit(setting, seed, name, chosen).arm
        if setting == plan.settings[0] and seed == 0:
            found |= {f"{name} ({d.told()})": Fit(setting, seed, name, d).arm for d in grid if d != chosen}
    if user == "strong":
        for other in dict.fromkeys(d for d, u in plan.settings if d != domain and u == user):
            for name in plan.crossed:
                arm = Fit((other, user), seed, name, picked(plan, ledger, name)).arm
                found[f"{name} of {other}"] = f"{arm}>{domain}"
    return found


def _play(
    place: Place, domain: str, seed: int, tester: str, pool: Sequence[Case], answers: Mapping[str, Mapping[str, Answer]]
) -> Played:
    both = {name: rounds(place.plan, domain, seed, tester, pool, own, place.cast) for name, own in answers.items()}
    return Played({name: costs for name, (costs, _) in both.items()}, {name: b for name, (_, b) in both.items()})


def _choices(plan: Plan, played: Played, texts: Sequence[str], own: Random) -> dict[str, list[str]]:
    """What each late ensemble plays; none before all fixed arms are there."""
    arms = (BASE, *plan.feedback)
    if any(name not in played.costs for name in arms):
        return {}
    costs = {name: played.costs[name] for name in arms}
    dials = plan.late
    found = {
        "late_ensemble": late.upper_confidence(costs, dials.alpha),
        "late_ensemble (thompson)": late.product({name: played.bounded[name] for name in arms}, "thompson", own),
        "late_ensemble (contextual)": late.contextual(costs, texts, dials.contextual_alpha, dials.contextual_size),
    }
    variants = {name: played.costs[name] for name in played.costs if name.startswith("early_ensemble (")}
    if variants:
        found["late_ensemble (lambda variants as arms)"] = late.upper_confidence(costs | variants, dials.alpha)
    return found


def growth(plan: Plan, ledger: Ledger) -> dict[str, list[float]]:
    """Mean cost over seeds after each round of edit and retraining, by user; what is not done yet is left out."""
    if plan.growth is None:
        return {}
    fits = ledger.fits()
    found: dict[str, list[float]] = {}
    for user in ("strong", "weak"):
        for number in range(1, plan.growth.rounds + 1):
            arms = [growth_arm(plan.growth.domain, seed, user, number) for seed in range(plan.growth.seeds)]
            if all(arm in fits for arm in arms):
                found.setdefault(user, []).append(fmean(fits[arm]["costs"] for arm in arms))
    return found
