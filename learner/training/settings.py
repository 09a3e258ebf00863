"""How a training is done: few dials, the rest derived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from learner.exceptions import ConfigError
from learner.records import AdapterForm


def learning_rate(hidden_size: int) -> float:
    """Peak learning rate of a LoRA on a model of this hidden size: 7.5e-4 (2000 / hidden size)^0.78.

    The fit of "LoRA Without Regret" (Schulman et al., Thinking Machines Lab, 2025) over Llama models at
    alpha 32: fifteen times the rate of full fine-tuning for runs of a hundred steps, as ours are, ten
    times for long ones. It gives 2e-3 for SmolLM2-135M, where a sweep found 1e-3 to 2e-3 right and
    3e-4 far from learnt (docs/experiments.md), and 4.3e-4 for an 8B model.
    """
    return 7.5e-4 * float((2000 / hidden_size) ** 0.78)


LEAST_STEPS = 60
"""Steps below which a habit is not learnt, however small the loss per edit (docs/experiments.md)."""
BATCH_SIZES = (8, 4, 2)


def batch_size(rows: int, epochs: int) -> int:
    """Edits per step of the optimiser: the largest that leaves enough steps."""
    return next((size for size in BATCH_SIZES if rows * epochs >= LEAST_STEPS * size), BATCH_SIZES[-1])


Trainer = Literal["auto", "fast", "trl"]
"""Which pass computes log-probabilities: ours where the model allows it, ours or an error, peft's and transformers'."""
People = Literal["shared", "own", "both"]
"""Whose edits teach: everybody's in the store, one's own, or either, each an adapter of its own."""
OWN = "_own"
"""Ends the name of an arm that only one's own edits have taught."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of one training. The defaults are right for 40 to 200 edits on a laptop.

    `learning_rate` None derives it from the size of the model, times the feedback type's
    `learning_rate_scale` and times `rate_scale`. `batch_size` counts edits per step of the optimiser, over all devices'
    micro-batches; None derives it from how many there are. An edit whose prompt or answers are
    longer than the limits (tokens) is left out, and counted. `accepted_weight` is
    what an offer that was accepted as it was counts, against 1 for an edit. `trainer` is "trl" for the
    path through peft and transformers, which takes every model, "auto" for the fast pass
    (`learner.training.fast`) where the model allows it, "fast" to insist on that. `people` are those whose
    edits teach; with "both" each feedback type is two arms, say `sft` and `sft_own`. Unless
    `from_scratch`, a training goes on from the adapter that there is where few edits are new
    (`learner.training.again`).
    """

    feedback: tuple[str, ...]
    epochs: int = 3
    learning_rate: float | None = None
    rate_scale: float = 1.0
    batch_size: int | None = None
    rank: int = 16
    alpha: int = 32
    form: AdapterForm = AdapterForm.ALORA
    max_prompt_tokens: int = 1024
    max_answer_tokens: int = 512
    accepted_weight: float = 0.25
    seed: int = 0
    trainer: Trainer = "auto"
    people: People = "shared"
    from_scratch: bool = False

    def __post_init__(self) -> None:
        """Raise ConfigError that names the setting, its value and what was expected."""
        if not self.feedback:
            raise ConfigError("no feedback type was named: give at least one, such as sft")
        if len(set(self.feedback)) != len(self.feedback):
            raise ConfigError(f"a feedback type is named twice in {', '.join(self.feedback)}: name each once")
        for name in ("epochs", "batch_size", "rank", "alpha", "max_prompt_tokens", "max_answer_tokens"):
            value = getattr(self, name)
            if name == "batch_size" and value is None:
                continue
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}, but should be a whole number of at least 1")
        if self.learning_rate is not None and not 0 < self.learning_rate < 1:
            raise ConfigError(f"learning_rate is {self.learning_rate!r}, but should lie between 0 and 1")
        if not 0 < self.rate_scale < math.inf:
            raise ConfigError(f"rate_scale is {self.rate_scale!r}, but should be above 0")
        if self.trainer not in get_args(Trainer):
            raise ConfigError(f"trainer is {self.trainer!r}, but should be one of {', '.join(get_args(Trainer))}")
        if self.people not in get_args(People):
            raise ConfigError(f"people is {self.people!r}, but should be one of {', '.join(get_args(People))}")
        if len(self.arms) != len(self.feedback) * (2 if self.people == "both" else 1):
            raise ConfigError(f"an arm of {', '.join(self.feedback)} would bear another's name: leave one out")
        if not 0 <= self.accepted_weight <= 1:
            raise ConfigError(f"accepted_weight is {self.accepted_weight!r}, but should lie between 0 and 1")

    @property
    def arms(self) -> dict[str, str]:
        """The arms that are trained, each with its feedback type; everybody's before one's own."""
        shared = {name: name for name in self.feedback} if self.people != "own" else {}
        own = {name + OWN: name for name in self.feedback} if self.people != "shared" else {}
        return {**shared, **own}

    def is_own(self, arm: str) -> bool:
        """Whether only one's own edits teach this arm."""
        return self.people == "own" or (self.people == "both" and arm not in self.feedback)

    def to_json(self) -> Mapping[str, Any]:
        """What the run's row and the adapter's row record."""
        return asdict(self)
