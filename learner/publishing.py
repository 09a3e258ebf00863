"""Adapters on a shared disk: one folder per version, under its served name, and a manifest.

A folder holds what the registry's hash covers, byte for byte: peft's files, which vLLM loads, and
`adapter.gguf`, which llama-server loads. It appears whole or not at all, and a name means one adapter for ever.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from learner.adapter_files import CONFIG, GGUF, ORIGIN, WEIGHTS, verify_adapter
from learner.exceptions import AdapterError
from learner.model_files import BaseModel
from learner.records import AdapterForm, AdapterVersion
from learner.served_names import is_served_name, is_zero, served_name, zero_name

MANIFEST = "redraft-adapters.json"
Engine = Literal["vllm", "llama-server"]
ENGINES: tuple[Engine, ...] = ("vllm", "llama-server")


@dataclass(frozen=True, slots=True)
class Publication:
    """An adapter as another machine serves it: `rank` is its LoRA's, `gguf` says whether llama-server can load it."""

    adapter: AdapterVersion
    name: str
    rank: int
    gguf: bool

    def unservable(self, engine: Engine) -> str | None:
        """Why `engine` cannot serve it, in words; None if it can.

        vLLM has no activated LoRA (github.com/vllm-project/vllm/pull/19710 was closed): its reader of
        `adapter_config.json` passes over `alora_invocation_tokens` and applies the adapter to the whole prompt.
        """
        if engine == "vllm" and self.adapter.form is AdapterForm.ALORA:
            return (
                f"{self.adapter.id} acts from the end of the prompt on (an activated LoRA), and vLLM would apply it "
                "to the whole prompt without a word: train plain ones with `learner train --form lora`, or serve it "
                "with llama-server"
            )
        if engine == "llama-server" and not self.gguf:
            return f"{self.adapter.id} has no GGUF, since its base cannot be converted: serve it with vLLM"
        return None


def prepare(adapter: AdapterVersion) -> Publication:
    """What is published of `adapter`. Raises AdapterError where its files are not those that the registry knows."""
    folder = Path(adapter.path)
    verify_adapter(folder, adapter.sha256)
    rank = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["r"]
    return Publication(adapter, served_name(adapter), rank, (folder / GGUF).is_file())


def write(publication: Publication, destination: Path) -> bool:
    """Copy an adapter to `destination/NAME`; False where it stands there already.

    What stands under that name and is not that adapter (a damaged copy) is replaced. Raises AdapterError.
    """
    source, sha256 = Path(publication.adapter.path), publication.adapter.sha256
    target = destination / publication.name
    try:
        verify_adapter(target, sha256)
        return False
    except AdapterError:
        pass
    names = [n for n in (WEIGHTS, CONFIG, ORIGIN, GGUF) if n != GGUF or publication.gguf]
    with _writing(destination):
        filling = _fill({name: source / name for name in names}, target)
        try:
            verify_adapter(filling, sha256)
            _put(filling, target)
        finally:
            shutil.rmtree(filling, ignore_errors=True)
    return True


def zero_of(base: BaseModel) -> str | None:
    """The name of the base's untrained adapter, with which llama-server answers as the base; None without one."""
    return zero_name(base.fingerprint) if base.zero_adapter is not None else None


def write_zero(base: BaseModel, destination: Path) -> None:
    """Copy the untrained adapter of a base that has one. Raises AdapterError."""
    assert base.zero_adapter is not None
    target = destination / zero_name(base.fingerprint)
    if not (target / GGUF).is_file() or (target / GGUF).read_bytes() != base.zero_adapter.read_bytes():
        with _writing(destination):
            filling = _fill({GGUF: base.zero_adapter}, target)
            try:
                _put(filling, target)
            finally:
                shutil.rmtree(filling, ignore_errors=True)


def write_manifest(destination: Path) -> Path:
    """List every published adapter in `destination`, whoever published it, in `redraft-adapters.json`."""
    entries = [_entry(folder) for folder in sorted(destination.iterdir()) if is_served_name(folder.name)]
    body = {"format": 1, "adapters": [entry for entry in entries if entry is not None]}
    path = destination / MANIFEST
    temporary = destination / f".{MANIFEST}.{uuid4().hex[:8]}"
    with _writing(destination):
        temporary.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    return path


def _entry(folder: Path) -> dict[str, Any] | None:
    """What the manifest says of a folder; None for one that is no adapter."""
    if is_zero(folder.name):
        return None
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        origin = json.loads((folder / ORIGIN).read_text(encoding="utf-8"))
        return {
            "name": folder.name,
            "base": origin["base"],
            "base_fingerprint": origin["base_fingerprint"],
            "form": origin["form"],
            "rank": config["r"],
            "gguf": (folder / GGUF).is_file(),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _writing(destination: Path) -> Iterator[None]:
    """Errors of the disk, as ours."""
    try:
        yield
    except OSError as error:
        raise AdapterError(
            f"{destination} cannot be written ({error.strerror}); no adapter there is half-written"
        ) from error


def _fill(files: dict[str, Path], target: Path) -> Path:
    """A folder beside `target` with these files, on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    filling = target.parent / f".{target.name}.{uuid4().hex[:8]}"
    filling.mkdir()
    for name, source in files.items():
        shutil.copyfile(source, filling / name)
        with (filling / name).open("rb+") as file:
            os.fsync(file.fileno())
    return filling


def _put(filling: Path, target: Path) -> None:
    """Give a filled folder its name, in the place of what has it."""
    aside = filling.with_name(filling.name + ".old")
    if target.exists():
        target.rename(aside)
    filling.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def choose(publications: Sequence[Publication], engine: Engine) -> tuple[list[Publication], dict[str, str]]:
    """Those that `engine` can serve, and why not the others, by version id."""
    reasons = {p.adapter.id: why for p in publications if (why := p.unservable(engine)) is not None}
    return [p for p in publications if p.adapter.id not in reasons], reasons
