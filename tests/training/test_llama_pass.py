"""The fast pass against the path through peft and transformers, in fp32: log-probabilities, gradients, trainings."""

import logging

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from policies import CPU, INVOCATION, TINY, policy, randomise, rows, tiny_lm

from learner.exceptions import ConfigError, TrainingError
from learner.feedback import Signal
from learner.training import batches
from learner.training.fast import attention
from learner.training.fast.forest import plant
from learner.training.fast.llama import answer_logprobs, obstacle
from learner.training.fast.parts import shares
from learner.training.logprobs import Text, answer_head, token_logprobs
from learner.training.policy import takes_fast
from learner.training.prefixes import Prefixes
from learner.training.quiet import quiet
from learner.training.reference import Reference
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer, Policy
from plugins.feedback.early_ensemble import EarlyEnsemble
from plugins.feedback.sft import SFT

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft 0.21

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
MODELS = {
    "grouped heads": ("Llama", {}),
    "one key head": ("Llama", {"num_key_value_heads": 1}),
    "all key heads": ("Llama", {"num_key_value_heads": 4, "head_dim": 16}),
    "biases everywhere": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama3 angles": ("Llama", {"rope_parameters": LLAMA3}),
    "yarn angles": ("Llama", {"rope_parameters": YARN}),
    "tied head": ("Llama", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "mistral": ("Mistral", {"sliding_window": None}),
}


def a_model(family, **changes):
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**(TINY | changes))
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # they start at zero
                parameter.normal_()
    return model


