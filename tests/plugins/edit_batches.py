"""Hand-made batches and edits for the tests of feedback types."""

import torch

from learner.feedback import EditBatch, TokenLogprobs
from learner.prompt import rewrite
from learner.records import Edit


def logprobs(rows, reference=None):
    """Ragged lists of token log-probabilities -> padded TokenLogprobs; `policy` takes a gradient."""
    width = max(1, *(len(row) for row in rows))

    def padded(lists):
        return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in lists])

    mask = torch.tensor([[i < len(row) for i in range(width)] for row in rows])
    return TokenLogprobs(padded(rows).requires_grad_(), mask, None if reference is None else padded(reference))


def edit_batch(*, rows, weight=None, cost_max=None, **signals):
    """A batch of `rows` edits with weight 1 and cost 0.5, unless said otherwise."""
    half = [0.5] * rows
    return EditBatch(
        weight=torch.tensor(weight or [1.0] * rows),
        cost=torch.tensor(half),
        cost_max=torch.tensor(half if cost_max is None else cost_max),
        **signals,
    )


def edit(offered, kept, *, prompt="notes", outcome="edited", cost_max=None, adapter_version=None):
    """A settled row of the view `edits`."""
    unknown = dict.fromkeys(Edit.__dataclass_fields__)
    texts = {
        "offer_id": f"{prompt}/{offered}",
        "prompt": rewrite(prompt, "Mend.").to_json(),
        "offered": offered,
        "kept": kept,
        "outcome": outcome,
        "cost_max": cost_max,
        "adapter_version": adapter_version,
        "arm": adapter_version.split("-")[0] if adapter_version else "base",
        "finish_reason": "stop",
        "document": prompt,
    }
    return Edit(**(unknown | texts))
