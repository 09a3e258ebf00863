"""One training, from the store to judged adapters."""

from __future__ import annotations

import contextlib
import logging
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from learner import config as configuration
from learner import feedback as plugins
from learner import holdout, registry
from learner.authors import own
from learner.config import Config, Paths, private_folder
from learner.exceptions import ModelError, NothingToLearnError, RedraftError, TrainingError
from learner.feedback import FeedbackType, Teaches, teaches, usable_edits
from learner.models import BaseModel, Progress
from learner.pruning import prune
from learner.records import AdapterForm, Edit, Run, new_id, now
from learner.store import Store
from learner.training.leftovers import WORK_PREFIX, sweep
from learner.training.processes import ALONE, World
from learner.training.quiet import quiet
from learner.training.report import AdapterReport, TrainReport
from learner.training.settings import TrainSettings

if TYPE_CHECKING:
    from learner.training.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What each arm would train on, and what is held out; `failed` are those that cannot be loaded."""

    arms: Sequence[str]
    types: Mapping[str, FeedbackType]
    edits: Mapping[str, Sequence[Edit]]
    held_out: Sequence[Edit]
    total: int
    failed: Mapping[str, str]


def train(
    store: Store,
    base: BaseModel,
    settings: TrainSettings,
    *,
    progress: Progress,
    dry_run: bool = False,
    paths: Paths | None = None,
    config: Config | None = None,
    world: World = ALONE,
) -> TrainReport:
    """Train, publish, measure and judge one adapter per feedback type.

    A feedback type that fails is reported and does not stop the others. `dry_run` only says what
    would be trained on, and writes nothing. An interrupt (Ctrl-C, SIGTERM) is recorded and raised
    again as KeyboardInterrupt; nothing half-written stays. Others of `world` call `train_along`.

    Raises NothingToLearnError where no edit teaches any of the feedback types, ModelError for a
    base that cannot be trained, AdapterError for settings that cannot be served, TrainingError
    when another training runs.
    """
    paths = paths or configuration.paths()
    config = config or configuration.load()
    _check_base(base)
    if not base.invocation:
        settings = replace(settings, form=AdapterForm.LORA)
    if dry_run:
        plan = _plan(store, settings, config, dry_run=True)
        return _preview(store, base, settings, plan)
    private_folder(paths.data)
    with _only_one(paths, store), _terminable(), quiet():
        from learner.training.session import Session
        from learner.training.trainer import lora_config

        lora_config(settings, base.invocation)  # refuses what cannot be served, before anything is done
        sweep(store, paths.adapters)
        plan = _plan(store, settings, config, dry_run=False)
        private_folder(paths.adapters)
        run = Run(new_id(), now(), None, "running", base.fingerprint, settings.to_json(), {})
        registry.start_run(store, run)
        with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=paths.adapters) as work:
            session = Session(store, base, settings, plan, run, paths, config, Path(work), progress, world)
            report = _recorded(store, run, session)
        return replace(report, pruned=_pruned(store, paths, config))


def train_along(base: BaseModel, world: World) -> None:
    """The part of a process that is not the first: it needs the base, and no store. Raises as `follow` does."""
    _check_base(base)
    with _terminable(), quiet():
        from learner.training.follower import follow

        follow(base, world)


def _pruned(store: Store, paths: Paths, config: Config) -> tuple[str, ...]:
    """Remove the weights of versions that were replaced long ago; what that meets does not fail the training."""
    try:
        found = prune(store, paths.adapters, config.keep_versions)
    except (RedraftError, OSError) as error:
        logger.warning("old versions of adapters could not be removed: %s", error)
        return ()
    for words in found.left:
        logger.warning("an old version of an adapter was not removed: %s", words)
    return found.versions


def _recorded(store: Store, run: Run, session: Session) -> TrainReport:
    """Run the session, and record how it ended, whatever happens."""
    started = time.monotonic()
    status = "failed"
    try:
        session.run()
        status = "finished" if session.report.ok else "failed"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    finally:
        session.report = replace(session.report, seconds=time.monotonic() - started)
        registry.finish_run(store, run.id, status, session.report.to_json())
    return session.report


def _plan(store: Store, settings: TrainSettings, config: Config, *, dry_run: bool) -> Plan:
    """Which edits teach what, less the held-out documents. Raises NothingToLearnError.

    Where all edits are one's own, an arm of one's own would be the shared one again: there is none. Where
    there are such arms, what is measured is the answers to oneself.
    """
    edits = list(store.edits("outcome IN ('accepted', 'edited', 'rejected')"))
    held = _held_out(store, usable_edits(edits, Teaches.COSTS), dry_run=dry_run)
    types: dict[str, FeedbackType] = {}
    failed: dict[str, str] = {}
    mine = own(store, config.author)
    twice = settings.people == "both" and not all(mine(e) for e in edits)
    arms = [arm for arm in settings.arms if twice or settings.people != "both" or not settings.is_own(arm)]
    for arm in arms:
        try:
            types[arm] = plugins.load(settings.arms[arm])
        except RedraftError as error:
            failed[arm] = str(error)
    chosen = {
        arm: [
            e
            for e in usable_edits(edits, teaches(kind))
            if not held.get(e.document, False) and (mine(e) or not settings.is_own(arm))
        ]
        for arm, kind in types.items()
    }
    if not any(chosen.values()) and not failed:
        raise NothingToLearnError(_nothing(edits, held, settings))
    measurable = [
        e
        for e in usable_edits(edits, Teaches.LABELS)
        if held.get(e.document, False) and (mine(e) or settings.people == "shared")
    ]
    return Plan(arms, types, chosen, measurable, len(edits), failed)


def _nothing(edits: Sequence[Edit], held: Mapping[str, bool], settings: TrainSettings) -> str:
    names = ", ".join(settings.feedback)
    if not edits:
        return (
            "there is no edit to learn from yet: accept and change some offers in your editor, "
            "or import edits with `learner edits import FILE.jsonl`"
        )
    kept_back = sum(held.get(e.document, False) for e in edits)
    return (
        f"none of the {len(edits)} settled edits teaches {names}: {kept_back} of them are held out to measure by, "
        "and offers that were taken as they were or rejected teach some feedback types nothing. Edit some more offers"
    )


class _DryRun(Exception):  # noqa: N818  not an error: it rolls the transaction back
    pass


def _held_out(store: Store, edits: Sequence[Edit], *, dry_run: bool) -> dict[str, bool]:
    """Whether each document is held out. The decisions are recorded, unless in a dry run."""
    if not dry_run:
        return holdout.assign(store, edits)
    held: dict[str, bool] = {}
    with contextlib.suppress(_DryRun), store.transaction():
        held = holdout.assign(store, edits)
        raise _DryRun
    return held


def _preview(store: Store, base: BaseModel, settings: TrainSettings, plan: Plan) -> TrainReport:
    """What would be trained on: with the tokenizer alone, no weights."""
    with quiet():
        from transformers import AutoTokenizer

        from learner.training.again import going_on
        from learner.training.dataset import tokenise
        from learner.training.trainer import lora_config

        lora_config(settings, base.invocation)
        tokenizer = AutoTokenizer.from_pretrained(base.folder)
        invocation = base.invocation if settings.form is AdapterForm.ALORA else ()
        reports = []
        for name in plan.arms:
            if name in plan.failed:
                reports.append(AdapterReport(name, error=plan.failed[name]))
                continue
            data = tokenise(plan.edits[name], tokenizer, settings, invocation)
            report = AdapterReport(name, rows=len(data.rows), left_out=data.left_out)
            offers = [r.offer_id for r in data.rows]
            again = going_on(store, name, plan.types[name].name, base.fingerprint, settings, offers)
            if again is not None:
                rows = len(again.new) + len(again.replayed)
                report = replace(report, rows=rows, went_on_from=again.adapter_id, new=len(again.new))
            reports.append(report)
    return TrainReport(
        "", base.name, base.fingerprint, plan.total, len(plan.held_out), dry_run=True, adapters=tuple(reports)
    )


def _check_base(base: BaseModel) -> None:
    if not base.trainable or base.folder is None:
        raise ModelError(f"{base.name} cannot be trained here: {' '.join(base.notes) or 'see `learner doctor`'}")


@contextlib.contextmanager
def _only_one(paths: Paths, store: Store) -> Iterator[None]:
    """One training at a time: the lock also says which leftovers are dead."""
    try:
        with FileLock(paths.data / "train.lock", timeout=0, mode=0o600):
            yield
    except Timeout as error:
        begun = [run.started_at for run in registry.runs(store) if run.status == "running"]
        since = f" since {datetime.fromtimestamp(begun[0]):%H:%M:%S}" if begun else ""
        raise TrainingError(f"another training runs in {paths.data}{since}: wait for it, or stop it") from error


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a training as Ctrl-C does: in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
