"""The experiment where everything can be counted: answers are rule bits, policies are tables, costs are exact.

An answer is y in {0, 1}^K, one bit for each rule; the base draws bit k of a context of kind x with
probability b_xk. The user draws a set S of rules independently of y and resamples each bit of S to
Bernoulli(p_xk), rare undoing included. That user satisfies the paper's balance assumption,
q(y'|x,y) / q(y|x,y') = pi*(y'|x) / pi*(y|x), with pi* = pi_ref exp(-c/beta) / Z, when the weight of an edit is

    w_xk = beta (logit p_xk - logit b_xk) / (s (2 p_xk - 1)),    s = P(k in S),

so p is chosen and w follows. Then J_beta(pi) - J_beta(pi*) = beta E_x KL(pi || pi*), exactly.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from learner.experiment import late
from learner.experiment.result import Result
from learner.experiment.table import Cell
from learner.models import Progress

Array = npt.NDArray[np.float64]
RULES = 4
KINDS = 3
BETA = 0.1
FIRM = 0.97
LARGEST = 8.0
"""Largest log-ratio per bit that the class of policies holds, in nats: the paper's V_max."""
RIDGE = 1.0
KAPPA = 0.1
SIZES = (25, 100, 400, 1600)
"""Numbers of offline edits n."""
OFFLINE = 400
ROUNDS = 200
SEEDS = 20
METHODS = ("base", "sft", "dpo", "rl", "early_ensemble")
COVERAGE = {"covered": 0.3, "narrow": 0.03}
"""Domains: how often the base follows a rule of the user's by itself."""
SUBSETS = {"strong": RULES, "weak": 1}
"""Users: how many of the K rules an edit resamples, apart from the thorough ones."""
THOROUGH = 0.05
ALPHA = 0.1
ROUNDS_OF_EDITS = 8


def answers() -> Array:
    """(2^K, K): every answer."""
    return np.array([[y >> k & 1 for k in range(RULES)] for y in range(2**RULES)], dtype=np.float64)


@dataclass(frozen=True)
class World:
    """A domain with a user: base rates (kinds, K), wishes (kinds, K), and how edits draw their rules."""

    rates: Array
    wishes: Array
    subset: int
    thorough: float = THOROUGH

    @cached_property
    def sets(self) -> list[tuple[Array, float]]:
        """Every set of rules that an edit may draw, as a mask, with its probability."""
        if self.subset == RULES:
            return [(np.ones(RULES), 1.0)]
        chosen = list(combinations(range(RULES), self.subset))
        found = [(np.isin(np.arange(RULES), c).astype(float), (1 - self.thorough) / len(chosen)) for c in chosen]
        return [*found, (np.ones(RULES), self.thorough)]

    @property
    def reach(self) -> float:
        """s: how likely an edit draws a given rule."""
        return float(sum(p * mask[0] for mask, p in self.sets))

    @property
    def weights(self) -> Array:
        """w (kinds, K): what a changed bit costs, by the balance assumption."""
        ratio = logit(self.wishes) - logit(self.rates)
        weights: Array = BETA * ratio / (self.reach * (2 * self.wishes - 1))
        return weights

    @cached_property
    def base(self) -> Array:
        """pi_ref (kinds, 2^K)."""
        return product(self.rates)

    @cached_property
    def optimum(self) -> Array:
        """pi* (kinds, 2^K), by its definition: pi_ref exp(-c/beta), normalised."""
        tilted = self.base * np.exp(-self.costs / BETA)
        optimum: Array = tilted / tilted.sum(1, keepdims=True)
        return optimum

    @cached_property
    def kernel(self) -> Array:
        """q(y'|x,y) as (kinds, y, y')."""
        y = answers()
        same = y[:, None, :] == y[None, :, :]
        found = np.zeros((len(self.rates), len(y), len(y)))
        for mask, p in self.sets:
            drawn = np.where(y == 1, self.wishes[:, None, :], 1 - self.wishes[:, None, :])  # (kinds, y', K)
            per_bit = np.where(mask == 1, drawn[:, None, :, :], same[None])
            found += p * per_bit.prod(-1)
        return found

    @cached_property
    def distance(self) -> Array:
        """D_edit (kinds, y, y'): the weights of the bits that differ."""
        y = answers()
        differs = (y[:, None, :] != y[None, :, :]).astype(float)
        distance: Array = np.einsum("abk,xk->xab", differs, self.weights)
        return distance

    @cached_property
    def costs(self) -> Array:
        """c(x, y) (kinds, 2^K): what an edit of y costs on average."""
        costs: Array = (self.kernel * self.distance).sum(2)
        return costs

    def subopt(self, policy: Array) -> float:
        """J_beta(pi) - J_beta(pi*), contexts of all kinds alike."""

        def objective(pi: Array) -> float:
            ratio = np.log(np.maximum(pi, 1e-300)) - np.log(self.base)
            return float((pi * (self.costs + BETA * ratio)).sum(1).mean())

        return objective(policy) - objective(self.optimum)

    def edits(self, n: int, generator: np.random.Generator) -> tuple[Any, Any, Any, Any]:
        """n offline edits: kinds, y ~ pi_ref, y' ~ q(.|x, y), and D_edit(y, y')."""
        size = 2**RULES
        kinds = generator.integers(0, len(self.rates), n)
        base, kernel = self.base.cumsum(1), self.kernel.cumsum(2)
        y = np.minimum((generator.random(n)[:, None] > base[kinds]).sum(1), size - 1)
        kept = np.minimum((generator.random(n)[:, None] > kernel[kinds, y]).sum(1), size - 1)
        return kinds, y, kept, self.distance[kinds, y, kept]


