"""`chipo`: dpo with a link that pays for what the base hardly writes (chi-PO, arXiv 2407.13399, eq 7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from learner.feedback import EditBatch, Signal, Teaches

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 20.0
"""Log-ratios are held below this in the exponential, in nats."""


class ChiPO:
    """dpo's log-ratio becomes phi(z) = z + log z of z = pi/pi_ref, so single-policy coverage is enough.

    `beta` is the strength of the tie to the base; `most`, 2 R_max in the paper, clips the margin.
    """

    name = "chipo"
    needs = frozenset({Signal.KEPT, Signal.OFFERED, Signal.REFERENCE})
    teaches = Teaches.PREFERENCES
    learning_rate_scale = 0.03
    """As dpo's."""

    def __init__(self, beta: float = 0.1, most: float = 10.0) -> None:
        self.beta = beta
        self.most = most

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Weighted mean of -log sigmoid(clip(beta phi(y') - beta phi(y))), in nats per pair."""
        from torch.nn.functional import logsigmoid

        kept, offered = batch.kept, batch.offered
        assert kept is not None
        assert offered is not None

        def phi(log_ratio: Tensor) -> Tensor:
            return log_ratio.clamp(max=LARGEST).exp() + log_ratio

        margin = phi(kept.sum() - kept.reference_sum()) - phi(offered.sum() - offered.reference_sum())
        margin = (self.beta * margin).clamp(-self.most, self.most)
        weight = batch.weight * (batch.cost_max > 0) * kept.mask.any(-1)
        share = weight / weight.sum().clamp(min=1e-6)
        loss = -(share * logsigmoid(margin)).sum()
        return loss, {"loss": loss.item(), "margin": (share * margin).sum().item()}
