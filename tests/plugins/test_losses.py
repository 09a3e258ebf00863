"""sft, dpo and early_ensemble against values computed by hand, and against trl's formulas."""

from math import exp, log

import pytest
import torch
from edit_batches import edit_batch, logprobs
from torch.nn.functional import logsigmoid

from learner.exceptions import PluginError
from learner.feedback import Prepared, Signal, Teaches, load, teaches, validate
from plugins.feedback.dpo import DPO
from plugins.feedback.early_ensemble import EarlyEnsemble
from plugins.feedback.sft import SFT


def sigmoid(x):
    return 1 / (1 + exp(-x))


def pair_batch(**more):
    """Two edits: y' of 3 and 1 tokens, y of 2 and 3 tokens, all with a reference."""
    kept = logprobs([[-1.0, -2.0, -3.0], [-4.0]], [[-2.0, -2.0, -2.5], [-3.0]])
    offered = logprobs([[-0.5, -0.5], [-1.0, -1.0, -1.0]], [[-0.25, -0.25], [-1.5, -1.0, -1.0]])
    return edit_batch(rows=2, kept=kept, offered=offered, **more)


def test_sft_is_nats_per_kept_token():
    batch = pair_batch()
    loss, figures = SFT().loss(batch)
    assert loss.item() == pytest.approx(10 / 4)
    assert figures == {"nll": pytest.approx(2.5)}
    loss.backward()
    assert batch.kept.policy.grad.tolist() == [[-0.25, -0.25, -0.25], [-0.25, 0.0, 0.0]]


def test_sft_weighs_rows():
    loss, _ = SFT().loss(pair_batch(weight=[1.0, 0.25]))
    assert loss.item() == pytest.approx((6 + 0.25 * 4) / (3 + 0.25))


def test_sft_is_the_papers_mean_up_to_the_mean_length():
    batch = pair_batch()
    paper = -batch.kept.sum().mean()
    mean_length = batch.kept.lengths().float().mean()
    assert SFT().loss(batch)[0].item() == pytest.approx((paper / mean_length).item())


def test_a_row_without_a_kept_text_has_no_say():
    with_rejected = edit_batch(rows=2, kept=logprobs([[-1.0, -3.0], []]), cost_max=[0.5, 1.0])
    assert SFT().loss(with_rejected)[0].item() == pytest.approx(2.0)
    nothing = edit_batch(rows=1, kept=logprobs([[]]))
    loss, _ = SFT().loss(nothing)
    loss.backward()
    assert loss.item() == 0


def test_dpo_by_hand():
    batch = pair_batch()
    # log-ratios: y' -6 + 6.5 = 0.5 and -4 + 3 = -1; y -1 + 0.5 = -0.5 and -3 + 3.5 = 0.5
    margins = [0.1 * (0.5 + 0.5), 0.1 * (-1 - 0.5)]
    loss, figures = DPO().loss(batch)
    assert loss.item() == pytest.approx(sum(-log(sigmoid(m)) for m in margins) / 2)
    assert figures["margin"] == pytest.approx(sum(margins) / 2)
    assert figures["accuracy"] == 0.5
    loss.backward()
    # d/dlogp of every token of y' is -beta sigmoid(-margin) / rows
    grad = batch.kept.policy.grad
    assert grad[0].tolist() == pytest.approx([-0.1 * sigmoid(-margins[0]) / 2] * 3)
    assert batch.offered.policy.grad[1].tolist() == pytest.approx([0.1 * sigmoid(-margins[1]) / 2] * 3)


