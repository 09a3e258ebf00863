"""Child processes for tests: functions that run in a fork, as somebody who is not root where asked.

A fork must not happen while this process has a connection open: SQLite's own note of its locks
would be inherited, and be wrong.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

NOBODY = 65534
fork = get_context("fork")


def _run(act: Callable[..., Any], arguments: tuple[Any, ...], user: int | None, pipe: Any) -> None:
    try:
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        pipe.send((True, act(*arguments)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))


def in_fork(act: Callable[..., Any], *arguments: Any, user: int | None = None) -> Any:
    """What `act` returns in a process of its own. Raises AssertionError with its traceback where it fails."""
    here, there = fork.Pipe()
    child = fork.Process(target=_run, args=(act, arguments, user, there))
    child.start()
    there.close()
    try:
        good, result = here.recv()
    finally:
        child.join(30)
    assert good, result
    return result


def as_ordinary_user(folder: Path, act: Callable[..., Any], *arguments: Any) -> Any:
    """`act` in a fork, as a user who owns `folder` and cannot pass over its permissions."""
    if os.getuid() != 0:
        return in_fork(act, *arguments)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return in_fork(act, *arguments, user=NOBODY)
