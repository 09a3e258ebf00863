"""What a log of edits says about the ways to learn from it, by the paper's theory (arXiv 2601.19055, section "Theory").

Two quantities decide there. **Edit quality**, gamma_min: how likely one edit finishes a text. By Lemma 1 an
edit contracts towards the optimum by 1 - gamma, and sft imitates the edited base, so it is as good as the
edits are. **Coverage**: dpo needs answers of the base that differ in what the user cares for, and pays for
every wish that the base never follows by itself.

Neither can be read off a log, so both are estimated, and the estimates are named for what they are:

- *completeness*: a user has habits, changes that come back (a line that is put in again and again). When one of
  them is made, how often are the habits made that mostly come with it? A user who goes all the way makes them
  together; one who mends what meets the eye does not.
- *finished*: how often an answer of an adapter, that is, an imitation of edited texts, was left as it was.
- *base rate*: how often the base's offers hold a habitual line already.
- *second moment* of pi/pi_ref over held-out kept texts, in nats: log E[(pi/pi_ref)^2], from the last training.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from learner.records import Edit, Outcome

FEWEST_EDITS = 20
"""With fewer there is nothing to say."""
LEAST_TIMES = 3
LEAST_SHARE = 0.05
"""A change is a habit that was made this many times, and in this share of the edits."""
COMPANIONS = 2
WHOLE, PARTIAL = 0.75, 0.6
"""Completeness above which edits are whole, and below which they are partial."""
COVERED = 0.1
"""Base rate of the habits from which on the base covers them."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The estimates (None where the log does not tell) and what they let one expect.

    `finished` comes with a 95% interval. `expected` are the feedback types, the one to expect to win first.
    """

    edits: int
    habits: tuple[str, ...]
    completeness: float | None
    finished: float | None
    finished_interval: tuple[float, float] | None
    base_rate: float | None
    second_moment: Mapping[str, float]
    expected: tuple[str, ...]
    why: str

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self)


def diagnose(edits: Sequence[Edit], second_moment: Mapping[str, float] | None = None) -> Diagnosis:
    """Estimates from settled edits; `second_moment` by adapter, in nats, where a training measured it."""
    edited = [e for e in edits if e.outcome == Outcome.EDITED and e.kept]
    by_base = [e for e in edited if e.adapter_version is None]
    made = [_put_in(e) for e in by_base]
    times = Counter(line for lines in made for line in lines)
    least = max(LEAST_TIMES, math.ceil(LEAST_SHARE * len(by_base)))
    habits = tuple(line for line, count in times.most_common() if count >= least)
    completeness = _completeness(made, habits)
    finished, interval = _finished(edits)
    rate = _base_rate(by_base, habits)
    expected, why = _expected(len(edited), completeness, finished, rate)
    return Diagnosis(
        len(edited), habits, completeness, finished, interval, rate, dict(second_moment or {}), expected, why
    )


def _lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines() if line.strip()}


def _put_in(edit: Edit) -> set[str]:
    """What the user put in: whole lines that the offer did not have, and marks at the beginning of others."""
    before = _lines(edit.offered)
    found = _lines(edit.kept or "") - before
    marks = {line[:2] for line in found if not line[:1].isalnum() and line[1:2] == " "}
    return found | {f"{mark}…" for mark in marks}


def _completeness(made: Sequence[set[str]], habits: Sequence[str]) -> float | None:
    """Mean over habits of how often the two that mostly come along came along; None with fewer than three habits."""
    if len(habits) <= COMPANIONS:
        return None
    shares = []
    for habit in habits:
        mine = [lines for lines in made if habit in lines]
        along = sorted((sum(o in lines for lines in mine) / len(mine) for o in habits if o != habit), reverse=True)
        shares.append(fmean(along[:COMPANIONS]))
    return fmean(shares)


def _finished(edits: Sequence[Edit]) -> tuple[float | None, tuple[float, float] | None]:
    """Share of an adapter's offers that were left as they were, with Wilson's interval."""
    tried = [
        e.outcome == Outcome.ACCEPTED
        for e in edits
        if e.adapter_version is not None and e.outcome in (Outcome.ACCEPTED, Outcome.EDITED, Outcome.REJECTED)
    ]
    if not tried:
        return None, None
    n, p, z = len(tried), fmean(tried), 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return p, (max(0.0, middle - half), min(1.0, middle + half))


def _base_rate(by_base: Sequence[Edit], habits: Sequence[str]) -> float | None:
    """How often a habitual line stands in the base's offers already, against how often it is put in."""
    lines = [h for h in habits if not h.endswith("…")]
    if not lines:
        return None
    there = Counter(line for e in by_base for line in _lines(e.offered))
    put = Counter(line for e in by_base for line in _put_in(e))
    return fmean(there[line] / (there[line] + put[line]) for line in lines)


def _expected(
    edits: int, completeness: float | None, finished: float | None, rate: float | None
) -> tuple[tuple[str, ...], str]:
    if edits < FEWEST_EDITS:
        return (), f"{edits} edits are too few to tell: {FEWEST_EDITS} are needed"
    quality = finished if finished is not None and completeness is None else completeness
    if quality is None:
        return ("early_ensemble", "sft"), (
            "no change comes back often enough to be a habit: nothing is known of edit quality, so mix the signals"
        )
    covered = rate is not None and rate >= COVERED
    words = f"completeness {quality:.2f}, base rate of the habits {rate or 0.0:.2f}: "
    if quality >= WHOLE:
        return ("sft", "early_ensemble", "rl", "dpo"), (
            words
            + "edits are whole, so imitating them is near the best there is (Lemma 1); dpo pays for coverage "
            + ("and the base has some" if covered else "that the base does not have")
        )
    if quality >= PARTIAL:
        return ("early_ensemble", "sft", "rl", "dpo"), words + "edits are neither whole nor clearly partial: mix"
    if covered:
        return ("dpo", "early_ensemble", "rl", "sft"), (
            words
            + "edits are partial, so imitating them stops half-way; preferences go on, and the base covers the habits"
        )
    return ("early_ensemble", "rl", "sft", "dpo"), (
        words + "edits are partial, so imitating them stops half-way; preferences would go on, but the base hardly "
        "covers the habits, where dpo alone runs away: with sft beside it, it does not"
    )
