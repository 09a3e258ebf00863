"""rl: the cost model, pessimism, and the weights that it distills, on a base made of tables."""

from math import exp, log
from random import Random

import pytest
import torch
from edit_batches import edit, edit_batch

from learner.feedback import TokenLogprobs, teaches
from learner.records import Prompt
from plugins.feedback.rl import (
    KEPT_WEIGHT,
    RL,
    Pool,
    base_cost,
    contraction,
    fit,
    gibbs,
    labels,
    logged_cost,
    standardise,
)


class TableBase:
    """A base whose samples and features stand in tables. Features: one number per hidden unit."""

    fingerprint = "table"

    def __init__(self, samples, features):
        self.samples = samples
        self.by_text = features

    def sample(self, prompts, n, *, seed):
        assert all(isinstance(prompt, Prompt) for prompt in prompts)
        return [self.samples[prompt.messages[-1].content.split("\n\n")[1]][:n] for prompt in prompts]

    def features(self, prompts, texts):
        assert len(prompts) == len(texts)
        return torch.tensor([self.by_text[text] for text in texts])


def world(rng, contexts, *, edit_cost, keeps_rule):
    """A base that never follows the user's rule, and a user who does with chance `keeps_rule`.

    Hidden units: 0 tells whether the rule holds, 1-3 what the context is about, 4-7 are noise.
    """
    features, samples, edits = {}, {}, []

    def text(name, topic, rule):
        noise = [rng.gauss(0, 1) for _ in range(4)]
        features[name] = [float(rule) + rng.gauss(0, 0.1), *topic, *noise]
        return name

    for number in range(contexts):
        topic = [rng.gauss(0, 5) for _ in range(3)]
        drawn = [text(f"sample {j} of {number} base", topic, False) for j in range(4)]
        samples[f"notes {number}"] = drawn
        offered = text(f"offer {number} in base", topic, False)
        kept = text(f"kept {number} by user", topic, rng.random() < keeps_rule)
        edits.append(edit(offered, kept, prompt=f"notes {number}", cost_max=edit_cost + rng.gauss(0, 0.05)))
    return edits, TableBase(samples, features)


def weights_of(prepared, prefix):
    """Mean Gibbs weight, over edits, of the candidates whose text starts with `prefix`."""
    rows = zip(prepared.candidates, prepared.tables["weight"], strict=True)
    shares = [sum(w for t, w in zip(*row, strict=True) if t.startswith(prefix)) for row in rows]
    return sum(shares) / len(shares)


def test_the_cost_model_recovers_a_linear_cost():
    generator = torch.Generator().manual_seed(1)
    phi = torch.randn(600, 5, generator=generator, dtype=torch.float64)
    truth = torch.tensor([0.3, -0.2, 0.0, 0.1, 0.0], dtype=torch.float64)
    context = torch.arange(600) // 2
    level = 0.1 * torch.randn(300, generator=generator, dtype=torch.float64)
    costs = phi @ truth + level[context] + 0.05 * torch.randn(600, generator=generator, dtype=torch.float64)
    model = fit(phi, costs, torch.ones(600, dtype=torch.float64), context)
    assert torch.allclose(model.mean, truth, atol=0.02)


def test_the_fit_equals_generalised_least_squares():
    """Against the textbook form with the whole covariance matrix of the rows."""
    generator = torch.Generator().manual_seed(2)
    phi = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    costs = torch.rand(7, generator=generator, dtype=torch.float64)
    weight = torch.tensor([1, 0.5, 1, 1, 0.5, 1, 0.5], dtype=torch.float64)
    context = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    rows = torch.diag(1 / weight) + (context[:, None] == context[None, :]).double()
    precision = 0.7 * torch.eye(3, dtype=torch.float64) + phi.T @ torch.linalg.inv(rows) @ phi
    model = fit(phi, costs, weight, context, ridge=0.7)
    assert torch.allclose(model.covariance, torch.linalg.inv(precision))
    assert torch.allclose(model.mean, torch.linalg.solve(precision, phi.T @ torch.linalg.inv(rows) @ costs))


