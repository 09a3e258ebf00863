"""Finding, starting and stopping the one model host of this user.

The running host publishes itself in `host.json` (0600, in the 0700 runtime folder). Whoever finds
none starts one, detached, under a lock: fifty at once give one host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any

import filelock
import httpx2
import msgspec
import psutil

from learner.client import Endpoint
from learner.config import Config, Paths, private_folder
from learner.exceptions import HostTimeoutError, HostUnavailableError

SERVE_COMMAND = (sys.executable, "-P", "-m", "learner", "serve")
"""What starts a host. `-P`, since a `learner/` folder in the current directory may be anybody's."""

PROBE_SECONDS = 5.0
_POLL_SECONDS = 0.05
_FIRST_BACKOFF, _LONGEST_BACKOFF = 1.0, 30.0
_started: list[subprocess.Popen[bytes]] = []  # hosts that this process started, to reap them when they end


class HostFile(msgspec.Struct, frozen=True, kw_only=True):
    """`host.json`. `left_out` names the adapters that could not be loaded, with the reason."""

    socket: str | None
    url: str | None
    key: str
    pid: int
    process_started: float
    fingerprint: str
    adapters: list[str]
    left_out: dict[str, str]
    generation: int
    started_at: float

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint(self.url, Path(self.socket) if self.socket else None, self.key)

    def process(self) -> psutil.Process | None:
        """The host's process; None when it is gone, or when its number now belongs to another."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.process_started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


class _Failure(msgspec.Struct):
    """The last start that failed: when, how often in a row, and why."""

    at: float
    count: int
    message: str


class _Health(Enum):
    WELL = "well"
    GONE = "gone"
    FROZEN = "frozen"


def write_private(path: Path, body: msgspec.Struct) -> None:
    """Write `body` as JSON, whole or not at all, readable by the user only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(msgspec.json.encode(body))
    temporary.replace(path)


def read_host_file(paths: Paths) -> HostFile | None:
    """`host.json`; None when there is none, or none that can be read."""
    try:
        return msgspec.json.decode(paths.host_file.read_bytes(), type=HostFile)
    except (OSError, msgspec.MsgspecError):
        return None


def published(paths: Paths) -> Endpoint | None:
    """Where the host of this user listens now, if its process lives. Cheap: asks nobody."""
    found = read_host_file(paths)
    return found.endpoint if found is not None and found.process() is not None else None


async def ensure_host(
    paths: Paths,
    config: Config,
    command: Sequence[str] = SERVE_COMMAND,
    seconds: float = 150.0,
) -> Endpoint:
    """Where a model host listens: `config.host`, the one that runs, or one that `command` starts now.

    Raises HostUnavailableError with the last lines of the host's log when it does not start (for a
    while after a failure without trying), HostTimeoutError when it is not ready in `seconds`.
    """
    if config.host.url is not None:
        there = config.host
        return Endpoint(there.url, None, there.api_key, there.kind, there.model)
    before = published(paths)
    endpoint, health = await _find(paths)
    if endpoint is not None:
        return endpoint
    private_folder(paths.runtime)
    deadline = time.monotonic() + seconds
    async with _locked(paths.runtime / "start.lock", deadline):
        if health is not _Health.FROZEN or published(paths) != before:  # meanwhile somebody may have started one
            endpoint, health = await _find(paths)
        if endpoint is not None:
            return endpoint
        failure = _recent_failure(paths)
        if failure is not None:
            raise HostUnavailableError(failure.message)
        if health is _Health.FROZEN:
            await asyncio.to_thread(stop_host, paths, 1.0)
        return await _start(paths, command, deadline)


async def _start(paths: Paths, command: Sequence[str], deadline: float) -> Endpoint:
    process = _spawn(paths, command)
    while time.monotonic() < deadline:
        endpoint, _ = await _find(paths)
        if endpoint is not None:
            _failure_file(paths).unlink(missing_ok=True)
            return endpoint
        # A host started by hand in the same moment may hold the lock: then it is waited for.
        if process.poll() is not None and not _held(paths.host_lock):
            message = f"the model host did not start (status {process.returncode}): {_log_tail(paths)}"
            _note_failure(paths, message)
            raise HostUnavailableError(message)
        await asyncio.sleep(_POLL_SECONDS)
    raise HostTimeoutError(f"the model host is not ready yet; its log is {_log_file(paths)}")


