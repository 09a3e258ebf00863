"""A store that is locked, newer, damaged, somebody else's, read-only or full: a message, and nothing lost."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from forks import as_ordinary_user, in_fork
from store_rows import record, settlement

from learner import exchange, migrations, registry
from learner.database import on_network
from learner.exceptions import ConfigError, StoreCorruptError, StoreError, StoreLockedError, StoreNewerError
from learner.records import Outcome
from learner.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with twenty edits, closed."""
    where = tmp_path / "home" / "edits.db"
    with Store.open(where) as store:
        for i in range(20):
            record(store, document=f"file:///{i}.md")
    return where


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can reach, which pytest's is not."""
    folder = Path(tempfile.mkdtemp(prefix="redraft-store-"))
    yield folder
    for each in (folder, *folder.rglob("*")):
        if each.is_dir():
            each.chmod(0o700)
    shutil.rmtree(folder)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_every_file_is_for_its_user_only(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = tmp_path / "deep" / "home"
        with Store.open(folder / "edits.db") as store:
            record(store)
            store.checkpoint()
            names = {p.name: mode(p) for p in folder.iterdir()}
            assert {"edits.db", "edits.db-wal", "edits.db-shm"} <= set(names)
            assert set(names.values()) == {0o600}
            assert mode(folder) == 0o700
    finally:
        os.umask(before)


def test_lax_permissions_are_mended(path: Path) -> None:
    path.chmod(0o644)
    path.parent.chmod(0o755)
    with Store.open(path) as store:
        record(store)
        assert [mode(path), mode(path.with_name("edits.db-wal")), mode(path.parent)] == [0o600, 0o600, 0o700]


def test_a_link_in_place_of_the_database_is_refused(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "other" / "edits.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with pytest.raises(StoreError, match="not a plain file"):
        Store.open(link)
    folder = tmp_path / "linked"
    folder.symlink_to(path.parent)
    with pytest.raises(ConfigError, match="not a folder"):
        Store.open(folder / "edits.db")


def test_a_locked_store_says_so_after_a_bounded_wait(path: Path) -> None:
    with (
        Store.open(path, busy_seconds=0.1) as store,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        made = record(store, None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreLockedError, match="nothing was changed"):
            store.settle(settlement(made))
        other.execute("ROLLBACK")
        assert store.settle(settlement(made)) is True
        assert len(list(store.edits("outcome = 'edited'"))) == 21


def test_a_setting_up_that_hangs_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with FileLock(tmp_path / "edits.db.migrate"), pytest.raises(StoreLockedError, match="being set up"):
        Store.open(tmp_path / "edits.db", busy_seconds=0.1)
    Store.open(tmp_path / "edits.db").close()


def make_newer(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('redraft', 'm999_future', '2030')"
        )
        db.execute(f"PRAGMA user_version = {migrations.VERSION + 1}")


def test_a_newer_store_is_read_and_exported_not_written(path: Path) -> None:
    make_newer(path)
    before = path.read_bytes()
    with pytest.raises(StoreNewerError, match=r"m999_future.*update"):
        Store.open(path)
    with Store.open(path, read_only=True) as store:
        assert len(list(store.edits())) == 20
        assert exchange.export(store, io.StringIO()) == 20
        assert store.bandit_state() != {}
        with pytest.raises(StoreError, match="reading only"):
            record(store)
    assert path.read_bytes() == before


def test_an_open_store_that_became_the_older_one_stops_writing(path: Path) -> None:
    with Store.open(path) as store:
        made = record(store, None)
        make_newer(path)
        with pytest.raises(StoreNewerError, match="update"):
            store.settle(settlement(made))
        assert len(list(store.edits())) == 21


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    where = tmp_path / "edits.db"
    with contextlib.closing(sqlite3.connect(where)) as db:
        db.execute("CREATE TABLE bookmarks (url)")
    before = where.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match="another program"):
            Store.open(where, read_only=read_only)
    assert where.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"Dear diary, no database here. " * 400, b"SQLite format 3\0" + b"\xff" * 8000, b"x"]
)
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    where = tmp_path / "edits.db"
    where.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises(StoreCorruptError, match="left as it is"):
            Store.open(where, read_only=read_only)
    assert where.read_bytes() == content


