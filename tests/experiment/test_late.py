"""Late ensembles on tables of costs; the contextual one where the best arm differs by kind."""

from random import Random
from statistics import fmean

import pytest

from learner.experiment import late
from learner.experiment.plan import load
from learner.experiment.protocol import contexts, documents

ARMS = ("base", "sft", "dpo", "rl", "early_ensemble")


def regret(costs, played):
    best = min(fmean(c) for c in costs.values())
    return (fmean(costs[arm][t] for t, arm in enumerate(played)) - best) / (fmean(costs["base"]) - best)


def table(rounds, means, seed=0):
    rng = Random(seed)
    return {arm: [max(0.0, rng.gauss(m, 0.2)) for _ in range(rounds)] for arm, m in means.items()}


def test_algorithm_1_plays_each_arm_once_and_then_the_best():
    costs = table(200, {"base": 0.8, "sft": 0.2, "dpo": 0.9, "rl": 0.5, "early_ensemble": 0.4})
    played = late.upper_confidence(costs, 0.1)
    assert played[:5] == list(costs)
    assert played[50:].count("sft") > 130
    assert regret(costs, played) < 0.08


def test_the_products_bandit_plays_through_its_own_choice():
    means = {"base": 0.5, "sft": 0.1, "dpo": 0.5, "rl": 0.3, "early_ensemble": 0.3}
    regrets = [regret(c, late.product(c, "thompson", Random(s))) for s in range(5) for c in [table(200, means, s)]]
    assert fmean(regrets) < 0.2
    played = late.product(table(200, means), "thompson", Random(0))
    assert set(played) == set(means)  # the floor on propensities
    assert played == late.product(table(200, means), "thompson", Random(0))


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """Rounds over real documents of two kinds, for several seeds: kinds and texts."""
    plan, nowhere = load("tiny"), tmp_path_factory.mktemp("nowhere")
    found = []
    for seed in range(4):
        drawn = contexts(plan, "summarization", seed, documents(plan, "summarization", seed, nowhere).pool)
        texts = [case.prompt.messages[-1].content.partition("\n\n")[2] for case in drawn]
        found.append(([case.kind for case in drawn], texts))
    return found


def planted(kinds, seed, by_kind):
    """Costs where sft is best for functions and early_ensemble for manuals, or early_ensemble everywhere."""
    rng = Random(seed)

    def mean(arm, kind):
        if arm in ("base", "dpo"):
            return 0.8
        if not by_kind:
            return 0.1 if arm == "early_ensemble" else 0.5
        return 0.1 if (arm, kind) in (("sft", "function"), ("early_ensemble", "manual")) else 0.5

    return {arm: [max(0.0, rng.gauss(mean(arm, kind), 0.2)) for kind in kinds] for arm in ARMS}


def contextual_and_plain(rounds, by_kind):
    """Mean regret of the contextual late ensemble and of algorithm 1, over the seeds."""
    plan = load("tiny").late
    pairs = []
    for seed, (kinds, texts) in enumerate(rounds):
        costs = planted(kinds, seed, by_kind)
        with_texts = late.contextual(costs, texts, plan.contextual_alpha, plan.contextual_size)
        pairs.append((regret(costs, with_texts), regret(costs, late.upper_confidence(costs, plan.alpha))))
    return [fmean(found) for found in zip(*pairs, strict=True)]


def test_the_contextual_one_wins_where_the_best_arm_differs_by_kind(rounds):
    contextual, plain = contextual_and_plain(rounds, by_kind=True)
    assert contextual < plain - 0.1
    assert contextual < -0.1  # better than any fixed arm


def test_the_contextual_one_is_no_worse_elsewhere(rounds):
    contextual, plain = contextual_and_plain(rounds, by_kind=False)
    assert contextual < plain + 0.03


def test_features_are_of_the_text_alone_and_of_unit_norm():
    found = late.features("def f(x): return x + 1", 32)
    assert len(found) == 32
    assert sum(x * x for x in found[:-1]) == pytest.approx(1)
    assert found[-1] == 1
    assert found == late.features("def f(x): return x + 1", 32)
    assert found != late.features("The board meets on Monday.", 32)
