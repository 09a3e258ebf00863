"""`dpo`: the kept text is preferred over the offered one (arXiv 2601.19055, eq 4); and `chipo`, its kin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from learner.feedback import EditBatch, Signal, Teaches

if TYPE_CHECKING:
    from torch import Tensor


LARGEST = 20.0
"""chi-PO's log-ratios are held below this in the exponential, in nats."""


class DPO:
    """Prefer y' over y, relative to the base. `beta` is the strength of the tie to the base."""

    name = "dpo"
    needs = frozenset({Signal.KEPT, Signal.OFFERED, Signal.REFERENCE})
    teaches = Teaches.PREFERENCES
    learning_rate_scale = 0.03
    """Of a label's: with more the margin is won within an epoch and the answers run on without end."""

    def __init__(self, beta: float = 0.1) -> None:
        self.beta = beta

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Weighted mean of -log sigmoid(beta log-ratio(y') - beta log-ratio(y)), in nats per pair.

        log-ratio(t) is log pi(t|x) - log pi_ref(t|x), summed over the tokens of t. An unchanged
        offer states no preference and a rejected one has no y': both count nothing.
        """
        from torch.nn.functional import logsigmoid

        kept, offered = batch.kept, batch.offered
        assert kept is not None
        assert offered is not None
        kept_ratio = kept.sum() - kept.reference_sum()
        offered_ratio = offered.sum() - offered.reference_sum()
        margin = self.margin(kept_ratio, offered_ratio)
        weight = batch.weight * (batch.cost_max > 0) * kept.mask.any(-1)
        share = weight / weight.sum().clamp(min=1e-6)
        loss = -(share * logsigmoid(margin)).sum()
        return loss, {
            "loss": loss.item(),
            "margin": (share * margin).sum().item(),
            "accuracy": (share * (margin > 0)).sum().item(),
            "kept_ratio": (share * kept_ratio).sum().item(),
            "offered_ratio": (share * offered_ratio).sum().item(),
        }

    def margin(self, kept_ratio: Tensor, offered_ratio: Tensor) -> Tensor:
        """beta log-ratio(y') - beta log-ratio(y), (batch,)."""
        return self.beta * (kept_ratio - offered_ratio)


class ChiPO(DPO):
    """chi-PO (arXiv 2407.13399, eq 7): dpo with a link that pays for what the base hardly writes.

    The log-ratio becomes phi(z) = z + log z of z = pi/pi_ref, so single-policy coverage is enough. `most`,
    2 R_max in the paper, clips the margin.
    """

    name = "chipo"

    def __init__(self, beta: float = 0.1, most: float = 10.0) -> None:
        super().__init__(beta)
        self.most = most

    def margin(self, kept_ratio: Tensor, offered_ratio: Tensor) -> Tensor:
        """clip(beta phi(y') - beta phi(y)), (batch,)."""

        def phi(log_ratio: Tensor) -> Tensor:
            return log_ratio.clamp(max=LARGEST).exp() + log_ratio

        return (self.beta * (phi(kept_ratio) - phi(offered_ratio))).clamp(-self.most, self.most)
