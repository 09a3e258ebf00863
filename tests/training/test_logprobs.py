"""Our log-probabilities against a plain forward pass, in fp32, for every form of adapter."""

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from policies import CPU, INVOCATION, kept_texts, plain_logprobs, policy, randomise, rows, tiny_lm

from learner.training.logprobs import CHUNK, Text, answer_head, token_logprobs
from learner.training.prefixes import Prefixes
from learner.training.reference import Reference

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21
CLOSE = {"atol": 2e-5, "rtol": 1e-5}


def adapted(causal_lm, *, activated):
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        alora_invocation_tokens=list(INVOCATION) if activated else None,
    )
    return randomise(get_peft_model(causal_lm, config))


def scored(model, causal_lm, texts, **kwargs):
    with answer_head(causal_lm):
        return token_logprobs(model, texts, device=CPU, **kwargs)


def assert_plain(model, texts, logprobs, mask):
    for text, row, own in zip(texts, logprobs, mask, strict=True):
        assert own.sum() == len(text.answer)
        torch.testing.assert_close(row[own], plain_logprobs(model, text), **CLOSE)
        assert not row[~own].any()


def test_plain_adapter():
    causal_lm = tiny_lm()
    model = adapted(causal_lm, activated=False)
    texts = kept_texts(rows(activated=False))
    assert_plain(model, texts, *scored(model, causal_lm, texts))


def test_activated_adapter_on_whole_texts():
    causal_lm = tiny_lm()
    model = adapted(causal_lm, activated=True)
    texts = kept_texts(rows())
    assert_plain(model, texts, *scored(model, causal_lm, texts, activated=True))


def test_shared_prompts_are_exact():
    """A plain LoRA after the base's keys and values is peft's activated LoRA, gradient included."""
    texts = kept_texts(rows())
    whole_lm, shared_lm = tiny_lm(), tiny_lm()
    whole, shared = adapted(whole_lm, activated=True), adapted(shared_lm, activated=False)
    prefixes = Prefixes(shared_lm)
    prefixes.off = shared.disable_adapter
    expected, mask = scored(whole, whole_lm, texts, activated=True)
    found, _ = scored(shared, shared_lm, texts, prefixes=prefixes)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert_plain(whole, texts, found, mask)
    expected.sum().backward()
    found.sum().backward()
    theirs = {n: p.grad for n, p in whole.named_parameters() if p.grad is not None}
    ours = {n: p.grad for n, p in shared.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    assert any(g.abs().max() > 1e-2 for g in ours.values())
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], atol=1e-4, rtol=1e-3)


def test_the_adapter_matters():
    causal_lm = tiny_lm()
    texts = kept_texts(rows())
    before, _ = scored(causal_lm, causal_lm, texts)
    after, _ = scored(adapted(causal_lm, activated=False), causal_lm, texts)
    assert (after - before).abs().max() > 0.5


