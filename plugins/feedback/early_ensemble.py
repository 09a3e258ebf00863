"""`early_ensemble`: several feedback types summed into one adapter (arXiv 2601.19055, eq 7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from learner.exceptions import PluginError
from learner.feedback import Base, EditBatch, FeedbackType, Prepared, Signal, Teaches, load, teaches
from learner.records import Edit

if TYPE_CHECKING:
    from torch import Tensor

Prepare = Callable[[Sequence[Edit], Base], Prepared]


class EarlyEnsemble:
    """dpo + lambda * sft by default, or any weighted sum of feedback types, named as installed.

    Eq 7 prints the sign of its second term wrongly; both losses are minimised here. Both see every
    row that teaches one of them, and each leaves out the rows that are not for it. Another mix is
    an entry point of its own, for instance `rl_sft = EarlyEnsemble({"rl": 1, "sft": 1}, name="rl_sft")`.
    `options` are the members' own, for instance `{"dpo": {"beta": 0.3}}`.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        *,
        lam: float = 1.0,
        name: str = "",
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.name = name or "early_ensemble"
        self.options = options or {}
        self.weights = {"dpo": 1.0, "sft": lam} if weights is None else dict(weights)
        if not self.weights or self.name in self.weights:
            raise PluginError(f"ensemble {self.name!r} needs at least one member other than itself: {self.weights}")

    @cached_property
    def members(self) -> dict[str, FeedbackType]:
        """The feedback types that are summed. Raises PluginError when one is missing or broken."""
        return {n: load(n, self.options[n]) if n in self.options else load(n) for n in self.weights}

    @property
    def needs(self) -> frozenset[Signal]:
        """Everything that any member needs."""
        return frozenset[Signal]().union(*(member.needs for member in self.members.values()))

    @property
    def teaches(self) -> Teaches:
        """The widest of the members' rows: COSTS holds LABELS, which holds PREFERENCES."""
        widest_first = (Teaches.COSTS, Teaches.LABELS, Teaches.PREFERENCES)
        return min((teaches(member) for member in self.members.values()), key=widest_first.index)

    @property
    def prepare(self) -> Prepare | None:
        """The `prepare` of the one member that has one, or None.

        Raises PluginError where two do: a row has one list of candidates.
        """
        prepares = {n: p for n, m in self.members.items() if (p := getattr(m, "prepare", None)) is not None}
        if len(prepares) > 1:
            raise PluginError(
                f"ensemble {self.name!r}: {' and '.join(prepares)} each prepare their own candidates; "
                "an ensemble takes one such member at most"
            )
        return next(iter(prepares.values()), None)

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """sum_m weight_m loss_m(batch), with every member's figures under its name (`dpo/margin`)."""
        terms = []
        figures: dict[str, float] = {}
        for name, member in self.members.items():
            term, found = member.loss(batch)
            terms.append(self.weights[name] * term)
            figures |= {f"{name}/{figure}": value for figure, value in found.items()}
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total, figures
