"""What the edits came to, in a sentence."""

import pytest

from learner.stats import IMPORTED, ArmStats, EditStats
from lsp_server.learnt import told


def arm(name: str, cost: float | None) -> ArmStats:
    return ArmStats(name, 4, 0 if cost is None else 4, cost, None, None)


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([], "8 offers so far."),
        ([arm("base", None)], "8 offers so far."),
        ([arm(IMPORTED, 0.2)], "8 offers so far."),
        ([arm("base", 0.5)], "8 offers so far. Of what the base wrote you changed 50%."),
        ([arm("sft", 0.25)], "8 offers so far. Of what sft wrote you changed 25%."),
        ([arm("base", 0.1), arm("sft", 0.25)], "8 offers so far. Of what the base wrote you changed 10%."),
        (
            [arm("base", 0.5), arm("dpo", 0.3), arm("sft", 0.25), arm(IMPORTED, 0.0)],
            "8 offers so far. Of what the base wrote you changed 50%, of what sft wrote 25%.",
        ),
    ],
)
def test_told(arms: list[ArmStats], words: str) -> None:
    assert told(EditStats(8, {}, tuple(arms), ())) == words