@pytest.mark.parametrize("page", [0, 1, 2, 5, 9])
def test_a_damaged_store_is_told_and_not_changed(path: Path, page: int) -> None:
    body = bytearray(path.read_bytes())
    start = page * 4096 + (100 if page == 0 else 0)
    body[start : start + 3000] = b"\xa5" * 3000
    path.write_bytes(body)

    def use() -> None:
        with Store.open(path) as store:
            list(store.edits())
            store.bandit_state(rebuild=True)
            registry.adapters(store)
            store.read("SELECT * FROM meta")
            if store.read("PRAGMA integrity_check") != [("ok",)]:
                raise StoreCorruptError("found by the check only")

    with pytest.raises(StoreCorruptError):
        use()
    assert path.read_bytes() == body


def test_a_damaged_store_with_a_wal_left_behind_is_not_changed(path: Path, tmp_path: Path) -> None:
    with Store.open(path) as store:
        store.mark_shown(
            next(store.edits()).offer_id, 5.0
        )  # leaves the damaged page out of the WAL, which would heal it
        shutil.copytree(path.parent, tmp_path / "copy")  # as a crash leaves it
    copy = tmp_path / "copy" / "edits.db"
    body = bytearray(copy.read_bytes())
    body[0:16] = b"\0" * 16
    copy.write_bytes(body)
    with pytest.raises(StoreCorruptError):
        Store.open(copy)
    assert copy.read_bytes() == body
    assert copy.with_name("edits.db-wal").stat().st_size > 0


def read_all(path: Path) -> int:
    with Store.open(path, read_only=True) as store:
        return len(list(store.edits()))


def refused(path: Path) -> str:
    try:
        Store.open(path).close()
    except StoreError as error:
        return str(error)
    return "it opened"


def test_a_read_only_folder_can_be_read(path: Path, open_folder: Path) -> None:
    home = open_folder / "home"
    shutil.copytree(path.parent, home)
    (home / "edits.db").chmod(0o400)
    home.chmod(0o500)
    assert as_ordinary_user(open_folder, read_all, home / "edits.db") == 20
    assert "edits.db" in as_ordinary_user(open_folder, refused, home / "edits.db")
    (home / "edits.db").chmod(0o600)
    assert as_ordinary_user(open_folder, refused, home / "edits.db") != "it opened"


def test_a_folder_where_nothing_can_be_made(open_folder: Path) -> None:
    home = open_folder / "home"
    home.mkdir(mode=0o500)
    assert "permissions" in as_ordinary_user(open_folder, refused, home / "edits.db")
    with pytest.raises(StoreError, match="nothing was recorded or imported yet"):
        Store.open(open_folder / "none.db", read_only=True)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to make a file of somebody else's")
def test_a_database_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 65534, 65534)
    with pytest.raises(StoreError, match="belongs to another user"):
        Store.open(path)


def fill(path: Path, limit: int) -> tuple[int, str, int]:
    """Record under a limit on file sizes until it fails: edits acknowledged, the error, edits found then."""
    acknowledged = 0
    message = ""
    with Store.open(path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            for _ in range(5000):
                record(store, Outcome.ACCEPTED)
                acknowledged += 1
                if acknowledged % 50 == 0:
                    store.checkpoint()
        except StoreError as error:
            message = str(error)
        there = len(list(store.edits("outcome IS NOT NULL")))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        record(store, Outcome.ACCEPTED)  # goes on, on the same connection
        assert store.read("PRAGMA integrity_check") == [("ok",)]
        return acknowledged, message, there


@pytest.mark.parametrize("limit", [200_000, 500_001, 1_000_000])
def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path, limit: int) -> None:
    acknowledged, message, there = in_fork(fill, tmp_path / "edits.db", limit)
    assert 0 < acknowledged < 5000
    assert "Make room" in message
    assert there == acknowledged


def test_a_network_file_system_is_noticed(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/home {tmp_path}/my\\040home nfs4 rw 0 0\n"
        f"tmpfs {tmp_path}/my\\040home/local tmpfs rw 0 0\n"
    )
    assert on_network(tmp_path / "my home" / "edits.db", mounts)
    assert not on_network(tmp_path / "my home" / "local" / "edits.db", mounts)
    assert not on_network(tmp_path / "edits.db", mounts)
    assert not on_network(tmp_path / "edits.db", tmp_path / "none")