def test_long_texts_in_chunks_with_the_right_gradient():
    causal_lm = tiny_lm(max_position_embeddings=1024)
    text = Text((3, 4, *INVOCATION), 2, tuple(8 + i % 50 for i in range(CHUNK + 70)))
    embeddings = causal_lm.get_input_embeddings().weight
    embeddings.requires_grad_(True)
    weights = torch.linspace(-1, 1, len(text.answer))
    causal_lm.zero_grad()
    (plain_logprobs(causal_lm, text) * weights).sum().backward()
    norm = causal_lm.model.norm.weight.grad.clone()
    causal_lm.zero_grad()
    found, mask = scored(causal_lm, causal_lm, [text])
    (found[mask] * weights).sum().backward()
    torch.testing.assert_close(causal_lm.model.norm.weight.grad, norm, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("Gemma2", {"final_logit_softcapping": 5.0, "head_dim": 8, "sliding_window": 8}),
        ("Granite", {"logits_scaling": 4.0}),
        ("Qwen2", {}),
        ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    ],
)
def test_other_families(family, changes):
    """Softcapped, scaled and tied heads; sliding windows, where prompts cannot be shared, run whole."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    special = {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.2}
    config = getattr(transformers, f"{family}Config")(**(sizes | heads | special | changes))
    causal_lm = transformers.AutoModelForCausalLM.from_config(config).eval()
    texts = kept_texts(rows())
    prefixes = Prefixes.where_supported(causal_lm)
    assert (prefixes is None) == (family == "Gemma2")
    assert_plain(causal_lm, texts, *scored(causal_lm, causal_lm, texts))
    if prefixes is not None:
        assert_plain(causal_lm, texts, *scored(causal_lm, causal_lm, texts, prefixes=prefixes))


@pytest.mark.parametrize("activated", [True, False])
def test_reference_is_the_model_with_its_adapter_off(activated):
    base = policy(activated=activated)
    texts = kept_texts(rows(activated=activated))
    base.reference.fill(texts)
    model = adapted(base.causal_lm, activated=activated)
    with model.disable_adapter():
        for text in texts:
            torch.testing.assert_close(base.reference.get(text), plain_logprobs(model, text), **CLOSE)
    assert (base.reference.get(texts[0]) - plain_logprobs(model, texts[0])).abs().max() > 0.1


def test_reference_tells_how_far_it_is():
    causal_lm = tiny_lm()
    reference = Reference(causal_lm, None, CPU)
    heard = []
    reference.fill(kept_texts(rows()), lambda done, total: heard.append((done, total)))
    assert heard[-1] == (6, 6)
    reference.fill(kept_texts(rows()), lambda done, total: heard.append("again"))
    assert "again" not in heard


def test_prompts_beyond_the_budget_are_computed_where_needed():
    causal_lm = tiny_lm()
    texts = kept_texts(rows())
    none_held = Prefixes(causal_lm, budget_bytes=0)
    none_held.fill([t.prompt[: t.start] for t in texts])
    assert_plain(causal_lm, texts, *scored(causal_lm, causal_lm, texts, prefixes=none_held))


def test_head_is_taken_off_again():
    causal_lm = tiny_lm()
    with answer_head(causal_lm):
        pass
    assert "forward" not in vars(causal_lm)


def test_empty_answers_and_prompts_that_begin_at_the_invocation():
    causal_lm = tiny_lm()
    prefixes = Prefixes(causal_lm)
    texts = [Text(INVOCATION, 0, (9, 2)), Text((3, 4, *INVOCATION), 2, ())]
    logprobs, mask = scored(causal_lm, causal_lm, texts, prefixes=prefixes)
    assert mask.tolist() == [[True, True], [False, False]]
    torch.testing.assert_close(logprobs[0], plain_logprobs(causal_lm, texts[0]), **CLOSE)
    logprobs, mask = scored(causal_lm, causal_lm, texts[1:], prefixes=prefixes)
    assert logprobs.shape == mask.shape == (1, 0)


@pytest.mark.parametrize("activated", [True, False])
def test_features_are_the_mean_state_over_the_answer(activated, tmp_path):
    from learner.prompt import draft, prompt_ids
    from learner.training.base import FrozenBase

    base = policy(activated=activated)
    base.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}w5 w6 w7 "
    frozen = FrozenBase(base, "f", tmp_path, max_tokens=8)
    prompts = [draft(notes, "summary") for notes in ("w9", "w9 w10 w11")]
    found = frozen.features([*prompts, prompts[0]], ["w20 w21 w22", "w30", ""])
    for row, prompt, answer in zip(found, [*prompts, prompts[0]], [[20, 21, 22], [30], []], strict=True):
        head = prompt_ids(prompt, base.tokenizer)
        with torch.no_grad():
            state = base.causal_lm.model(input_ids=torch.tensor([[*head, *answer]])).last_hidden_state[0]
        expected = state[len(head) :].mean(0) if answer else state[-1]
        torch.testing.assert_close(row, expected, **CLOSE)
