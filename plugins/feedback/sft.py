"""`sft`: the kept text is a label (arXiv 2601.19055, eq 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from learner.feedback import EditBatch, Signal, Teaches

if TYPE_CHECKING:
    from torch import Tensor


class SFT:
    """Imitate y', the text that was kept.

    Eq 3 is the mean over rows of -log pi(y'|x), in which every token counts alike and a long row
    counts for its length. This divides by the tokens of the batch instead of its rows: the same
    minimiser up to the spread of lengths between batches, but nats per token, so that one learning
    rate (and one lambda in an ensemble) serves a one-line completion and a page. trl does the same.
    """

    name = "sft"
    needs = frozenset({Signal.KEPT})
    teaches = Teaches.LABELS

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """sum_i w_i (-log pi(y'_i|x_i)) / sum_i w_i |y'_i|, in nats per token.

        Rows without a kept text (rejected ones, in an ensemble with `rl`) have no token and no say.
        """
        kept = batch.kept
        assert kept is not None
        tokens = kept.mask.sum(-1)
        nll = -(batch.weight * kept.sum()).sum() / (batch.weight * tokens).sum().clamp(min=1e-6)
        return nll, {"nll": nll.item()}
