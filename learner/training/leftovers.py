"""What trainings that died have left, swept when the next one starts.

Call under the training lock: whoever holds it knows that no other training runs.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from learner import registry
from learner.store import Store

WORK_PREFIX = ".train-"
"""Folders of a training at work, beside the adapters so that finished ones are renamed, not copied."""


def sweep(store: Store, adapters: Path) -> None:
    """Mark dead runs as interrupted, and remove their folders.

    Hidden folders are unfinished; a version's folder that the registry does not know was
    finished, and its training killed before it was recorded.
    """
    for run in registry.runs(store):
        if run.status == "running":
            registry.finish_run(store, run.id, "interrupted", dict(run.report))
    known = {a.id for a in registry.adapters(store)}
    if not adapters.is_dir():
        return
    for path in adapters.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name not in known:
            shutil.rmtree(path, ignore_errors=True)
