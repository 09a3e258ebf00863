"""One SQLite file that several processes share: opening, transactions, checkpoints, and our errors.

WAL, foreign keys, every write in a BEGIN IMMEDIATE transaction (sqlite-utils' own `atomic` issues
a plain BEGIN, which fails as "locked" when two processes read and then write).

Durability: `synchronous=NORMAL`; what was committed survives a crash of any process of ours; a
power cut may take the last commits and never damages the file.

Two traps of SQLite are kept out here. A process that closes any descriptor of a database file
drops the locks of its other connections to it (POSIX), so nothing here, and nothing else in
Redraft, opens `edits.db` but SQLite. And SQLite before 3.51.3 can damage a database when a
checkpoint runs while another connection's commit resets the WAL, so automatic checkpoints are off
and ours hold the write lock.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from learner import migrations
from learner.config import private_folder
from learner.exceptions import StoreCorruptError, StoreError, StoreLockedError, StoreNewerError
from learner.sqlite import Database

BUSY_SECONDS = 5.0
CHECKPOINT_EVERY = 1000
"""Commits of one process between its checkpoints: some 20 MB of WAL."""
WAL_BYTES = 16_000_000
"""What a WAL file is cut back to when it starts again."""
SMALLEST = 512
"""Bytes of the smallest database there can be."""
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "fuse.sshfs", "fuse.rclone"})
"""File systems without shared memory between machines, where a WAL does not work."""
_creating = threading.Lock()


class SharedDatabase:
    """An open connection; it belongs to the thread that opened it."""

    def __init__(self, db: Database, path: Path | None, *, read_only: bool) -> None:
        self.db = db
        self.path = path
        self.read_only = read_only
        self._writes = 0

    @classmethod
    def open(cls, path: Path | None, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS) -> Self:
        """Open the database at `path` (None: in memory), making or migrating it where needed.

        Raises StoreNewerError for a newer database (which may be opened with `read_only`),
        StoreCorruptError for a damaged one, StoreLockedError when it stays locked, StoreError
        when it cannot be opened at all. A damaged file is neither replaced nor changed.
        """
        with translated(path), _os_errors(path):
            if path is None:
                store = cls(Database(_connect(":memory:", busy_seconds)), None, read_only=False)
                migrations.apply(store.db)
                store._set_pragmas()
                return store
            if read_only:
                return cls(Database(_connect_to_read(path, busy_seconds)), path, read_only=True)
            private_folder(path.parent)
            _make_private(path)
            if path.stat().st_size:
                # before anything can be written: a newer or damaged file stays as it is
                with contextlib.closing(_connect_to_read(path, busy_seconds)) as connection:
                    _refuse_newer(Database(connection), path)
            connection = _connect(path, busy_seconds)
            try:
                store = cls(Database(connection), path, read_only=False)
                store._prepare(path, busy_seconds)
            except BaseException:
                connection.close()
                raise
            return store

    def _set_pragmas(self) -> None:
        for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = NORMAL", "wal_autocheckpoint = 0"):
            self.db.execute(f"PRAGMA {pragma}")
        self.db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")

    def _prepare(self, path: Path, busy_seconds: float) -> None:
        self._set_pragmas()
        wal = self.db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        if not wal and on_network(path):
            self.db.execute("PRAGMA synchronous = FULL")
            wal = True  # stays with the rollback journal
        if wal and not migrations.pending(self.db):
            return
        try:
            with FileLock(f"{path}.migrate", timeout=busy_seconds, mode=0o600):
                if not wal:
                    self.db.execute("PRAGMA journal_mode = WAL")
                with self.transaction():
                    migrations.apply(self.db)
        except Timeout as error:
            raise StoreLockedError(f"{path} is being set up by another process that does not end: try again") from error

    def close(self) -> None:
        """Close the connection; committed rows are safe at any time."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Database]:
        """BEGIN IMMEDIATE ... COMMIT, or everything undone. Inside another one it joins that.

        Raises StoreLockedError after a bounded wait, StoreNewerError when a newer Redraft has
        migrated the database meanwhile, and StoreError when it is read-only, full, or refuses a row.
        """
        if self.read_only:
            raise StoreError(f"{self.path} was opened for reading only")
        if self._in_transaction():
            yield self.db
            return
        with translated(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                if self.db.execute("PRAGMA user_version").fetchone()[0] > migrations.VERSION:
                    raise newer(self.path, "a newer version")
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                    if self._in_transaction():
                        self.db.execute("ROLLBACK")
                raise
        self._writes += 1
        if self._writes % CHECKPOINT_EVERY == 0:
            self.checkpoint()

    def _in_transaction(self) -> bool:
        return self.db.conn.in_transaction

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, with SQLite's errors as ours."""
        with translated(self.path):
            return list(self.db.execute(sql, list(parameters)).fetchall())

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Inside, a locked database is an error at once: for what may as well be left undone."""
        wait = self.db.execute("PRAGMA busy_timeout").fetchone()[0]
        self.db.execute("PRAGMA busy_timeout = 0")
        try:
            yield
        finally:
            self.db.execute(f"PRAGMA busy_timeout = {int(wait)}")

    def checkpoint(self, *, truncate: bool = False) -> bool:
        """Move the WAL into the database. True if it was done, False where somebody is in the way.

        With `truncate`, waits for others and leaves an empty WAL file.
        """
        if self.path is None or self.read_only or self._in_transaction():
            return False
        try:
            if truncate:  # takes the write lock by itself
                return not self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            with self.without_waiting():
                self.db.execute("BEGIN IMMEDIATE")
                try:
                    with contextlib.closing(_connect(self.path, 0)) as second:
                        done: bool = not second.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0]
                        return done
                finally:
                    self.db.execute("ROLLBACK")
        except sqlite3.Error:  # every row is safe in the WAL; the next checkpoint will do it
            return False


def newer(path: Path | None, what: str) -> StoreNewerError:
    """The error for a database that a newer Redraft has migrated."""
    return StoreNewerError(
        f"{path} was written by a newer Redraft (it has {what}): update this one. "
        "Until then it can be read and exported, not written"
    )


def _refuse_newer(db: Database, path: Path) -> None:
    unknown = migrations.unknown(db)
    if unknown:
        raise newer(path, repr(unknown[-1]))


def _connect(where: Path | str, busy_seconds: float, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(where, uri=uri, isolation_level=None, timeout=busy_seconds)


def _connect_to_read(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection that cannot write, and does not checkpoint when it is closed."""
    if not path.exists():
        raise StoreError(f"there is no database at {path}: nothing was recorded or imported yet")
    if 0 < path.stat().st_size < SMALLEST:  # SQLite would take it for an empty one
        raise sqlite3.DatabaseError("file is not a database")
    connection = _connect(f"{path.absolute().as_uri()}?mode=ro", busy_seconds, uri=True)
    try:
        try:
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        except sqlite3.OperationalError as error:
            wal = path.with_name(path.name + "-wal")
            if str(error) == "database is locked" or (wal.exists() and wal.stat().st_size):
                raise
            # a folder that we cannot write, and nobody who writes: SQLite cannot make -shm, nor is it needed
            connection.close()
            connection = _connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", busy_seconds, uri=True)
            tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        if tables and ("edits",) not in tables:
            raise StoreError(f"{path} is a database of another program: move it away, or set REDRAFT_HOME elsewhere")
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Make the file if there is none, readable by its user only; SQLite gives -wal and -shm its mode.

    A file that is there is never opened here: see the module's docstring.
    """
    with _creating, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for each in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        with contextlib.suppress(FileNotFoundError):
            status = each.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"{each} is not a plain file (a link?): move it away")
            if os.name == "posix" and status.st_uid != os.getuid():
                raise StoreError(f"{each} belongs to another user: point REDRAFT_HOME to a folder of your own")
            if os.name == "posix" and status.st_mode & 0o077:
                each.chmod(0o600)


def on_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Whether `path` lies on a network file system (Linux only; elsewhere False)."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return False
    real = path.resolve()
    best, kind = -1, ""
    for _, folder, file_system, *_ in (line for line in lines if len(line) >= 3):
        at = Path(folder.replace("\\040", " "))
        if real.is_relative_to(at) and len(at.parts) >= best:
            best, kind = len(at.parts), file_system
    return kind in NETWORK


@contextlib.contextmanager
def _os_errors(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened: {error.strerror or error}. Check the folder's permissions and free space, "
            "or point REDRAFT_HOME elsewhere"
        ) from error


@contextlib.contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into ours, saying what to do."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # a mistake of ours
    except sqlite3.DatabaseError as error:
        text = str(error).lower()
        if "locked" in text or "busy" in text:
            raise StoreLockedError(
                f"{path} was locked by another process for too long; nothing was changed. "
                "Try again, or see `learner doctor`"
            ) from error
        if "malformed" in text or "not a database" in text or "disk image" in text:
            raise StoreCorruptError(
                f"{path} is damaged ({error}). It was left as it is. Copy it away, then try "
                f'`sqlite3 {path} ".recover" | sqlite3 recovered.db`'
            ) from error
        if "full" in text or "disk i/o" in text:
            raise StoreError(f"{path}: {error}; nothing was changed. Make room on the disk, then try again") from error
        raise StoreError(f"{path}: {error}") from error
    except UnicodeEncodeError as error:
        raise StoreError(
            f"{path}: a text holds a lone surrogate, which cannot be stored; nothing was changed"
        ) from error
