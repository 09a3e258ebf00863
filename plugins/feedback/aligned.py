"""`aligned`: likelihood of what was kept, unlikelihood of what was changed (SALT, arXiv 2310.05857, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from learner.feedback import EditBatch, Signal, Teaches

if TYPE_CHECKING:
    from torch import Tensor

NEAR_ONE = 1e-4
"""A token's probability is held this far from 1, where its unlikelihood has no end."""


class Aligned:
    """Token by token, along the alignment of the two texts.

    Tokens of y' are labels: those that the user put in count `changed`, those taken over count 1. Tokens
    of y that the user took out are unlikely by `unlike`. Pairs that differ in three tokens teach those three.
    """

    name = "aligned"
    needs = frozenset({Signal.KEPT, Signal.OFFERED})
    teaches = Teaches.LABELS

    def __init__(self, changed: float = 1.5, unlike: float = 0.3) -> None:
        self.changed = changed
        self.unlike = unlike

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """(sum of weighted nll of y' + `unlike` sum of -log(1 - p) over removed tokens of y) / tokens of y'."""
        kept, offered = batch.kept, batch.offered
        assert kept is not None
        assert offered is not None
        assert batch.kept_aligned is not None
        assert batch.offered_aligned is not None
        rows = batch.weight[:, None]
        weights = rows * kept.mask * (batch.kept_aligned + self.changed * ~batch.kept_aligned)
        # an offer that nothing was kept of states no correction of tokens
        removed = rows * offered.mask * ~batch.offered_aligned * kept.mask.any(-1, keepdim=True)
        unlikely = -(1 - offered.policy.clamp(max=0).exp().clamp(max=1 - NEAR_ONE)).log()
        size = weights.sum().clamp(min=1e-6)
        nll = -(weights * kept.policy).sum() / size
        push = (removed * unlikely).sum() / size
        loss = nll + self.unlike * push
        return loss, {"nll": nll.item(), "unlikelihood": push.item()}
