"""Numbers that the base gave for texts, kept on disk for the next training."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from learner.config import private_folder

log = logging.getLogger(__name__)
FILE = "computed.db"
AT_ONCE = 500
"""Keys in one question."""


class Computed:
    """fp32 vectors by key, in `folder`; `learner forget` removes it with the other caches.

    `scope` names what gave the numbers, the base's fingerprint and its number format: what another base gave is
    never found. A damaged file counts as empty.
    """

    def __init__(self, folder: Path, scope: str) -> None:
        self._file, self._scope = folder / FILE, scope
        self._broken = False

    def key(self, kind: str, *ids: Sequence[int]) -> str:
        """Of `kind` of number for these token ids."""
        return hashlib.sha256(repr((self._scope, kind, *map(tuple, ids))).encode()).hexdigest()

    def get(self, keys: Iterable[str]) -> dict[str, Tensor]:
        """What is known of `keys`."""
        wanted, found = list(dict.fromkeys(keys)), dict[str, Tensor]()
        if not wanted or not self._file.exists():
            return found
        with contextlib.suppress(sqlite3.Error, ValueError), self._open() as db:
            for begin in range(0, len(wanted), AT_ONCE):
                some = wanted[begin : begin + AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = db.execute(f"SELECT key, value FROM numbers WHERE key IN ({marks})", some)
                found.update({key: torch.frombuffer(bytearray(value), dtype=torch.float32) for key, value in rows})
        return found

    def put(self, numbers: Mapping[str, Tensor]) -> None:
        """Keep `numbers`, each (any number,), all or none of them. What cannot be kept is computed again next time."""
        rows = [(key, value.detach().float().cpu().contiguous().numpy().tobytes()) for key, value in numbers.items()]
        if not rows or self._broken:
            return
        try:
            private_folder(self._file.parent)
            try:
                self._write(rows)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, or the disk is full: no damage
                    raise
                self._file.unlink(missing_ok=True)
                self._write(rows)
        except (sqlite3.Error, OSError) as error:
            self._broken = True
            log.warning("%s cannot be written (%s): the next training computes again", self._file, error)

    def _write(self, rows: Sequence[tuple[str, bytes]]) -> None:
        self._file.touch(0o600)
        with self._open() as db:
            db.execute("CREATE TABLE IF NOT EXISTS numbers (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
            db.executemany("INSERT OR REPLACE INTO numbers VALUES (?, ?)", rows)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._file)
        try:
            with db:
                yield db
        finally:
            db.close()
