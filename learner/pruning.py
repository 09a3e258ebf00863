"""Old versions of adapters: their weights go, what is known of them stays.

A version that was replaced is kept for going back to, for a while. Its row stays for ever: what it answered is the
bandit's evidence. Which edits it saw goes with its weights, which are all that could remember them.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from learner import registry
from learner.records import AdapterState, AdapterVersion
from learner.store import Store


@dataclass(frozen=True, slots=True)
class Pruned:
    """The versions whose weights were removed (or would be), how many bytes that is, and what failed, in words."""

    versions: tuple[str, ...] = ()
    bytes: int = 0
    left: tuple[str, ...] = ()


def prune(store: Store, adapters: Path, keep: int, *, dry_run: bool = False) -> Pruned:
    """Remove the weights of retired versions, but for the newest `keep` of each name and base.

    `adapters` is the folder that they are in; what lies elsewhere, or is a link, is left alone. What a process that is
    killed here leaves of a version is still known to `forget`, does not serve, and is removed by the next one.
    """
    gone, size, left = [], 0, []
    for version in _old(store, keep):
        folder = Path(version.path)
        if folder.is_symlink() or folder.parent.resolve() != adapters.resolve():
            left.append(f"{version.id}: {folder} is no folder in {adapters}")
            continue
        there = _bytes(folder)
        try:
            if not dry_run and not _remove(store, version, folder):
                continue
        except OSError as error:
            left.append(f"{version.id}: {folder} ({error.strerror or error})")
            continue
        gone.append(version.id)
        size += there
    return Pruned(tuple(gone), size, tuple(left))


def _old(store: Store, keep: int) -> list[AdapterVersion]:
    """Retired versions that still have a folder, the newest `keep` of each name and base left out."""
    held: dict[tuple[str, str], list[AdapterVersion]] = defaultdict(list)
    for version in registry.adapters(store):  # by name and version
        if version.state is AdapterState.RETIRED and Path(version.path).is_dir():
            held[version.name, version.base_fingerprint].append(version)
    return [version for versions in held.values() for version in versions[: max(0, len(versions) - keep)]]


def _remove(store: Store, version: AdapterVersion, folder: Path) -> bool:
    """Whether it was still retired, and is removed. Raises OSError where the folder cannot be."""
    with store.transaction() as db:  # nobody promotes it meanwhile
        sql = "SELECT 1 FROM adapters WHERE id = ? AND state = ?"
        if db.execute(sql, [version.id, AdapterState.RETIRED]).fetchone() is None:
            return False
        shutil.rmtree(folder)  # first: what is left of it must be known to have seen what is forgotten
        db.execute("DELETE FROM adapter_rows WHERE adapter_id = ?", [version.id])
    return True


def _bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
