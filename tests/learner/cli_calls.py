"""Calling `learner` in this process, and in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner, Result

from learner import registry
from learner.cli import main
from learner.records import AdapterForm, AdapterState, AdapterVersion, Run
from learner.store import Store


def call(*words: str, answer: str | None = None) -> Result:
    """Run a command in this process, 80 columns wide, on $REDRAFT_HOME."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        return CliRunner(env={"COLUMNS": "80"}).invoke(main, words, input=answer)
    finally:
        signal.signal(signal.SIGTERM, before)


def said(*words: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    result = call(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "learner", *words]


def environment(home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "REDRAFT_HOME": str(home), "COLUMNS": "80", **more}


def run(home: Path, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        command(*words), env=environment(home, **(env or {})), capture_output=True, text=True, check=False, timeout=120
    )


def commands(of: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    yield path, of
    if isinstance(of, click.Group):
        for name, child in of.commands.items():
            yield from commands(child, (*path, name))


def edits_file(path: Path, pairs: Sequence[tuple[str, str, str]]) -> Path:
    """A JSONL file of (prompt, offered, kept)."""
    rows = [{"prompt": p, "offered": o, "kept": k} for p, o, k in pairs]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def some_edits(path: Path, count: int) -> Path:
    """`count` edits of different documents, each signed by the writer."""
    places = ["Rome", "Paris", "Oslo", "Lima", "Cairo", "Delhi", "Quito", "Tunis", "Sofia", "Riga", "Malé", "Apia"]
    works = ["painted the fence", "sold the boat", "closed the mine", "read the map", "wrote the law"]
    texts = [f"In {places[i % 12]} they {works[i % 5]} on day {i}." for i in range(count)]
    return edits_file(path, [(f"Say what happened: case {i}, {t}", t, f"{t} Noted.") for i, t in enumerate(texts)])


def add_adapter(store: Store, home: Path, name: str, version: int, state: AdapterState = AdapterState.CANDIDATE,
                base: str = "fp", folder: Path | None = None, sha256: str = "abc") -> None:  # fmt: skip
    if not registry.runs(store):
        registry.start_run(store, Run("run", 10.0, None, "running", base, {}, {}))
    held = {"proxy_cost": 0.1, "base_proxy_cost": 0.3, "untouched": 0.5, "reason": "better by 0.2 on 9 documents"}
    made = AdapterVersion(
        f"{name}-{version}", name, version, name, base, AdapterForm.ALORA, state, str(folder or home / "adapters"),
        sha256, 20.0, "run", 9, {"rank": 8}, held,
    )  # fmt: skip
    registry.register(store, made, [])
