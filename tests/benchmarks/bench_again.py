"""Training again after new edits, from the adapter there is, against training from scratch on all of them.

    python -m tests.benchmarks.bench_again [--old N] [--new N] [--feedback NAME]...

Both ways end at the same edits; the time of the first training, on the old ones, counts for neither. The held-out
losses may differ by 2% at most in disfavour of going on.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from time import perf_counter

import torch

from learner.feedback import Signal, load
from learner.records import AdapterForm
from learner.training import batches
from learner.training.again import LEAST_REPLAY, RATE, REPLAY
from learner.training.dataset import Row as Edit
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer
from tests.benchmarks import bench_training as bench
from tests.benchmarks.row import Row

CLOSE = 0.02
EPOCHS = 2
HELD = 12


def trained(work: bench.Work, name: str, rows: Sequence[Edit], target: Path, start: Path | None) -> tuple[float, float]:
    """Seconds and held-out loss of a training of `name` on `rows`, saved in `target`."""
    feedback, policy = load(name), work.policy
    settings = replace(work.settings, rate_scale=1.0 if start is None else RATE)
    torch.manual_seed(0)
    begun = perf_counter()
    if policy.prefixes is not None:
        policy.prefixes.fill([r.prompt[: r.start] for r in rows])
    if Signal.REFERENCE in feedback.needs:
        policy.reference.fill(batches.texts(rows, feedback.needs))
    trainer = EditTrainer(policy, rows, feedback, settings, target / "run", start=start)
    try:
        trainer.train()
        seconds = perf_counter() - begun
        trainer.save_adapter(target)
        return seconds, bench.held_out(work, trainer, name)
    finally:
        trainer.release()


def rows(old: int = 24, new: int = 10, names: Sequence[str] = ("sft",)) -> Iterator[Row]:
    """A row per feedback type. Raises AssertionError where going on learns less."""
    with bench.silence():
        work = bench.prepared(old + new, EPOCHS, AdapterForm.ALORA, held=HELD)
    work = replace(work, settings=TrainSettings(tuple(names), epochs=EPOCHS))
    known, fresh = work.rows[:old], work.rows[old:]
    replayed = Random(0).sample(list(known), min(old, max(LEAST_REPLAY, round(REPLAY * new))))
    for name in names:
        with tempfile.TemporaryDirectory() as folder, bench.silence():
            first, again, scratch = (Path(folder, n) for n in ("first", "again", "scratch"))
            trained(work, name, known, first, None)
            ours, loss = trained(work, name, [*replayed, *fresh], again, first)
            peer, whole = trained(work, name, work.rows, scratch, None)
        assert loss <= whole + CLOSE * abs(whole), f"{name}: held-out loss {loss}, from scratch {whole}"
        what = f"training {name} again, {new} new of {old + new} edits; held-out loss {loss:.4f}, anew {whole:.4f}"
        share = (new + len(replayed)) / (old + new)
        yield Row.of(f"{what}; {share:.2f} of the edits", ours, peer, None, "s")


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", type=int, default=40)
    parser.add_argument("--new", type=int, default=20)
    parser.add_argument("--feedback", action="append")
    arguments = parser.parse_args()
    for line in rows(arguments.old, arguments.new, arguments.feedback or ("sft",)):
        print(json.dumps(asdict(line)), flush=True)


if __name__ == "__main__":
    main()
