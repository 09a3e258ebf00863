"""`rl`: the edit's cost is a cost (arXiv 2601.19055, eqs 5-6), without a simulator.

Eqs 5-6 fit a cost model to the logged costs, take the largest one in a confidence set, and
minimise its mean under the policy plus beta times the divergence from the base. Logs hold one
offer per context and nobody to ask about others, so this goes in three steps, each by the book
where there is one and by a stated choice where there is none.

**Features.** phi(x, y): the base's last hidden state, averaged over y, and log length. They are
centred on the mean of the base's own samples in the same context, since what the text is about
says nothing about which answer to it is better, and only differences within a context matter in
the end. Then standardised, the hidden block scaled to unit norm.

**Cost model.** Ridge regression, c = c_base + a_x + w.phi + noise. phi = 0 is the base's average
answer, so the constant is not fitted but is what the base's offers cost on average. a_x is a random
intercept per context (quasi-demeaning): offers of different contexts inform w, but a context that
is hard as a whole does so less. Two kinds of rows inform the fit:

- the offers y with their logged `cost_max`, 1 where rejected, 0 where accepted;
- the kept texts y', which nobody was offered. Without a word about them pessimism would forbid
  exactly what the user asked for. Lemma 1 gives one: an edit contracts towards the optimum, so y'
  would cost about (1 - gamma) times what y did. gamma is estimated, never taken as 1: it is the
  chance that an edited text is left alone when it is offered, and the rows that tell are those
  that an adapter answered, since adapters imitate edited texts. Before there are any, a uniform
  prior says 1/2. Such a label counts `KEPT_WEIGHT` of a real one.

Every context is scored by a model that never saw it (cross-fitting), so a y' is cheap only if what
sets it apart was cheap elsewhere; a user whose edits follow no rule teaches little. An offer was
really tried, so half of its own residual is added to its score.

**Distillation.** pi* = pi_ref exp(-f/beta)/Z, approximated over y, y' and samples of the base.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from learner import cost
from learner.feedback import Base, EditBatch, Prepared, Signal, Teaches
from learner.records import Edit

if TYPE_CHECKING:
    from torch import Tensor

KEPT_WEIGHT = 0.5
"""What the estimated cost of a kept text counts, beside 1 for a logged one."""
INTERCEPT_VARIANCE = 1.0
"""Variance of a context's own level of cost, in units of the noise's."""
OWN_SHARE = 0.5
"""How much of an offer's residual is its own, and not its context's."""
LEAST_WEIGHT = 0.01
"""Candidates under this Gibbs weight are dropped: they cost time and teach nothing."""
FOLDS = 5


@dataclass(frozen=True)
class CostModel:
    """A ridge posterior: mean (features,) and covariance (features, features) in units of the noise."""

    mean: Tensor
    covariance: Tensor

    def pessimistic(self, phi: Tensor, kappa: float) -> Tensor:
        """w.phi + kappa sqrt(phi^T S^-1 phi), (texts,): the largest cost in the confidence set (eq 5)."""
        width = ((phi @ self.covariance) * phi).sum(-1).clamp(min=0).sqrt()
        return phi @ self.mean + kappa * width


def fit(phi: Tensor, costs: Tensor, weight: Tensor, context: Tensor, ridge: float = 1.0) -> CostModel:
    """Weighted ridge regression with a random intercept per context.

    `phi` is (rows, features); `costs` (less the constant), `weight` and `context` (numbers of
    contexts, from 0) are (rows,). S = ridge I + sum_x phi_x^T V_x^-1 phi_x with
    V_x = diag(1/weight) + INTERCEPT_VARIANCE 1 1^T.
    """
    import torch

    contexts = int(context.max()) + 1 if len(context) else 0
    weighted = weight[:, None] * phi
    sums = phi.new_zeros(contexts, phi.shape[1]).index_add_(0, context, weighted)
    totals = phi.new_zeros(contexts).index_add_(0, context, weight)
    cost_sums = phi.new_zeros(contexts).index_add_(0, context, weight * costs)
    shrink = INTERCEPT_VARIANCE / (1 + INTERCEPT_VARIANCE * totals)
    prior = ridge * torch.eye(phi.shape[1], dtype=phi.dtype)
    precision = prior + phi.T @ weighted - sums.T @ (shrink[:, None] * sums)
    moment = weighted.T @ costs - sums.T @ (shrink * cost_sums)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    return CostModel(covariance @ moment, covariance)


def logged_cost(edit: Edit) -> float:
    """The cost that the row states: 0 accepted, 1 rejected, else `cost_max`."""
    if edit.outcome in ("accepted", "rejected"):
        return 0.0 if edit.outcome == "accepted" else 1.0
    return edit.cost_max if edit.cost_max is not None else cost.cost_max(edit.offered, edit.kept or "")


def base_cost(edits: Sequence[Edit]) -> float:
    """c_base: the mean logged cost of what the base offered (imported rows count as the base's)."""
    by_base = [logged_cost(edit) for edit in edits if edit.adapter_version is None]
    costs = by_base or [logged_cost(edit) for edit in edits]
    return sum(costs) / len(costs)


def contraction(edits: Sequence[Edit]) -> float:
    """gamma of Lemma 1: how likely one edit finishes a text, in (0, 1).

    The posterior mean, under a uniform prior, of the chance that what an adapter offered (that is,
    an imitation of edited texts) was accepted as it was.
    """
    tried = [edit.outcome == "accepted" for edit in edits if edit.adapter_version is not None]
    return (1 + sum(tried)) / (2 + len(tried))


@dataclass(frozen=True)
class Pool:
    """All candidates of all edits in one row each: y first, then y' (where it differs), then samples."""

    edit: list[int]
    text: list[str]
    sampled: list[bool]

    @classmethod
    def of(cls, edits: Sequence[Edit], samples: Sequence[Sequence[str]]) -> Pool:
        """Gather the candidates; a text stands once per edit, and empty ones are dropped."""
        pool = cls([], [], [])
        for number, (edit, drawn) in enumerate(zip(edits, samples, strict=True)):
            logged = dict.fromkeys([edit.offered, edit.kept or ""])
            for text in dict.fromkeys([*logged, *drawn]):
                if text:
                    pool.edit.append(number)
                    pool.text.append(text)
                    pool.sampled.append(text not in logged)
        return pool


def standardise(hidden: Tensor, length: Tensor, context: Tensor, sampled: Tensor) -> Tensor:
    """phi(x, y) of the module's docstring: (texts, hidden + 1), float64.

    `hidden` is (texts, hidden); `length` (log tokens), `context` and `sampled` are (texts,).
    """
    import torch

    raw = torch.cat([hidden, length[:, None]], dim=1)
    contexts = int(context.max()) + 1
    drawn = raw.new_zeros(contexts).index_add_(0, context, sampled.to(raw.dtype))
    # a context without a sample is centred on all that it has
    counts = torch.where(drawn[context] > 0, sampled.to(raw.dtype), torch.ones_like(length))
    size = raw.new_zeros(contexts).index_add_(0, context, counts)
    centre = raw.new_zeros(contexts, raw.shape[1]).index_add_(0, context, counts[:, None] * raw) / size[:, None]
    phi = raw - centre[context]
    scale = phi.square().mean(0).sqrt()
    phi = torch.where(scale > 1e-9, phi / scale.clamp(min=1e-9), torch.zeros_like(phi))
    phi[:, :-1] /= math.sqrt(hidden.shape[1])
    return phi


class RL:
    """Pessimistic cost model, then Gibbs distillation over candidates; see the module's docstring.

    `samples` answers of the base per context; `beta`, cost per nat, is the temperature of the
    Gibbs weights; `kappa`, in units of cost, is how much an unsupported text is distrusted.
    """

    name = "rl"
    needs = frozenset({Signal.CANDIDATES})
    teaches = Teaches.COSTS

    def __init__(self, samples: int = 3, beta: float = 0.02, kappa: float = 0.05, seed: int = 0) -> None:
        self.samples = samples
        self.beta = beta
        self.kappa = kappa
        self.seed = seed

    def prepare(self, edits: Sequence[Edit], base: Base) -> Prepared:
        """Candidates of every edit that are worth imitating, and how much: `tables["weight"]`, sums of 1."""
        if not edits:
            return Prepared([], {"weight": []})
        prompts = [edit.chat for edit in edits]
        pool = Pool.of(edits, base.sample(prompts, self.samples, seed=self.seed))
        scores = self.scores(edits, pool, base)
        candidates: list[list[str]] = [[] for _ in edits]
        energies: list[list[float]] = [[] for _ in edits]
        for number, text, score in zip(pool.edit, pool.text, scores, strict=True):
            candidates[number].append(text)
            energies[number].append(score)
        kept = [gibbs(texts, f, self.beta) for texts, f in zip(candidates, energies, strict=True)]
        return Prepared([list(row) for row in kept], {"weight": [list(row.values()) for row in kept]})

    def scores(self, edits: Sequence[Edit], pool: Pool, base: Base) -> list[float]:
        """Pessimistic cost, less c_base, of every candidate, by a model that was not fitted to its context."""
        import torch

        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(edit.prompt for edit in edits))}
        context = torch.tensor([numbers[edits[i].prompt] for i in pool.edit])
        length = torch.tensor([math.log1p(len(cost.tokens(text))) for text in pool.text], dtype=torch.float64)
        hidden = base.features([edits[i].chat for i in pool.edit], pool.text).detach().to("cpu", torch.float64)
        phi = standardise(hidden, length, context, torch.tensor(pool.sampled))
        label, weight = labels(edits, pool)
        costs, weights = torch.tensor(label, dtype=torch.float64), torch.tensor(weight, dtype=torch.float64)
        costs -= base_cost(edits)

        folds = min(FOLDS, len(numbers))
        scores = torch.zeros_like(length)
        for fold in range(folds):
            mine = context % folds == fold
            others = (weights > 0) & ((~mine) | (folds == 1))
            model = fit(phi[others], costs[others], weights[others], context[others])
            f = model.pessimistic(phi[mine], self.kappa)
            tried = weights[mine] == 1
            scores[mine] = f + OWN_SHARE * tried * (costs[mine] - phi[mine] @ model.mean)
        found: list[float] = scores.tolist()
        return found

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """-sum_ij w_i q_ij log pi(y_ij|x_i) / sum_ij w_i q_ij |y_ij|, in nats per token, as sft's.

        q is the Gibbs weight softmax_j(-f_j/beta), computed by `prepare`.
        """
        candidates = batch.candidates
        assert candidates is not None
        weight = batch.weight[:, None] * batch.tables["weight"]
        nll = -(weight * candidates.sum()).sum() / (weight * candidates.lengths()).sum().clamp(min=1e-6)
        best = batch.tables["weight"].max(-1).values.mean()
        return nll, {"nll": nll.item(), "best_weight": best.item()}


