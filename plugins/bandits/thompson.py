"""`thompson`: Thompson sampling with a Normal-inverse-gamma posterior per arm. The default bandit."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from random import Random

from learner.bandit import PRIOR_WORTH, Context, Evidence, common_cost

DRAWS = 128
"""Draws per choice: a Monte-Carlo error of at most 0.045 in a weight, in one or two milliseconds."""
NORMAL = 100.0
"""Half the degrees of freedom from which on a Student-t is drawn as the normal that it is by then: half the time."""
SHAPE, SCALE = 2.0, 0.02
"""Inverse-gamma prior of the variance of a loss: mean 0.02, a standard deviation of 0.14."""
UNKNOWN_WORTH = 0.5
"""Decisions that the common prior of an arm without a held-out cost is worth: little, so it is tried."""
IN_FLIGHT_LIMIT = 5
"""Most unsettled decisions that count: some never settle, and those must not harden a guess."""


class Thompson:
    """Weighs each arm by the probability that its posterior draw is the smallest.

    Per arm, with k0 prior decisions of mean m0 and n settled ones of mean c and squared deviations S:
    kappa = k0 + n, mu = (k0 m0 + n c) / kappa, a = a0 + n/2, b = b0 + S/2 + k0 n (c - m0)^2 / (2 kappa);
    a draw is mu + sqrt(b / (a kappa)) times a Student-t with 2a degrees of freedom. m0 is the arm's
    held-out mean cost, worth 2 decisions, or else the mean of all that is known in the task.

    Decisions in flight count in kappa as if they had cost mu, for the spread of the draws only: an
    arm that is played because little is known of it is played less while its answers are pending,
    and an arm that is played because it is good goes on being played.
    """

    name = "thompson"

    def weigh(self, context: Context, arms: Sequence[Evidence], rng: Random) -> Sequence[float]:
        """Share of the draws in which each arm is the smallest; the shares add up to 1."""
        common = common_cost(arms)
        posteriors = [posterior(arm, common) for arm in arms]
        wins = [0] * len(arms)
        for _ in range(DRAWS):
            draws = [
                mu + scale * rng.gauss(0, 1) / (sqrt(rng.gammavariate(a, 1 / a)) if a < NORMAL else 1)
                for mu, scale, a in posteriors
            ]
            wins[draws.index(min(draws))] += 1
        return [won / DRAWS for won in wins]


def posterior(arm: Evidence, common: float) -> tuple[float, float, float]:
    """Location, scale and half the degrees of freedom of the Student-t of the arm's mean loss."""
    m0, k0 = (common, UNKNOWN_WORTH) if arm.prior is None else (arm.prior, PRIOR_WORTH)
    kappa = k0 + arm.n
    mu = (k0 * m0 + arm.n * arm.mean) / kappa
    a = SHAPE + arm.n / 2
    b = SCALE + arm.spread / 2 + k0 * arm.n * (arm.mean - m0) ** 2 / (2 * kappa)
    return mu, sqrt(b / (a * (kappa + min(arm.in_flight, IN_FLIGHT_LIMIT)))), a
