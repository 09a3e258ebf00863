"""Adapters as untrusted files: what is refused, and in which words."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from learner.adapter_files import adapter_sha256, check_adapter, servable_lora, tensors, verify_adapter
from learner.exceptions import AdapterError
from learner.models import BaseModel

A_NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
B_NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
CONFIG = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


@pytest.fixture
def base(tiny_base: BaseModel) -> BaseModel:
    return tiny_base


@pytest.fixture
def adapter(tmp_path: Path, base: BaseModel) -> Path:
    folder = tmp_path / "sft-1"
    folder.mkdir()
    write_weights(folder)
    config = {**CONFIG, "alora_invocation_tokens": list(base.invocation)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    origin = {"base": base.name, "base_fingerprint": base.fingerprint, "form": "alora"}
    (folder / "origin.json").write_text(json.dumps(origin))
    (folder / "adapter.gguf").write_bytes(b"GGUF")
    return folder


def write_weights(folder: Path, **changes: object) -> None:
    """Two float matrices, or what `changes` makes of them: a, b, a_name, more."""
    import torch
    from safetensors.torch import save_file

    named = {
        changes.get("a_name", A_NAME): changes.get("a", torch.ones(2, 64)),
        changes.get("b_name", B_NAME): changes.get("b", torch.ones(64, 2)),
        **changes.get("more", {}),
    }
    save_file({k: v for k, v in named.items() if v is not None}, folder / "adapter_model.safetensors")


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_sound_adapter_passes_and_its_hash_covers_every_file(adapter: Path, base: BaseModel) -> None:
    sha256 = check_adapter(adapter, base)
    assert len(sha256) == 64
    assert check_adapter(adapter, base, sha256=sha256) == adapter_sha256(adapter) == sha256
    verify_adapter(adapter, sha256)
    for name in ("adapter_model.safetensors", "adapter_config.json", "origin.json", "adapter.gguf"):
        good = (adapter / name).read_bytes()
        (adapter / name).write_bytes(good + b" ")
        with pytest.raises(AdapterError, match="not what was recorded"):
            verify_adapter(adapter, sha256)
        (adapter / name).write_bytes(good)
    verify_adapter(adapter, sha256)


def test_half_precision_passes(adapter: Path, base: BaseModel) -> None:
    import torch

    for dtype in (torch.float16, torch.bfloat16):
        write_weights(adapter, a=torch.full((2, 64), 3.0, dtype=dtype), b=torch.full((64, 2), -1e-3, dtype=dtype))
        assert check_adapter(adapter, base)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_single_value_that_is_not_finite_is_found(adapter: Path, base: BaseModel, dtype: str, value: float) -> None:
    import torch

    b = torch.ones(64, 2, dtype=getattr(torch, dtype))
    b[63, 1] = value
    write_weights(adapter, b=b)
    with pytest.raises(AdapterError, match="not finite"):
        check_adapter(adapter, base)


def tensor(*shape: int, dtype: str = "float32") -> object:
    import torch

    return torch.ones(*shape, dtype=getattr(torch, dtype))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: write_weights(f, a=tensor(2, 64, dtype="int32")), "no float LoRA matrix"),
        (lambda f: write_weights(f, a=tensor(2, 64, dtype="float64")), "no float LoRA matrix"),
        (lambda f: write_weights(f, a_name="model.embed_tokens.weight"), "no float LoRA matrix"),
        (lambda f: write_weights(f, a=tensor(3, 64)), "not of rank 2"),
        (lambda f: write_weights(f, a=tensor(2, 63)), "does not fit the base"),
        (lambda f: write_weights(f, b=tensor(65, 2)), "does not fit the base"),
        (lambda f: write_weights(f, a=tensor(128)), "no LoRA matrix"),
        (lambda f: write_weights(f, b=None), "only one of its two"),
        (lambda f: write_weights(f, a=None, b=None), "no LoRA"),
        (lambda f: write_weights(f, a_name=A_NAME.replace("layers.0", "layers.7")), "no module of the base"),
        (lambda f: edit_config(f, r=4), "not of rank 4"),
        (lambda f: edit_config(f, r=100_000), "r=100000"),
        (lambda f: edit_config(f, lora_alpha=math.inf), "lora_alpha"),
        (lambda f: edit_config(f, use_dora=True), "no DoRA"),
        (lambda f: edit_config(f, alora_invocation_tokens=[5]), "invocation tokens"),
        (lambda f: (f / "adapter_config.json").write_text("[" * 100_000), "cannot be read"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "holds no object"),
        (lambda f: (f / "adapter_config.json").write_bytes(b" " * (2 << 20)), "too long"),
        (lambda f: (f / "adapter.gguf").unlink(), "missing"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "missing"),
        (lambda f: (f / "origin.json").write_text("{}"), "another base"),
    ],
)
def test_what_is_damaged_or_unsafe_is_refused(
    adapter: Path, base: BaseModel, change: Callable[[Path], object], said: str
) -> None:
    change(adapter)
    with pytest.raises(AdapterError, match=said):
        check_adapter(adapter, base)


def test_an_adapter_of_another_base_is_refused_by_fingerprint(adapter: Path, base: BaseModel) -> None:
    with pytest.raises(AdapterError, match="trained on another base"):
        check_adapter(adapter, replace(base, fingerprint="0" * 64))


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json", "origin.json", "adapter.gguf"])
def test_links_are_not_followed(adapter: Path, base: BaseModel, tmp_path: Path, name: str) -> None:
    shutil.move(adapter / name, tmp_path / "elsewhere")
    (adapter / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdapterError, match="is a link"):
        check_adapter(adapter, base)
    with pytest.raises(AdapterError, match="is a link"):
        verify_adapter(adapter, "0" * 64)


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_pipe_is_not_opened(adapter: Path, base: BaseModel) -> None:
    (adapter / "adapter.gguf").unlink()
    os.mkfifo(adapter / "adapter.gguf")
    with pytest.raises(AdapterError, match="no plain file"):
        check_adapter(adapter, base)


def header(text: str | bytes, length: int | None = None) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 7,
        header("{}", length=1 << 60),
        header("{}" + " " * (5 << 20)),
        header("not json"),
        header("[]"),
        header('{"a": 3}'),
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'),
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}') + bytes(8),
        header('{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}') + bytes(4),
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}') + bytes(5),
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, -4]}}') + bytes(4),
        header('{"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}') + bytes(4),
        header('{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1e999]}}') + bytes(4),
        header('{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}') + bytes(4),
        header("[" * 60_000),
    ],
)
def test_a_damaged_header_is_refused_before_anything_is_read(adapter: Path, base: BaseModel, body: bytes) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(body)
    with pytest.raises(AdapterError, match=r"adapter_model\.safetensors"):
        check_adapter(adapter, base)


def test_every_truncation_is_refused(adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(AdapterError):
            tensors(path)


def peft_settings(**changes: object) -> dict[str, object]:
    from peft import LoraConfig

    settings = {"r": 8, "lora_alpha": 16, "task_type": "CAUSAL_LM", "target_modules": "all-linear", **changes}
    return LoraConfig(**settings).to_dict()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alora_invocation_tokens": [1, 520, 9531, 198]},
        {"target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.05},
        {"init_lora_weights": "gaussian", "target_modules": ["q_proj"], "layers_to_transform": [0, 1]},
    ],
)
def test_what_llama_cpp_serves_exactly_is_let_through(changes: dict[str, object]) -> None:
    settings = peft_settings(**changes)
    servable_lora(settings)
    assert settings["r"] == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"use_rslora": True}, "use_rslora"),
        ({"bias": "all"}, "bias"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"target_modules": ["q_proj", "lm_head"]}, "target_modules"),
        ({"target_modules": ["model.embed_tokens"]}, "target_modules"),
        ({"rank_pattern": {"q_proj": 4}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 4}}, "alpha_pattern"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"layer_replication": [(0, 2)]}, "layer_replication"),
        ({"r": 512}, "r=512"),
    ],
)
def test_what_llama_cpp_cannot_serve_is_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(AdapterError, match=f"LoRA setting {said}"):
        servable_lora(peft_settings(**changes))


def test_a_setting_that_nobody_knows_is_refused_when_it_is_on() -> None:
    servable_lora({**CONFIG, "use_brand_new": False})
    with pytest.raises(AdapterError, match="use_brand_new=True"):
        servable_lora({**CONFIG, "use_brand_new": True})


def test_other_adapter_types_are_refused() -> None:
    with pytest.raises(AdapterError, match="IA3"):
        servable_lora({**CONFIG, "peft_type": "IA3"})
