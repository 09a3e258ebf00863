"""Whatever standard input is, the server reads it to its end: a file, a pipe, a socket."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.wire import message

SAID = b"".join(
    message(body)
    for body in (
        {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}},
        {"method": "initialized", "params": {}},
        {"id": 2, "method": "no/such", "params": {"filler": "x" * 200_000}},  # more than one read
        {"id": 3, "method": "shutdown"},
        {"method": "exit"},
    )
)


def opened(kind: str, folder: Path) -> tuple[int, Any]:
    """The end to read from, and what to write to; None where it is all there."""
    if kind == "file":
        (folder / "said").write_bytes(SAID)
        return os.open(folder / "said", os.O_RDONLY), None
    if kind == "socket":
        ours, theirs = socket.socketpair()
        with ours:
            return theirs.detach(), ours.makefile("wb")
    source, entry = os.pipe()
    return source, os.fdopen(entry, "wb")


@pytest.mark.parametrize("kind", ["file", "pipe", "socket"])
def test_standard_input_of_any_kind(bare: Path, tmp_path: Path, kind: str) -> None:
    source, entry = opened(kind, tmp_path)
    server = subprocess.Popen(
        [sys.executable, "-m", "lsp_server.cli"],
        stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "REDRAFT_HOME": str(bare)},
    )  # fmt: skip
    os.close(source)
    if entry is not None:
        with entry:
            entry.write(SAID)
    out, _ = server.communicate(timeout=60)
    assert {1, 2, 3} <= {int(found) for found in re.findall(rb'"id": ?(\d+)', out)}
    assert server.returncode == 0
