"""What a model host serves, from what it lists: its base, and its adapters by version id. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from learner import hostwire
from learner.endpoint import Endpoint, EngineKind, HostInfo
from learner.exceptions import HostProtocolError
from learner.served_names import is_served_name, is_zero

ZERO_ADAPTER = "zero"
"""Id of the untrained adapter that makes the base an arm like any other (the folder `zero/`)."""


def kind_of(endpoint: Endpoint, models: Sequence[hostwire.Model]) -> EngineKind | None:
    """Which server it is, as far as the settings or its models' owner tell; None where /lora-adapters has to."""
    return endpoint.kind or ("vllm" if models[0].owned_by == "vllm" else None)


def describe(
    endpoint: Endpoint,
    models: Sequence[hostwire.Model],
    adapters: Sequence[hostwire.Adapter] | None,
    ours: Mapping[str, str],
) -> HostInfo:
    """The host that lists `models` (at least one) and, if it is llama.cpp, `adapters`.

    vLLM lists adapters with their base as `parent`. Of any other server's models only those that have the name
    of an adapter of ours are adapters. `ours` are version ids by served name.

    Raises HostProtocolError where the settings and the lists do not fit, or two adapters have one name.
    """
    names: dict[str, int | str]
    if adapters is not None:
        names = {hostwire.adapter_id(a.path): a.id for a in adapters}
        if len(names) != len(adapters):
            raise HostProtocolError(f"{endpoint.where} has two adapters of the same name; rename their files")
        return HostInfo("llama.cpp", _base(endpoint, models), _known(names, ours))
    kind = kind_of(endpoint, models)
    if kind == "llama.cpp":
        raise HostProtocolError(f"{endpoint.where} is no llama-server: correct host.kind")
    names = {m.id: m.id for m in models if m.id in ours or (kind == "vllm" and m.parent is not None)}
    return HostInfo(kind or "openai", _base(endpoint, models), _known(names, ours))


def _base(endpoint: Endpoint, models: Sequence[hostwire.Model]) -> str:
    """The base's served name: the configured one, else the first entry that is no adapter, else the adapters' parent.

    Raises HostProtocolError where there is none of these.
    """
    wanted = endpoint.model
    if wanted is None:
        bases = [m for m in models if m.parent is None and not is_served_name(m.id)]
        parents = {m.parent for m in models if m.parent is not None}
        if not bases and len(parents) != 1:
            raise HostProtocolError(f"{endpoint.where} lists adapters only: set host.model to its base's name")
        return bases[0].id if bases else parents.pop()
    if all(m.id != wanted for m in models):
        there = ", ".join(m.id for m in models)
        raise HostProtocolError(f"{endpoint.where} has no model {wanted!r} (it has: {there}): correct host.model")
    return wanted


def _known(names: Mapping[str, int | str], ours: Mapping[str, str]) -> dict[str, int | str]:
    """Adapters by version id: ours by their served names, others by the names they have; not others' published.

    A bare id such as `sft-3` is not ours where ours have served names: every user has one.
    """
    bare = set(ours.values())
    found: dict[str, int | str] = {}
    for name, called in names.items():
        if is_zero(name):
            found.setdefault(ZERO_ADAPTER, called)
        elif not is_served_name(name) and name not in bare:
            found.setdefault(name, called)
    return found | {ours[name]: called for name, called in names.items() if name in ours}
