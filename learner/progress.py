"""Progress on standard error: a bar on a terminal, plain lines elsewhere, JSON lines for a program that asks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from learner.config import PROGRESS_VARIABLE
from learner.screen import err


class Work:
    """A progress bar on standard error that knows the time left; plain lines where there is no terminal."""

    def __init__(self, title: str) -> None:
        self._console = err()
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        terminal = self._console.is_terminal
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not terminal)
        self._title = title
        self._for_program = os.environ.get(PROGRESS_VARIABLE) == "json"
        self._task: TaskID | None = None
        self._last = ""

    def __enter__(self) -> Work:
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Hide the bar while something else shows its own."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def step(self, words: str, fraction: float | None = None) -> None:
        """Say what is being done; `fraction` of it is behind us (None: cannot be told)."""
        if self._task is None:
            return
        if self._for_program:
            sys.stderr.write(json.dumps({"words": words, "share": fraction}) + "\n")
            sys.stderr.flush()
            return
        about = words.partition(":")[0]  # what follows a colon changes while the same goes on
        if about != self._last:
            self._last = about
            if not self._console.is_terminal:
                self._console.print(Text(about), soft_wrap=True)
            else:
                self._progress.reset(self._task, description=words, total=None)
        elif self._console.is_terminal:
            self._progress.update(self._task, description=words)
        if fraction is not None:
            self._progress.update(self._task, total=1.0, completed=min(1.0, fraction))
