"""One llama.cpp server in a process of its own.

`python -m learner.engine` is that process: it reads an `EngineSpec` as one line of JSON from
stdin (so that the key is in no command line), serves, and reports on stdout. It lives as long as
its stdin stays open, so that it never outlives whoever started it, not even after a kill -9.

A process per engine and not two engines in one: starting and stopping `xllamacpp.Server` inside
one process works (0.6 s and 0.03 s), but a damaged adapter or model may abort the process, and
memory comes back for certain only when a process ends.

Where the wheel cannot be loaded (an old CPU dies of SIGILL), the same process runs `llama-server`
from PATH with the same settings.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx2
import msgspec

from learner.client import Endpoint
from learner.exceptions import HostUnavailableError

START_SECONDS = 120.0
"""How long an engine may take to read its model."""
COPIED, GUESSED = 8, 16
"""After so many tokens that stand in the text before, the next so many are guessed from there and checked at once.

Fewer tokens guess wrong in a draft, where nothing is copied, and a wrong guess costs time (docs/experiments.md).
"""


class EngineSpec(msgspec.Struct, frozen=True):
    """What an engine serves, and where. `socket` None listens on a free port of this machine instead."""

    model: str
    alias: str
    adapters: tuple[str, ...]
    key: str
    socket: str | None
    slots: int
    context: int
    threads: int
    use: str = "xllamacpp"


class Report(msgspec.Struct):
    """A line on the engine process's stdout: it got as far as `imported`, then as `ready`."""

    stage: str
    address: str = ""


class EngineError(HostUnavailableError):
    """An engine did not start; the message holds what it said last."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What an engine is doing: requests at work or waiting, and a figure that changes with every request."""

    busy: int
    total: float


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(wanted: int) -> int:
    """Threads to use; 0 leaves one core free.

    llama.cpp's threads wait for each other by spinning: with one per core and any other load on
    the machine, decoding fell from 60 to 1-4 tokens a second here, with one core left free to 25.
    """
    if wanted > 0:
        return wanted
    return max(1, cores() - 1)


class Engine:
    """A running engine process."""

    def __init__(self, process: subprocess.Popen[bytes], endpoint: Endpoint, spec: EngineSpec) -> None:
        self._process, self.endpoint, self.spec = process, endpoint, spec
        uds = None if endpoint.socket is None else str(endpoint.socket)
        self._http = httpx2.Client(
            transport=httpx2.HTTPTransport(uds=uds, limits=httpx2.Limits(max_keepalive_connections=0)),
            base_url=endpoint.url or "http://host",
            headers={"Authorization": f"Bearer {endpoint.key}"},
            timeout=2.0,
            trust_env=False,
        )

    @classmethod
    def start(cls, spec: EngineSpec, log: IO[bytes] | None = None, seconds: float = START_SECONDS) -> Engine:
        """Start an engine and wait until it serves; what it logs goes to `log` (stderr by default).

        Raises EngineError (a HostUnavailableError) with the reason.
        """
        try:
            return cls._start(spec, log, seconds)
        except _NoWheelError as error:
            if shutil.which("llama-server") is None:
                raise EngineError(
                    f"llama.cpp cannot run on this machine ({error}), and there is no `llama-server` on PATH: "
                    "install one, or set host.url to a model host elsewhere"
                ) from error
            return cls._start(msgspec.structs.replace(spec, use="llama-server"), log, seconds)

    @classmethod
    def _start(cls, spec: EngineSpec, log: IO[bytes] | None, seconds: float) -> Engine:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "learner.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        tail = _Tail(process, log)
        watchdog = threading.Timer(seconds, process.kill)
        watchdog.start()
        stage, address = "", ""
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(spec) + b"\n")
                process.stdin.flush()
            while stage != "ready" and (line := process.stdout.readline()):
                report = msgspec.json.decode(line, type=Report)
                stage, address = report.stage, report.address
        except BaseException:
            _end(process)
            raise
        finally:
            watchdog.cancel()
        if stage != "ready":
            _end(process)
            if spec.socket is not None:
                Path(spec.socket).unlink(missing_ok=True)
            said = tail.text() or f"it ended with status {process.returncode}"
            if not stage and spec.use == "xllamacpp":
                raise _NoWheelError(said)
            raise EngineError(f"the engine did not start: {said}")
        socket = Path(spec.socket) if spec.socket is not None else None
        return cls(process, Endpoint(None if socket else address, socket, spec.key), spec)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def activity(self) -> Activity | None:
        """Requests at work, read from the metrics; None when it does not say within two seconds."""
        try:
            text = self._http.get("/metrics").text
        except httpx2.HTTPError:
            return None
        values: dict[str, float] = {}
        for line in text.splitlines():
            name, _, value = line.partition(" ")
            if name.startswith("llamacpp:"):
                with contextlib.suppress(ValueError):
                    values[name.removeprefix("llamacpp:")] = float(value)
        counted = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
        busy = values.get("requests_processing", 0) + values.get("requests_deferred", 0)
        return Activity(int(busy), sum(values.get(name, 0.0) for name in counted))

    def healthy(self) -> bool:
        """Whether the HTTP side answers, which it does even while the model works on a long prompt."""
        try:
            return self._http.get("/health").status_code == 200
        except httpx2.HTTPError:
            return False

    def stop(self) -> None:
        """End the process, whatever it is doing, and remove its socket."""
        self._http.close()
        _end(self._process)
        if self.endpoint.socket is not None:
            self.endpoint.socket.unlink(missing_ok=True)