def test_pessimism_raises_what_the_log_does_not_support():
    phi = torch.tensor([[1.0, 0.0]] * 50, dtype=torch.float64)
    model = fit(phi, torch.full((50,), 0.5).double(), torch.ones(50).double(), torch.arange(50))
    known, unknown = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    both = torch.stack([known, unknown])
    raised = model.pessimistic(both, kappa=0.2) - model.pessimistic(both, kappa=0.0)
    assert raised[1].item() == pytest.approx(0.2)  # nothing is known: sqrt(1 / ridge)
    assert 0 < raised[0].item() < 0.05
    assert model.pessimistic(2 * both, kappa=0.2)[1].item() == pytest.approx(0.4)


def test_strong_edits_are_imitated():
    edits, base = world(Random(0), 60, edit_cost=0.3, keeps_rule=1.0)
    prepared = RL().prepare(edits, base)
    assert weights_of(prepared, "kept") > 0.9
    assert all(sum(row) == pytest.approx(1) for row in prepared.tables["weight"])


def test_a_dozen_edits_are_enough_to_lean_towards_them():
    edits, base = world(Random(1), 12, edit_cost=0.3, keeps_rule=1.0)
    assert weights_of(RL().prepare(edits, base), "kept") > 0.5


def test_a_sample_that_follows_the_rule_is_cheap_too():
    edits, base = world(Random(2), 60, edit_cost=0.3, keeps_rule=1.0)
    lucky = base.samples["notes 7"][2]
    base.by_text[lucky][0] = 1.0
    pool = Pool.of(edits, base.sample([e.chat for e in edits], 4, seed=0))
    score = dict(zip(pool.text, RL().scores(edits, pool, base), strict=True))
    unlucky = [text for text in base.samples["notes 7"] if text != lucky]
    assert score[lucky] < min(score[text] for text in [*unlucky, edits[7].offered]) - 0.03


def test_an_edit_without_the_rule_is_not_cheap_by_decree():
    """A weak user: half of the kept texts follow the rule, and only those are imitated for it."""
    rng = Random(3)
    edits, base = world(rng, 80, edit_cost=0.3, keeps_rule=0.5)
    pool = Pool.of(edits, base.sample([e.chat for e in edits], 4, seed=0))
    score = dict(zip(pool.text, RL().scores(edits, pool, base), strict=True))
    finished = [score[e.kept] for e in edits if base.by_text[e.kept][0] > 0.5]
    unfinished = [score[e.kept] for e in edits if base.by_text[e.kept][0] < 0.5]
    assert sum(finished) / len(finished) < sum(unfinished) / len(unfinished) - 0.04


def test_edits_that_follow_no_rule_teach_little():
    edits, base = world(Random(4), 60, edit_cost=0.3, keeps_rule=0.0)
    assert weights_of(RL().prepare(edits, base), "kept") < 0.5


def test_light_candidates_are_dropped_so_the_lists_are_ragged():
    edits, base = world(Random(5), 60, edit_cost=0.5, keeps_rule=1.0)
    prepared = RL().prepare(edits, base)
    sizes = [len(row) for row in prepared.candidates]
    assert sum(sizes) / len(sizes) < 3
    assert [len(row) for row in prepared.tables["weight"]] == sizes
    assert min(min(row) for row in prepared.tables["weight"]) >= 0.01


def test_accepted_is_preferred_and_rejected_is_not():
    edits, base = world(Random(6), 40, edit_cost=0.3, keeps_rule=1.0)
    edits[0] = edit(edits[0].offered, edits[0].offered, prompt="notes 0", outcome="accepted")
    edits[1] = edit(edits[1].offered, None, prompt="notes 1", outcome="rejected")
    prepared = RL().prepare(edits, base)
    share = [dict(zip(*row, strict=True)) for row in zip(prepared.candidates, prepared.tables["weight"], strict=True)]
    assert share[0][edits[0].offered] > 0.8
    assert edits[1].offered not in share[1]
    assert len(share[1]) >= 2


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_edits_do_not_break_it(count):
    edits, base = world(Random(7), count, edit_cost=0.3, keeps_rule=1.0)
    prepared = RL().prepare(edits, base)
    assert len(prepared.candidates) == count
    assert all(sum(row) == pytest.approx(1) for row in prepared.tables["weight"])


