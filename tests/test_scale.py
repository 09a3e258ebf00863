"""docs/scale.md says what its arithmetic says, and the arithmetic's bytes are those of today's code."""

from __future__ import annotations

import re
import warnings

import pytest

from learner.training.settings import TrainSettings
from tests.benchmarks import bytes_per_edit, scale, users


def test_the_page_is_current() -> None:
    page = scale.PAGE.read_text(encoding="utf-8")
    assert scale.filled(page) == page, "run `python -m tests.benchmarks.scale --write`"


def test_every_source_is_cited_and_every_citation_has_one() -> None:
    text, _, sources = scale.PAGE.read_text(encoding="utf-8").partition("## Sources")
    cited = {int(number) for group in re.findall(r"\[(\d+(?:, \d+)*)\](?!\()", text) for number in group.split(", ")}
    assert cited == set(range(1, len(re.findall(r"^\d+\. ", sources, re.MULTILINE)) + 1))


def test_bytes_of_an_offer_are_what_the_code_writes() -> None:
    pytest.importorskip("pyarrow")
    sizes = bytes_per_edit.measure(400)
    # a small file spreads its fixed pages over fewer rows
    assert sizes.sqlite == pytest.approx(users.MEASURED.sqlite, rel=0.2)
    assert sizes.imported == pytest.approx(users.MEASURED.imported, rel=0.2)
    assert sizes.parquet == pytest.approx(users.MEASURED.parquet, rel=0.2)
    assert sizes.bandit_state == pytest.approx(users.MEASURED.bandit_state, rel=0.2)


@pytest.mark.parametrize("model", [users.SMOLLM2, users.LLAMA_8B], ids=lambda model: model.name)
def test_the_formula_counts_what_peft_trains(model: users.Model) -> None:
    torch = pytest.importorskip("torch")
    from peft import get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from learner.training.trainer import lora_config

    size = {users.SMOLLM2.name: 64, users.LLAMA_8B.name: 128}[model.name]
    dimensions = LlamaConfig(
        vocab_size=100, hidden_size=model.hidden, intermediate_size=model.intermediate, num_hidden_layers=2,
        num_attention_heads=model.hidden // size, num_key_value_heads=model.kv_width // size,
    )  # fmt: skip
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        policy = get_peft_model(LlamaForCausalLM(dimensions), lora_config(TrainSettings(("sft",)), ()))
    trained = sum(weight.numel() for weight in policy.parameters() if weight.requires_grad)
    assert trained * model.layers == 2 * model.adapter_parameters(users.ASSUMED.rank)


def test_the_assumed_training_is_redrafts_own() -> None:
    settings = TrainSettings(("sft",))
    assert (settings.rank, settings.epochs) == (users.ASSUMED.rank, users.ASSUMED.epochs)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (0.0075, "0.0075"), (9.96, "10"), (33, "33"), (754, "750"), (3_000_000, "3,000,000")],
)
def test_numbers_say_what_is_known(value: float, said: str) -> None:
    assert scale.number(value) == said


@pytest.mark.parametrize(("value", "said"), [(872, "870 B"), (999.6, "1 kB"), (19_537_920, "20 MB"), (2e15, "2 PB")])
def test_bytes_have_a_unit(value: float, said: str) -> None:
    assert scale.size(value) == said
