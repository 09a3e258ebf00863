"""One feedback type put on the loaded base: candidates, shared computations, the trainer; and off again."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from learner.exceptions import NothingToLearnError
from learner.feedback import FeedbackType, Signal
from learner.models import Progress
from learner.training import batches
from learner.training.again import GoingOn
from learner.training.base import FrozenBase
from learner.training.dataset import Row, Tokenised, with_prepared
from learner.training.processes import ALONE, World
from learner.training.room import is_out_of_memory
from learner.training.settings import TrainSettings
from learner.training.sharding import fill_reference
from learner.training.trainer import EditTrainer, Policy

log = logging.getLogger(__name__)

SHORTEST_ANSWER = 64
"""Tokens that an answer may have at least, however short the kept texts are."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Where samples of the base (of this fingerprint) are kept."""

    fingerprint: str
    folder: Path


@contextlib.contextmanager
def fitting(
    policy: Policy,
    feedback: FeedbackType,
    data: Tokenised | None,
    settings: TrainSettings,
    folder: Path,
    samples: Samples,
    *,
    held: Sequence[Row] = (),
    tell: Progress,
    world: World = ALONE,
    going_on: GoingOn | None = None,
    at_once: int | None = None,
) -> Iterator[tuple[EditTrainer, Tokenised]]:
    """A trainer of `feedback` on `data`, ready to train, and the rows with their candidates.

    What all feedback types share is computed first: the prompts under the base, and the reference, for
    `held` rows too; with `going_on` only its edits are trained on. `at_once` bounds the edits in memory at once.
    The adapter is taken off the base at the end. Processes of `world` that are not its first
    give no `data`: they get the first's, and its settings. Raises NothingToLearnError without a row that has a
    text to learn from.
    """
    made = None if data is None else _prepared(policy, feedback, data, settings, samples, tell)
    if made is not None and going_on is not None:
        made = made.only(going_on.new | going_on.replayed)
    data, held, settings = world.share(None if made is None else (made, held, settings))
    rows = [r for r in data.rows if batches.answers(r, feedback.needs)]
    if not rows:
        raise NothingToLearnError(f"{feedback.name}: no row has a text that it learns from")
    if policy.prefixes is not None:
        policy.prefixes.fill([r.prompt[: r.start] for r in [*rows, *held]])
    if Signal.REFERENCE in feedback.needs:
        steps = _steps(tell, "Reading the edits with the base")
        fill_reference(world, policy.reference, batches.texts([*rows, *held], feedback.needs), steps)
    steps = _steps(tell, f"Training {feedback.name}")
    start = None if going_on is None else going_on.start
    trainer = EditTrainer(policy, rows, feedback, settings, folder, steps, world, start=start, at_once=at_once)
    try:
        yield trainer, data
    finally:
        trainer.release()


@contextlib.contextmanager
def trained(
    policy: Policy,
    feedback: FeedbackType,
    data: Tokenised | None,
    settings: TrainSettings,
    folder: Path,
    samples: Samples,
    *,
    tell: Progress,
    world: World = ALONE,
    **options: Any,
) -> Iterator[tuple[EditTrainer, Tokenised]]:
    """As `fitting`, trained. Where memory runs out it begins again with half of the edits at once, and says so.

    Raises TrainingError where one edit is too much.
    """
    at_once: int | None = None
    while True:
        fit = fitting(
            policy, feedback, data, settings, folder, samples, tell=tell, world=world, at_once=at_once, **options
        )
        with fit as (trainer, rows):
            try:
                trainer.train()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not world.alone:
                    raise
                at_once = trainer.halved
            else:
                yield trainer, rows
                return
        words = f"Out of memory: {feedback.name} begins again with {at_once} edit(s) at once"
        log.warning("%s", words)
        tell(words, None)
        gc.collect()
        if policy.device.type == "cuda":
            torch.cuda.empty_cache()


def _prepared(
    policy: Policy, feedback: FeedbackType, data: Tokenised, settings: TrainSettings, samples: Samples, tell: Progress
) -> Tokenised:
    """The rows with their candidates, where the feedback type makes any."""
    prepare = getattr(feedback, "prepare", None)
    if prepare is None or not data.rows:
        return data
    lengths = sorted(max(len(r.kept), len(r.offered)) for r in data.rows)
    typical = lengths[int(0.9 * (len(lengths) - 1))]  # what runs on beyond it is not worth its time
    tokens = min(settings.max_answer_tokens, max(SHORTEST_ANSWER, typical))
    words = f"Sampling for {feedback.name}"
    tell(words, None)
    base = FrozenBase(policy, samples.fingerprint, samples.folder, max_tokens=tokens, done=_steps(tell, words))
    made = prepare(data.edits, base)
    return with_prepared(data, made, policy.tokenizer, settings, feedback.name, cut=base.cut)


def _steps(tell: Progress, words: str) -> Callable[[int, int], None]:
    def steps(done: int, total: int) -> None:
        tell(words, done / total if total else None)

    return steps
