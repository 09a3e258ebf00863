"""What git did in a document's repository since we last looked: a commit, or a switch to other contents.

Read from the reflog of HEAD (gitrepository-layout(5), `logs/HEAD`), which every commit, checkout, reset,
rebase and merge appends a line to. One `stat` tells that nothing happened, so it costs nothing to look
before each change. No git is run, and nothing is written.
"""

from __future__ import annotations

import time
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pygls.uris import to_fs_path

from learner.records import SettledBy

if TYPE_CHECKING:
    from lsp_server.assistant import Assistant

TAIL_BYTES = 4096
SWITCH_SECONDS = 5.0
"""Changes so soon after git switched to other contents are the editor's, which reads the file again."""


class Moved(Enum):
    """How HEAD moved."""

    COMMIT = "commit"
    SWITCH = "switch"


@lru_cache(maxsize=256)
def reflog_of(folder: str) -> Path | None:
    """`logs/HEAD` of the repository or worktree that `folder` is in; None outside of one."""
    for place in (Path(folder), *Path(folder).parents):
        git = place / ".git"
        try:
            if git.is_dir():
                return git / "logs" / "HEAD"
            if git.is_file():  # a worktree or a submodule
                with git.open("rb") as file:
                    words = file.read(TAIL_BYTES).decode("utf-8", "replace").strip()
                return (place / words.removeprefix("gitdir:").strip()).resolve() / "logs" / "HEAD"
        except OSError:
            return None
    return None


class Revisions:
    """The reflogs of the open documents, and how long they were when we last looked."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant
        self._seen: dict[Path, int] = {}

    def opened(self, uri: str) -> None:
        """Start from here, with whatever repositories there are now."""
        reflog_of.cache_clear()
        self.look(uri)

    def look(self, uri: str) -> None:
        """See whether HEAD moved in a document's repository.

        A commit settles what is open in the repository's documents; after a switch changes are not
        the user's for a while. The first look at a repository finds nothing.
        """
        log = _log_of(uri)
        moved = log and self.moved(log)
        if not moved:
            return
        at = time.monotonic()
        for session in list(self._assistant.sessions.values()):
            if _log_of(session.document.uri) != log:
                continue
            if moved is Moved.SWITCH:
                session.switched_until = at + SWITCH_SECONDS
            else:
                session.settle_due(at, *self._assistant.settle_seconds(), SettledBy.COMMIT)
                self._assistant.drain(session)

    def moved(self, log: Path) -> Moved | None:
        """What was written to a reflog since the last call. A switch outweighs commits beside it."""
        try:
            size = log.stat().st_size
            before = self._seen.get(log)
            self._seen[log] = size
            if before is None or size <= before:
                return None
            with log.open("rb") as file:
                file.seek(max(before, size - TAIL_BYTES))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return None
        return Moved.COMMIT if all(what(line).startswith("commit") for line in lines) else Moved.SWITCH


def _log_of(uri: str) -> Path | None:
    path = to_fs_path(uri)
    return reflog_of(str(Path(path).parent)) if path else None


def what(line: str) -> str:
    """The message of a line of the reflog, such as `commit: Fix` or `checkout: moving from a to b`."""
    return line.partition("\t")[2]
