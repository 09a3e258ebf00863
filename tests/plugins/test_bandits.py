"""Thompson and UCB on simulated users whose edits come late."""

from collections import Counter
from random import Random
from statistics import NormalDist, mean, median
from time import perf_counter

import pytest

from learner.bandit import Arm, Context, Event, Evidence, choose, evidence, fold_all
from learner.records import Task
from plugins.bandits.thompson import DRAWS, NORMAL, Thompson, posterior
from plugins.bandits.ucb import UCB

CONTEXT = Context(Task.DRAFT)
COSTS = {"base": 0.29, "sft": 0.0, "dpo": 0.1, "early_ensemble": 0.03, "rl": 0.0}
GAP = COSTS["base"] - min(COSTS.values())


def arms_of(costs, priors):
    return [
        Arm(name, () if name == "base" else (f"{name}-1",), prior=cost if priors else None)
        for name, cost in costs.items()
    ]


def noisy(cost, rng):
    """A loss in [0, 1] with mean `cost` and a standard deviation of about a third of it."""
    return min(1.0, max(0.0, rng.gauss(cost, cost / 3)))


def play(bandit, decisions, *, priors, seed, costs=COSTS, censored=0.1):
    """Names of the arms played: each edit settles up to 9 decisions later, out of order, or never."""
    rng = Random(seed)
    arms = arms_of(costs, priors)
    state = {}
    pending = []
    names = []
    for t in range(decisions):
        due = [event for when, event in pending if when <= t]
        pending = [(when, event) for when, event in pending if when > t]
        fold_all(due, state)
        choice = choose(bandit, CONTEXT, arms, state, rng)
        names.append(choice.arm.name)
        made = (str(t), Task.DRAFT, choice.arm.name, choice.arm.version)
        fold_all([Event("chosen", *made)], state)
        loss = None if rng.random() < censored else noisy(costs[choice.arm.name], rng)
        pending.append((t + rng.randint(1, 9), Event("settled", *made, loss)))
    return names


