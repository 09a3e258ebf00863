"""Whatever standard input is, the server reads it to its end: a file, a pipe, a socket."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def message(**body: object) -> bytes:
    raw = json.dumps({"jsonrpc": "2.0", **body}).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(raw), raw)


SAID = (
    message(id=1, method="initialize", params={"processId": None, "rootUri": None, "capabilities": {}})
    + message(method="initialized", params={})
    + message(id=2, method="no/such", params={"filler": "x" * 200_000})  # more than one read
    + message(id=3, method="shutdown")
    + message(method="exit")
)


@pytest.mark.parametrize("kind", ["file", "pipe", "socket"])
def test_standard_input_of_any_kind(bare: Path, tmp_path: Path, kind: str) -> None:
    ours: socket.socket | None = None
    if kind == "file":
        (tmp_path / "said").write_bytes(SAID)
        source = os.open(tmp_path / "said", os.O_RDONLY)
    elif kind == "socket":
        ours, theirs = socket.socketpair()
        source = theirs.detach()
    else:
        source, entry = os.pipe()
        ours = None
    server = subprocess.Popen(
        [sys.executable, "-m", "lsp_server.cli"],
        stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "REDRAFT_HOME": str(bare)},
    )  # fmt: skip
    os.close(source)
    if ours is not None:
        with ours:
            ours.sendall(SAID)
    elif kind == "pipe":
        with os.fdopen(entry, "wb") as pipe:
            pipe.write(SAID)
    out, _ = server.communicate(timeout=60)
    answered = [int(found) for found in re.findall(rb'"id": ?(\d+)', out)]
    assert sorted({1, 2, 3} & set(answered)) == [1, 2, 3]
    assert server.returncode == 0
