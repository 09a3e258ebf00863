"""The agent of an experiment: the product's base, trainer and trimming, asked greedily and many at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from learner import feedback as plugins
from learner import prompt
from learner.cost import cost, cost_max
from learner.experiment.ledger import Answer
from learner.experiment.plan import Dials
from learner.feedback import FeedbackType, Teaches, teaches, usable_edits
from learner.models import BaseModel, Progress
from learner.records import Edit, Outcome, Prompt, Task
from learner.training.dataset import tokenise
from learner.training.fit import Samples, trained
from learner.training.policy import load_policy
from learner.training.sampling import sample
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer
from learner.trimming import trim


@dataclass(frozen=True, slots=True)
class Case:
    """A document as the experiment knows it: its hidden kind is the user's knowledge alone."""

    id: str
    kind: str
    prompt: Prompt


def edit_of(case: Case, answer: Answer, kept: str) -> Edit:
    """The row that the product would have recorded of this."""
    known: dict[str, Any] = {
        "offer_id": case.id,
        "created_at": 0.0,
        "task": Task.REWRITE,
        "document": case.id,
        "origin": "import",
        "prompt": case.prompt.to_json(),
        "prompt_version": prompt.PROMPT_VERSION,
        "generated": answer.text,
        "offered": answer.text,
        "kept": kept,
        "outcome": Outcome.ACCEPTED if kept == answer.text else Outcome.EDITED,
        "cost": cost(answer.text, kept),
        "cost_max": cost_max(answer.text, kept),
        "finish_reason": "length" if answer.cut else "stop",
    }
    unknown: dict[str, Any] = dict.fromkeys(Edit.__dataclass_fields__)
    return Edit(**(unknown | known))


def feedback_type(name: str, dials: Dials) -> FeedbackType:
    """The feedback type with the plan's dials. Raises PluginError where it takes no such dial."""
    options: dict[str, Any] = {}
    if dials.lam is not None:
        options["lam"] = dials.lam
    if dials.beta is not None:
        options |= {"options": {"dpo": {"beta": dials.beta}}} if name == "early_ensemble" else {"beta": dials.beta}
    return plugins.load(name, options)


class Agent:
    """The base, loaded once; adapters are trained on it one after the other, asked, and taken off again."""

    def __init__(self, base: BaseModel, epochs: int, batch_size: int, work: Path) -> None:
        self._base, self._epochs, self._batch_size, self._work = base, epochs, batch_size, work
        self._policy = load_policy(base, TrainSettings(("sft",)))

    def forget(self) -> None:
        """Drop what was computed of prompts and texts so far."""
        if self._policy.prefixes is not None:
            self._policy.prefixes.clear()
        self._policy.reference.clear()

    def answers(self, cases: Sequence[Case], max_tokens: int) -> dict[str, Answer]:
        """Greedy answers of the base, or of the adapter that is being fitted, by case."""
        policy = self._policy
        ids = [prompt.prompt_ids(case.prompt, policy.tokenizer) for case in cases]
        shared = len(policy.invocation) if policy.prefixes is not None else 0
        if policy.prefixes is not None:
            policy.prefixes.fill([tuple(i[: len(i) - shared]) for i in ids])
        drawn = sample(
            policy.causal_lm,
            policy.tokenizer,
            ids,
            None,
            max_tokens=max_tokens,
            prefixes=policy.prefixes,
            invocation=shared,
        )
        texts = [policy.tokenizer.decode(d.ids, skip_special_tokens=True) for d in drawn]
        return {
            case.id: Answer(trim(text, Task.REWRITE), d.cut) for case, text, d in zip(cases, texts, drawn, strict=True)
        }

    @contextmanager
    def trained(
        self, name: str, dials: Dials, edits: Sequence[Edit], held: Sequence[Edit], seed: int, tell: Progress
    ) -> Iterator[Mapping[str, float]]:
        """Train a feedback type; inside, `answers` are the adapter's. Gives the training's figures.

        Raises what a training raises.
        """
        kind = feedback_type(name, dials)
        settings = TrainSettings(
            (name,),
            epochs=dials.epochs or self._epochs,
            rate_scale=dials.rate_scale or 1.0,
            batch_size=self._batch_size,
            seed=seed,
        )
        tokenizer, invocation = self._policy.tokenizer, self._policy.invocation
        data = tokenise(usable_edits(edits, teaches(kind)), tokenizer, settings, invocation)
        likely = tokenise(usable_edits(held, Teaches.LABELS), tokenizer, settings, invocation).rows
        samples = Samples(self._base.fingerprint, self._work / "samples")
        started = time.monotonic()
        fit = trained(self._policy, kind, data, settings, self._work / "trainer", samples, held=likely, tell=tell)
        with fit as (trainer, _):
            yield {
                "kept_loss": fmean(trainer.kept_losses(likely)),
                "seconds": time.monotonic() - started,
                "rows": len(trainer.rows),
                "steps": trainer.state.global_step,
                "tokens": trainer.tokens,
                "first_loss": trainer.losses[0],
                "last_loss": _last_tenth(trainer),
            }


def _last_tenth(trainer: EditTrainer) -> float:
    return fmean(trainer.losses[-max(1, len(trainer.losses) // 10) :])