class _NoWheelError(Exception):
    """The wheel could not be loaded."""


class _Tail:
    """Passes an engine's stderr on and keeps its last lines. A thread, since a full pipe would block the engine."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes] | None) -> None:
        self._lines: list[str] = []
        self._thread = threading.Thread(target=self._run, args=(process, log), daemon=True)
        self._thread.start()

    def _run(self, process: subprocess.Popen[bytes], log: IO[bytes] | None) -> None:
        assert process.stderr is not None
        out = log if log is not None else sys.stderr.buffer
        with process.stderr as stream:
            for line in stream:
                self._lines = [*self._lines[-40:], line.decode("utf-8", "replace").strip()]
                with contextlib.suppress(ValueError, OSError):
                    out.write(line)
                    out.flush()

    def text(self) -> str:
        """What the engine said: its first error, or else its last line."""
        self._thread.join(timeout=5)
        said = [line for line in self._lines if line]
        errors = [line.partition(" E ")[2].strip() for line in said if " E " in line]
        return (errors or said[-1:] or [""])[0]


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(BrokenPipeError):
                stream.close()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# The engine process itself.


def common_params(spec: EngineSpec) -> Any:
    """`xllamacpp.CommonParams` for a spec. The RAM cache stays off: it answers one adapter from another's prompt."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = spec.model
    params.model_alias = {spec.alias}
    params.hostnames = [spec.socket or "127.0.0.1"]
    params.api_keys = [spec.key]
    params.lora_init_without_apply = True
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in spec.adapters]
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
    params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = COPIED, GUESSED
    params.n_parallel = spec.slots
    params.n_ctx = spec.slots * spec.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads_for(spec.threads)
    params.reasoning_format = xllamacpp.common_reasoning_format.COMMON_REASONING_FORMAT_NONE
    params.fit_params = params.ui = params.endpoint_slots = False
    params.endpoint_metrics = params.offline = True
    params.timeout_read = 10
    params.verbosity = 1
    return params


def llama_server_command(spec: EngineSpec, port: int) -> list[str]:
    """The same settings as `common_params`, for `llama-server`; the key goes by the environment."""
    command = ["llama-server", "--model", spec.model, "--alias", spec.alias]
    command += ["--host", spec.socket] if spec.socket else ["--host", "127.0.0.1", "--port", str(port)]
    for path in spec.adapters:
        command += ["--lora", path]
    threads = str(threads_for(spec.threads))
    command += ["--lora-init-without-apply", "--cache-ram", "0", "--spec-type", "ngram-simple"]
    command += ["--spec-ngram-simple-size-n", str(COPIED), "--spec-ngram-simple-size-m", str(GUESSED)]
    command += ["--parallel", str(spec.slots), "--ctx-size", str(spec.slots * spec.context)]
    command += ["--threads", threads, "--threads-batch", threads, "--reasoning-format", "none"]
    command += ["--no-ui", "--no-slots", "--metrics", "--offline", "--timeout", "10", "--log-verbosity", "1"]
    return command


def main() -> None:
    """Body of the engine process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started us
    os.umask(0o077)
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever llama.cpp prints is log
    spec = msgspec.json.decode(sys.stdin.buffer.readline(), type=EngineSpec)

    def report(stage: str, address: str = "") -> None:
        reports.write(msgspec.json.encode(Report(stage, address)) + b"\n")
        reports.flush()

    run = _run_wheel if spec.use == "xllamacpp" else _run_llama_server
    try:
        run(spec, report)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # not through destructors: what is still running there is not waited for


def _run_wheel(spec: EngineSpec, report: Any) -> None:
    import xllamacpp

    report("imported")
    server = xllamacpp.Server(common_params(spec))
    report("ready", server.listening_address)
    sys.stdin.buffer.read()


def _run_llama_server(spec: EngineSpec, report: Any) -> None:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = llama_server_command(spec, port)
    process = subprocess.Popen(command, env=os.environ | {"LLAMA_API_KEY": spec.key}, stdin=subprocess.DEVNULL)
    report("imported")
    transport = httpx2.HTTPTransport(uds=spec.socket)
    with httpx2.Client(transport=transport, base_url=address, trust_env=False) as http:
        while process.poll() is None:
            with contextlib.suppress(httpx2.HTTPError):
                if http.get("/health").status_code == 200:
                    break
            time.sleep(0.05)
    if process.poll() is not None:
        raise RuntimeError(f"llama-server ended with status {process.returncode}")
    report("ready", address)
    threading.Thread(target=lambda: os._exit(process.wait() or 1), daemon=True).start()
    sys.stdin.buffer.read()
    process.terminate()
    process.wait(timeout=5)


if __name__ == "__main__":
    main()
