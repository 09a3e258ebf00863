"""`learner doctor`: what is well and what is not on this machine, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import rich_click as click

from learner import bug_report, config, screen
from learner.commands.frame import Command, friendly, json_option
from learner.exceptions import (
    ConfigError,
    ModelError,
    ModelMissingError,
    RedraftError,
    StoreCorruptError,
    StoreLockedError,
    StoreNewerError,
)

SAFE_SQLITE = (3, 51, 3)
"""The first SQLite whose WAL cannot be damaged by two connections that reset it at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `level` is ok, warn or bad, `advice` what to do about it."""

    what: str
    level: str
    words: str
    advice: str = ""


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
    if damage == "ok":
        yield Finding("store", "ok", f"{count} offers in {paths.database}")
    else:
        advice = "copy the file away, then save what can be read with `learner edits export FILE`"
        yield Finding("store", "bad", f"{paths.database} is damaged: {damage}", advice)
    yield Finding("consent", "ok", "edits are recorded" if recording else "no consent for all: see `learner consent`")
    if os.name == "posix" and stat.S_IMODE(paths.database.stat().st_mode) & 0o077:
        yield Finding("privacy", "bad", f"others can read {paths.database}", f"run `chmod 600 {paths.database}`")
    if sqlite3.sqlite_version_info < SAFE_SQLITE:
        yield Finding(
            "sqlite", "warn",
            f"Python links SQLite {sqlite3.sqlite_version}; before 3.51.3 a rare race can damage a WAL. Redraft lets "
            "one process at a time checkpoint, which avoids it",
            "do not checkpoint edits.db with other tools while an editor runs",
        )  # fmt: skip


def _model(paths: config.Paths) -> Iterator[Finding]:
    from learner import model_files

    base = model_files.current(paths, config.load(paths.config_file))
    can = [w for w, yes in (("train", base.trainable), ("serve", base.servable)) if yes]
    yield Finding("model", "ok", f"{base.name} can {' and '.join(can)}; {'; '.join(base.notes)}".rstrip("; "))


def _host(paths: config.Paths) -> Iterator[Finding]:
    from learner import launch

    settings = config.load(paths.config_file)
    if importlib.util.find_spec("xllamacpp") is None and not settings.host.url:
        words = "xllamacpp is not installed; there is no wheel of it for some machines"
        yield Finding("engine", "bad", words, f"set url under [host] in {paths.config_file} to a server that you run")
    if settings.host.url:
        yield Finding("host", "ok", f"by URL: {settings.host.url}")
        return
    status = launch.host_status(paths)
    running = f"running as process {status['pid']}" if status else "not running; started on demand"
    yield Finding("host", "ok", running)


def _training(paths: config.Paths) -> Iterator[Finding]:
    missing = [m for m in ("torch", "transformers", "peft", "trl") if importlib.util.find_spec(m) is None]
    if missing:
        yield Finding("training", "warn", f"not installed: {', '.join(missing)}", "run `pip install 'redraft[train]'`")
    else:
        yield Finding("training", "ok", "installed")


ADVICE: dict[type[RedraftError], str] = {
    ConfigError: "mend the file that the finding names, or remove it to go back to the defaults",
    ModelMissingError: "run `learner setup`",
    ModelError: "run `learner setup` again",
    StoreNewerError: "upgrade Redraft: `pip install -U redraft`",
    StoreLockedError: "close the editors and other programs that have edits.db open, then try again",
    StoreCorruptError: "copy the file away, then save what can be read with `sqlite3 edits.db .recover`",
}
"""What to do where a check itself failed."""

CHECKS: tuple[Callable[[config.Paths], Iterator[Finding]], ...] = (_settings, _store, _model, _host, _training)


def findings(paths: config.Paths) -> list[Finding]:
    """Look at everything; what cannot be looked at is a finding as well."""
    found = [Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")]
    for check in CHECKS:
        try:
            found.extend(check(paths))
        except RedraftError as error:
            found.append(Finding(check.__name__.strip("_"), "bad", str(error), ADVICE.get(type(error), "")))
    return found


@click.command(cls=Command)
@click.option("--report", is_flag=True, help="Print what to put into a bug report, without names, paths and texts.")
@json_option
@friendly
def doctor(report: bool, as_json: bool) -> None:
    """Look at the installation, and say what to do about what is not well.

    \b
    Examples:
      learner doctor
      learner doctor --report
    """
    paths = config.paths()
    found = findings(paths)
    if report:
        body = {"versions": bug_report.versions(), "findings": [asdict(f) for f in found]}
        bare = bug_report.bare(body, paths)
        screen.dump(bare) if as_json else screen.say(bare, bug_report.as_text(bare), False)
        screen.note("This is all of it. It was sent nowhere: read it, then paste it where you ask for help.")
    elif as_json:
        screen.dump(found)
    else:
        rows = [{"what": f.what, "level": f.level, "words": f.words} for f in found]
        screen.table(rows, {"what": "What", "level": "", "words": "Finding"}, False, empty="")
        for f in found:
            if f.advice:
                screen.note(f"{f.what}: {f.advice}")
    if any(f.level == "bad" for f in found):
        raise SystemExit(1)
