"""The judgement over held-out figures: pure, from numbers alone."""

import random
from math import exp, log

import pytest

from learner.records import AdapterState
from learner.training.evaluate import Figures, Likelihood, by_document, interval, judge, second_moment

BASE = [0.6, 0.5, 0.7, 0.4, 0.6, 0.5, 0.8, 0.6]


def figures(costs, *, ratios=None, cut=None, documents=None):
    count = len(costs)
    names = documents or [f"d{i}" for i in range(count)]
    return Figures(tuple(names), tuple(costs), tuple(ratios or [1.0] * count), tuple(cut or [False] * count))


def test_clearly_better_serves():
    state, reason = judge(figures(BASE), figures([c / 3 for c in BASE]))
    assert state is AdapterState.SERVING
    assert "0.196 against the base's 0.588 on 8 held-out documents" in reason


def test_clearly_worse_retires_with_both_figures():
    state, reason = judge(figures(BASE), figures([c + 0.15 for c in BASE]))
    assert state is AdapterState.RETIRED
    assert "0.738 against the base's 0.588" in reason
    assert reason.startswith("worse")


def test_no_difference_is_a_trial():
    state, reason = judge(figures(BASE), figures([c + d for c, d in zip(BASE, [0.1, -0.1] * 4, strict=True)]))
    assert state is AdapterState.TRIAL
    assert reason.startswith("no clear difference")


def test_pairs_count_and_not_spreads():
    """A small effect that every document shows is clear, however much documents differ."""
    wide = [0.05, 0.95, 0.1, 0.9, 0.2, 0.8, 0.3, 0.7]
    assert judge(figures(wide), figures([c - 0.03 for c in wide]))[0] is AdapterState.SERVING
    shuffled = [*wide[4:], *wide[:4]]
    assert judge(figures(wide), figures([c - 0.03 for c in shuffled]))[0] is AdapterState.TRIAL


def test_few_documents_are_a_trial():
    few = figures(BASE[:4])
    state, reason = judge(few, figures([0.0] * 4))
    assert state is AdapterState.TRIAL
    assert reason.startswith("too few")
    assert "on 1 held-out document:" in judge(figures([0.5]), figures([0.1]))[1] + ":"


def test_documents_are_resampled_and_not_edits():
    """Eight edits of one document are one observation."""
    one = ["d"] * 8
    assert judge(figures(BASE, documents=one), figures([0.0] * 8, documents=one))[0] is AdapterState.TRIAL


def test_runaway_length_retires_even_a_cheap_adapter():
    state, reason = judge(figures(BASE), figures([0.1] * 8, ratios=[2.4] * 8))
    assert state is AdapterState.RETIRED
    assert reason.startswith("runaway length: 2.4 times the kept texts against the base's 1.0")
    assert "0.100 against the base's 0.588" in reason
    state, _ = judge(figures(BASE), figures([0.1] * 8, cut=[True, True, *[False] * 6]))
    assert state is AdapterState.RETIRED


def test_length_is_held_against_an_adapter_only_where_the_base_is_better():
    long = figures(BASE, ratios=[3.0] * 8, cut=[True] * 8)
    better = figures([0.1] * 8, ratios=[2.5] * 8, cut=[True] * 8)
    assert judge(long, better)[0] is AdapterState.SERVING


def test_means_are_over_documents():
    both = figures([0.0, 0.0, 0.0, 1.0], documents=["a", "a", "a", "b"])
    assert both.proxy_cost == 0.5
    assert both.untouched == 0.75
    assert by_document(both.documents, both.costs) == {"a": 0.0, "b": 1.0}


def test_interval_is_the_bootstraps_of_scipy():
    from scipy.stats import bootstrap

    values = [random.Random(3).gauss(0.2, 0.1) for _ in range(30)]
    values = [v + 0.02 * i for i, v in enumerate(values)]
    import numpy as np

    theirs = bootstrap((np.array(values),), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert interval(values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert interval([0.5]) == (0.5, 0.5)


def test_chance_seldom_promotes():
    """Adapters that are no better than the base: at most some percent are called clearly better."""
    generator = random.Random(0)
    promoted = 0
    for _ in range(200):
        before = [generator.random() for _ in range(10)]
        after = [min(1.0, max(0.0, c + generator.gauss(0, 0.2))) for c in before]
        promoted += judge(figures(before), figures(after))[0] is AdapterState.SERVING
    assert promoted <= 200 * 0.09


def likelihood(gains):
    documents = tuple(f"d{i}" for i in range(len(gains)))
    return Likelihood(documents, (1.5,) * len(gains), tuple(1.5 - g for g in gains))


def test_where_costs_cannot_tell_the_likelihood_of_what_was_kept_may():
    same = figures([c + d for c, d in zip(BASE, [0.1, -0.1] * 4, strict=True)])
    state, reason = judge(figures(BASE), same, likelihood([1.0, 0.9, 1.1, 0.8, 1.0, 1.2, 0.7, 1.0]))
    assert state is AdapterState.SERVING
    assert "0.54 nats a token against the base's 1.50" in reason
    assert judge(figures(BASE), same, likelihood([0.3, -0.3] * 4))[0] is AdapterState.TRIAL
    assert judge(figures(BASE), same, likelihood([1.0] * 4))[0] is AdapterState.TRIAL


def test_likelihood_goes_before_cost_and_promotes_nothing_that_runs_away():
    worse = figures([c + 0.15 for c in BASE])
    # y' was made from the base's own answer: where the two disagree the likelihood goes first
    assert judge(figures(BASE), worse, likelihood([1.0] * 8))[0] is AdapterState.SERVING
    assert judge(figures(BASE), worse, likelihood([0.1, -0.1] * 4))[0] is AdapterState.RETIRED
    long = figures(BASE, ratios=[2.4] * 8)
    assert judge(figures(BASE), long, likelihood([1.0] * 8))[0] is AdapterState.RETIRED


def test_the_second_moment_is_that_of_the_ratio_of_sequences():
    likelihood = Likelihood(("a", "b"), base=(2.0, 1.0), adapter=(1.5, 1.25))
    # log-ratios of sequences: 4 x 0.5 and 2 x -0.25
    expected = log((exp(2 * 2.0) + exp(2 * -0.5)) / 2)
    assert second_moment(likelihood, [4, 2]) == pytest.approx(expected)
    assert second_moment(Likelihood((), (), ()), []) is None
