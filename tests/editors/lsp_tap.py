"""Stands between an editor and the real server, passes every byte on, and writes down what the editor said.

`python lsp_tap.py LOG [--version V] -- COMMAND...`: one JSON message a line in LOG. With `--version` the
server's answer to `initialize` says another version, which is all that is changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def messages(stream: IO[bytes]) -> Iterator[bytes]:
    """The bodies of LSP messages."""
    while True:
        length = None
        while line := stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if length is None:
            return
        yield stream.read(length)


def send(stream: IO[bytes], body: bytes) -> None:
    stream.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    stream.flush()


def otherwise(body: bytes, version: str | None) -> bytes:
    """The server's message, with another version where it tells its own."""
    message = json.loads(body)
    told = (message.get("result") or {}) if isinstance(message.get("result"), dict) else {}
    if version is None or "serverInfo" not in told:
        return body
    told["serverInfo"]["version"] = version
    return json.dumps(message).encode()


def main(log: Path, version: str | None, command: list[str]) -> None:
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None
    assert server.stdout is not None
    answers = server.stdout

    def back() -> None:
        with contextlib.suppress(OSError):  # the editor is gone
            for body in messages(answers):
                send(sys.stdout.buffer, otherwise(body, version))
        code = server.wait()
        os._exit(code if code >= 0 else 128 - code)  # the other thread still waits for the editor

    threading.Thread(target=back, daemon=True).start()
    with log.open("ab") as file:
        for body in messages(sys.stdin.buffer):
            file.write(body.replace(b"\n", b" ") + b"\n")
            file.flush()
            try:
                send(server.stdin, body)
            except OSError:
                break
        server.stdin.close()
    threading.Event().wait()


def said(log: Path, method: str | None = None) -> list[dict[str, Any]]:
    """What the editor sent so far, of one method or all."""
    if not log.exists():
        return []
    found = [json.loads(line) for line in log.read_bytes().split(b"\n") if line.endswith(b"}")]
    return [message for message in found if method in (None, message.get("method"))]


if __name__ == "__main__":
    words = sys.argv[1:]
    split = words.index("--")
    options = words[1:split]
    main(Path(words[0]), options[1] if options else None, words[split + 1 :])
