"""The body of the model host: keeps one engine serving what is wanted, and tidies up."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil

from learner.armset import ArmSet, socket_in, start_engine
from learner.config import Config, Paths
from learner.engine import Activity, Engine
from learner.exceptions import HostUnavailableError, RedraftError
from learner.launch import HostFile, write_private

_TICK = 0.2
_WATCH_SECONDS = 1.0
_GRACE_SECONDS = 5.0
"""How long an old engine stays up without work, for who read `host.json` just before it changed."""
_DRAIN_SECONDS = 600.0
_FAREWELL_SECONDS = 2.0
_FROZEN_SECONDS = 60.0
_CRASHES = 3


def remove_stale_sockets(runtime: Path) -> None:
    """Remove the sockets of hosts that were killed. Under the host's lock; one that answers is left alone."""
    for path in runtime.glob("host-*.sock"):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            continue
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError as error:
                _log(f"left {path} alone: {error}")


def _log(message: str) -> None:
    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class _Retired:
    engine: Engine
    since: float
    quiet_since: float


class Supervisor:
    """Keeps one engine serving the wanted arm set."""

    def __init__(self, load_arms: Callable[[], ArmSet], paths: Paths, config: Config) -> None:
        self._load_arms, self._paths, self._config = load_arms, paths, config
        self._arms = self._seen = load_arms()
        self._generation = 0
        self._retired: list[_Retired] = []
        self._stopping = self._reload_now = False
        self._complaint = ""
        self._crashes: list[float] = []
        self._last_total = -1.0
        self._last_active = self._last_answer = time.monotonic()
        self._started_at = time.time()
        self._engine = self._bring_up(self._arms)

    def run(self) -> None:
        """Serve until idle or told to stop; leaves no file and no process behind."""
        watched = time.monotonic()
        try:
            while not self._stopping:
                time.sleep(_TICK)
                now = time.monotonic()
                if not self._engine.alive:
                    self._restart("the engine ended by itself")
                if self._reload_now or now - watched >= _WATCH_SECONDS:
                    self._reload_now, watched = False, now
                    self._watch_arms()
                    self._watch_activity()
                    self._drain()
                    if self._idle():
                        _log(f"idle for {self._config.idle_minutes:g} minutes; leaving")
                        break
        finally:
            self._leave()

    def _hear_signals(self) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stopping = True

        def reload(number: int, frame: FrameType | None) -> None:
            self._reload_now = True

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            if hasattr(signal, "SIGHUP"):
                signal.signal(signal.SIGHUP, reload)

    def _bring_up(self, arms: ArmSet) -> Engine:
        engine, left_out = start_engine(arms, self._config, socket_in(self._paths.runtime))
        self._hear_signals()  # before anyone can find this host, and tell it to stop
        for name, why in left_out.items():
            _log(f"left out adapter {name} ({arms.files[name]}): {why}")
        self._generation += 1
        served = [name for name in arms.adapters if name not in left_out]
        endpoint = engine.endpoint
        body = HostFile(
            socket=None if endpoint.socket is None else str(endpoint.socket),
            url=endpoint.url,
            key=endpoint.key or "",
            pid=os.getpid(),
            process_started=psutil.Process().create_time(),
            fingerprint=arms.fingerprint,
            adapters=served,
            left_out=left_out,
            generation=self._generation,
            started_at=self._started_at,
        )
        write_private(self._paths.host_file, body)
        self._last_active = self._last_answer = time.monotonic()
        _log(f"serving {arms.fingerprint[:12]} with {', '.join(served) or 'no adapters'} (engine {self._generation})")
        return engine

    def _watch_arms(self) -> None:
        """Serve another arm set when there is one; whatever goes wrong, the old one goes on."""
        try:
            wanted = self._load_arms()
            if wanted == self._seen:
                return
            self._seen = wanted
            fresh = self._bring_up(wanted)
        except (RedraftError, OSError) as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                _log(f"goes on with what it serves: {error}")
            return
        self._complaint = ""
        now = time.monotonic()
        self._retired.append(_Retired(self._engine, now, now))
        self._arms, self._engine = wanted, fresh

    def _restart(self, why: str) -> None:
        now = time.monotonic()
        self._crashes = [*(at for at in self._crashes if now - at < 60), now]
        if len(self._crashes) > _CRASHES:
            raise HostUnavailableError(f"{why}, {_CRASHES} times in a minute: see the log, or set host.url")
        _log(f"{why}; starting another")
        self._engine.stop()
        self._engine = self._bring_up(self._arms)

    def _watch_activity(self) -> None:
        activity, now = self._engine.activity(), time.monotonic()
        if activity is not None or self._engine.healthy():
            self._last_answer = now
        elif now - self._last_answer > _FROZEN_SECONDS:
            self._restart("the engine does not answer")
        if _works(activity) or (activity is not None and activity.total != self._last_total):
            self._last_active = now
        if activity is not None:
            self._last_total = activity.total

    def _drain(self) -> None:
        now = time.monotonic()
        for old in list(self._retired):
            if _works(old.engine.activity()) and old.engine.alive:
                old.quiet_since = now
            if now - old.quiet_since > _GRACE_SECONDS or now - old.since > _DRAIN_SECONDS:
                old.engine.stop()
                self._retired.remove(old)

    def _idle(self) -> bool:
        minutes = self._config.idle_minutes
        return minutes > 0 and not self._retired and time.monotonic() - self._last_active > minutes * 60

    def _leave(self) -> None:
        """Nobody new is let in; who is being answered has a moment to finish."""
        self._paths.host_file.unlink(missing_ok=True)
        engines = [self._engine, *(old.engine for old in self._retired)]
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while time.monotonic() < deadline and any(_works(e.activity()) for e in engines if e.alive):
            time.sleep(_TICK / 2)
        for engine in engines:
            engine.stop()


def _works(activity: Activity | None) -> bool:
    """Whether an engine is at work; one that is too busy to say so is."""
    return activity is None or activity.busy > 0
