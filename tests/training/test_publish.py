"""From peft to what llama.cpp serves: the same numbers, whole folders, public names."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from learner.adapter_files import check_adapter, verify_adapter
from learner.engine import Engine, EngineSpec
from learner.exceptions import AdapterError
from learner.models import BaseModel
from learner.training.convert import run_converter
from learner.training.publish import publish, write_zero_adapter

pytestmark = pytest.mark.filterwarnings(
    "ignore:.is_gradient_checkpointing:FutureWarning"
)  # peft 0.21 on transformers 5.24

CHAT = [{"role": "user", "content": "Make this shorter.\n\n1. We met on 12 May 2026 to talk about the new garden."}]
TOKENS = 10


def save_adapter(base: BaseModel, folder: Path, *, activated: bool, strength: float, seed: int = 0) -> None:
    """A LoRA with random weights, saved as peft saves it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        alora_invocation_tokens=list(base.invocation) if activated else None,
    )
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=strength)
    model.save_pretrained(folder)


@dataclass(frozen=True)
class Served:
    """What an engine generated greedily: token ids and their log-probabilities."""

    ids: list[int]
    logprobs: list[float]


class Host:
    """An engine with the zero adapter first and `adapters` after it, and a client that names an arm by its index."""

    def __init__(self, base: BaseModel, adapters: list[Path], log: Path) -> None:
        files = (str(base.zero_adapter), *(str(folder / "adapter.gguf") for folder in adapters))
        self.arms = len(files)
        with log.open("wb") as file:
            spec = EngineSpec(str(base.gguf), base.name, files, "key", None, slots=1, context=512, threads=0)
            self.engine = Engine.start(spec, file)
        self.http = httpx2.Client(
            base_url=str(self.engine.endpoint.url), headers={"Authorization": "Bearer key"}, timeout=60, trust_env=False
        )

    def close(self) -> None:
        self.http.close()
        self.engine.stop()

    def tokenize(self, text: str) -> list[int]:
        return self.http.post("/tokenize", json={"content": text}).raise_for_status().json()["tokens"]

    def generate(self, prompt: list[int], arm: int) -> Served:
        """One request a token: accepted n-gram drafts come back with a log-probability of 0, whatever theirs is."""
        ids: list[int] = []
        logprobs: list[float] = []
        for _ in range(TOKENS):
            body = {
                "prompt": [*prompt, *ids],
                "n_predict": 1,
                "temperature": 0,
                "n_probs": 1,
                "ignore_eos": True,
                "lora": [{"id": i, "scale": float(i == arm)} for i in range(self.arms)],
            }
            answer = self.http.post("/completion", json=body).raise_for_status().json()
            (row,) = answer["completion_probabilities"]
            ids.append(row["id"])
            logprobs.append(row["logprob"])
        return Served(ids, logprobs)


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[Any]:
    hosts: list[Host] = []

    def start(base: BaseModel, *adapters: Path) -> Host:
        hosts.append(Host(base, list(adapters), tmp_path / "engine.log"))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


def tokenizer_of(base: BaseModel) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base.folder)


def prompt_of(base: BaseModel) -> list[int]:
    tokenizer = tokenizer_of(base)
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tuple(ids[-len(base.invocation) :]) == base.invocation
    return ids


