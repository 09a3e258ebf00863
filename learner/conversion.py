"""The child process that converts models, seen from the light root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from learner.exceptions import ModelError

Progress = Callable[[str, float | None], None]
"""Called with words and the share done, 0 to 1 (None: unknown)."""


def run_child(arguments: Sequence[str], filling: Path, progress: Progress, *, online: bool = False) -> dict[str, Any]:
    """Run `learner.training.convert ARGUMENTS`, pass its progress on and return its report.

    `filling` is the folder that it works in. However this call ends, the child has ended.
    Raises ModelError with the child's last words when it failed.
    """
    environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    if not online:
        environment["HF_HUB_OFFLINE"] = "1"
    log, report = filling / "log", filling / "report.json"
    # -P: the working folder, which may be a cloned repository, is not searched for modules.
    command = [sys.executable, "-P", "-m", "learner.training.convert", *arguments]
    with log.open("w+", encoding="utf-8", errors="replace") as errors:
        child = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=os.name == "posix",
        )
        try:
            for line in child.stdout or ():
                share, _, words = line.rstrip("\n").partition("\t")
                progress(words, float(share))
            child.wait()
        finally:
            _end(child)
        errors.seek(0)
        said = [line.strip() for line in errors if line.strip()]
    if child.returncode != 0:
        raise ModelError(said[-1] if said else f"the conversion ended with status {child.returncode}")
    made: dict[str, Any] = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    log.unlink()
    report.unlink(missing_ok=True)
    return made


def _end(child: subprocess.Popen[str]) -> None:
    """End a child that still runs, with the converter that it started."""
    if child.stdout:
        child.stdout.close()
    if child.poll() is None:
        if os.name == "posix":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()
