"""The fast pass as GPUs take it, all trees at once, and in bf16: against peft's and transformers' own."""

import pytest
import torch
from policies import CPU, INVOCATION, rows, tiny_lm
from test_llama_pass import adapted, assert_equal, both, texts_of

from learner.training.fast import llama
from learner.training.fast.forest import plant
from learner.training.fast.llama import answer_logprobs, obstacle
from learner.training.logprobs import Text, answer_head, token_logprobs
from learner.training.prefixes import Prefixes

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21


@pytest.fixture
def all_at_once(monkeypatch):
    monkeypatch.setattr(llama, "at_once", lambda device: True)
    monkeypatch.setattr(llama, "Layout", None)  # what the CPU takes otherwise


@pytest.mark.parametrize("shared", [True, False], ids=["after prefixes", "whole texts"])
@pytest.mark.parametrize("heads", [{}, {"num_key_value_heads": 1}, {"num_key_value_heads": 4, "head_dim": 16}])
def test_all_trees_at_once_equal_peft(heads, shared, all_at_once):
    causal_lm = tiny_lm(**heads)
    model = adapted(causal_lm)
    prefixes = None
    if shared:
        prefixes = Prefixes(causal_lm)
        prefixes.off = model.disable_adapter
    assert_equal(*both(model, causal_lm, texts_of(rows()), prefixes))


def test_one_tree_at_once_without_a_prompt_of_its_own(all_at_once):
    causal_lm = tiny_lm()
    model = adapted(causal_lm)
    prefixes = Prefixes(causal_lm)
    prefixes.off = model.disable_adapter
    texts = [Text((9, 4, *INVOCATION), 0, (7, 8, 2)), Text((9, 4, *INVOCATION), 0, (7, 9, 9, 9, 2))]
    assert plant(texts, after_prefixes=True).prefixes == ()
    peft, fast = both(model, causal_lm, texts, None)
    assert_equal(peft, fast)
    assert_equal(peft, both(model, causal_lm, texts, prefixes)[1])


def answers(causal_lm, model, texts, *, fast):
    """Log-probabilities of all answers, and the gradient of their sum, as one vector each, in fp32."""
    model.zero_grad()
    with answer_head(causal_lm):
        logprobs, mask = (answer_logprobs if fast else token_logprobs)(causal_lm if fast else model, texts, device=CPU)
    logprobs[mask].sum().backward()
    gradient = torch.cat([p.grad.flatten().float() for n, p in model.named_parameters() if "lora_" in n])
    return logprobs[mask].detach().float(), gradient


@pytest.mark.parametrize("kind", ["segments", "trees"])
def test_bf16_is_as_near_the_truth_as_peft_is(kind, monkeypatch):
    monkeypatch.setattr(llama, "at_once", lambda device: kind == "trees")
    causal_lm, texts = tiny_lm(), texts_of(rows(12))
    model = adapted(causal_lm)
    truth = answers(causal_lm, model, texts, fast=False)
    for name, parameter in model.named_parameters():
        if "lora_" not in name:
            parameter.data = parameter.data.bfloat16()
    assert obstacle(causal_lm) is None
    peft, ours = (answers(causal_lm, model, texts, fast=fast) for fast in (False, True))
    for true, theirs, own in zip(truth, peft, ours, strict=True):
        assert (theirs - true).norm() > 1e-3 * true.norm(), "bf16 is to be seen, or this proves nothing"
        assert (own - true).norm() < 1.3 * (theirs - true).norm()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("shared", [True, False], ids=["after prefixes", "whole texts"])
def test_equals_peft_on_a_gpu(shared):
    gpu = torch.device("cuda")
    causal_lm = tiny_lm()
    model = adapted(causal_lm).to(gpu)
    prefixes = None
    if shared:
        prefixes = Prefixes(causal_lm)
        prefixes.off = model.disable_adapter
    peft, fast = both(model, causal_lm, texts_of(rows()), prefixes, gpu)
    assert fast[0].device.type == "cuda"
    assert_equal(peft, fast)
