"""A model host that answers at once, and notes how long each answer took: a thread of the benchmark's process."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nConnection: close\r\n\r\n"


class InstantHost:
    """Serves `/v1/models` and chat completions that all say `text`."""

    def __init__(self, text: str) -> None:
        self.seconds: list[float] = []
        """From a whole request to a whole answer, per chat completion."""
        self.asked = 0
        """Chat completions that were asked for."""
        self._answered = threading.Condition()
        self._answer = (
            HEAD % b"text/event-stream"
            + b"".join(
                b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in (_chunk(content=text), _chunk(finish="stop"))
            )
            + b"data: [DONE]\n\n"
        )
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        models = HEAD % b"application/json" + json.dumps({"object": "list", "data": [{"id": "bench"}]}).encode()
        missing = HEAD.replace(b"200 OK", b"404 Not Found") % b"application/json" + b"{}"
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):
                path = _read_request(connection)
                begun = perf_counter()
                if path == b"/v1/chat/completions":
                    self.asked += 1
                    connection.sendall(self._answer)
                    with self._answered:
                        self.seconds.append(perf_counter() - begun)
                        self._answered.notify_all()
                else:
                    connection.sendall(models if path == b"/v1/models" else missing)

    def last(self) -> float:
        """Seconds of the last answer that was asked for, once it is noted: the client may have it before."""
        with self._answered:
            assert self._answered.wait_for(lambda: len(self.seconds) == self.asked, 5), "an answer never left"
            return self.seconds[-1]

    def close(self) -> None:
        """Stop serving."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def _read_request(connection: socket.socket) -> bytes:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += connection.recv(1 << 16) or _gone()
    head, _, body = raw.partition(b"\r\n\r\n")
    size = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    have = len(body)
    while have < size:
        have += len(connection.recv(1 << 16) or _gone())
    return head.split(b" ")[1]


def _gone() -> bytes:
    raise ConnectionError("the client left")


def _chunk(content: str = "", finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]}


@contextmanager
def instant_host(text: str) -> Iterator[InstantHost]:
    """An `InstantHost` that serves."""
    host = InstantHost(text)
    try:
        yield host
    finally:
        host.close()