def world(domain: str, user: str, seed: int) -> World:
    """A domain of the table with one of its users: every kind wants its own rules, firmly."""
    generator = np.random.default_rng([seed, list(COVERAGE).index(domain)])
    wanted = generator.random((KINDS, RULES)) < 0.75
    rate = COVERAGE[domain]
    rates = np.where(wanted, rate, 1 - rate)  # what is not wanted, the base does as often
    wishes = np.where(wanted, FIRM, 1 - FIRM)
    return World(rates, wishes, SUBSETS[user])


def logit(p: Array) -> Array:
    """log(p / (1 - p))."""
    found: Array = np.log(p) - np.log1p(-p)
    return found


def product(rates: Array) -> Array:
    """The policy (kinds, 2^K) that draws each bit for itself."""
    y = answers()
    found: Array = np.where(y[None] == 1, rates[:, None, :], 1 - rates[:, None, :]).prod(-1)
    return found


def tilted(world: World, theta: Array) -> Array:
    """pi_ref exp(theta . y), normalised: the class of policies, theta (kinds, K) within LARGEST."""
    return product(1 / (1 + np.exp(-(logit(world.rates) + np.clip(theta, -LARGEST, LARGEST)))))


def learn(world: World, method: str, edits: tuple[Any, Any, Any, Any], *, beta: float = 1.0, lam: float = 1.0) -> Array:
    """The policy that a feedback type makes of the edits.

    `beta` is dpo's coefficient, 1 being the calibrated one under balance; `lam` weighs sft in early_ensemble.
    """
    kinds, y, kept, cost = edits
    bits, theta = answers(), np.zeros_like(world.rates)
    for kind in range(len(world.rates)):
        mine = kinds == kind
        offered, edited = bits[y[mine]], bits[kept[mine]]
        if method == "base" or not mine.any():
            continue
        if method == "rl":
            theta[kind] = -_pessimistic(offered, cost[mine]) / BETA
            continue
        terms = {"sft": (1.0, 0.0), "dpo": (0.0, 1.0), "early_ensemble": (lam, 1.0)}[method]
        found = minimize(
            _objective,
            np.zeros(RULES),
            args=(offered, edited, logit(world.rates)[kind], beta, *terms),
            jac=True,
            bounds=[(-LARGEST, LARGEST)] * RULES,
            method="L-BFGS-B",
        )
        theta[kind] = found.x
    return tilted(world, theta)


def _objective(
    theta: Array, offered: Array, kept: Array, base: Array, beta: float, label: float, preference: float
) -> tuple[float, Array]:
    """`label` eq 3 + `preference` eq 4, and its gradient; a prior worth one edit keeps separable data finite."""
    ridge = RIDGE / len(kept) / 100
    value, slope = ridge * float(theta @ theta) / 2, ridge * theta
    if label:
        nll, own = _nll(theta, kept, base)
        value, slope = value + label * nll, slope + label * own
    if preference:
        loss, own = _preference(theta, kept - offered, beta)
        value, slope = value + preference * loss, slope + preference * own
    return value, slope


def _nll(theta: Array, kept: Array, base: Array) -> tuple[float, Array]:
    """Eq 3 in the class: mean -log pi(y'), and its gradient."""
    z = base + theta
    p = 1 / (1 + np.exp(-z))
    value = float((np.logaddexp(0, z) - kept * z).sum(1).mean())
    return value, p - kept.mean(0)


def _preference(theta: Array, difference: Array, beta: float) -> tuple[float, Array]:
    """Eq 4 in the class: mean -log sigmoid(beta theta.(y' - y)) over changed pairs, and its gradient."""
    changed = difference[np.abs(difference).sum(1) > 0]
    if not len(changed):
        return 0.0, np.zeros(RULES)
    margin = beta * (changed @ theta)
    value = float(np.logaddexp(0, -margin).mean())
    slope = -beta / (1 + np.exp(margin))
    return value, (slope[:, None] * changed).mean(0)


