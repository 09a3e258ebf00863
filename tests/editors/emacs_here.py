"""A real Emacs with the package of plugins/editors/emacs, the real server and the real model.

`apt-get install emacs-nox elpa-eglot` brings it. Batch mode reads the answers to questions from
standard input, a line each, and has no idle timers; `test_emacs_terminal.py` types into a terminal.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PACKAGE = Path(__file__).parents[2] / "plugins" / "editors" / "emacs"
SESSION = Path(__file__).parent / "emacs_session.el"
EMACS = os.environ.get("REDRAFT_EMACS") or shutil.which("emacs")
SERVER = (sys.executable, "-m", "lsp_server.cli")
NOTES = "Sales rose 4 percent in May. Two stores opened in the north, and a third one is being built."
CHANGES = "fixed the crash when a file is empty, added a test, and the parser now skips comments at the end"
BEGUN = "The harbour was quiet. Boats lay in the mud and waited for the tide to"
MARKS = [
    pytest.mark.editors,
    pytest.mark.skipif(EMACS is None, reason="no Emacs here: apt-get install emacs-nox elpa-eglot, or REDRAFT_EMACS"),
]


async def run_emacs(*arguments: str, answers: Sequence[str] = (), **environment: str) -> tuple[int, str, str]:
    """Emacs in batch mode: its exit status, what it printed, what it said."""
    assert EMACS is not None
    process = await asyncio.create_subprocess_exec(
        EMACS, "--batch", "-q", *arguments,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    typed = "".join(f"{answer}\n" for answer in answers).encode()
    out, err = await asyncio.wait_for(process.communicate(typed), 150)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@dataclass
class Session:
    """One file, one home; each `run` is an Emacs of its own."""

    home: Path
    file: Path

    async def run(self, body: str, answers: Sequence[str] = (), command: Sequence[str] = SERVER) -> dict[str, Any]:
        given = {"package": str(PACKAGE), "command": list(command), "file": str(self.file)}
        script = self.file.with_name("script.el")
        script.write_text(f";; -*- lexical-binding: t -*-\n{body}\n")
        environment = {"REDRAFT_HOME": str(self.home), "REDRAFT_TEST": json.dumps(given), "HOME": str(self.home)}
        code, out, err = await run_emacs("-l", str(SESSION), "-l", str(script), answers=answers, **environment)
        said = [line for line in out.splitlines() if line.startswith("SAID ")]
        assert code == 0, err + out
        assert len(said) == 1, err + out
        return {**json.loads(said[0].removeprefix("SAID ")), "messages": err, "asked": out}


@pytest.fixture
def session(home: Path, tmp_path: Path) -> Session:
    file = tmp_path / "notes.txt"
    file.write_text(f"{NOTES}\n")
    return Session(home, file)


CONSENT = "(setq redraft-record t)"
SELECTED = f'(session-open) (session-select "{NOTES}")'
INSTRUCTION = "Make this text shorter and friendlier."


def written_over(text: str) -> str:
    """What `session-edit` makes of a text that begins the buffer or a line."""
    return "Well" + text[len(text.split()[0]) :]
