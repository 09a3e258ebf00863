"""Arm sets: a base model with its adapters, and an engine that serves them, less those that are damaged."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from learner.client import ZERO_ADAPTER
from learner.config import Config
from learner.engine import Engine, EngineError, EngineSpec

_INVOCATION_KEY = b"adapter.alora.invocation_tokens"
_HEADER_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class ArmSet:
    """What a host serves: a base model and its adapters by version id, all as GGUF.

    `zero_adapter` is the untrained adapter that makes the base an arm like any other.
    """

    gguf: Path
    fingerprint: str
    zero_adapter: Path | None
    adapters: Mapping[str, Path] = field(default_factory=dict)

    @property
    def files(self) -> dict[str, Path]:
        """Every adapter file by id, the zero adapter first."""
        zero = {ZERO_ADAPTER: self.zero_adapter} if self.zero_adapter is not None else {}
        return {**zero, **self.adapters}


def start_engine(
    arms: ArmSet, config: Config, socket_path: Path | None, log: IO[bytes] | None = None
) -> tuple[Engine, dict[str, str]]:
    """Start an engine for an arm set; with it, the adapters that had to be left out, and why.

    Raises EngineError when the base itself cannot be served.
    """
    files = arms.files
    try:
        return Engine.start(_spec(arms, files, config, socket_path), log), {}
    except EngineError as error:
        if not files:
            raise
        whole = error
    left_out = _damaged(arms, config, socket_path, log)
    if not left_out:
        raise whole
    sound = {name: path for name, path in files.items() if name not in left_out}
    return Engine.start(_spec(arms, sound, config, socket_path), log), left_out


def _damaged(arms: ArmSet, config: Config, socket_path: Path | None, log: IO[bytes] | None) -> dict[str, str]:
    """Which adapters cannot be loaded: each is tried by itself, in a process of its own."""
    reasons: dict[str, str] = {}
    for name, path in ({"": arms.gguf} | arms.files).items():
        alone = {name: path} if name else {}
        try:
            Engine.start(_spec(arms, alone, config, socket_path, probe=True), log).stop()
        except EngineError as error:
            if not name:
                raise
            reasons[name] = str(error)
    return reasons


def _spec(
    arms: ArmSet, files: Mapping[str, Path], config: Config, socket_path: Path | None, *, probe: bool = False
) -> EngineSpec:
    return EngineSpec(
        model=str(arms.gguf),
        alias=arms.fingerprint,
        adapters=tuple(str(path) for path in files.values()),
        key=secrets.token_urlsafe(32),
        socket=None if socket_path is None else str(socket_path),
        slots=1 if probe or any(is_activated(path) for path in files.values()) else config.slots,
        context=256 if probe else config.context,
        threads=config.threads,
    )


def is_activated(path: Path) -> bool:
    """Whether a GGUF adapter is an activated LoRA; False for a file that cannot be read.

    An engine that has one gets a single slot. With several, llama.cpp switches a request's adapter off
    around the part of the prompt that precedes the invocation, and back on for the wrong request: of
    simultaneous requests to one activated adapter nearly half were answered by the base here, unsaid.
    """
    try:
        with path.open("rb") as file:
            return _INVOCATION_KEY in file.read(_HEADER_BYTES)
    except OSError:
        return False


def socket_in(folder: Path) -> Path | None:
    """A fresh socket path; None where there are no Unix sockets, for a port of this machine instead."""
    return folder / f"host-{secrets.token_hex(4)}.sock" if hasattr(socket, "AF_UNIX") else None
