"""`learner doctor`: what is well and what is not on this machine, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import rich_click as click

from learner import config, screen
from learner.commands.frame import Command, friendly, json_option
from learner.exceptions import RedraftError

SAFE_SQLITE = (3, 51, 3)
"""The first SQLite whose WAL cannot be damaged by two connections that reset it at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `level` is ok, warn or bad."""

    what: str
    level: str
    words: str


def _settings(paths: config.Paths) -> Iterator[Finding]:
    config.load(paths.config_file)
    yield Finding("settings", "ok", f"{paths.config_file}{'' if paths.config_file.exists() else ' (defaults)'}")


def _store(paths: config.Paths) -> Iterator[Finding]:
    from learner.store import Store

    if not paths.database.exists():
        yield Finding("store", "ok", "nothing was recorded or imported yet")
        return
    with Store.open(paths.database, read_only=True) as store:
        damage = store.db.execute("PRAGMA quick_check").fetchone()[0]
        count = store.db.execute("SELECT count(*) FROM offers").fetchone()[0]
        recording = store.consent("*") is not None
    level = "ok" if damage == "ok" else "bad"
    yield Finding("store", level, f"{count} offers in {paths.database}" + ("" if level == "ok" else f": {damage}"))
    yield Finding("consent", "ok", "edits are recorded" if recording else "no consent for all: see `learner consent`")
    if os.name == "posix" and stat.S_IMODE(paths.database.stat().st_mode) & 0o077:
        yield Finding("privacy", "bad", f"others can read {paths.database}: run `chmod 600` on it")
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        yield Finding(
            "sqlite", "warn",
            f"Python links SQLite {sqlite3.sqlite_version}; before 3.51.3 a rare race can damage a WAL. Redraft lets "
            "one process at a time checkpoint, which avoids it; do not checkpoint with other tools meanwhile",
        )  # fmt: skip


def _model(paths: config.Paths) -> Iterator[Finding]:
    from learner import model_files

    base = model_files.current(paths, config.load(paths.config_file))
    can = [w for w, yes in (("train", base.trainable), ("serve", base.servable)) if yes]
    yield Finding("model", "ok", f"{base.name} can {' and '.join(can)}; {'; '.join(base.notes)}".rstrip("; "))


def _host(paths: config.Paths) -> Iterator[Finding]:
    from learner import launch

    settings = config.load(paths.config_file)
    if settings.host.url:
        yield Finding("host", "ok", f"by URL: {settings.host.url}")
        return
    status = launch.host_status(paths)
    running = f"running as process {status['pid']}" if status else "not running; started on demand"
    yield Finding("host", "ok", running)
    if importlib.util.find_spec("xllamacpp") is None:
        yield Finding("engine", "bad", "xllamacpp is not installed (no wheel for this machine?): set host.url")


def _training(paths: config.Paths) -> Iterator[Finding]:
    missing = [m for m in ("torch", "transformers", "peft", "trl") if importlib.util.find_spec(m) is None]
    if missing:
        yield Finding("training", "warn", f"not installed: {', '.join(missing)}; `pip install 'redraft[train]'`")
    else:
        yield Finding("training", "ok", "installed")


CHECKS: tuple[Callable[[config.Paths], Iterator[Finding]], ...] = (_settings, _store, _model, _host, _training)


@click.command(cls=Command)
@json_option
@friendly
def doctor(as_json: bool) -> None:
    """Look at the installation, and say what to do about what is not well.

    \b
    Example:
      learner doctor --json
    """
    paths = config.paths()
    found = [Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    for check in CHECKS:
        try:
            found.extend(check(paths))
        except RedraftError as error:
            found.append(Finding(check.__name__.strip("_"), "bad", str(error)))
    rows = [{"what": f.what, "level": f.level, "words": f.words} for f in found]
    screen.table(rows, {"what": "What", "level": "", "words": "Finding"}, as_json, empty="")
    if any(f.level == "bad" for f in found):
        raise SystemExit(1)
