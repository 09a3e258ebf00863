"""Where a model host listens, which kind of server it is, and what it serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from learner.exceptions import ConfigError

EngineKind = Literal["llama.cpp", "vllm", "openai"]
"""`llama.cpp` is llama-server and our own host; `openai` any other server that speaks the same HTTP."""

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model host listens: a URL, or a Unix socket; and the key it asks for.

    `kind` and `model` (the base's served name) are for servers behind a gateway, which do not say so
    themselves; None asks the server.
    """

    url: str | None = None
    socket: Path | None = None
    key: str | None = None
    kind: EngineKind | None = None
    model: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.where!r}, key={'***' if self.key else None})"

    @property
    def where(self) -> str:
        """The address in words, without the key."""
        return str(self.socket) if self.socket is not None else str(self.url)

    @property
    def here(self) -> bool:
        """Whether it is on this machine, as far as the address tells."""
        return self.url is None or urlsplit(self.url).hostname in _LOOPBACK


@dataclass(frozen=True, slots=True)
class HostInfo:
    """What a host serves: its engine, its base model, and its adapters by version id, each as the engine names it."""

    engine: EngineKind
    model: str
    adapters: Mapping[str, int | str]


def check(endpoint: Endpoint) -> None:
    """Raise ConfigError for an address that is none, or that would send the key in the clear to another machine."""
    if (endpoint.url is None) == (endpoint.socket is None):
        raise ConfigError("a model host has either a URL or a socket")
    if endpoint.url is None:
        return
    if endpoint.url != "".join(endpoint.url.split()):
        raise ConfigError(f"host.url {endpoint.url!r} holds white space: remove it")
    parts = urlsplit(endpoint.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"host.url {endpoint.url!r} is no http(s) address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("host.url must be an address only: put the key in host.apiKey")
    if endpoint.key and parts.scheme == "http" and not endpoint.here:
        raise ConfigError(f"host.url {endpoint.url!r} would send the key in the clear: use https")
