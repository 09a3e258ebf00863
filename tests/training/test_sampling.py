"""Samples of the base: drawn from its distribution, each by its own seed, whoever else is asked."""

import pytest
import torch
from policies import INVOCATION, policy, rows, tiny_lm

from learner.training import sampling
from learner.training.dataset import Tokenised
from learner.training.fit import Samples, fitting
from learner.training.quiet import quiet
from learner.training.sampling import sample
from learner.training.settings import TrainSettings, batch_size, learning_rate
from plugins.feedback.sft import SFT

PROMPTS = [[5, 6, 7], [9, 10, 11, 12, 13, 6], [20, 21]]


def drawn(prompts=PROMPTS, seeds=(1, 2, 3), *, causal_lm=None, max_tokens=12, done=None):
    base = policy(model=causal_lm or tiny_lm())
    return sample(base.causal_lm, base.tokenizer, prompts, seeds, max_tokens=max_tokens, done=done)


def test_the_first_token_follows_the_models_distribution():
    causal_lm = tiny_lm().eval()
    with torch.no_grad():
        expected = causal_lm(input_ids=torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1)
    count = 4000
    answers = drawn([PROMPTS[0]] * count, range(count), causal_lm=causal_lm, max_tokens=1)
    end = policy(model=causal_lm).tokenizer.eos_token_id
    found = torch.bincount(torch.tensor([a.ids[0] if a.ids else end for a in answers]), minlength=len(expected))
    chi_square = float(((found - count * expected) ** 2 / (count * expected)).sum())
    freedom = len(expected) - 1
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5  # five standard deviations


def test_an_answer_depends_on_its_own_prompt_and_seed_alone(monkeypatch):
    together = drawn()
    assert len({a.ids for a in together}) == 3
    assert [drawn([p], [s])[0] for p, s in zip(PROMPTS, (1, 2, 3), strict=True)] == together
    assert drawn(PROMPTS[::-1], (3, 2, 1)) == together[::-1]
    monkeypatch.setattr(sampling, "MOST_ROWS", 1)
    assert drawn() == together
    assert drawn(seeds=(4, 5, 6)) != together


def test_batches_are_bounded_by_their_memory(monkeypatch):
    steps = []
    monkeypatch.setattr(sampling, "CACHE_BYTES", 1)
    drawn(done=lambda *step: steps.append(step))
    assert {total for _, total in steps} == {36}  # three batches of at most twelve steps
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_an_answer_ends_before_the_token_that_ends_it():
    end = policy().tokenizer.eos_token_id
    answers = drawn([PROMPTS[0]] * 200, range(200), max_tokens=40)
    assert all(end not in a.ids for a in answers)
    assert all(len(a.ids) == 40 for a in answers if a.cut)
    ended = [a for a in answers if not a.cut]
    assert 20 < len(ended) < 200
    assert min(len(a.ids) for a in ended) < 40


@pytest.mark.parametrize("name", ["repetition_penalty", "temperature"])
def test_the_models_own_habits_of_generation_do_not_count(name):
    plain = drawn()
    causal_lm = tiny_lm()
    setattr(causal_lm.generation_config, name, 5.0)
    before = causal_lm.generation_config
    assert drawn(causal_lm=causal_lm) == plain
    assert causal_lm.generation_config is before


def test_the_rate_falls_as_models_grow():
    assert learning_rate(576) == pytest.approx(1.98e-3, rel=0.01)
    assert learning_rate(4096) == pytest.approx(4.29e-4, rel=0.01)


@pytest.mark.parametrize(("rows", "epochs", "size"), [(5, 3, 2), (40, 3, 2), (80, 3, 4), (160, 3, 8), (5000, 3, 8)])
def test_batches_leave_enough_steps(rows, epochs, size):
    assert batch_size(rows, epochs) == size


# Greedy answers, with the prompts' keys and values shared, as the experiment asks


def greedy(base, prompts, **shared):
    return sample(base.causal_lm, base.tokenizer, prompts, None, max_tokens=10, **shared)


def test_greedy_answers_take_the_likeliest_token():
    base = policy(model=tiny_lm())
    (first,) = greedy(base, PROMPTS[:1])
    ids = list(PROMPTS[0])
    with torch.no_grad():
        for token in first.ids:
            assert int(base.causal_lm(input_ids=torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)


def test_shared_prompts_change_no_answer_of_the_base():
    base = policy(model=tiny_lm())
    prompts = [[9, 8, 7, *INVOCATION], [20, 21, 22, 23, 24, *INVOCATION], [*INVOCATION]]
    assert greedy(base, prompts) == greedy(base, prompts, prefixes=base.prefixes, invocation=len(INVOCATION))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21
def test_with_shared_prompts_an_adapter_acts_from_the_invocation_on(tmp_path):
    """The same answers as peft's own activated LoRA gives, reading each prompt whole."""
    prompts = [[9, 8, 7, *INVOCATION], [20, 21, 22, 23, 24, *INVOCATION]]
    shared = policy(model=tiny_lm())
    data = Tokenised(tuple(rows()), (), {})
    settings = TrainSettings(("sft",), epochs=6, learning_rate=0.02, batch_size=2)
    samples = Samples("tiny", tmp_path)
    run = fitting(shared, SFT(), data, settings, tmp_path / "run", samples, tell=lambda *_: None)
    with quiet(), run as (trainer, _):
        trainer.train()
        found = greedy(shared, prompts, prefixes=shared.prefixes, invocation=len(INVOCATION))
        trainer.save_adapter(tmp_path / "adapter")
    assert found != greedy(shared, prompts, prefixes=shared.prefixes, invocation=len(INVOCATION))  # taken off again
    from peft import PeftModel

    whole = PeftModel.from_pretrained(tiny_lm(), tmp_path / "adapter")
    for prompt, answer in zip(prompts, found, strict=True):
        out = whole.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=10, do_sample=False, eos_token_id=2, pad_token_id=1,
        )  # fmt: skip
        own = out[0, len(prompt) :].tolist()
        assert tuple(own[: own.index(2)] if 2 in own else own) == answer.ids