def test_dpo_and_ensemble_equal_trls_formulas():
    """trl 1.16 `loss_type=["sigmoid", "sft"]`: mean of -logsigmoid, and mean over all chosen tokens."""
    generator = torch.Generator().manual_seed(0)
    lengths = [3, 7, 2, 5]
    texts = [[[-x for x in torch.rand(n, generator=generator).tolist()] for n in lengths] for _ in range(4)]
    batch = edit_batch(rows=4, kept=logprobs(texts[0], texts[1]), offered=logprobs(texts[2], texts[3]))
    chosen, ref_chosen, rejected, ref_rejected = (torch.tensor([sum(row) for row in rows]) for rows in texts)
    sigmoid_term = -logsigmoid(0.1 * ((chosen - ref_chosen) - (rejected - ref_rejected))).mean()
    sft_term = -batch.kept.policy[batch.kept.mask].mean()
    assert DPO(beta=0.1).loss(batch)[0].item() == pytest.approx(sigmoid_term.item(), rel=1e-6)
    ensemble, _ = EarlyEnsemble().loss(batch)
    assert ensemble.item() == pytest.approx((sigmoid_term + sft_term).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("kept", "cost_max"),
    [([-4.0], 0.0), ([], 1.0)],
    ids=["accepted", "rejected"],
)
def test_dpo_leaves_out_what_states_no_preference(kept, cost_max):
    edited = {"kept": [-1.0, -2.0], "offered": [-3.0]}
    both = edit_batch(
        rows=2,
        kept=logprobs([edited["kept"], kept], [[-1.0, -1.0], kept]),
        offered=logprobs([edited["offered"], [-4.0]], [[-2.0], [-4.0]]),
        cost_max=[0.5, cost_max],
    )
    alone = edit_batch(
        rows=1,
        kept=logprobs([edited["kept"]], [[-1.0, -1.0]]),
        offered=logprobs([edited["offered"]], [[-2.0]]),
    )
    assert DPO().loss(both)[0].item() == pytest.approx(DPO().loss(alone)[0].item())


def test_dpo_without_reference_says_what_to_add():
    batch = edit_batch(rows=1, kept=logprobs([[-1.0]]), offered=logprobs([[-1.0]]))
    with pytest.raises(PluginError, match=r"add Signal\.REFERENCE"):
        DPO().loss(batch)


def test_early_ensemble_is_the_weighted_sum_of_its_members():
    batch = pair_batch()
    ensemble = EarlyEnsemble(lam=0.5)
    loss, figures = ensemble.loss(batch)
    assert loss.item() == pytest.approx(DPO().loss(batch)[0].item() + 0.5 * SFT().loss(batch)[0].item())
    assert figures["sft/nll"] == pytest.approx(2.5)
    assert {"dpo/margin", "dpo/accuracy"} <= set(figures)
    assert ensemble.needs == {Signal.KEPT, Signal.OFFERED, Signal.REFERENCE}
    assert teaches(ensemble) is Teaches.LABELS
    assert ensemble.prepare is None


def test_an_ensemble_of_rl_and_sft():
    mixed = EarlyEnsemble({"rl": 2.0, "sft": 1.0}, name="rl_sft")
    validate(mixed, "rl_sft")
    assert mixed.needs == {Signal.KEPT, Signal.CANDIDATES}
    assert teaches(mixed) is Teaches.COSTS
    assert mixed.prepare == mixed.members["rl"].prepare
    assert mixed.prepare([], None) == Prepared([], {"weight": []})

    candidates = logprobs([[-1.0, -1.0], [-5.0, -5.0]])
    for_one = type(candidates)(candidates.policy[None], candidates.mask[None])
    batch = edit_batch(
        rows=1, kept=logprobs([[-2.0]]), candidates=for_one, tables={"weight": torch.tensor([[0.75, 0.25]])}
    )
    loss, figures = mixed.loss(batch)
    assert loss.item() == pytest.approx(2 * (0.75 * 2 + 0.25 * 10) / 2 + 2.0)
    assert figures == {"rl/nll": pytest.approx(2.0), "rl/best_weight": 0.75, "sft/nll": pytest.approx(2.0)}


def test_an_ensemble_refuses_itself_nothing_and_strangers():
    with pytest.raises(PluginError, match="at least one member other than itself"):
        EarlyEnsemble({"early_ensemble": 1.0})
    with pytest.raises(PluginError, match="at least one member"):
        EarlyEnsemble({})
    with pytest.raises(PluginError, match="no feedback type 'nonesuch' is installed"):
        validate(EarlyEnsemble({"nonesuch": 1.0}), "early_ensemble")


def test_an_ensemble_takes_one_set_of_candidates():
    ensemble = EarlyEnsemble({"rl": 1.0, "rl_again": 1.0}, name="twice")
    ensemble.members = {"rl": load("rl"), "rl_again": load("rl")}
    with pytest.raises(PluginError, match="rl and rl_again each prepare"):
        validate(ensemble, "twice")


@pytest.mark.parametrize("name", ["sft", "dpo", "rl", "early_ensemble"])
def test_each_built_in_type_loads_under_its_name(name):
    assert load(name).name == name
