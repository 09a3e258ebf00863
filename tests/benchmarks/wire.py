"""A language client of bytes, so that what is measured is the server's time and not pygls' on the client's side too."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

WAIT_SECONDS = 120.0


class Wire:
    """One server over stdio. Messages are encoded before the clock starts; answers are read in this thread."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        self._buffer = b""
        self._number, self._sent_at = 0, 0.0
        self.answers: dict[str, Callable[[Any], Any]] = {}
        """What to answer to the server's own requests, by method; null to all others."""

    def ask(self, method: str, params: Any, *first: tuple[str, Any]) -> tuple[float, Any]:
        """Send the notifications `first` and a request in one write; seconds until the answer, and its result.

        Raises RuntimeError with the server's words where it answers with an error.
        """
        number = self.send(method, params, *first)
        result = self.receive(number)
        return perf_counter() - self._sent_at, result

    def send(self, method: str, params: Any, *first: tuple[str, Any]) -> int:
        """As `ask`, without waiting: the number of the request."""
        self._number += 1
        data = b"".join(message({"method": m, "params": p}) for m, p in first)
        data += message({"id": self._number, "method": method, "params": params})
        self._sent_at = perf_counter()
        self._send(data)
        return self._number

    def receive(self, number: int) -> Any:
        """The result of request `number`. Raises RuntimeError where it is an error."""
        while True:
            found = self._read()
            if found.get("id") == number and "method" not in found:
                if "error" in found:
                    raise RuntimeError(str(found["error"]))
                return found.get("result")
            self._answer(found)

    def tell(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send(message({"method": method, "params": params}))

    def _answer(self, found: dict[str, Any]) -> None:
        if "method" in found and "id" in found:
            answer = self.answers.get(found["method"], lambda params: None)(found.get("params"))
            self._send(message({"id": found["id"], "result": answer}))

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._in, view) :]

    def _read(self) -> dict[str, Any]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._fill()
        head = self._buffer[:end].decode()
        size = next(int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length:"))
        while len(self._buffer) < end + 4 + size:
            self._fill()
        body, self._buffer = self._buffer[end + 4 : end + 4 + size], self._buffer[end + 4 + size :]
        found: dict[str, Any] = json.loads(body)
        return found

    def _fill(self) -> None:
        if not select.select([self._out], [], [], WAIT_SECONDS)[0]:
            raise TimeoutError("the server said nothing")
        data = os.read(self._out, 1 << 16)
        if not data:
            raise EOFError(f"the server ended with status {self.process.wait()}")
        self._buffer += data


def message(body: dict[str, Any]) -> bytes:
    """A JSON-RPC message with its header."""
    raw = json.dumps({"jsonrpc": "2.0", **body}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(raw), raw)


def initialize_params(options: Any = None) -> dict[str, Any]:
    """What a client with ghost text says."""
    return {
        "processId": os.getpid(),
        "rootUri": None,
        "capabilities": {"textDocument": {"inlineCompletion": {}}},
        "initializationOptions": options,
    }


@contextmanager
def served(arguments: list[str], home: str, options: Any = None) -> Iterator[Wire]:
    """`python ARGUMENTS` as a language server that is initialized; `home` is its REDRAFT_HOME."""
    with started(arguments, home) as wire:
        wire.ask("initialize", initialize_params(options))
        wire.tell("initialized", {})
        yield wire


@contextmanager
def started(arguments: list[str], home: str) -> Iterator[Wire]:
    """`python ARGUMENTS` as a language server to which nothing was said yet."""
    command = [sys.executable, *arguments]
    environment = os.environ | {"REDRAFT_HOME": home}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        wire = Wire(process)
        try:
            yield wire
            with contextlib.suppress(EOFError, BrokenPipeError):
                wire.ask("shutdown", None)
                wire.tell("exit", None)
            process.wait(timeout=WAIT_SECONDS)
        finally:
            process.kill()
