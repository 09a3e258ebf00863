"""Feedback types: the contract of a plugin, its discovery and its validation.

A feedback type is a loss over the same few numbers. The trainer computes, for a batch of edits,
the token log-probabilities of the kept text y', the offered text y and (where asked for) of
candidate texts, under the policy that is being trained and under the reference, which is always
the base model. The plugin turns them into a loss. It declares in `needs` which of them it wants;
only these are computed.

This module is part of the light root: it never imports torch, the types are annotations only.
A plugin is registered under the entry-point group `redraft.feedback`; see
`docs/writing-a-feedback-type.md` for one that a test installs, trains and serves.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from learner.exceptions import PluginError
from learner.records import Edit, Prompt

if TYPE_CHECKING:
    from torch import Tensor

ENTRY_POINT_GROUP = "redraft.feedback"


class Signal(StrEnum):
    """What a feedback type may ask the trainer for."""

    KEPT = "kept"  # log-probabilities of y' under the policy
    OFFERED = "offered"  # log-probabilities of y under the policy
    CANDIDATES = "candidates"  # log-probabilities of the candidates of `prepare` under the policy
    REFERENCE = "reference"  # all of these under the base model as well


class Teaches(StrEnum):
    """Which rows teach a feedback type (the table "What a row teaches")."""

    LABELS = "labels"  # edited and imported rows, and accepted ones at a small weight
    PREFERENCES = "preferences"  # edited and imported rows only
    COSTS = "costs"  # accepted (cost 0), edited, imported and rejected (cost 1) rows


@dataclass(frozen=True)
class TokenLogprobs:
    """Token log-probabilities of one text per edit.

    `policy` and `reference` are (batch, tokens); for candidates (batch, candidates, tokens).
    `mask` has the same shape: True where there is a token of the text. Padding holds 0.
    `reference` carries no gradient and is None unless `Signal.REFERENCE` was asked for.
    """

    policy: Tensor
    mask: Tensor
    reference: Tensor | None = None

    def sum(self) -> Tensor:
        """log pi(text | x), in nats: (batch,) or (batch, candidates)."""
        return (self.policy * self.mask).sum(-1)

    def reference_sum(self) -> Tensor:
        """log pi_ref(text | x), in nats. Raises PluginError when it was not asked for."""
        if self.reference is None:
            raise PluginError("the reference log-probabilities were not asked for: add Signal.REFERENCE to `needs`")
        return (self.reference * self.mask).sum(-1)

    def lengths(self) -> Tensor:
        """Tokens per text, at least 1: (batch,) or (batch, candidates)."""
        return self.mask.sum(-1).clamp(min=1)


@dataclass(frozen=True)
class EditBatch:
    """What a loss sees: one batch of edits.

    `kept`, `offered` and `candidates` are None unless asked for. `cost` (the paper's) and
    `cost_max` are (batch,). `weight` is (batch,): what a row counts (1, or 0.25 for an offer
    accepted as it was). `kept_aligned` and `offered_aligned` are masks (batch, tokens), True
    where a token stands in both texts by the minimal edit script; they come with KEPT and
    OFFERED together. `tables` holds the plugin's own numbers from `prepare`, each
    (batch, candidates), 0 where a row has fewer candidates.

    A rejected row (they come with COSTS only) has no kept text: its `kept.mask` is False
    everywhere, not even an end-of-text stands there, and its `cost_max` is 1. So a loss over
    y' that may stand in an ensemble with one over costs leaves out rows without a kept token.
    """

    weight: Tensor
    cost: Tensor
    cost_max: Tensor
    kept: TokenLogprobs | None = None
    offered: TokenLogprobs | None = None
    candidates: TokenLogprobs | None = None
    kept_aligned: Tensor | None = None
    offered_aligned: Tensor | None = None
    tables: Mapping[str, Tensor] = field(default_factory=dict)


class Base(Protocol):
    """The frozen base model, as `prepare` may use it."""

    @property
    def fingerprint(self) -> str:
        """Identifies the base's weights."""

    def sample(self, prompts: Sequence[Prompt], n: int, *, seed: int) -> list[list[str]]:
        """`n` answers to each prompt, sampled from the base at temperature 1."""

    def features(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """(texts, hidden): last hidden state, averaged over the tokens of each text."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` computed once, cached by the trainer.

    `candidates[i]` are texts for edit i. `tables[name][i][j]` is a number for candidate j of
    edit i; it reaches the loss as `batch.tables[name]`.
    """

    candidates: Sequence[Sequence[str]]
    tables: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


@runtime_checkable
class FeedbackType(Protocol):
    """The contract. Optional members: `prepare`, `teaches`, `learning_rate_scale` (1.0).

    `learning_rate_scale` times the rate that suits the model's size is the peak learning rate.
    """

    name: str
    needs: frozenset[Signal]

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """A scalar loss with gradient, and figures to log. Pure."""


def teaches(feedback: FeedbackType) -> Teaches:
    """Which rows the plugin learns from: its `teaches`, or what its `needs` imply."""
    declared = getattr(feedback, "teaches", None)
    if declared is not None:
        return Teaches(declared)
    if Signal.CANDIDATES in feedback.needs:
        return Teaches.COSTS
    return Teaches.PREFERENCES if Signal.OFFERED in feedback.needs else Teaches.LABELS


def validate(feedback: object, source: str) -> FeedbackType:
    """Check a plugin against the contract.

    Raises PluginError that names the plugin (`source`), the member, and what was expected.
    """

    def broken(member: str, expected: str, found: object) -> PluginError:
        return PluginError(f"feedback type {source}: `{member}` should be {expected}, but is {found!r}")

    name = getattr(feedback, "name", None)
    if not isinstance(name, str) or not name.isidentifier():
        raise broken("name", "an identifier such as 'sft'", name)
    needs = getattr(feedback, "needs", None)
    if not isinstance(needs, (frozenset, set)) or not needs or not all(isinstance(n, Signal) for n in needs):
        raise broken("needs", "a non-empty frozenset of learner.feedback.Signal", needs)
    if needs <= {Signal.REFERENCE}:
        raise broken("needs", "a set with at least one of KEPT, OFFERED, CANDIDATES", needs)
    loss = getattr(feedback, "loss", None)
    if not callable(loss):
        raise broken("loss", "a method loss(batch) -> (Tensor, figures)", loss)
    _check_arity(broken, "loss", loss, 1)
    prepare = getattr(feedback, "prepare", None)
    if prepare is not None:
        if not callable(prepare):
            raise broken("prepare", "a method prepare(edits, base) -> Prepared", prepare)
        _check_arity(broken, "prepare", prepare, 2)
    if Signal.CANDIDATES in needs and prepare is None:
        raise broken("prepare", "a method that makes the candidates that `needs` asks for", prepare)
    declared = getattr(feedback, "teaches", None)
    if declared is not None and declared not in tuple(Teaches):
        raise broken("teaches", f"one of {', '.join(Teaches)}", declared)
    assert isinstance(feedback, FeedbackType)
    return feedback


def _check_arity(broken: Any, member: str, method: Any, arguments: int) -> None:
    signature = inspect.signature(method)
    try:
        signature.bind(*range(arguments))
    except TypeError:
        raise broken(member, f"callable with {arguments} argument(s)", f"{member}{signature}") from None


def installed() -> dict[str, EntryPoint]:
    """Every installed feedback type by its entry-point name, unloaded.

    Raises PluginError when two packages claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        other = found.get(point.name)
        if other is not None and other.value != point.value:
            raise PluginError(
                f"feedback type {point.name!r} is claimed twice, by {other.value} and {point.value}: uninstall one"
            )
        found[point.name] = point
    return found


def load(name: str, options: Mapping[str, Any] | None = None) -> FeedbackType:
    """The feedback type `name`, loaded and validated; `options` are given to it as keywords (`beta=0.3`).

    Raises PluginError when it is not installed, fails to import, takes no such option, or breaks the contract.
    """
    points = installed()
    if name not in points:
        raise PluginError(f"no feedback type {name!r} is installed; there are: {', '.join(sorted(points)) or 'none'}")
    point = points[name]
    source = f"{name!r} ({point.value})"
    try:
        loaded = point.load()
        makes = isinstance(loaded, type) or inspect.isfunction(loaded)
        made = loaded(**(options or {})) if makes else loaded
    except Exception as error:
        raise PluginError(f"feedback type {source} cannot be loaded: {type(error).__name__}: {error}") from error
    plugin = validate(made, source)
    if plugin.name != name:
        raise PluginError(f"feedback type {source}: `name` is {plugin.name!r}, but its entry point says {name!r}")
    return plugin


def usable_edits(edits: Sequence[Edit], kind: Teaches) -> list[Edit]:
    """The rows that teach, by the table "What a row teaches" of the architecture."""
    wanted = {
        Teaches.LABELS: {"accepted", "edited"},
        Teaches.PREFERENCES: {"edited"},
        Teaches.COSTS: {"accepted", "edited", "rejected"},
    }[kind]
    usable = []
    for edit in edits:
        if edit.outcome not in wanted or not edit.offered:
            continue
        if edit.outcome != "rejected" and not edit.kept:
            continue
        usable.append(edit)
    return usable
