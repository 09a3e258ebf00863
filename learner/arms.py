"""Which files the model host serves now: the base, and every live adapter that fits it."""

from __future__ import annotations

from learner import model_files, registry
from learner.armset import ArmSet
from learner.config import Config, Paths
from learner.exceptions import ModelError
from learner.store import Store


def load_arms(paths: Paths, config: Config) -> ArmSet:
    """The arm set of the current base model. Raises ModelMissingError, ModelError or StoreError.

    Adapters whose files are gone are left out; the host leaves out those that it cannot load.
    """
    base = model_files.current(paths, config)
    adapters = {}
    if paths.database.exists():
        with Store.open(paths.database, read_only=True) as store:
            adapters = {i: f for i, f in registry.live_files(store, base.fingerprint).items() if f.is_file()}
    if base.gguf is None:
        raise ModelError(f"{base.name} has no GGUF to serve: set host.url to a server that has this model")
    return ArmSet(base.gguf, base.fingerprint, base.zero_adapter, adapters)
