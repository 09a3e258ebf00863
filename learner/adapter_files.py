"""The files of an adapter, and whether they may be loaded.

Light: no torch, no numpy. An adapter is data from a disk that others may have written to, read by
C++ that trusts its sizes, so everything is bounded here before anything else opens it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learner.exceptions import AdapterError

if TYPE_CHECKING:
    from learner.models import BaseModel

WEIGHTS, CONFIG, GGUF, ORIGIN = "adapter_model.safetensors", "adapter_config.json", "adapter.gguf", "origin.json"
HEADER_LIMIT = 4 << 20
"""Bytes of a safetensors header; 420 tensors of SmolLM2 take 46 kB."""
CONFIG_LIMIT = 1 << 20
TENSOR_LIMIT = 20_000
RANK_LIMIT = 256
DIMENSION_LIMIT = 1 << 20

_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_EXPONENT = {"F16": 0x7C00, "BF16": 0x7F80}  # all ones: infinite or not a number
_LORA_NAME = re.compile(r"^base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<side>[AB])\.weight$")
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|lm_head|wte|wpe|embed_out|embed_in|word_embeddings)$")

_FREE_SETTINGS = frozenset(
    {
        "alora_invocation_tokens",
        "base_model_name_or_path",
        "bias",
        "exclude_modules",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "revision",
        "target_modules",
        "task_type",
    }
)
"""LoRA settings whose value does not change what llama.cpp computes, or that are checked one by one."""
_UNSERVABLE = {
    "use_dora": "llama.cpp has no DoRA",
    "use_rslora": "llama.cpp scales by alpha / r, not by alpha / sqrt(r)",
    "lora_bias": "llama.cpp adds no bias of an adapter",
    "modules_to_save": "whole modules cannot travel in an adapter",
    "trainable_token_indices": "embeddings cannot travel in an adapter",
    "rank_pattern": "one rank for all modules",
    "alpha_pattern": "one alpha for all modules",
    "layer_replication": "the base's layers must stay as they are",
    "target_parameters": "name modules, not parameters",
    "fan_in_fan_out": "the base stores its weights the other way round",
    "auto_mapping": "the base is no plain transformers model",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a safetensors file: where its bytes are, counted from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def servable_lora(config: Mapping[str, Any]) -> None:
    """Refuse LoRA settings that llama.cpp cannot serve exactly.

    `config` is `adapter_config.json` or peft's `LoraConfig.to_dict()`. Settings that are not known
    here are refused as soon as they are switched on: what is trained must be what is served.
    Raises AdapterError that names the setting and the reason.
    """

    def refuse(key: str, reason: str) -> AdapterError:
        return AdapterError(f"LoRA setting {key}={config.get(key)!r} cannot be served: {reason}; train without it")

    kind = getattr(config.get("peft_type"), "value", config.get("peft_type"))
    if kind != "LORA":
        raise AdapterError(f"adapter of type {kind!r}: only LORA can be served; train a LoRA")
    for key, value in config.items():
        if key not in _FREE_SETTINGS and value:
            raise refuse(key, _UNSERVABLE.get(key, "llama.cpp does not know it"))
    if config.get("bias", "none") != "none":
        raise refuse("bias", "llama.cpp adds no bias of an adapter")
    if config.get("init_lora_weights", True) not in (True, False, None, "gaussian", "orthogonal"):
        raise refuse("init_lora_weights", "it changes the base's own weights")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or not 1 <= rank <= RANK_LIMIT:
        raise refuse("r", f"a whole number from 1 to {RANK_LIMIT}")
    if not isinstance(alpha, int | float) or not (math.isfinite(alpha) and 0 < alpha <= 1e4):
        raise refuse("lora_alpha", "a positive number up to 10000")
    targets = config.get("target_modules")
    named = [targets] if isinstance(targets, str) else list(targets or ())
    if any(_EMBEDDING.search(name) for name in named):
        raise refuse("target_modules", "embeddings and the output layer cannot travel in an adapter")


def check_adapter(folder: Path, base: BaseModel, *, converted: bool = True, sha256: str | None = None) -> str:
    """Check every file of an adapter's folder and return the SHA-256 that the registry records.

    Checked: plain files, no links; the base's fingerprint; settings that can be served; the
    safetensors header within `HEADER_LIMIT`; float tensors only, each a LoRA A or B in pairs, of the
    rank in the settings and of the base's shapes; every value finite; the hash, when `sha256` is given.
    `converted` asks for `adapter.gguf` as well, where the base is convertible.

    Raises AdapterError that names the file and what to do.
    """
    names = [WEIGHTS, CONFIG, ORIGIN] + ([GGUF] if converted and base.convertible else [])
    for name in names:
        _plain_file(folder / name)
    origin = _json(folder / ORIGIN)
    if origin.get("base_fingerprint") != base.fingerprint:
        raise AdapterError(
            f"{folder} was trained on another base ({origin.get('base')!r}, not {base.name!r} as it is now): "
            "set that base up with `learner setup`, or train again"
        )
    config = _json(folder / CONFIG)
    servable_lora(config)
    invocation = config.get("alora_invocation_tokens")
    if invocation and list(base.invocation) != invocation:
        raise AdapterError(f"{folder}: its invocation tokens {invocation} are not those of {base.name}: train it again")
    _check_tensors(folder / WEIGHTS, config["r"], base_shapes(base.folder) if base.folder else {})
    found = adapter_sha256(folder)
    if sha256 is not None and found != sha256:
        raise _changed(folder)
    return found


def verify_adapter(folder: Path, sha256: str) -> None:
    """The quick check before serving: the files are plain files and those that were checked once.

    Raises AdapterError.
    """
    if adapter_sha256(folder) != sha256:
        raise _changed(folder)


def adapter_sha256(folder: Path) -> str:
    """SHA-256 (hex) over the sorted lines `NAME SHA-256` of the folder's files. Raises AdapterError."""
    lines = []
    for name in sorted((WEIGHTS, CONFIG, ORIGIN, GGUF)):
        path = folder / name
        if name == GGUF and not os.path.lexists(path):
            continue
        _plain_file(path)
        with path.open("rb") as file:
            lines.append(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _changed(folder: Path) -> AdapterError:
    return AdapterError(f"{folder} is not what was recorded: its files changed or are damaged. Retire it, train again")


def base_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of a Hugging Face folder, from the headers of its safetensors files."""
    return {t.name: t.shape for file in sorted(folder.glob("*.safetensors")) for t in tensors(file, HEADER_LIMIT * 8)}


def tensors(path: Path, header_limit: int = HEADER_LIMIT) -> list[Tensor]:
    """The tensors that a safetensors file declares, checked against its size. Raises AdapterError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(header_limit, size - 8):
            raise AdapterError(f"{path}: a safetensors header of {length} bytes: the file is damaged")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        found = [
            Tensor(name, entry["dtype"], tuple(entry["shape"]), *(8 + length + n for n in entry["data_offsets"]))
            for name, entry in header.items()
        ]
        found.sort(key=lambda t: t.start)
        position = 8 + length
        for tensor in found:
            if tensor.start != position or tensor.end < position or any(n < 0 for n in tensor.shape):
                raise ValueError(f"tensor {tensor.name} overlaps or leaves a gap")
            position = tensor.end
        if position != size:
            raise ValueError(f"{size} bytes, not the {position} that its header declares")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AdapterError(f"{path}: a damaged safetensors file ({error})") from error
    return found


def _check_tensors(path: Path, rank: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    found = tensors(path)
    if not 0 < len(found) <= TENSOR_LIMIT:
        raise AdapterError(f"{path}: {len(found)} tensors: the file is no LoRA")
    sides: dict[str, set[str]] = {}
    with path.open("rb") as file:
        for tensor in found:
            match = _LORA_NAME.match(tensor.name)
            if match is None or tensor.dtype not in _ITEM_BYTES:
                raise AdapterError(f"{path}: {tensor.name!r} ({tensor.dtype}) is no float LoRA matrix")
            _check_shape(path, tensor, match["module"], match["side"], rank, shapes)
            sides.setdefault(match["module"], set()).add(match["side"])
            if not all(_finite(block, tensor.dtype) for block in _blocks(file, tensor)):
                raise AdapterError(f"{path}: {tensor.name} holds values that are not finite: train it again")
    single = [module for module, both in sides.items() if len(both) != 2]
    if single:
        raise AdapterError(f"{path}: {single[0]} has only one of its two matrices: the file is damaged")


def _check_shape(
    path: Path, tensor: Tensor, module: str, side: str, rank: int, shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """A is (rank, inputs), B is (outputs, rank), for a weight of (outputs, inputs)."""
    shape = tensor.shape
    if len(shape) != 2 or any(not isinstance(n, int) or not 0 < n <= DIMENSION_LIMIT for n in shape):
        raise AdapterError(f"{path}: {tensor.name} has the shape {list(shape)}: no LoRA matrix")
    if tensor.end - tensor.start != math.prod(shape) * _ITEM_BYTES[tensor.dtype]:
        raise AdapterError(f"{path}: {tensor.name} has other bytes than its shape says: the file is damaged")
    if shape[0 if side == "A" else 1] != rank:
        raise AdapterError(f"{path}: {tensor.name} {list(shape)} is not of rank {rank} as {CONFIG} says")
    if not shapes:
        return
    weight = shapes.get(f"{module}.weight")
    if weight is None:
        raise AdapterError(f"{path}: {module} is no module of the base: the adapter belongs to another one")
    if len(weight) != 2 or shape[1 if side == "A" else 0] != weight[1 if side == "A" else 0]:
        raise AdapterError(f"{path}: {tensor.name} {list(shape)} does not fit the base's {list(weight)}")


def _blocks(file: Any, tensor: Tensor, size: int = 1 << 20) -> Iterator[bytes]:
    file.seek(tensor.start)
    for start in range(tensor.start, tensor.end, size):
        yield file.read(min(size, tensor.end - start))


def _finite(block: bytes, dtype: str) -> bool:
    values = array("f" if dtype == "F32" else "H", block)
    if sys.byteorder == "big":
        values.byteswap()
    if dtype == "F32":
        return all(map(math.isfinite, values))
    mask = _EXPONENT[dtype]
    return all(value & mask != mask for value in values)


def _plain_file(path: Path) -> None:
    try:
        status = os.lstat(path)
    except OSError as error:
        raise AdapterError(f"{path} is missing ({error.strerror}): the adapter is damaged; train it again") from error
    if not stat.S_ISREG(status.st_mode):
        raise AdapterError(f"{path} is a link or no plain file: it is not opened; remove it and train again")


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > CONFIG_LIMIT:
            raise ValueError("too long")
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{path} cannot be read ({error}): the adapter is damaged; train it again") from error
    if not isinstance(body, dict):
        raise AdapterError(f"{path} holds no object: the adapter is damaged; train it again")
    return body
