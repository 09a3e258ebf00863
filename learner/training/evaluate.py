"""Held-out figures on the engine that serves, and the promotion that they decide.

Two figures, since each alone misleads. The **proxy cost**, cost_max(new answer, logged y'), is what
a user would pay at most, and for the base nearly exactly: y' was made from the base's own answer. An
adapter words its answer afresh, so with few documents its proxy cost hides what it has learnt. The
**likelihood** of y', in nats per token on held-out documents, does not care about wording; it is what
the paper picks its settings by. It cannot see endless repetition, which lengths can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import msgspec

from learner.armset import ArmSet
from learner.config import Config
from learner.cost import cost_max, tokens
from learner.records import AdapterState, Edit, Task
from learner.serving import PrivateHost
from learner.training.answers import Question, ask
from learner.trimming import trim

MOST_EDITS = 60
"""Held-out edits that are answered, the newest ones: each costs an answer per adapter."""
SLOTS = 4
LEAST_DOCUMENTS = 5
"""With fewer held-out documents nothing is clearly better or worse."""
CONFIDENCE = 0.95
RESAMPLES = 10_000
RUNAWAY_RATIO = 2.0
"""An adapter whose answers are on average longer than this many times the kept texts runs away."""
RUNAWAY_SHARE = 0.1
"""So does one that is cut off by the token limit this much more often than the base,"""
RUNAWAY_LEAST = 2
"""and at least this many times more: one long answer is no habit."""


@dataclass(frozen=True, slots=True)
class Figures:
    """How one arm answered the held-out prompts, edit by edit.

    `costs` are proxy costs, cost_max(new answer, logged y'); `ratios` are lengths in tokens over
    the kept text's; `cut` says whether the token limit ended an answer.
    """

    documents: tuple[str, ...]
    costs: tuple[float, ...]
    ratios: tuple[float, ...]
    cut: tuple[bool, ...]

    @property
    def proxy_cost(self) -> float:
        """Mean over documents, so that one that was edited often does not outweigh the others."""
        return fmean(by_document(self.documents, self.costs).values())

    @property
    def untouched(self) -> float:
        """Share of answers that equal the kept text."""
        return fmean(float(c == 0) for c in self.costs)

    @property
    def length_ratio(self) -> float:
        """Mean length over the kept text's."""
        return fmean(self.ratios)

    @property
    def cut_share(self) -> float:
        """Share of answers that the token limit ended."""
        return fmean(map(float, self.cut))


def measure(
    edits: Sequence[Edit],
    arms: ArmSet,
    config: Config,
    *,
    max_tokens: int,
    done: Callable[[int, int], None] | None = None,
) -> dict[str | None, Figures]:
    """Greedy answers to held-out prompts by the base (None) and every adapter of `arms`, in one run.

    Each edit needs a kept text. Answers are trimmed as the server trims them. Raises HostError,
    or AdapterError for an adapter that the engine cannot load.
    """
    every: list[str | None] = [None, *arms.adapters]
    chosen = list(edits)[-MOST_EDITS:]
    # all arms on one prompt, one after the other: they share its cache
    questions = [Question(edit.chat, arm, max_tokens) for edit in chosen for arm in every]
    with PrivateHost(arms, msgspec.structs.replace(config, slots=SLOTS)) as endpoint:
        answers = ask(endpoint, questions, parallel=SLOTS, done=done)
    found: dict[str | None, Figures] = {}
    for number, arm in enumerate(every):
        own = answers[number :: len(every)]
        texts = [trim(a.text, Task(e.task)) for a, e in zip(own, chosen, strict=True)]
        kept = [e.kept or "" for e in chosen]
        found[arm] = Figures(
            documents=tuple(e.document for e in chosen),
            costs=tuple(cost_max(t, k) for t, k in zip(texts, kept, strict=True)),
            ratios=tuple(len(tokens(a.text)) / max(1, len(tokens(k))) for a, k in zip(own, kept, strict=True)),
            cut=tuple(a.finish_reason == "length" for a in own),
        )
    return found


@dataclass(frozen=True, slots=True)
class Likelihood:
    """-log pi(y' | x) per token of held-out kept texts, in nats, under the base and under an adapter."""

    documents: tuple[str, ...]
    base: tuple[float, ...]
    adapter: tuple[float, ...]

    @property
    def base_mean(self) -> float | None:
        """Mean over texts; None without any."""
        return fmean(self.base) if self.base else None

    @property
    def adapter_mean(self) -> float | None:
        """Mean over texts; None without any."""
        return fmean(self.adapter) if self.adapter else None

    def gain(self) -> tuple[float, float]:
        """Interval of how many nats a token the adapter is better, over documents. Needs two documents."""
        gains = [b - a for b, a in zip(self.base, self.adapter, strict=True)]
        return interval(list(by_document(self.documents, gains).values()))


def second_moment(likelihood: Likelihood, lengths: Sequence[int]) -> float | None:
    """log E[(pi/pi_ref)^2] over held-out kept texts of these lengths in tokens, in nats; None without any.

    Stands for the coverage that the paper's bound for dpo asks for (C_PREF): the larger, the less of what
    the adapter writes does the base ever write.
    """
    logs = [
        2 * n * (before - after) for n, before, after in zip(lengths, likelihood.base, likelihood.adapter, strict=True)
    ]
    if not logs:
        return None
    top = max(logs)
    return top + math.log(fmean(math.exp(x - top) for x in logs))


def judge(base: Figures, adapter: Figures, likelihood: Likelihood | None = None) -> tuple[AdapterState, str]:
    """Whether an adapter may serve, by paired bootstraps over held-out documents; the reason in words.

    Retired: given to runaway length where the base is not. Serving: clearly better by proxy cost, or
    clearly likelier to write what was kept. Retired: clearly worse by proxy cost, and not likelier.
    Else, with few documents or small effects: trial. Likelihood goes first where the two disagree:
    y' was made from the base's own answer, so the proxy cost flatters the base and nobody else.
    """
    both = f"{adapter.proxy_cost:.3f} against the base's {base.proxy_cost:.3f}"
    if runs_away(adapter, base):
        return AdapterState.RETIRED, (
            f"runaway length: {adapter.length_ratio:.1f} times the kept texts against the base's "
            f"{base.length_ratio:.1f}, {adapter.cut_share:.0%} cut off against {base.cut_share:.0%}; "
            f"proxy cost {both}"
        )
    before, after = by_document(base.documents, base.costs), by_document(adapter.documents, adapter.costs)
    low, high = interval([after[d] - before[d] for d in before])
    documents = len(before)
    words = f"proxy cost {both} on {documents} held-out document{'s' if documents != 1 else ''}"
    if documents < LEAST_DOCUMENTS:
        return AdapterState.TRIAL, f"too few held-out documents to tell: {words}"
    words += f" (difference {low:+.3f} to {high:+.3f})"
    if high < 0:
        return AdapterState.SERVING, f"better than the base: {words}"
    if likelihood is not None and len(set(likelihood.documents)) >= LEAST_DOCUMENTS:
        least, most = likelihood.gain()
        if least > 0:
            return AdapterState.SERVING, (
                f"likelier to write what was kept: {likelihood.adapter_mean:.2f} nats a token against the base's "
                f"{likelihood.base_mean:.2f} (gain {least:.2f} to {most:.2f}); {words}"
            )
    if low > 0:
        return AdapterState.RETIRED, f"worse than the base: {words}"
    return AdapterState.TRIAL, f"no clear difference: {words}"


def runs_away(adapter: Figures, base: Figures) -> bool:
    """Whether answers run on without end, where the base's do not."""
    long = adapter.length_ratio > RUNAWAY_RATIO >= base.length_ratio
    more = sum(adapter.cut) - sum(base.cut)
    return long or (more >= RUNAWAY_LEAST and adapter.cut_share >= base.cut_share + RUNAWAY_SHARE)


def by_document(documents: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Mean value per document."""
    gathered: dict[str, list[float]] = {}
    for document, value in zip(documents, values, strict=True):
        gathered.setdefault(document, []).append(value)
    return {document: fmean(own) for document, own in gathered.items()}


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean. One value, or all alike, have no width."""
    import numpy as np

    sample = np.asarray(values, dtype=float)
    drawn = np.random.default_rng(0).integers(0, len(sample), (RESAMPLES, len(sample)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(sample[drawn].mean(1), [tail, 1 - tail])
    return float(low), float(high)