def _pessimistic(offered: Array, cost: Array) -> Array:
    """Eqs 5-6: ridge regression of the cost on the bits, then the largest cost in the confidence set.

    In a product policy pessimism acts bit by bit: the uncertain side of each bit is charged.
    """
    phi = np.column_stack([offered, np.ones(len(offered))])
    precision = phi.T @ phi + 0.1 * np.eye(RULES + 1)
    weights = np.linalg.solve(precision, phi.T @ cost)[:RULES]
    width = KAPPA * np.sqrt(np.diag(np.linalg.inv(precision)))[:RULES]
    shrunk: Array = np.sign(weights) * np.maximum(np.abs(weights) - width, 0)
    return shrunk


def subopt_curve(domain: str, user: str, seeds: int = SEEDS) -> dict[str, list[float]]:
    """Mean SubOpt of every method over the sizes of offline data."""
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    for n in SIZES:
        totals = dict.fromkeys(METHODS, 0.0)
        for seed in range(seeds):
            here = world(domain, user, seed)
            edits = here.edits(n, np.random.default_rng([seed, n]))
            for method in METHODS:
                totals[method] += here.subopt(learn(here, method, edits)) / seeds
        for method in METHODS:
            found[method].append(totals[method])
    return found


def convergence(domain: str, user: str, rounds: int, seed: int = 0) -> list[float]:
    """Mean over kinds of TV(pi_t, pi*), where pi_0 is the base and pi_t is pi_t-1 edited and imitated."""
    here = world(domain, user, seed)
    policy, kernel, optimum = here.base, here.kernel, here.optimum
    found = []
    for _ in range(rounds + 1):
        found.append(float(np.abs(policy - optimum).sum(1).mean() / 2))
        policy = np.einsum("xy,xyz->xz", policy, kernel)
    return found


def cells(seeds: int = SEEDS) -> list[Cell]:
    """The online phase: T rounds with the strong user, contexts and the user's numbers common to all methods."""
    found = []
    for domain in COVERAGE:
        for user in SUBSETS:
            for seed in range(seeds):
                found += _online(domain, user, seed)
    return found


def _online(domain: str, user: str, seed: int) -> list[Cell]:
    here, strong = world(domain, user, seed), world(domain, "strong", seed)
    edits = here.edits(OFFLINE, np.random.default_rng([seed, OFFLINE]))
    generator = np.random.default_rng([seed, 1])
    kinds = generator.integers(0, KINDS, ROUNDS)
    drawn, edited = generator.random((2, ROUNDS))
    kernel, distance, longest = strong.kernel.cumsum(2), strong.distance, strong.weights.sum(1)
    costs: dict[str, list[float]] = {}
    for method in METHODS:
        policy = learn(here, method, edits).cumsum(1)
        y = np.minimum((drawn[:, None] > policy[kinds]).sum(1), 2**RULES - 1)
        kept = np.minimum((edited[:, None] > kernel[kinds, y]).sum(1), 2**RULES - 1)
        costs[method] = [float(c) for c in distance[kinds, y, kept] / longest[kinds]]
    choice = late.upper_confidence(costs, ALPHA)
    costs["late_ensemble"] = [costs[arm][t] for t, arm in enumerate(choice)]
    played = {"late_ensemble": tuple(choice)}
    return [Cell(domain, user, seed, "strong", m, tuple(c), tuple(c), played.get(m, ())) for m, c in costs.items()]


def result(seeds: int | None, say: Progress) -> Result:
    """The whole experiment: SubOpt over n, rounds of edit and retraining, and the table of the online rounds."""
    started = time.monotonic()
    seeds = seeds or SEEDS
    curves: dict[str, dict[str, tuple[Sequence[float], Sequence[float]]]] = {}
    axes = {}
    pairs = [(domain, user) for domain in COVERAGE for user in SUBSETS]
    for number, (domain, user) in enumerate(pairs):
        title = f"SubOpt over offline edits: {domain}, {user} edits"
        say(title, number / (len(pairs) + 1))
        curves[title] = {name: (SIZES, values) for name, values in subopt_curve(domain, user, seeds).items()}
        axes[title] = ("offline edits n", "SubOpt (exact)")
    title = "Rounds of edit and retraining"
    rounds = range(ROUNDS_OF_EDITS + 1)
    curves[title] = {user: (rounds, convergence("covered", user, ROUNDS_OF_EDITS)) for user in SUBSETS}
    axes[title] = ("rounds", "TV to the optimum")
    say("Online rounds", len(pairs) / (len(pairs) + 1))
    return Result("enumerable", cells(seeds), METHODS, curves=curves, axes=axes, seconds=time.monotonic() - started)
