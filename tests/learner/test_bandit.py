"""Fold, evidence, probabilities and choice: the bandit's contract, apart from any bandit."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.bandit import (
    FLOOR,
    INHERITED,
    TRIAL_SHARE,
    UNKNOWN_COST,
    Arm,
    Context,
    Event,
    Evidence,
    Tally,
    choose,
    common_cost,
    evidence,
    fold,
    fold_all,
    installed,
    key,
    load,
    probabilities,
    validate,
)
from learner.exceptions import PluginError
from learner.records import Task

DRAFT = Context(Task.DRAFT)


class Fixed:
    """A bandit that always gives the same weights."""

    name = "fixed"

    def __init__(self, *weights):
        self.weights = weights

    def weigh(self, context, arms, rng):
        return self.weights


def chosen(decision, arm="sft", version="sft-1", task=Task.DRAFT):
    return Event("chosen", decision, task, arm, version)


def settled(decision, loss, arm="sft", version="sft-1", task=Task.DRAFT):
    return Event("settled", decision, task, arm, version, loss)


@st.composite
def histories(draw):
    """Choices of a few arms, each settled with a loss, settled with none, or in flight."""
    events = []
    for number in range(draw(st.integers(0, 25))):
        arm = draw(st.sampled_from(["base", "sft", "dpo"]))
        version = None if arm == "base" else f"{arm}-{draw(st.integers(1, 2))}"
        task = draw(st.sampled_from(list(Task)))
        events.append(chosen(str(number), arm, version, task))
        if draw(st.booleans()):
            loss = draw(st.none() | st.floats(0, 1))
            events.append(settled(str(number), loss, arm, version, task))
    return events


@given(histories(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_exactly_the_same_state(events, random):
    shuffled = list(events)
    random.shuffle(shuffled)
    assert fold_all(shuffled) == fold_all(events)


@given(histories(), st.integers(0, 50))
def test_a_cached_state_that_is_continued_equals_the_replay(events, cut):
    cached = fold_all(events[:cut])
    assert fold_all(events[cut:], cached) == fold_all(events)


@given(histories(), st.integers(1, 50))
def test_events_that_are_alike_can_be_counted(events, times):
    counted = {}
    for event in events:
        fold(counted, event, times)
    assert counted == fold_all(event for event in events for _ in range(times))


def test_settled_before_chosen():
    early = fold_all([settled("1", 0.5)])
    assert early[key("draft", "sft", "sft-1")].in_flight == -1
    assert evidence(Task.DRAFT, Arm("sft", ("sft-1",)), early).in_flight == 0
    assert fold_all([chosen("1")], early) == {"draft/sft/sft-1": Tally(1, 0.5, 0.25, 0)}


def test_a_decision_that_taught_nothing_leaves_only_its_place():
    state = fold_all([chosen("1"), settled("1", None)])
    assert state == {"draft/sft/sft-1": Tally(0, 0.0, 0.0, 0)}


def test_tasks_and_versions_are_apart():
    state = fold_all([settled("1", 1.0), settled("2", 0.0, version="sft-2"), settled("3", 0.0, task=Task.REWRITE)])
    assert evidence(Task.DRAFT, Arm("sft", ("sft-1",)), state).mean == 1.0
    assert evidence(Task.REWRITE, Arm("sft", ("sft-1",)), state).mean == 0.0
    assert evidence(Task.COMPLETION, Arm("sft", ("sft-1",)), state).n == 0


def test_evidence_has_mean_and_squared_deviations():
    found = evidence(Task.DRAFT, Arm("sft", ("sft-1",), prior=0.1), fold_all([settled("1", 0.25), settled("2", 0.75)]))
    assert (found.n, found.mean, found.spread, found.prior) == (2, 0.5, 0.125, 0.1)


def test_a_new_version_inherits_five_decisions_of_its_predecessor():
    state = fold_all([settled(str(i), 0.5 + 0.25 * (i % 2)) for i in range(20)])
    heir = evidence(Task.DRAFT, Arm("sft", ("sft-1", "sft-2")), state)
    assert heir.n == INHERITED
    assert heir.mean == pytest.approx(0.625)
    assert heir.spread == pytest.approx(INHERITED * 0.125**2)
    fold_all([settled(f"n{i}", 0.0, version="sft-2") for i in range(5)], state)
    later = evidence(Task.DRAFT, Arm("sft", ("sft-1", "sft-2")), state)
    assert (later.n, later.mean) == (10, pytest.approx(0.3125))


def test_two_generations_together_are_worth_five():
    events = [settled(f"{v}-{i}", 0.5, version=f"sft-{v}") for v in (1, 2) for i in range(9)]
    assert evidence(Task.DRAFT, Arm("sft", ("sft-1", "sft-2", "sft-3")), fold_all(events)).n == INHERITED


def test_few_decisions_are_inherited_whole():
    state = fold_all([settled("1", 0.5), settled("2", 0.5)])
    assert evidence(Task.DRAFT, Arm("sft", ("sft-1", "sft-2")), state).n == 2


def test_what_a_predecessor_left_open_is_not_in_flight():
    state = fold_all([chosen("1"), chosen("2")])
    assert evidence(Task.DRAFT, Arm("sft", ("sft-1",)), state).in_flight == 2
    assert evidence(Task.DRAFT, Arm("sft", ("sft-1", "sft-2")), state).in_flight == 0


def test_common_cost_counts_priors_as_two_decisions():
    arms = [Evidence(Arm("base"), 4, 0.5, 0, 0, None), Evidence(Arm("sft"), 0, 0, 0, 0, 0.2)]
    assert common_cost(arms) == pytest.approx((4 * 0.5 + 2 * 0.2) / 6)
    assert common_cost([Evidence(Arm("base"), 0, 0, 0, 0, None)]) == UNKNOWN_COST


@given(
    st.lists(st.tuples(st.floats(0, 1e300) | st.just(0.0), st.booleans()), min_size=1, max_size=60),
)
def test_probabilities_keep_the_floor_and_the_cap(rows):
    arms = [Arm(f"a{i}", trial=trial) for i, (_, trial) in enumerate(rows)]
    p = probabilities([weight for weight, _ in rows], arms)
    on_trial = sum(arm.trial for arm in arms)
    assert sum(p) == pytest.approx(1)
    floor = min(FLOOR, 1 / (2 * len(arms)))
    capped = 0 < on_trial < len(arms)
    for x, arm in zip(p, arms, strict=True):
        assert x >= (min(floor, TRIAL_SHARE / on_trial) if arm.trial and capped else floor) - 1e-12
    if capped:
        assert sum(x for x, arm in zip(p, arms, strict=True) if arm.trial) <= TRIAL_SHARE + 1e-9


def test_probabilities_by_hand():
    arms = [Arm("base"), Arm("sft"), Arm("new", trial=True)]
    assert probabilities([0, 1, 0], arms) == pytest.approx([0.02, 0.96, 0.02])
    # the adapter on trial is capped at 0.2, and what it may not have goes to the others by their weights
    assert probabilities([1, 3, 16], arms) == pytest.approx([0.02 + 0.76 / 4, 0.02 + 3 * 0.76 / 4, 0.2])
    assert probabilities([0, 0, 1], arms) == pytest.approx([0.4, 0.4, 0.2])
    assert probabilities([0, 0], arms[:2]) == [0.5, 0.5]


def test_equal_weights_with_all_arms_on_trial_are_not_capped():
    assert probabilities([1, 0], [Arm("a", trial=True), Arm("b", trial=True)]) == pytest.approx([0.98, 0.02])


def test_the_logged_propensity_is_the_frequency():
    arms = [Arm("base"), Arm("sft"), Arm("new", trial=True)]
    rng = Random(7)
    draws = [choose(Fixed(1, 5, 4), DRAFT, arms, {}, rng) for _ in range(4000)]
    counts = Counter(choice.arm.name for choice in draws)
    assert draws[0].probabilities == pytest.approx(
        {"base": 0.02 + 0.78 / 6, "sft": 0.02 + 3.9 / 6, "new": 0.18}, abs=0.03
    )
    for name, p in draws[0].probabilities.items():
        assert counts[name] / len(draws) == pytest.approx(p, abs=0.025)
    assert all(choice.propensity == choice.probabilities[choice.arm.name] for choice in draws)


@pytest.mark.parametrize("weights", [(1,), (1, -1), (1, float("nan")), (1, float("inf")), (1, 2, 3)])
def test_weights_that_are_no_distribution_are_refused(weights):
    with pytest.raises(PluginError, match="bandit 'fixed' gave"):
        choose(Fixed(*weights), DRAFT, [Arm("base"), Arm("sft")], {}, Random(0))


def test_no_arm_at_all_is_an_error():
    with pytest.raises(ValueError, match="base"):
        choose(Fixed(), DRAFT, [], {}, Random(0))


def test_installed_bandits_load():
    assert {"thompson", "ucb"} <= set(installed())
    assert load("ucb").name == "ucb"
    with pytest.raises(PluginError, match=r"no bandit 'dice' is installed; there are: .*ucb"):
        load("dice")


class Nameless:
    def weigh(self, context, arms, rng):
        return [1.0 for _ in arms]


class Weightless:
    name = "weightless"


class Short:
    name = "short"

    def weigh(self, arms):
        return [1.0 for _ in arms]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Nameless(), "acme: `name` should be a string"),
        (Weightless(), "acme: `weigh` should be a method"),
        (Short(), r"acme: `weigh` should take \(context, arms, rng\)"),
    ],
)
def test_a_broken_bandit_is_named_with_what_was_expected(made, message):
    with pytest.raises(PluginError, match=message):
        validate(made, "acme")


def test_trial_arms_that_have_all_the_weight_leave_no_rounding_error():
    arms = [Arm("a", trial=True), Arm("base"), Arm("b", trial=True)]
    p = probabilities([1.7183347052695268, 0.0, 9.642591503349503], arms)
    assert sum(p) == pytest.approx(1)
    assert p[1] == pytest.approx(0.8)
