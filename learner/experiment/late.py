"""Late ensembles: bandits over the arms, played on the table of what each arm would cost in each round.

All arms are greedy and the user's random numbers are the round's own, so playing on the table is
playing for real.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import log, sqrt
from random import Random
from zlib import crc32

from learner import bandit as bandits
from learner.bandit import Arm, Context, Event
from learner.records import Task

Costs = Mapping[str, Sequence[float]]
"""Cost of every round, by arm."""


def upper_confidence(costs: Costs, alpha: float) -> list[str]:
    """The paper's algorithm 1: each arm once, then argmin of mean cost - alpha sqrt(log t / N). Arms played."""
    arms = list(costs)
    total = dict.fromkeys(arms, 0.0)
    count = dict.fromkeys(arms, 0)
    played = []
    for t in range(len(costs[arms[0]])):
        if t < len(arms):
            arm = arms[t]
        else:
            arm = min(arms, key=lambda a: total[a] / count[a] - alpha * sqrt(log(t) / count[a]))
        total[arm] += costs[arm][t]
        count[arm] += 1
        played.append(arm)
    return played


def product(costs: Costs, name: str, rng: Random) -> list[str]:
    """What an installed bandit plays through the product's own `choose`, floors on propensities included.

    `costs` are `cost_max`, in [0, 1].
    """
    player = bandits.load(name)
    arms = [Arm(arm, () if arm == "base" else (f"{arm}-1",)) for arm in costs]
    state: bandits.State = {}
    context = Context(Task.REWRITE)
    played = []
    for t in range(len(costs[arms[0].name])):
        choice = bandits.choose(player, context, arms, state, rng)
        arm = choice.arm
        for kind, loss in (("chosen", None), ("settled", costs[arm.name][t])):
            bandits.fold(state, Event(kind, str(t), Task.REWRITE, arm.name, arm.version, loss))  # type: ignore[arg-type]
        played.append(arm.name)
    return played


def features(text: str, size: int) -> list[float]:
    """(size,): signs of a text's kind, of unit norm, with a constant: hashed words, their shapes and its marks.

    They are read off the document alone; the hidden kind is not known here.
    """
    found = [0.0] * size
    for piece in re.findall(r"\w+|[^\w\s]", text):
        for sign in (piece.lower(), re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]+", "A", re.sub(r"\d+", "0", piece)))):
            digest = crc32(sign.encode())
            found[digest % (size - 1)] += 1.0 if digest >> 16 & 1 else -1.0
    norm = sqrt(sum(x * x for x in found)) or 1.0
    return [*(x / norm for x in found[:-1]), 1.0]


def contextual(costs: Costs, texts: Sequence[str], alpha: float, size: int) -> list[str]:
    """LinUCB with an effect of the arm and an effect of the arm in such a text; each arm is played once first.

    Per arm a ridge regression of the cost on `features`: mean phi.w - alpha sqrt(log t) sqrt(phi' A^-1 phi).
    """
    import numpy as np

    arms = list(costs)
    precision = {arm: np.eye(size) for arm in arms}
    moment = {arm: np.zeros(size) for arm in arms}
    played = []
    for t, text in enumerate(texts):
        phi = np.array(features(text, size))
        if t < len(arms):
            arm = arms[t]
        else:
            index = {}
            for name in arms:
                inverse = np.linalg.inv(precision[name])
                width = sqrt(float(phi @ inverse @ phi) * log(t))
                index[name] = float(phi @ inverse @ moment[name]) - alpha * width
            arm = min(arms, key=lambda a: index[a])
        precision[arm] += np.outer(phi, phi)
        moment[arm] += costs[arm][t] * phi
        played.append(arm)
    return played