class Rebel(RL):
    """REBEL (arXiv 2404.16767, eq 6): regress log-ratios on costs, over pairs of the same candidates.

    The costs are `rl`'s pessimistic ones. `scale` is beta of REBEL, in units of cost per nat: small, since
    the costs of two texts differ by a tenth.
    """

    name = "rebel"
    needs = frozenset({Signal.CANDIDATES, Signal.REFERENCE})
    learning_rate_scale = 0.1

    def __init__(self, scale: float = 0.02, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def prepare(self, edits: Sequence[Edit], base: Base) -> Prepared:
        """Every candidate with its pessimistic cost: `tables["cost"]`."""
        if not edits:
            return Prepared([], {"cost": []})
        pool = Pool.of(edits, base.sample([edit.chat for edit in edits], self.samples, seed=self.seed))
        candidates: list[list[str]] = [[] for _ in edits]
        costs: list[list[float]] = [[] for _ in edits]
        for number, text, score in zip(pool.edit, pool.text, self.scores(edits, pool, base), strict=True):
            candidates[number].append(text)
            costs[number].append(score)
        return Prepared(candidates, {"cost": costs})

    def loss(self, batch: EditBatch) -> tuple[Tensor, Mapping[str, float]]:
        """Mean over pairs of (log-ratio(y1) - log-ratio(y2) + (f(y1) - f(y2)) / scale)^2, in nats squared."""
        candidates = batch.candidates
        assert candidates is not None
        there = candidates.mask.any(-1)
        regressed = candidates.sum() - candidates.reference_sum() + batch.tables["cost"] / self.scale
        pairs = there[:, :, None] & there[:, None, :]
        squares = (regressed[:, :, None] - regressed[:, None, :]).square() * pairs * batch.weight[:, None, None]
        count = (pairs * batch.weight[:, None, None]).sum() - (there * batch.weight[:, None]).sum()
        loss = squares.sum() / count.clamp(min=1e-6)
        return loss, {"regression": loss.item()}


def labels(edits: Sequence[Edit], pool: Pool) -> tuple[list[float], list[float]]:
    """What each candidate is known to cost, and what that counts: 1 if tried, 0 if nothing is known."""
    remaining = 1 - contraction(edits)
    label, weight = [], []
    for number, text in zip(pool.edit, pool.text, strict=True):
        edit = edits[number]
        if text == edit.offered:
            label.append(logged_cost(edit))
            weight.append(1.0)
        elif text == edit.kept:
            label.append(remaining * logged_cost(edit))
            weight.append(KEPT_WEIGHT)
        else:
            label.append(0.0)
            weight.append(0.0)
    return label, weight


def gibbs(texts: Sequence[str], costs: Sequence[float], beta: float) -> dict[str, float]:
    """softmax(-cost/beta) over the texts, without those under LEAST_WEIGHT, renormalised."""
    least = min(costs)
    mass = [math.exp(-(f - least) / beta) for f in costs]
    floor = LEAST_WEIGHT * sum(mass)
    heavy = {text: m for text, m in zip(texts, mass, strict=True) if m >= floor}
    total = sum(heavy.values())
    return {text: m / total for text, m in heavy.items()}
