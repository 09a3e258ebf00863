"""aligned, chipo and rebel against values computed by hand, and on a policy that can be counted."""

from math import exp, log

import pytest
import torch
from edit_batches import edit, edit_batch, logprobs
from torch.nn.functional import logsigmoid

from learner.feedback import Signal, TokenLogprobs, load, validate
from plugins.feedback.aligned import Aligned
from plugins.feedback.dpo import DPO, ChiPO
from plugins.feedback.rl import RL, Rebel


@pytest.mark.parametrize("name", ["aligned", "chipo", "rebel"])
def test_they_are_installed_and_keep_the_contract(name):
    assert validate(load(name), name).name == name


def test_options_reach_a_feedback_type():
    assert load("dpo", {"beta": 0.5}).beta == 0.5
    assert load("early_ensemble", {"lam": 3.0, "options": {"dpo": {"beta": 0.5}}}).members["dpo"].beta == 0.5


# SALT


def corrected(**more):
    """y = (a, b), y' = (a, c): the first token stays, the second was changed."""
    return edit_batch(
        rows=1,
        kept=logprobs([[-1.0, -2.0]]),
        offered=logprobs([[-0.5, log(0.75)]]),
        kept_aligned=torch.tensor([[True, False]]),
        offered_aligned=torch.tensor([[True, False]]),
        **more,
    )


def test_aligned_by_hand():
    loss, figures = Aligned(changed=2.0, unlike=0.5).loss(corrected())
    # likelihood: (1 + 2 x 2) / 3 weights; unlikelihood: -log(1 - 0.75) / 3
    assert loss.item() == pytest.approx(5 / 3 + 0.5 * log(4) / 3)
    assert figures["nll"] == pytest.approx(5 / 3)


def test_aligned_pushes_only_at_what_was_changed():
    batch = corrected()
    Aligned().loss(batch)[0].backward()
    assert batch.offered.policy.grad[0, 0] == 0
    assert batch.offered.policy.grad[0, 1] > 0
    assert (batch.kept.policy.grad < 0).all()


def test_aligned_stays_finite_on_a_certain_token():
    batch = edit_batch(
        rows=1, kept=logprobs([[-1.0]]), offered=logprobs([[0.0]]),
        kept_aligned=torch.tensor([[False]]), offered_aligned=torch.tensor([[False]]),
    )  # fmt: skip
    loss, _ = Aligned().loss(batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(batch.offered.policy.grad).all()


def test_aligned_takes_an_accepted_offer_as_a_label_only():
    same = logprobs([[-1.0, -2.0]])
    aligned = torch.tensor([[True, True]])
    batch = edit_batch(
        rows=1, kept=same, offered=logprobs([[-1.0, -2.0]]), kept_aligned=aligned, offered_aligned=aligned
    )
    assert Aligned().loss(batch)[0].item() == pytest.approx(1.5)


# chi-PO


def pair(kept, kept_base, offered, offered_base):
    return edit_batch(rows=1, kept=logprobs([[kept]], [[kept_base]]), offered=logprobs([[offered]], [[offered_base]]))


def test_chipo_by_hand():
    batch = pair(-1.0, -2.0, -3.0, -2.5)
    # phi(z) = z + log z: e^1 + 1 and e^-0.5 - 0.5
    margin = 0.1 * (exp(1) + 1 - exp(-0.5) + 0.5)
    assert ChiPO(beta=0.1).loss(batch)[0].item() == pytest.approx(-logsigmoid(torch.tensor(margin)).item())


def test_chipo_is_dpo_near_the_base_and_stricter_away_from_it():
    near = pair(-2.0, -2.0, -2.0, -2.0)
    assert ChiPO().loss(near)[0].item() == pytest.approx(DPO().loss(near)[0].item())
    away = pair(-1.0, -5.0, -5.0, -5.0)
    assert ChiPO(most=100).loss(away)[1]["margin"] > DPO().loss(away)[1]["margin"]


def test_chipo_clips_what_the_base_never_writes():
    batch = pair(-1.0, -200.0, -3.0, -3.0)
    loss, figures = ChiPO(most=10.0).loss(batch)
    assert figures["margin"] == pytest.approx(10.0)
    loss.backward()
    assert batch.kept.policy.grad.item() == 0


# REBEL


def candidates(rows, reference, cost):
    policy = torch.tensor(rows)[..., None].requires_grad_()
    there = torch.ones(policy.shape, dtype=torch.bool)
    found = TokenLogprobs(policy, there, torch.tensor(reference)[..., None])
    return edit_batch(rows=len(rows), candidates=found, tables={"cost": torch.tensor(cost)})


def test_rebel_by_hand():
    batch = candidates([[-1.0, -2.0]], [[-1.5, -1.5]], [[0.1, 0.2]])
    # log-ratios 0.5 and -0.5; costs over 0.1: 1 and 2; regressed 1.5 - 1.5 = 0
    assert Rebel(scale=0.1).loss(batch)[0].item() == pytest.approx(0, abs=1e-9)
    batch = candidates([[-1.5, -1.5]], [[-1.5, -1.5]], [[0.1, 0.2]])
    assert Rebel(scale=0.1).loss(batch)[0].item() == pytest.approx(1.0)


def test_rebel_finds_the_gibbs_policy():
    """Minimised over all policies of three answers, log pi - log pi_ref = -cost / scale + a constant."""
    cost, base = torch.tensor([0.1, 0.3, 0.2]), torch.tensor([0.2, 0.5, 0.3])
    logits = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=100)

    def step():
        optimiser.zero_grad()
        policy = logits.log_softmax(-1)[None, :, None]
        found = TokenLogprobs(policy, torch.ones(1, 3, 1, dtype=torch.bool), base.log()[None, :, None])
        loss, _ = Rebel(scale=0.1).loss(edit_batch(rows=1, candidates=found, tables={"cost": cost[None]}))
        loss.backward()
        return loss

    optimiser.step(step)
    gibbs = base * (-cost / 0.1).exp()
    assert logits.softmax(-1).tolist() == pytest.approx((gibbs / gibbs.sum()).tolist(), abs=1e-3)


class Base:
    fingerprint = "b"

    def sample(self, prompts, n, *, seed):
        return [[f"sample {i}" for i in range(n)] for _ in prompts]

    def features(self, prompts, texts):
        return torch.tensor([[float(len(t)), 1.0] for t in texts])


def test_rebel_prepares_the_costs_that_rl_weighs_by():
    edits = [edit(f"offered {i}", f"kept text {i}", prompt=f"notes {i}", cost_max=0.1 * i) for i in range(6)]
    made = Rebel(samples=2).prepare(edits, Base())
    assert [len(c) for c in made.candidates] == [4] * 6
    assert [len(c) for c in made.tables["cost"]] == [4] * 6
    weighed = RL(samples=2).prepare(edits, Base())
    for texts, costs, kept in zip(made.candidates, made.tables["cost"], weighed.candidates, strict=True):
        assert texts[costs.index(min(costs))] in kept
    assert Rebel.needs == {Signal.CANDIDATES, Signal.REFERENCE}
    assert Rebel().prepare([], Base()).candidates == []
