"""Adapters as files: from what peft saved to a version's folder that llama.cpp and vLLM can load.

The conversion is llama.cpp's own `convert_lora_to_gguf.py`, in a child process. It takes 3 to 5 s,
nearly all of it importing torch and transformers; against minutes of training that is nothing, and
it knows every architecture's tensor names and layouts (Llama's rotary permutation of q and k,
fused projections), which eighty lines of our own would only know for one family.

llama.cpp lets an activated LoRA act from one token *before* its invocation tokens, peft from the
first of them. So the GGUF names the invocation without its first token, and both act from the same
position: with the tokens as peft has them, log-probabilities served are off by several times the
rounding of the weights. A test compares the two engines and fails on the day that llama.cpp changes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from learner.adapter_files import CONFIG, GGUF, ORIGIN, WEIGHTS, check_adapter, servable_lora
from learner.config import private_folder
from learner.exceptions import AdapterError
from learner.records import AdapterForm
from learner.training.convert import last_line, open_gguf, run_converter

if TYPE_CHECKING:
    from learner.models import BaseModel


def publish(peft_folder: Path, base: BaseModel, target: Path) -> Path:
    """Turn `peft_folder` (activated or plain LoRA, as peft saves it) into the version's folder `target`.

    `target` gets `adapter_model.safetensors`, `adapter_config.json` (with the base's public name, not
    its path), `origin.json` (the base's fingerprint) and, where the base is convertible,
    `adapter.gguf`. It appears whole or not at all: a folder beside it is filled, synced and renamed.

    Raises AdapterError when the adapter is damaged, cannot be served, or `target` exists.
    """
    if target.exists():
        raise AdapterError(f"{target} exists: a version's folder is written once; train a new version")
    private_folder(target.parent)
    filling = private_folder(target.parent / f".{target.name}.{uuid4().hex[:8]}")
    try:
        _fill(peft_folder, base, filling)
        check_adapter(filling, base)
        for path in filling.iterdir():
            path.chmod(0o600)
            _sync(path)
        _sync(filling)
        filling.rename(target)
        _sync(target.parent)
    finally:
        shutil.rmtree(filling, ignore_errors=True)
    return target


def _fill(peft_folder: Path, base: BaseModel, filling: Path) -> None:
    try:
        config = json.loads((peft_folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{peft_folder}: {CONFIG} cannot be read ({error}): train the adapter again") from error
    servable_lora(config)
    config["base_model_name_or_path"] = base.name
    (filling / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    weights = peft_folder / WEIGHTS
    if not weights.is_file():
        raise AdapterError(f"{peft_folder} has no {WEIGHTS}: adapters come from safetensors only")
    shutil.copyfile(weights, filling / WEIGHTS)
    form = AdapterForm.ALORA if config.get("alora_invocation_tokens") else AdapterForm.LORA
    origin = {"base": base.name, "base_fingerprint": base.fingerprint, "form": form}
    (filling / ORIGIN).write_text(json.dumps(origin, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    if not base.convertible:
        return
    check_adapter(filling, base, converted=False)  # nothing unchecked reaches the converter
    source = private_folder(filling / "convert")
    config["alora_invocation_tokens"] = gguf_invocation(config.get("alora_invocation_tokens") or ())
    (source / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    (filling / WEIGHTS).rename(source / WEIGHTS)
    arguments = [str(source), "--base", str(base.folder), "--outtype", "f32", "--outfile", str(filling / GGUF)]
    done = run_converter("convert_lora_to_gguf.py", arguments)
    (source / WEIGHTS).rename(filling / WEIGHTS)
    shutil.rmtree(source)
    if done.returncode != 0 or not (filling / GGUF).exists():
        raise AdapterError(f"{peft_folder}: the conversion to GGUF failed: {last_line(done.stderr)}")


def gguf_invocation(invocation: Sequence[int]) -> list[int]:
    """The invocation tokens that make llama.cpp act from where peft does; see the module.

    Raises AdapterError for a single token, which would leave none.
    """
    if len(invocation) == 1:
        raise AdapterError(f"an invocation of one token ({invocation[0]}) cannot be served: train a plain LoRA")
    return list(invocation[1:])


def write_zero_adapter(base_gguf: Path, invocation: Sequence[int], target: Path) -> None:
    """An untrained activated LoRA of rank 1 for the model `base_gguf`, so that the base is an arm like any other.

    It touches one weight matrix, the first of the first block, and adds exactly 0 to it: the base's
    own log-probabilities, under an explicit adapter id, from the cache that all arms share.
    """
    import numpy as np
    from gguf import GGUFType, GGUFValueType, GGUFWriter, Keys

    reader = open_gguf(base_gguf)
    matrices = [t for t in reader.tensors if len(t.shape) == 2 and t.name.startswith("blk.0.")]
    if not matrices:
        raise AdapterError(f"{base_gguf} has no weight matrix in its first block to put a zero adapter on")
    matrix = next((t for t in matrices if "attn_q" in t.name), matrices[0])
    inputs, outputs = (int(n) for n in matrix.shape)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    architecture = reader.get_field(Keys.General.ARCHITECTURE)
    assert architecture is not None
    writer = GGUFWriter(target, str(architecture.contents()))
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string(Keys.Adapter.TYPE, "lora")
    writer.add_float32(Keys.Adapter.LORA_ALPHA, 1.0)
    writer.add_key_value(
        Keys.Adapter.ALORA_INVOCATION_TOKENS, gguf_invocation(invocation), GGUFValueType.ARRAY, GGUFValueType.UINT32
    )
    writer.add_tensor(f"{matrix.name}.lora_a", np.zeros((1, inputs), np.float32))
    writer.add_tensor(f"{matrix.name}.lora_b", np.zeros((outputs, 1), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _sync(path: Path) -> None:
    """fsync a file or folder (folders where the platform can)."""
    if path.is_dir() and os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() or os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