def regret(names, costs=COSTS):
    """Mean regret over the last third, as a share of what the base loses against the best arm."""
    last = names[-(len(names) // 3) :]
    return (mean(costs[name] for name in last) - min(costs.values())) / GAP


@pytest.mark.parametrize("bandit", [Thompson(), UCB()], ids=lambda b: b.name)
def test_with_warm_start_sixty_decisions_leave_little_regret(bandit):
    regrets = [regret(play(bandit, 60, priors=True, seed=seed)) for seed in range(30)]
    assert mean(regrets) <= 0.1
    assert sum(r <= 0.15 for r in regrets) >= 26
    assert regret(list(COSTS) * 12) > 0.25  # choosing uniformly


@pytest.mark.parametrize("bandit", [Thompson(), UCB()], ids=lambda b: b.name)
def test_without_priors_it_converges_too(bandit):
    regrets = [regret(play(bandit, 300, priors=False, seed=seed)) for seed in range(8)]
    assert mean(regrets) <= 0.1


@pytest.mark.parametrize("bandit", [Thompson(), UCB()], ids=lambda b: b.name)
def test_a_wrong_prior_is_unlearned(bandit):
    arms = [Arm("base", prior=0.0), Arm("sft", ("sft-1",), prior=0.5)]
    truth = {"base": 0.5, "sft": 0.0}
    rng = Random(3)
    state = {}
    played = []
    for t in range(200):
        choice = choose(bandit, CONTEXT, arms, state, rng)
        made = (str(t), Task.DRAFT, choice.arm.name, choice.arm.version)
        fold_all([Event("chosen", *made), Event("settled", *made, truth[choice.arm.name])], state)
        played.append(choice.arm.name)
    assert Counter(played[-50:])["sft"] >= 44


def test_frequencies_match_the_logged_propensities():
    arms = arms_of(COSTS, priors=True)
    rng = Random(11)
    choices = [choose(Thompson(), CONTEXT, arms, {}, rng) for _ in range(1500)]
    counts = Counter(choice.arm.name for choice in choices)
    for name in COSTS:
        logged = mean(choice.probabilities[name] for choice in choices)
        assert counts[name] / len(choices) == pytest.approx(logged, abs=0.035)


def test_thompson_posterior_by_hand():
    arm = Evidence(Arm("sft"), n=4, mean=0.5, spread=0.2, in_flight=0, prior=0.2)
    mu, scale, a = posterior(arm, common=0.9)
    b = 0.02 + 0.1 + 2 * 4 * 0.3**2 / (2 * 6)
    assert (mu, a) == (pytest.approx(0.4), 4.0)
    assert scale == pytest.approx((b / (4 * 6)) ** 0.5)


def test_thompson_in_flight_narrows_the_spread_and_not_the_mean():
    idle = Evidence(Arm("sft"), 0, 0.0, 0.0, 0, None)
    busy = Evidence(Arm("sft"), 0, 0.0, 0.0, 4, None)
    stuck = Evidence(Arm("sft"), 0, 0.0, 0.0, 4000, None)
    assert posterior(busy, 0.3)[0] == posterior(idle, 0.3)[0] == 0.3
    assert posterior(busy, 0.3)[1] == pytest.approx(posterior(idle, 0.3)[1] / 3)
    assert posterior(stuck, 0.3)[1] > posterior(idle, 0.3)[1] / 4


def test_thompson_does_not_pile_a_burst_on_an_arm_that_looks_worse():
    known = Evidence(Arm("base"), 20, 0.25, 0.4, 0, None)
    share = {}
    for pending in (0, 5):
        little_known = Evidence(Arm("sft"), 1, 0.35, 0.0, pending, None)
        share[pending] = mean(Thompson().weigh(CONTEXT, [known, little_known], Random(s))[1] for s in range(40))
    assert share[5] < 0.8 * share[0]


def test_thompson_keeps_playing_a_good_arm_with_answers_pending():
    bad = Evidence(Arm("base"), 20, 0.5, 0.4, 0, None)
    good = Evidence(Arm("sft"), 20, 0.1, 0.4, 5, None)
    assert Thompson().weigh(CONTEXT, [bad, good], Random(0))[1] > 0.95


@pytest.mark.parametrize("count", [190, 198])  # draws of a Student-t, and of the normal that it is by then
def test_thompson_weighs_by_the_posterior_of_much_evidence(count):
    arms = [Evidence(Arm(name), count, loss, 4.0, 0, None) for name, loss in (("base", 0.30), ("sft", 0.29))]
    (one, spread, a), (other, _, _) = (posterior(arm, 0.3) for arm in arms)
    assert (a >= NORMAL) == (count == 198)
    expected = NormalDist().cdf((one - other) / (spread * 2**0.5))
    assert 0.65 < expected < 0.85
    found = mean(Thompson().weigh(CONTEXT, arms, Random(seed))[1] for seed in range(100))
    assert found == pytest.approx(expected, abs=0.02)  # 12,800 draws: 0.004


def test_thompson_is_quick_enough_for_every_request():
    arms = [evidence(Task.DRAFT, arm, {}) for arm in arms_of({f"a{i}": i / 10 for i in range(6)}, priors=True)]
    rng = Random(0)
    seconds = []
    for _ in range(30):
        start = perf_counter()
        weights = Thompson().weigh(CONTEXT, arms, rng)
        seconds.append(perf_counter() - start)
        assert sum(weights) == pytest.approx(1)
        assert all((weight * DRAWS).is_integer() for weight in weights)
    assert median(seconds) < 0.01  # about 1 ms when the machine is idle


def test_ucb_plays_each_unknown_arm_once_and_counts_those_in_flight():
    arms = [Arm("base"), Arm("sft", ("sft-1",)), Arm("dpo", ("dpo-1",), prior=0.4)]
    state = {}
    played = []
    for number in range(3):
        weights = UCB().weigh(CONTEXT, [evidence(Task.DRAFT, arm, state) for arm in arms], Random(0))
        arm = arms[weights.index(1.0)]
        played.append(arm.name)
        fold_all([Event("chosen", str(number), Task.DRAFT, arm.name, arm.version)], state)
    assert played[:2] == ["base", "sft"]  # dpo is known by its held-out cost
    assert sum(weights) == 1.0


def test_ucb_index_by_hand():
    arms = [
        Evidence(Arm("base"), 8, 0.30, 0.0, 0, None),  # 0.30 - 0.3 sqrt(log 12 / 8) = 0.133
        Evidence(Arm("sft"), 1, 0.40, 0.0, 1, 0.40),  # 0.40 - 0.3 sqrt(log 12 / 4) = 0.164
    ]
    assert UCB().weigh(CONTEXT, arms, Random(0)) == [1.0, 0.0]
    assert UCB(alpha=0.5).weigh(CONTEXT, arms, Random(0)) == [0.0, 1.0]  # 0.021 against 0.006