async def _find(paths: Paths) -> tuple[Endpoint | None, _Health]:
    _started[:] = [process for process in _started if process.poll() is None]
    endpoint = published(paths)
    if endpoint is None:
        return None, _Health.GONE
    health = await _probe(endpoint)
    return (endpoint if health is _Health.WELL else None), health


async def _probe(endpoint: Endpoint) -> _Health:
    uds = None if endpoint.socket is None else str(endpoint.socket)
    transport = httpx2.AsyncHTTPTransport(uds=uds, trust_env=False)
    base = endpoint.url or "http://host"
    async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=PROBE_SECONDS, trust_env=False) as http:
        try:
            return _Health.WELL if (await http.get("/health")).status_code == 200 else _Health.GONE
        except httpx2.TimeoutException:
            return _Health.FROZEN
        except (httpx2.TransportError, OSError):
            return _Health.GONE


@asynccontextmanager
async def _locked(path: Path, deadline: float) -> AsyncIterator[None]:
    lock = filelock.FileLock(path)
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except filelock.Timeout:
            if time.monotonic() > deadline:
                raise HostTimeoutError(
                    f"another program has been starting the model host for long: see {path}"
                ) from None
            await asyncio.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _held(path: Path) -> bool:
    try:
        with filelock.FileLock(path).acquire(blocking=False):
            return False
    except filelock.Timeout:
        return True


def _spawn(paths: Paths, command: Sequence[str]) -> subprocess.Popen[bytes]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    detached: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    with os.fdopen(os.open(_log_file(paths), flags, 0o600), "wb") as log:
        process = subprocess.Popen(
            list(command), cwd=paths.runtime, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **detached
        )
    _started.append(process)
    return process


def _log_file(paths: Paths) -> Path:
    return paths.runtime / "host.log"


def _log_tail(paths: Paths) -> str:
    lines = _log_file(paths).read_text(encoding="utf-8", errors="replace").split("\n")
    return " / ".join(line.strip() for line in lines if line.strip())[-500:] or "it said nothing"


def _failure_file(paths: Paths) -> Path:
    return paths.runtime / "host-failed.json"


def _recent_failure(paths: Paths) -> _Failure | None:
    try:
        failure = msgspec.json.decode(_failure_file(paths).read_bytes(), type=_Failure)
    except (OSError, msgspec.MsgspecError):
        return None
    wait = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(failure.count - 1, 10))
    return failure if 0 <= time.time() - failure.at < wait else None


def _note_failure(paths: Paths, message: str) -> None:
    try:
        count = msgspec.json.decode(_failure_file(paths).read_bytes(), type=_Failure).count
    except (OSError, msgspec.MsgspecError):
        count = 0
    write_private(_failure_file(paths), _Failure(time.time(), count + 1, message))


def host_status(paths: Paths) -> dict[str, Any] | None:
    """What the running host says of itself, without its key, and how it feels; None when there is none."""
    found = read_host_file(paths)
    if found is None or found.process() is None:
        return None
    status = msgspec.to_builtins(found)
    del status["key"], status["process_started"]
    with ThreadPoolExecutor(1) as aside:  # so that it may be called where a loop runs
        health = aside.submit(asyncio.run, _probe(found.endpoint)).result()
    return {**status, "health": health.value, "uptime_s": round(time.time() - found.started_at, 1)}


def stop_host(paths: Paths, seconds: float = 10.0) -> bool:
    """Stop the running host, by force if it has not ended after `seconds`; whether there was one."""
    found = read_host_file(paths)
    process = found.process() if found is not None else None
    if found is None or process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if not _ended(found, seconds):
            process.kill()
            _ended(found, seconds)
            _forget(paths, found)
    return True


def _ended(found: HostFile, seconds: float) -> bool:
    """Wait for a host to end. One that its own parent (an editor's server) did not reap yet has ended."""
    deadline = time.monotonic() + seconds
    while found.process() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    _started[:] = [process for process in _started if process.poll() is None]
    return True


def _forget(paths: Paths, found: HostFile) -> None:
    """Tidy up after a host that could not do so itself."""
    if read_host_file(paths) == found:
        paths.host_file.unlink(missing_ok=True)
    if found.socket:
        Path(found.socket).unlink(missing_ok=True)
