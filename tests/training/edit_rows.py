"""Settled rows of the view `edits`, for the tests of training."""

from learner.prompt import draft
from learner.records import Edit


def an_edit(offered, kept, *, prompt="w9", outcome="edited", document="notes", **changes):
    """A settled draft, whose costs are left to be computed."""
    unknown = dict.fromkeys(Edit.__dataclass_fields__)
    known = {
        "offer_id": f"{document}/{prompt}/{offered}",
        "task": "draft",
        "prompt": draft(prompt, "summary").to_json(),
        "generated": "",
        "offered": offered,
        "kept": kept,
        "outcome": outcome,
        "document": document,
        "finish_reason": "stop",
    }
    return Edit(**(unknown | known | changes))