def test_a_base_without_samples_still_ranks_the_logged_texts():
    edits, base = world(Random(8), 40, edit_cost=0.4, keeps_rule=1.0)
    base.samples = {prompt: ["", ""] for prompt in base.samples}
    assert weights_of(RL().prepare(edits, base), "kept") > 0.9


def test_gamma_is_learned_from_what_adapters_offered():
    def answered(outcome, version):
        return edit("a", "a", outcome=outcome, adapter_version=version)

    assert contraction([answered("accepted", None)] * 9) == 0.5
    assert contraction([answered("accepted", "sft-1")] * 8) == 0.9
    assert contraction([answered("edited", "sft-1"), answered("rejected", "dpo-1")]) == 0.25


def test_labels_of_offer_kept_text_and_sample():
    edits = [edit("offer", "kept", cost_max=0.4)]
    pool = Pool.of(edits, [["sample", "offer", "", "kept", "sample"]])
    assert pool.text == ["offer", "kept", "sample"]
    assert pool.sampled == [False, False, True]
    assert labels(edits, pool) == ([0.4, 0.2, 0.0], [1.0, KEPT_WEIGHT, 0.0])


def test_logged_costs():
    assert logged_cost(edit("a b", "a b", outcome="accepted")) == 0
    assert logged_cost(edit("a b", None, outcome="rejected")) == 1
    assert logged_cost(edit("a b", "a c", cost_max=0.25)) == 0.25
    assert logged_cost(edit("a b", "a c")) == 0.5
    by_adapter = edit("a", "a", outcome="accepted", adapter_version="sft-1")
    assert base_cost([edit("a", "b", cost_max=0.5), by_adapter]) == 0.5
    assert base_cost([by_adapter]) == 0


def test_features_are_centred_on_the_samples_of_the_context():
    hidden = torch.tensor([[10.0, 1.0], [12.0, 1.0], [14.0, 1.0], [-3.0, 1.0], [-5.0, 1.0]]).double()
    sampled = torch.tensor([False, True, True, False, False])
    phi = standardise(hidden, torch.zeros(5).double(), torch.tensor([0, 0, 0, 1, 1]), sampled)
    raw = torch.tensor([-3.0, -1.0, 1.0, 1.0, -1.0]).double()
    assert torch.allclose(phi[:, 0], raw / raw.square().mean().sqrt() / 2**0.5)
    assert phi[:, 1:].abs().max() == 0  # what never varies says nothing


def test_gibbs_by_hand():
    assert gibbs(["a", "b"], [0.1, 0.1 + 0.02 * log(3)], 0.02) == pytest.approx({"a": 0.75, "b": 0.25})
    assert gibbs(["a", "b", "c"], [0.0, 0.2, 0.0], 0.02) == pytest.approx({"a": 0.5, "c": 0.5})
    assert exp(-0.2 / 0.02) < 0.01


def test_the_loss_by_hand():
    policy = torch.tensor([[[-1.0, -2.0], [-4.0, 0.0]], [[-3.0, -3.0], [0.0, 0.0]]], requires_grad=True)
    mask = torch.tensor([[[True, True], [True, False]], [[True, True], [False, False]]])
    batch = edit_batch(
        rows=2,
        weight=[1.0, 0.25],
        candidates=TokenLogprobs(policy, mask),
        tables={"weight": torch.tensor([[0.75, 0.25], [1.0, 0.0]])},
    )
    loss, figures = RL().loss(batch)
    assert loss.item() == pytest.approx((0.75 * 3 + 0.25 * 4 + 0.25 * 6) / (0.75 * 2 + 0.25 * 1 + 0.25 * 2))
    assert figures["best_weight"] == pytest.approx(0.875)
    loss.backward()
    assert policy.grad[1, 1].abs().sum() == 0
    assert policy.grad[0, 0, 0].item() == pytest.approx(-0.75 / 2.25)


def test_rl_learns_from_costs():
    assert teaches(RL()) == "costs"
