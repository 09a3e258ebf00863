"""`ucb`: the paper's late ensemble (arXiv 2601.19055, alg 1), made ready for edits that come late."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from random import Random

from learner.bandit import PRIOR_WORTH, Context, Evidence, common_cost


class UCB:
    """Play each arm once, then the smallest mean cost - alpha sqrt(log t / N).

    N counts decisions in flight too, so that a burst of requests does not all go to one arm, and t
    is the sum of the Ns. A held-out cost counts as 2 decisions: such an arm is known and need not be
    played once first. The paper does not state alpha.
    """

    name = "ucb"

    def __init__(self, alpha: float = 0.3) -> None:
        self.alpha = alpha

    def weigh(self, context: Context, arms: Sequence[Evidence], rng: Random) -> Sequence[float]:
        """1 for the arm to play, 0 for the others; the first of equals."""
        common = common_cost(arms)
        counts = [arm.n + arm.in_flight + (PRIOR_WORTH if arm.prior is not None else 0) for arm in arms]
        log_t = log(max(1.0, sum(counts)))
        indices = [
            mean(arm, common) - self.alpha * sqrt(log_t / count) if count > 0 else float("-inf")
            for arm, count in zip(arms, counts, strict=True)
        ]
        best = indices.index(min(indices))
        return [1.0 if index == best else 0.0 for index in range(len(arms))]


def mean(arm: Evidence, common: float) -> float:
    """Mean cost of what is settled and of the held-out prior; `common` while nothing is."""
    known = arm.n + (PRIOR_WORTH if arm.prior is not None else 0)
    return (arm.n * arm.mean + PRIOR_WORTH * (arm.prior or 0.0)) / known if known > 0 else common
