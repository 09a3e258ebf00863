"""Bandits: the contract, discovery, and the probabilities that every choice is logged with.

A bandit picks the adapter of each request and learns from each edit's cost (the paper's late
ensemble, alg 1). Edits arrive minutes later, out of order, or never, so:

- the state is a commutative fold over the store's events, never a pickle; cached, rebuildable;
- a choice that has not settled counts as in flight;
- statistics are kept per (task, arm, adapter version), since costs of different tasks do not
  compare; a new version inherits its predecessor's posterior, discounted to 5 decisions;
- the logged propensity is the exact probability at the draw, with a uniform floor, and adapters
  on trial get at most a fifth together.

A bandit plugin (entry-point group `redraft.bandits`) only turns statistics into weights.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from random import Random
from typing import Any, Literal, Protocol, runtime_checkable

from learner.exceptions import PluginError
from learner.records import Task

ENTRY_POINT_GROUP = "redraft.bandits"
FLOOR = 0.02
"""Least probability of any arm (less where there are more than 25 arms, or 10 on trial)."""
TRIAL_SHARE = 0.2
"""Most probability that all adapters on trial get together."""
INHERITED = 5.0
"""Decisions that a predecessor's posterior is worth to the next version."""
PRIOR_WORTH = 2.0
"""Decisions that an arm's held-out mean cost is worth."""
UNKNOWN_COST = 0.5
"""What an answer is thought to cost where nothing at all is known."""
GRAIN = 2.0**-16
"""Losses are counted to this precision, so that sums are exact and their order does not matter."""


@dataclass(frozen=True, slots=True)
class Event:
    """A choice, or the settled loss of one. `loss` in [0, 1]; None when it taught nothing."""

    kind: Literal["chosen", "settled"]
    decision_id: str
    task: Task
    arm: str
    adapter_version: str | None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm that can be chosen now.

    `versions` are the ids of its adapter versions, oldest first, ending with the one that would
    answer; empty for the base. `prior` is the held-out mean cost of its own greedy answers.
    """

    name: str
    versions: tuple[str, ...] = ()
    trial: bool = False
    prior: float | None = None

    @property
    def version(self) -> str | None:
        """The adapter version that would answer, None for the base."""
        return self.versions[-1] if self.versions else None


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of a request before it is answered."""

    task: Task
    language: str = ""
    document: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The arm, the probability it had at the draw, and everyone's."""

    arm: Arm
    propensity: float
    probabilities: Mapping[str, float]


@dataclass(slots=True)
class Tally:
    """Sufficient statistics of one (task, arm, version): all sums, hence commutative."""

    n: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    in_flight: int = 0


State = dict[str, Tally]
"""Tallies by `key(task, arm, version)`."""


def key(task: str, arm: str, version: str | None) -> str:
    """Where the tally of a (task, arm, version) stands in a state."""
    return f"{task}/{arm}/{version or ''}"


def fold(state: State, event: Event, times: int = 1) -> State:
    """Add an event, or `times` that are alike, in place; events commute: any order of arrival gives the same state."""
    tally = state.setdefault(key(event.task, event.arm, event.adapter_version), Tally())
    if event.kind == "chosen":
        tally.in_flight += times
        return state
    tally.in_flight -= times
    if event.loss is not None:
        loss = round(event.loss / GRAIN) * GRAIN
        tally.n += times
        tally.total += times * loss
        tally.squares += times * loss * loss
    return state


