"""`redraft.train`: `learner train` in a process of its own, with progress, stopped when the request is cancelled.

Training needs torch, which never enters this process. It reads what is recorded so far; the host
takes up what it promotes by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from learner.config import PROGRESS_VARIABLE
from learner.exceptions import RedraftError
from lsp_server.work import Work

if TYPE_CHECKING:
    from lsprotocol import types

    from lsp_server.assistant import Assistant

STOP_SECONDS = 20.0
"""How long a training may take to put its things away before it is killed."""
LONGEST_LINE = 2**20


class Training:
    """The training of this server; one at a time."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self._busy = False

    async def run(self, names: Sequence[str], token: types.ProgressToken | None) -> dict[str, Any]:
        """Train; its report, with a sentence for people as `text`. Raises RedraftError, saying why not."""
        if self._busy:
            raise RedraftError("a training is under way already: wait for it, or stop it first")
        self._busy = True
        try:
            report = await self._run(names, token)
        finally:
            self._busy = False
        return report | {"text": told(report)}

    async def _run(self, names: Sequence[str], token: types.ProgressToken | None) -> dict[str, Any]:
        await self._assistant.ledger.done()  # what was kept until now is learnt from
        command = [sys.executable, "-P", "-m", "learner", "train", "--json"]
        for name in names:
            command += ["--feedback", name]
        environment = {**os.environ, PROGRESS_VARIABLE: "json", "NO_COLOR": "1"}
        async with Work(self._assistant.server, "Training", token, first="starting", measured=True) as work:
            # -P and the folder: a repository's own `learner` is never what runs
            process = await asyncio.create_subprocess_exec(
                *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=environment, limit=LONGEST_LINE,
                cwd=self._assistant.paths.database.parent if self._assistant.paths.database.exists() else None,
            )  # fmt: skip
            try:
                report, problem = await _followed(process, work)
            finally:
                await _stopped(process, wait=not self._assistant.ending)
        if report is None:
            raise RedraftError(problem or f"the training ended with status {process.returncode}")
        return report


async def _followed(process: Process, work: Work) -> tuple[dict[str, Any] | None, str]:
    """The report of a training that ends by itself, None without one, and the last it said otherwise."""
    assert process.stdout is not None
    printed, problem = await asyncio.gather(process.stdout.read(), _progress(process, work))
    await process.wait()
    try:
        report = json.loads(printed)
    except ValueError:
        return None, problem
    return (report, problem) if isinstance(report, dict) else (None, problem)


async def _progress(process: Process, work: Work) -> str:
    """Show what the training says of itself; the last error that it told."""
    problem = ""
    assert process.stderr is not None
    async for line in process.stderr:
        text = line.decode("utf-8", "replace").strip()
        try:
            said = json.loads(text)
            work.report(str(said["words"]), said["share"])
        except (ValueError, KeyError, TypeError):
            if text.startswith("Error: "):
                problem = text.removeprefix("Error: ")
    return problem


async def _stopped(process: Process, *, wait: bool) -> None:
    """End a training that still runs: it is asked first, and leaves no half adapter either way.

    Where the server itself ends nobody waits: the training puts its things away by itself.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        if wait:
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                process.kill()
                await process.wait()


def told(report: dict[str, Any]) -> str:
    """What a training did, in a sentence or two."""
    trained = [a for a in report.get("adapters", []) if isinstance(a, dict)]
    by_state: dict[str, list[str]] = {}
    for adapter in trained:
        state = "failed" if adapter.get("error") else str(adapter.get("state") or "not used")
        by_state.setdefault(state, []).append(str(adapter.get("feedback")))
    words = {
        "serving": "better than the base, serving from now on",
        "trial": "cannot be told yet, tried on a fifth of the requests",
        "retired": "no better than the base, not used",
    }
    parts = [f"{', '.join(names)}: {words.get(state, state)}" for state, names in by_state.items()]
    return f"Learnt from {report.get('edits', 0)} edits. " + ("; ".join(parts) or "Nothing was trained") + "."
