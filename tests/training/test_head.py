"""The head of the fast pass: log-probabilities block by block of the vocabulary, as from all logits at once."""

import pytest
import torch

from learner.training.fast import head
from learner.training.fast.head import chosen_logprobs

WORDS, TOKENS, SIZE = 103, 11, 8


@pytest.mark.parametrize("block", [1, 10, 103, 500])
@pytest.mark.parametrize("spread", [0.1, 30.0])
def test_blocks_give_what_all_logits_give(block, spread, monkeypatch):
    monkeypatch.setattr(head, "BLOCK", block)
    monkeypatch.setattr(head, "TOKENS", 4)
    torch.manual_seed(block)
    hidden = torch.randn(TOKENS, SIZE, requires_grad=True)
    weight, targets = spread * torch.randn(WORDS, SIZE), torch.randint(0, WORDS, (TOKENS,))
    slopes = torch.randn(TOKENS)

    whole = torch.log_softmax(hidden @ weight.T, -1).gather(-1, targets[:, None])[:, 0]
    (whole_gradient,) = torch.autograd.grad(whole @ slopes, hidden)
    found = chosen_logprobs(hidden, targets, weight)
    (gradient,) = torch.autograd.grad(found @ slopes, hidden)

    near = {"rtol": 1e-4, "atol": 1e-5 * max(1.0, spread**2)}  # a logit of 300 is rounded to 3e-5 in fp32
    torch.testing.assert_close(found, whole, **near)
    torch.testing.assert_close(gradient, whole_gradient, **near)
    torch.testing.assert_close(chosen_logprobs(hidden.detach(), targets, weight), whole.detach(), **near)


def test_a_sure_word_has_no_chance_above_one(monkeypatch):
    monkeypatch.setattr(head, "BLOCK", 10)
    torch.manual_seed(0)
    weight = torch.randn(WORDS, SIZE, dtype=torch.bfloat16)
    hidden = 40 * weight[:TOKENS]
    targets = (hidden @ weight.T).argmax(-1)
    assert (chosen_logprobs(hidden, targets, weight) <= 0).all()


def test_bfloat16_is_as_near_the_truth_as_all_logits_at_once(monkeypatch):
    monkeypatch.setattr(head, "BLOCK", 10)
    torch.manual_seed(0)
    hidden = torch.randn(TOKENS, SIZE, dtype=torch.bfloat16, requires_grad=True)
    weight = torch.randn(WORDS, SIZE, dtype=torch.bfloat16)
    targets = torch.randint(0, WORDS, (TOKENS,))

    def errors(logprobs):
        (gradient,) = torch.autograd.grad(logprobs.sum(), hidden)
        return (logprobs - truth).abs().max(), (gradient - slope).abs().max()

    truth = torch.log_softmax(hidden.double() @ weight.double().T, -1).gather(-1, targets[:, None])[:, 0]
    (slope,) = torch.autograd.grad(truth.sum(), hidden)
    truth = truth.detach()
    plain = torch.log_softmax((hidden @ weight.T).float(), -1).gather(-1, targets[:, None])[:, 0]
    for ours, theirs in zip(errors(chosen_logprobs(hidden, targets, weight)), errors(plain), strict=True):
        assert ours <= 2 * theirs
