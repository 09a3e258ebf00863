"""Waiting for what another process does: the only place in the tests that sleeps between looks."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any

PAUSE_SECONDS = 0.02


def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """What `condition` returns as soon as that is true. AssertionError, naming `what`, if it is not in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(PAUSE_SECONDS)
    return found


async def until_async(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """The same beside a running event loop; `condition` may be asynchronous."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        found = await found if inspect.isawaitable(found) else found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(PAUSE_SECONDS)