def fold_all(events: Iterable[Event], state: State | None = None) -> State:
    """Fold many events into `state` (a new one by default)."""
    state = {} if state is None else state
    for event in events:
        fold(state, event)
    return state


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an arm in a task: its posterior's ingredients.

    `n` decisions (real, and inherited ones at a discount) with mean loss `mean` and sum of squared
    deviations `spread`; `in_flight` more are not settled. `prior` is the held-out mean, if any.
    """

    arm: Arm
    n: float
    mean: float
    spread: float
    in_flight: int
    prior: float | None


def evidence(task: Task, arm: Arm, state: State) -> Evidence:
    """Gather an arm's evidence along its versions, discounting each predecessor's to 5 decisions."""
    n = total = squares = 0.0
    in_flight = 0
    for version in arm.versions or (None,):
        if n > INHERITED:
            scale = INHERITED / n
            n, total, squares = INHERITED, total * scale, squares * scale
        # what a predecessor left open will teach little, and may never settle
        in_flight = 0
        tally = state.get(key(task, arm.name, version))
        if tally is None:
            continue
        n, total, squares = n + tally.n, total + tally.total, squares + tally.squares
        in_flight = max(0, tally.in_flight)
    mean = total / n if n else 0.0
    return Evidence(arm, n, mean, max(0.0, squares - n * mean * mean), in_flight, arm.prior)


def common_cost(arms: Sequence[Evidence]) -> float:
    """What an arm of which nothing is known is thought to cost: the mean of all that is known here."""
    n = PRIOR_WORTH * sum(arm.prior is not None for arm in arms) + sum(arm.n for arm in arms)
    if n == 0:
        return UNKNOWN_COST
    return sum(PRIOR_WORTH * (arm.prior or 0.0) + arm.n * arm.mean for arm in arms) / n


@runtime_checkable
class Bandit(Protocol):
    """The contract: weights over arms from their evidence."""

    name: str

    def weigh(self, context: Context, arms: Sequence[Evidence], rng: Random) -> Sequence[float]:
        """A probability for each arm, in their order; a deterministic bandit gives one of them 1."""


def probabilities(weights: Sequence[float], arms: Sequence[Arm]) -> list[float]:
    """Normalise, cap the trial arms' share at 20% together, and put in the uniform floor.

    The floor is mixed in last: p = floor + (1 - sum of floors) w, so that every arm can be drawn.
    Where all arms but none are on trial, no cap applies. With more than 10 arms on trial the cap
    wins, and their floor is lower.
    """
    largest = max(weights)
    total = sum(x / largest for x in weights) if largest > 0 else 0.0
    w = [x / largest / total for x in weights] if total > 0 else [1 / len(arms)] * len(arms)
    trial = [arm.trial for arm in arms]
    on_trial = sum(trial)
    floors = [min(FLOOR, 1 / (2 * len(arms)))] * len(arms)
    if 0 < on_trial < len(arms):
        floors = [min(f, TRIAL_SHARE / on_trial) if t else f for f, t in zip(floors, trial, strict=True)]
        # together they get their floors + (1 - all floors) * share
        on_floor = sum(f for f, t in zip(floors, trial, strict=True) if t)
        most = max(0.0, (TRIAL_SHARE - on_floor) / (1 - sum(floors)))
        share = sum(x for x, t in zip(w, trial, strict=True) if t)
        if share > most:
            rest = sum(x for x, t in zip(w, trial, strict=True) if not t)  # 1 - share rounds to more than 0
            steady = len(arms) - on_trial
            w = [
                most * (x / share) if t else (1 - most) * (x / rest if rest > 0 else 1 / steady)
                for x, t in zip(w, trial, strict=True)
            ]
    left = 1 - sum(floors)
    return [f + left * x for f, x in zip(floors, w, strict=True)]


def choose(bandit: Bandit, context: Context, arms: Sequence[Arm], state: State, rng: Random) -> Choice:
    """Draw an arm; the propensity is the exact probability of the draw.

    Raises PluginError when the bandit answers something that is no distribution.
    """
    if not arms:
        raise ValueError("a bandit needs at least one arm; the base is always one")
    weights = list(bandit.weigh(context, [evidence(context.task, arm, state) for arm in arms], rng))
    if len(weights) != len(arms) or any(not (0 <= w < float("inf")) for w in weights):
        raise PluginError(
            f"bandit {bandit.name!r} gave {weights!r} for {len(arms)} arms: expected one weight >= 0 each"
        )
    p = probabilities(weights, arms)
    index = rng.choices(range(len(arms)), weights=p)[0]
    names = {arm.name: x for arm, x in zip(arms, p, strict=True)}
    return Choice(arms[index], p[index], names)


def installed() -> dict[str, EntryPoint]:
    """Every installed bandit by its entry-point name, unloaded.

    Raises PluginError when two packages claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"bandit {point.name!r} is claimed twice, by {other.value} and {point.value}: uninstall one"
            )
    return found


def load(name: str) -> Bandit:
    """The bandit `name`, loaded and validated. Raises PluginError with what was expected."""
    points = installed()
    if name not in points:
        raise PluginError(f"no bandit {name!r} is installed; there are: {', '.join(sorted(points)) or 'none'}")
    source = f"bandit {name!r} ({points[name].value})"
    try:
        loaded: Any = points[name].load()
        made = loaded() if isinstance(loaded, type) or inspect.isfunction(loaded) else loaded
    except Exception as error:
        raise PluginError(f"{source} cannot be loaded: {type(error).__name__}: {error}") from error
    bandit = validate(made, source)
    if bandit.name != name:
        raise PluginError(f"{source}: `name` is {bandit.name!r}, but its entry point says {name!r}")
    return bandit


def validate(bandit: object, source: str) -> Bandit:
    """Check a plugin against the contract. Raises PluginError that names it, the member, and what was expected."""
    name = getattr(bandit, "name", None)
    if not isinstance(name, str) or not name:
        raise PluginError(f"{source}: `name` should be a string, but is {name!r}")
    weigh = getattr(bandit, "weigh", None)
    if not callable(weigh):
        raise PluginError(f"{source}: `weigh` should be a method weigh(context, arms, rng), but is {weigh!r}")
    signature = inspect.signature(weigh)
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise PluginError(f"{source}: `weigh` should take (context, arms, rng), but is weigh{signature}") from None
    assert isinstance(bandit, Bandit)
    return bandit