def peft_logprobs(base: BaseModel, prompt: list[int], answer: list[int], adapter: Path | None) -> list[float]:
    """Log-probabilities of `answer` after `prompt` in transformers, in float32, under the adapter as peft loads it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    return [float(row[token]) for row, token in zip(logits.log_softmax(-1), answer, strict=True)]


def largest_difference(ours: list[float], theirs: list[float]) -> float:
    assert len(ours) == len(theirs) == TOKENS
    assert all(math.isfinite(x) for x in (*ours, *theirs))
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def exact_base(prepared_base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseModel]:
    """SmolLM2 served in float32, so that what differs is the adapter and not the rounding of Q8_0."""
    gguf = tmp_path_factory.mktemp("exact") / "model-f32.gguf"
    done = run_converter(
        "convert_hf_to_gguf.py", [str(prepared_base.folder), "--outtype", "f32", "--outfile", str(gguf)]
    )
    assert done.returncode == 0, done.stderr
    yield replace(prepared_base, gguf=gguf)
    gguf.unlink()


@pytest.mark.model
@pytest.mark.parametrize("activated", [True, False], ids=["activated", "plain"])
def test_served_logprobs_are_peft_s_for_an_adapter_that_changes_the_text(
    exact_base: BaseModel, tmp_path: Path, start_host: Any, activated: bool
) -> None:
    save_adapter(exact_base, tmp_path / "peft", activated=activated, strength=0.15 if activated else 0.5)
    folder = publish(tmp_path / "peft", exact_base, tmp_path / "adapters" / "sft-1")
    host, prompt = start_host(exact_base, folder), prompt_of(exact_base)
    plain, adapted = host.generate(prompt, 0), host.generate(prompt, 1)
    assert adapted.ids != plain.ids
    assert largest_difference(plain.logprobs, peft_logprobs(exact_base, prompt, plain.ids, None)) < 0.02
    assert largest_difference(adapted.logprobs, peft_logprobs(exact_base, prompt, adapted.ids, folder)) < 0.02
    assert largest_difference(adapted.logprobs, peft_logprobs(exact_base, prompt, adapted.ids, None)) > 0.2


@pytest.mark.model
def test_the_gguf_that_serves_agrees_with_the_folder_that_trains(prepared_base: BaseModel, start_host: Any) -> None:
    host, prompt = start_host(prepared_base), prompt_of(prepared_base)
    served = host.generate(prompt, 0)
    trained = peft_logprobs(prepared_base, prompt, served.ids, None)
    assert largest_difference(served.logprobs, trained) < 0.3  # Q8_0 weights and activations
    assert sum(abs(a - b) for a, b in zip(served.logprobs, trained, strict=True)) / TOKENS < 0.05


@pytest.mark.model
def test_the_prompt_has_the_same_tokens_in_both_engines(prepared_base: BaseModel, start_host: Any) -> None:
    host, tokenizer = start_host(prepared_base), tokenizer_of(prepared_base)
    texts = [
        "Steps:\n\n1. Go\n\n\n42  3",
        "def f(x):\n    return x[10:] + '½ x²'\n\tpass  # 3.14",
        "It's 5's, we'll've, DON'T; naïve 你好 👋🏽 ١٢٣ \u2028 \x0c end ",
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    ]
    for text in texts:
        assert host.tokenize(text) == tokenizer(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.parametrize("activated", [True, False], ids=["activated", "plain"])
def test_adapters_side_by_side_are_each_served_as_trained(
    tiny_base: BaseModel, tmp_path: Path, start_host: Any, activated: bool
) -> None:
    """An activated adapter that acts one token early is off by 0.04 here; as it should be, by 0.004."""
    folders = []
    for number in range(2):
        save_adapter(tiny_base, tmp_path / f"peft{number}", activated=activated, strength=0.3, seed=number)
        folders.append(publish(tmp_path / f"peft{number}", tiny_base, tmp_path / "adapters" / f"sft-{number}"))
    host, prompt = start_host(tiny_base, *folders), prompt_of(tiny_base)
    seen = set()
    for arm, folder in [(1, folders[0]), (2, folders[1]), (0, None), (1, folders[0])]:
        served = host.generate(prompt, arm)
        seen.add(tuple(served.ids))
        assert largest_difference(served.logprobs, peft_logprobs(tiny_base, prompt, served.ids, folder)) < 0.015
    assert len(seen) == 3


def test_the_zero_adapter_is_the_base_exactly(tiny_base: BaseModel, tmp_path: Path) -> None:
    from gguf import GGUFReader

    assert tiny_base.zero_adapter is not None
    assert tiny_base.gguf is not None
    reader = GGUFReader(tiny_base.zero_adapter)
    assert reader.get_field("adapter.alora.invocation_tokens").contents() == list(tiny_base.invocation[1:])
    assert all(not tensor.data.any() for tensor in reader.tensors)
    write_zero_adapter(tiny_base.gguf, tiny_base.invocation, tmp_path / "again" / "adapter.gguf")
    assert (tmp_path / "again" / "adapter.gguf").read_bytes() == tiny_base.zero_adapter.read_bytes()


@pytest.fixture(scope="module")
def peft_folder(tiny_base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peft")
    save_adapter(tiny_base, folder, activated=True, strength=0.1)
    return folder


def test_a_published_folder_is_whole_checked_and_names_no_path(
    tiny_base: BaseModel, peft_folder: Path, tmp_path: Path
) -> None:
    target = publish(peft_folder, tiny_base, tmp_path / "adapters" / "sft-1")
    names = {p.name for p in target.iterdir()}
    assert names == {"adapter_model.safetensors", "adapter_config.json", "origin.json", "adapter.gguf"}
    verify_adapter(target, check_adapter(target, tiny_base))
    assert json.loads((target / "adapter_config.json").read_text())["base_model_name_or_path"] == tiny_base.name
    origin = {"base": tiny_base.name, "base_fingerprint": tiny_base.fingerprint, "form": "alora"}
    assert json.loads((target / "origin.json").read_text()) == origin
    for path in target.iterdir():
        assert str(tiny_base.folder).encode() not in path.read_bytes()
        assert str(tmp_path).encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert [p.name for p in target.parent.iterdir()] == ["sft-1"]


def test_a_version_is_written_once(tiny_base: BaseModel, peft_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "sft-1").mkdir()
    with pytest.raises(AdapterError, match="written once"):
        publish(peft_folder, tiny_base, tmp_path / "sft-1")


@pytest.mark.parametrize("broken", ["weights", "settings", "base"])
def test_what_cannot_be_served_leaves_nothing_behind(
    tiny_base: BaseModel, peft_folder: Path, tmp_path: Path, broken: str
) -> None:
    base, source = tiny_base, tmp_path / "source"
    source.mkdir()
    weights, config = ((peft_folder / n).read_bytes() for n in ("adapter_model.safetensors", "adapter_config.json"))
    if broken == "weights":
        weights = weights[:-4] + b"\x00\x00\xc0\x7f"  # not a number
    elif broken == "settings":
        config = config.replace(b'"use_dora": false', b'"use_dora": true')
    else:
        base = replace(tiny_base, invocation=(7, 8))
    (source / "adapter_model.safetensors").write_bytes(weights)
    (source / "adapter_config.json").write_bytes(config)
    with pytest.raises(AdapterError):
        publish(source, base, tmp_path / "adapters" / "sft-1")
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_base_without_gguf_gets_the_peft_files_only(tiny_base: BaseModel, peft_folder: Path, tmp_path: Path) -> None:
    base = replace(tiny_base, convertible=False, gguf=None)
    target = publish(peft_folder, base, tmp_path / "sft-1")
    assert {p.name for p in target.iterdir()} == {"adapter_model.safetensors", "adapter_config.json", "origin.json"}
    assert check_adapter(target, base)
