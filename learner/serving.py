"""The model host: `learner serve`, one per user, and private engines for training and evaluation.

The host is a light supervisor around one engine process (`learner.engine`). Each engine has a
socket and a key of its own, published in `host.json`. When the arm set changes, a new engine is
brought up beside the old one, published, and the old one is stopped once it has nothing left to do.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import filelock

from learner.armset import ArmSet, socket_in, start_engine
from learner.client import Endpoint
from learner.config import Config, Paths, private_folder
from learner.engine import Engine
from learner.exceptions import AdapterError, HostUnavailableError
from learner.launch import ensure_host, host_status, published, stop_host
from learner.supervisor import Supervisor, remove_stale_sockets

__all__ = ["ArmSet", "PrivateHost", "ensure_host", "host_status", "published", "serve", "stop_host"]

_LOCK_SECONDS = 10.0


class PrivateHost:
    """An engine of one's own, for sampling and evaluation: `with PrivateHost(arms, config) as endpoint:`.

    Raises AdapterError when an adapter of the set cannot be loaded, HostUnavailableError when the
    base cannot.
    """

    def __init__(self, arms: ArmSet, config: Config) -> None:
        self._arms, self._config = arms, config
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._engine: Engine | None = None

    def __enter__(self) -> Endpoint:
        self._folder = tempfile.TemporaryDirectory(prefix="redraft-")  # made 0700
        try:
            self._engine, left_out = start_engine(self._arms, self._config, socket_in(Path(self._folder.name)))
            if left_out:
                named = "; ".join(f"{name}: {why}" for name, why in left_out.items())
                raise AdapterError(f"cannot be loaded by the engine: {named}. Train it again")
        except BaseException:
            self.stop()
            raise
        return self._engine.endpoint

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the engine and remove its folder; harmless when done twice."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def serve(load_arms: Callable[[], ArmSet], paths: Paths, config: Config) -> None:
    """Run the model host until it is idle for long, or told to stop (SIGTERM, Ctrl-C).

    `load_arms` is asked about once a second, and at once on SIGHUP, what to serve.

    Raises HostUnavailableError when another host runs or the base cannot be served, and whatever
    `load_arms` raises when it is first asked.
    """
    os.umask(0o077)
    private_folder(paths.runtime)
    lock = filelock.FileLock(paths.host_lock)
    try:
        lock.acquire(timeout=_LOCK_SECONDS)
    except filelock.Timeout as error:
        raise HostUnavailableError(f"a model host runs already for {paths.runtime}: `learner serve --stop`") from error
    with lock:
        remove_stale_sockets(paths.runtime)
        Supervisor(load_arms, paths, config).run()