def adapted(causal_lm, **changes):
    config = LoraConfig(
        **({"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | changes)
    )
    return randomise(get_peft_model(causal_lm, config))


def texts_of(some_rows):
    """Kept and offered text of each edit: they begin alike. One edit more with answers of one and of no token."""
    texts = [t for r in some_rows for t in (Text(r.prompt, r.start, r.kept), Text(r.prompt, r.start, r.offered))]
    first = some_rows[0]
    return [*texts, Text((9, *INVOCATION), min(first.start, 1), (2,)), Text((9, *INVOCATION), min(first.start, 1), ())]


def both(model, causal_lm, texts, prefixes, device=CPU):
    """Log-probabilities and gradients of a random weighted sum, by peft and by the fast pass."""
    found = []
    for fast in (False, True):
        model.zero_grad()
        with answer_head(causal_lm):
            score = answer_logprobs if fast else token_logprobs
            logprobs, mask = score(causal_lm if fast else model, texts, device=device, prefixes=prefixes)
        weights = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(3)).to(device)
        (logprobs * weights).sum().backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((logprobs.detach(), mask, gradients))
    return found


def assert_equal(peft, fast):
    assert torch.equal(peft[1], fast[1])
    torch.testing.assert_close(fast[0], peft[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(fast[0].sum(1), peft[0].sum(1), atol=1e-3, rtol=0)
    assert peft[2].keys() == fast[2].keys()
    assert len(fast[2]) == 2 * 7 * 2
    for name, gradient in peft[2].items():
        assert gradient.norm() > 1e-3, name
        assert (fast[2][name] - gradient).norm() <= 1e-4 * gradient.norm(), name


@pytest.mark.parametrize("form", ["activated, after prefixes", "plain, whole texts"])
@pytest.mark.parametrize("name", MODELS)
def test_equals_peft(name, form):
    family, changes = MODELS[name]
    causal_lm = a_model(family, **changes)
    assert obstacle(causal_lm) is None
    model = adapted(causal_lm)
    assert obstacle(causal_lm) is None
    prefixes = None
    if "activated" in form:
        prefixes = Prefixes(causal_lm)
        prefixes.off = model.disable_adapter
    assert_equal(*both(model, causal_lm, texts_of(rows()), prefixes))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_parts_are_put_together_again(threads):
    causal_lm = tiny_lm()
    model = adapted(causal_lm)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_equal(*both(model, causal_lm, texts_of(rows()), None))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_probabilities_computed_again_are_the_same(monkeypatch):
    monkeypatch.setattr("learner.training.fast.llama.SAVED_BYTES", 0)
    assert attention.SAVED_BYTES > 0
    causal_lm = tiny_lm()
    assert_equal(*both(adapted(causal_lm), causal_lm, texts_of(rows()), None))


def test_some_layers_without_an_adapter():
    causal_lm = tiny_lm()
    model = adapted(causal_lm, target_modules=["q_proj", "down_proj"])
    (peft, fast) = both(model, causal_lm, texts_of(rows()), None)
    torch.testing.assert_close(fast[0], peft[0], atol=1e-4, rtol=0)
    for name, gradient in peft[2].items():
        assert (fast[2][name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_order_of_texts_does_not_matter():
    causal_lm = tiny_lm()
    model = adapted(causal_lm)
    texts = texts_of(rows())
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()
    straight, _ = answer_logprobs(causal_lm, texts, device=CPU)
    shuffled, _ = answer_logprobs(causal_lm, [texts[i] for i in order], device=CPU)
    torch.testing.assert_close(shuffled, straight[order], atol=1e-5, rtol=0)
    alone = [answer_logprobs(causal_lm, [t], device=CPU)[0][0] for t in texts]
    for text, row, own in zip(texts, straight, alone, strict=True):
        torch.testing.assert_close(own, row[: len(text.answer)], atol=1e-5, rtol=0)
    del model


def test_disabled_adapters_do_not_act():
    causal_lm = tiny_lm()
    texts = texts_of(rows())
    expected, _ = answer_logprobs(causal_lm, texts, device=CPU)
    model = adapted(causal_lm)
    with model.disable_adapter(), torch.no_grad():
        found, _ = answer_logprobs(causal_lm, texts, device=CPU)
    torch.testing.assert_close(found, expected)
    assert (answer_logprobs(causal_lm, texts, device=CPU)[0] - expected).abs().max() > 0.5


def test_what_texts_share_runs_once():
    prompt = (3, 4, *INVOCATION)
    forest = plant([Text(prompt, 2, a) for a in ((9, 10, 11), (9, 10, 12, 2), (20,), ())], after_prefixes=True)
    assert forest.prefixes == ((3, 4),)
    assert forest.ids.tolist() == [*INVOCATION, 9, 10, 12]
    assert forest.positions.tolist() == [2, 3, 4, 5, 6, 7]
    assert [(s.begin, s.end, s.above) for s in forest.segments] == [(0, 6, ())]
    assert sorted(forest.targets.tolist()) == [2, 9, 10, 11, 12, 20]
    assert (forest.places < 6).sum(1).tolist() == [3, 4, 1, 0]
    forked = plant([Text((5,), 0, (9, 10)), Text((5,), 0, (11, 10))], after_prefixes=True)
    assert [(s.begin, s.end, s.above) for s in forked.segments] == [(0, 1, ()), (1, 2, ((0, 1),)), (2, 3, ((0, 1),))]
    assert forked.prefixes == ()
    with pytest.raises(ValueError, match="predicts nothing"):
        plant([Text((5,), 1, (9,))], after_prefixes=True)


def test_nothing_but_empty_answers():
    logprobs, mask = answer_logprobs(tiny_lm(), [Text((5, 6), 0, ())], device=CPU)
    assert logprobs.shape == mask.shape == (1, 0)


def test_shares_are_even_and_whole():
    assert shares([5, 1, 1, 3], 2) == [[0], [1, 2, 3]]
    assert shares([4], 3) == [[0]]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: a_model("Gemma2", head_dim=8), "Gemma2ForCausalLM is not one of"),
        (lambda: a_model("Mistral", sliding_window=8), "sliding_attention"),
        (lambda: a_model("Llama", hidden_act="gelu"), "activation is gelu"),
        (lambda: a_model("Llama", attention_dropout=0.1), "drops out"),
        (
            lambda: a_model("Llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}),
            "dynamic",
        ),
        (lambda: tiny_lm().to(torch.float16), "weights are torch.float16"),
        (lambda: adapted(tiny_lm(), lora_dropout=0.1).get_base_model(), "adapter drops out"),
        (lambda: adapted(tiny_lm(), use_dora=True).get_base_model(), "not a plain LoRA"),
        (lambda: adapted(tiny_lm(), alora_invocation_tokens=[5]).get_base_model(), "not a plain LoRA"),
    ],
)
def test_other_models_take_the_path_through_peft(model, words, caplog):
    causal_lm = model()
    with caplog.at_level(logging.INFO):
        assert not takes_fast(causal_lm, TrainSettings(("sft",), trainer="auto"), shared=True)
    assert words in caplog.text
    with pytest.raises(TrainingError, match="--trainer"):
        takes_fast(causal_lm, TrainSettings(("sft",), trainer="fast"), shared=True)


def test_the_setting_decides():
    asked = TrainSettings(("sft",), trainer="auto")
    assert takes_fast(tiny_lm(), asked, shared=True)
    assert not takes_fast(tiny_lm(), TrainSettings(("sft",), trainer="trl"), shared=True)
    assert not takes_fast(tiny_lm(), asked, shared=False)
    with pytest.raises(ConfigError, match="auto, fast, trl"):
        TrainSettings(("sft",), trainer="quick")


def trained(feedback, folder, *, fast, activated):
    base = policy(activated=activated)
    reference = Reference(base.causal_lm, base.prefixes, CPU, fast=fast)
    base = Policy(base.causal_lm, base.tokenizer, CPU, base.invocation, base.prefixes, reference, fast)
    some_rows = rows(activated=activated)
    if Signal.REFERENCE in feedback.needs:
        base.reference.fill(batches.texts(some_rows, feedback.needs))
    settings = TrainSettings(("sft",), epochs=4, batch_size=2, rank=4, alpha=8, learning_rate=5e-3)
    torch.manual_seed(0)
    trainer = EditTrainer(base, some_rows, feedback, settings, folder)
    trainer.train()
    return trainer.losses, {n: p.detach() for n, p in trainer.model.named_parameters() if "lora_" in n}


@pytest.mark.parametrize(
    ("feedback", "activated"),
    [(EarlyEnsemble(), True), (SFT(), False)],
    ids=["early_ensemble, activated", "sft, plain"],
)
def test_a_whole_training_makes_the_same_adapter(feedback, activated, tmp_path):
    with quiet():
        losses, weights = trained(feedback, tmp_path, fast=False, activated=activated)
        fast_losses, fast_weights = trained(feedback, tmp_path, fast=True, activated=activated)
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert fast_losses == pytest.approx(losses, rel=1e-3)
    for name, weight in weights.items():
        torch.testing.assert_close(fast_weights[name], weight, atol=2e-3, rtol=0)


@pytest.mark.model
def test_the_real_base(prepared_base):
    causal_lm = transformers.AutoModelForCausalLM.from_pretrained(prepared_base.folder, dtype=torch.float32).eval()
    assert obstacle(causal_lm) is None
    with quiet():
        model = adapted(causal_lm)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(0.02)
            if "lora_A" in name:
                parameter.mul_(0.2)
    invocation = tuple(prepared_base.invocation)
    generator = torch.Generator().manual_seed(0)
    prompt, one, other = (tuple(torch.randint(100, 40000, (n,), generator=generator).tolist()) for n in (24, 12, 9))
    texts = [Text(prompt + invocation, 24, one), Text(prompt + invocation, 24, one[:4] + other)]
    prefixes = Prefixes(causal_lm)
    prefixes.off = model.disable_adapter
    peft, fast = both(model, causal_lm, texts, prefixes)
    torch.testing.assert_close(fast[0], peft[0], atol=1e-3, rtol=0)
    for name, gradient in peft[2].items():
        assert (fast[2][name] - gradient).norm() <= 1e-3 * gradient.norm(), name


def test_no_graph_is_kept_where_none_is_wanted():
    causal_lm = tiny_lm()
    adapted(causal_lm)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            assert answer_logprobs(causal_lm, texts_of(rows()), device=CPU)[0].grad_fn is None
        assert answer_logprobs(causal_lm, texts_of(rows()), device=CPU)[0].grad_fn is not None
    finally:
        torch.set_num_threads(before)
