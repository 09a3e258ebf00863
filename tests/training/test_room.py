"""When memory runs out, the training begins again with half of the edits at once, and says so."""

import logging

import pytest
import torch
from policies import policy, rows

from learner.exceptions import TrainingError
from learner.feedback import Signal
from learner.training.batches import tokens
from learner.training.dataset import Tokenised
from learner.training.fit import Samples, trained
from learner.training.quiet import quiet
from learner.training.room import CPU_TOKENS, FAST_CPU_TOKENS, halved, is_out_of_memory, step_tokens
from learner.training.settings import TrainSettings


class Hungry:
    """Imitates what was kept, and has no memory for more than `most` edits at once."""

    name = "hungry"
    needs = frozenset({Signal.KEPT})

    def __init__(self, most):
        self.most, self.sizes = most, []

    def loss(self, batch):
        self.sizes.append(len(batch.weight))
        if len(batch.weight) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return -batch.kept.sum().mean(), {}


def train(feedback, folder, heard):
    data = Tokenised(tuple(rows(8)), (None,) * 8, {})
    settings = TrainSettings(("sft",), epochs=1, batch_size=8, rank=4, alpha=8)
    samples = Samples("tiny", folder)
    tell = lambda words, share: heard.append(words)  # noqa: E731
    with quiet(), trained(policy(), feedback, data, settings, folder / "run", samples, tell=tell) as (trainer, _):
        return trainer.state.global_step, trainer.losses


def test_half_of_the_edits_at_once_and_half_of_that(tmp_path, caplog):
    heard, feedback = [], Hungry(2)
    with caplog.at_level(logging.WARNING):
        steps, losses = train(feedback, tmp_path, heard)
    assert feedback.sizes == [8, 4, 2, 2, 2, 2]
    assert (steps, len(losses)) == (1, 4)
    said = [w for w in heard if "Out of memory" in w]
    assert [w.split(" with ")[1] for w in said] == ["4 edit(s) at once", "2 edit(s) at once"]
    assert "hungry begins again with 2 edit(s)" in caplog.text


def test_one_edit_is_too_much(tmp_path):
    feedback = Hungry(0)
    with pytest.raises(TrainingError, match="out of memory with one edit"):
        train(feedback, tmp_path, [])
    assert feedback.sizes == [8, 4, 2, 1]


def test_other_errors_are_not_taken_for_it(tmp_path):
    class Broken(Hungry):
        def loss(self, batch):
            self.sizes.append(len(batch.weight))
            raise RuntimeError("shapes do not fit")

    feedback = Broken(8)
    with pytest.raises(RuntimeError, match="do not fit"):
        train(feedback, tmp_path, [])
    assert feedback.sizes == [8]


def test_what_torch_says_without_memory_is_understood():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_halves_divide_the_batch():
    assert [halved(8, n) for n in (8, 4, 2)] == [4, 2, 1]
    assert [halved(6, n) for n in (6, 3, 2)] == [3, 1, 1]


def test_a_cpu_has_room_for_so_many_tokens():
    cpu = torch.device("cpu")
    assert step_tokens(policy().causal_lm, cpu, fast=False) == CPU_TOKENS
    assert step_tokens(policy().causal_lm, cpu, fast=True) == FAST_CPU_TOKENS


def test_a_shared_prompt_counts_once():
    needs = frozenset({Signal.KEPT, Signal.OFFERED})
    row = rows(1)[0]
    answers = len(row.kept) + len(row.offered)
    assert tokens(row, needs, from_start=False, shared=True) == len(row.prompt) + answers
    assert tokens(row, needs, from_start=True, shared=True) == len(row.prompt) - row.start + answers
    longest = max(len(row.kept), len(row.offered))
    assert tokens(row, needs, from_start=False, shared=False) == 2 * (len(row.prompt) + longest)
