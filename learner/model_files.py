"""What stands in `models/NAME/`, and whether it is still what was made.

`model.json` records each file's size, modification time and SHA-256. A check compares size and
time, and hashes again only where the time differs (a copied folder), so that it costs microseconds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from learner.config import Config, Paths
from learner.exceptions import ModelError, ModelMissingError

MODEL_FILE = "model.json"
LAYOUT = 2
"""Raised when a folder made by an older Redraft has to be made again."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model that is set up, and what it can do here.

    `fingerprint` is what adapters are tied to; `learner.models` says what it covers. `folder` is the
    Hugging Face folder that is trained, `gguf` what the embedded host serves, `zero_adapter` the
    untrained adapter that makes the base an arm. `invocation` are the token ids that end every prompt
    of its chat template, from which an activated LoRA acts; empty where the template has no fixed end
    (adapters are plain LoRAs then). `notes` say why something is not possible.
    """

    name: str
    fingerprint: str
    folder: Path | None
    gguf: Path | None
    zero_adapter: Path | None
    invocation: tuple[int, ...]
    trainable: bool
    convertible: bool
    servable: bool
    notes: tuple[str, ...]


class FileMark(msgspec.Struct, frozen=True):
    """A file as it was when it was hashed: bytes, modification time in ns, SHA-256 in hex."""

    size: int
    mtime_ns: int
    sha256: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """`model.json`. Paths in `files`, `folder`, `gguf`, `zero_adapter` are relative to its folder."""

    layout: int
    name: str
    fingerprint: str
    source: str
    source_files: dict[str, FileMark]
    files: dict[str, FileMark]
    folder: str | None
    gguf: str | None
    zero_adapter: str | None
    invocation: list[int]
    trainable: bool
    convertible: bool
    notes: list[str]
    training_extra: bool

    def model(self, folder: Path) -> BaseModel:
        """The base model that this record in `folder` describes."""
        return BaseModel(
            name=self.name,
            fingerprint=self.fingerprint,
            folder=folder / self.folder if self.folder else None,
            gguf=folder / self.gguf if self.gguf else None,
            zero_adapter=folder / self.zero_adapter if self.zero_adapter else None,
            invocation=tuple(self.invocation),
            trainable=self.trainable,
            convertible=self.convertible,
            servable=self.gguf is not None,
            notes=tuple(self.notes),
        )


def mark(path: Path, known: Iterable[FileMark] = ()) -> FileMark:
    """Hash a file, or take the hash of a mark in `known` of the same size and modification time."""
    status = path.stat()
    for old in known:
        if (old.size, old.mtime_ns) == (status.st_size, status.st_mtime_ns):
            return old
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileMark(status.st_size, status.st_mtime_ns, digest)


def changed(folder: Path, files: Mapping[str, FileMark]) -> str | None:
    """The first of `files` in `folder` that is missing or not what it was, or None."""
    for name, old in files.items():
        try:
            status = (folder / name).stat()
            if status.st_size != old.size or mark(folder / name, [old]).sha256 != old.sha256:
                return name
        except OSError:
            return name
    return None


def records(paths: Paths) -> list[tuple[Path, Record]]:
    """Every finished folder of `models/` with its record, by name. Unreadable ones are unfinished."""
    found = []
    for file in sorted(paths.models.glob(f"[!.]*/{MODEL_FILE}")):
        try:
            record = msgspec.json.decode(file.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError):
            continue
        if record.layout == LAYOUT and record.name == file.parent.name:
            found.append((file.parent, record))
    return found


def write_record(folder: Path, record: Record) -> None:
    """Write `model.json` whole or not at all, and make sure that it is on the disk."""
    temporary = folder / f"{MODEL_FILE}.new"
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=1))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(folder / MODEL_FILE)


def prepared(paths: Paths) -> list[BaseModel]:
    """All base models that are set up, by name."""
    return [record.model(folder) for folder, record in records(paths)]


def current(paths: Paths, config: Config) -> BaseModel:
    """The base model that serves and trains: `config.base`, or the only one.

    Raises ModelMissingError when there is none or the choice is open, ModelError when its files
    changed since they were made.
    """
    there = records(paths)
    if not there:
        raise ModelMissingError(f"no base model is set up in {paths.models}: run `learner setup`")
    names = ", ".join(record.name for _, record in there)
    if config.base is None and len(there) > 1:
        raise ModelMissingError(f"several base models are set up ({names}): name one as `base` in {paths.config_file}")
    for folder, record in there:
        if config.base in (None, record.name):
            if name := changed(folder, record.files):
                raise ModelError(f"{folder / name} changed since it was set up: run `learner setup` again")
            return record.model(folder)
    raise ModelMissingError(
        f"the base model {config.base!r} is not set up (there are: {names}): run `learner setup`, "
        f"or change `base` in {paths.config_file}"
    )
