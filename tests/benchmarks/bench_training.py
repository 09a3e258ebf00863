"""Training all four feedback types against stock trl trainers, one after the other, on SmolLM2.

    python -m tests.benchmarks.bench_training [--edits N] [--epochs N] [--plain] [--bf16] [--sweep]

Both sides have the same rows (real texts, rewrites whose prompt is about 60% of the tokens), the same order, batch,
epochs, rate, schedule, optimiser, initial LoRA and candidates; both times include constructors, and ours the shared
prompts and the reference too. What each trl trainer stands for:

    sft             SFTTrainer on (x, y')
    dpo             DPOTrainer, sigmoid
    early_ensemble  DPOTrainer, loss_type=["sigmoid", "sft"]
    rl              SFTTrainer on the same candidates: with equal Gibbs weights, which is what is timed here, that is
                    the same arithmetic (mean over the tokens of all candidates of a batch)

The two sides compute the same steps: the held-out losses may differ by 2% at most. Answers of an edit share nothing
but the prompt here (an edit that keeps the beginning of an offer would only run faster with ours).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

from learner.config import Paths
from learner.models import setup
from learner.training import quiet  # before torch
from tests.benchmarks.row import Row as Line

import torch  # isort: skip
from datasets import Dataset  # isort: skip
from torch.utils.data import Sampler  # isort: skip
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # isort: skip

from learner.documents import package_texts, shuffled
from learner.feedback import FeedbackType, Signal, load
from learner.prompt import answer_ids, prompt_ids, rewrite
from learner.records import AdapterForm
from learner.training import batches
from learner.training.dataset import Row, align
from learner.training.policy import load_policy
from learner.training.sampler import GroupedSampler
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer, Policy, _arguments, _rate, lora_config
from tests.benchmarks.flops import flops, matmul_peak

TYPES = ("sft", "dpo", "rl", "early_ensemble")
CANDIDATES = 4
WORDS = (40, 110)
"""Least and most words of a text."""
PER_SOURCE = 20
"""Most texts of one installed package."""
BATCH = 4
EXTRA: dict[str, Any] = {}
"""More arguments for trl's trainers: on a GPU they are quickest with bf16=True."""
CLOSE = 0.02
"""Largest relative difference of held-out losses."""
GOAL = 0.2
"""The floor is 0.25; on a GPU the goal is 0.25."""


def edits(count: int, tokenizer: Any, invocation: Sequence[int], seed: int = 0) -> list[Row]:
    """Rows of real texts: `x` asks to make one shorter; `y`, `y'` and the samples each leave out other words of it."""
    made = []
    found = shuffled(package_texts(*WORDS), PER_SOURCE, seed)
    if len(found) < count:
        raise RuntimeError(f"{len(found)} texts of {WORDS} words are installed here, and {count} are wanted")
    for text in found[:count]:
        random = Random(f"{seed} {text.body}")
        prompt = tuple(prompt_ids(rewrite(text.body, "Make this text shorter."), tokenizer))
        words = text.body.split()

        def drawn(first: str, words: list[str] = words, random: Random = random) -> tuple[int, ...]:
            some = " ".join([first, *(w for w in words if random.random() < 0.9)])
            return tuple(answer_ids(some, tokenizer, ended=True))

        offered, kept = drawn("Here"), drawn("In short:")
        samples = [drawn(first) for first in ("This", "A", "One")[: CANDIDATES - 2]]
        kept_aligned, offered_aligned = align(kept, offered)
        start = len(prompt) - len(invocation) if invocation else 0
        made.append(
            Row(
                offer_id=f"o{len(made)}", document=text.source, prompt=prompt, start=start, kept=kept, offered=offered,
                weight=1.0, cost=0.5, cost_max=0.5, kept_aligned=kept_aligned, offered_aligned=offered_aligned,
                candidates=(offered, kept, *samples), tables={"weight": (1 / CANDIDATES,) * CANDIDATES},
            )
        )  # fmt: skip
    return made


class EditOrder(Sampler[int]):
    """Our order of edits, for a data set that holds `each` rows per edit."""

    def __init__(self, ours: GroupedSampler, each: int) -> None:
        self._ours, self._each = ours, each

    def __len__(self) -> int:
        return len(self._ours) * self._each

    def __iter__(self) -> Iterator[int]:
        return (self._each * i + j for i in self._ours for j in range(self._each))


@dataclass(frozen=True)
class Work:
    """What both sides are given."""

    policy: Policy
    rows: Sequence[Row]
    held: Sequence[Row]
    settings: TrainSettings

    def order(self, feedback: FeedbackType, each: int) -> EditOrder:
        """The order in which ours takes the edits."""
        needs, from_start = frozenset(feedback.needs), self.policy.prefixes is not None
        lengths = [batches.length(r, needs, from_start=from_start) for r in self.rows]
        return EditOrder(GroupedSampler(lengths, BATCH, self.settings.seed), each)


def train_ours(work: Work, name: str) -> tuple[float, float, dict[str, Any]]:
    """Seconds, held-out loss and the adapter's weights."""
    feedback, policy = load(name), work.policy
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        started = perf_counter()
        if policy.prefixes is not None:
            policy.prefixes.fill([r.prompt[: r.start] for r in work.rows])
        if Signal.REFERENCE in feedback.needs:
            policy.reference.fill(batches.texts(work.rows, feedback.needs))
        trainer = EditTrainer(policy, work.rows, feedback, work.settings, Path(folder))
        trainer.train()
        seconds = perf_counter() - started
        loss = held_out(work, trainer, name)
        weights = _weights(trainer)
        trainer.release()
    return seconds, loss, weights


def epochs(counts: Sequence[int]) -> Iterator[float]:
    """Seconds of an epoch of sft on so many edits, prompts included."""
    with silence():
        work = prepared(max(counts), 1, AdapterForm.ALORA)
        train_ours(replace(work, rows=work.rows[: min(counts)]), "sft")
    for count in counts:
        if work.policy.prefixes is not None:
            work.policy.prefixes.clear()
        with silence():
            seconds, *_ = train_ours(replace(work, rows=work.rows[:count]), "sft")
        yield seconds


def held_out(work: Work, trainer: EditTrainer, name: str) -> float:
    """The loss on edits that nobody trained on."""
    if work.policy.prefixes is not None:
        work.policy.prefixes.fill([r.prompt[: r.start] for r in work.held])
    with trainer.model.disable_adapter():
        work.policy.reference.fill(batches.texts(work.held, load(name).needs))
    loss = trainer.held_out_loss(work.held)
    assert loss is not None
    return loss


def _weights(trainer: Any) -> dict[str, Any]:
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters() if "lora_" in n}


def judged(work: Work, name: str, weights: dict[str, Any]) -> float:
    """The held-out loss of weights that trl trained."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = EditTrainer(work.policy, work.rows, load(name), work.settings, Path(folder))
        assert not trainer.model.load_state_dict(weights, strict=False).unexpected_keys
        try:
            return held_out(work, trainer, name)
        finally:
            trainer.release()


def train_trl(
    work: Work, name: str, *, micro: int = BATCH // 2, precompute: bool = False
) -> tuple[float, dict[str, Any]]:
    """Seconds and the adapter's weights; `micro` edits at once, their reference before training or beside it.

    The defaults were the quickest in `sweep`; the others differ by little more than the noise (docs/performance.md).
    """
    feedback, settings = load(name), work.settings
    each = CANDIDATES if name == "rl" else 1
    with tempfile.TemporaryDirectory() as folder:
        like = _arguments(
            settings, _rate(work.policy, feedback, settings), len(work.rows), BATCH, micro, Path(folder),
            work.policy.device,
        )  # fmt: skip
        shared = {
            key: getattr(like, key)
            for key in (
                "output_dir", "num_train_epochs", "gradient_accumulation_steps", "learning_rate", "lr_scheduler_type",
                "warmup_steps", "weight_decay", "max_grad_norm", "seed", "use_cpu", "bf16", "gradient_checkpointing",
                "logging_strategy", "save_strategy", "eval_strategy", "disable_tqdm", "dataloader_pin_memory",
            )
        } | {"report_to": [], "per_device_train_batch_size": micro * each, "max_length": None} | EXTRA  # fmt: skip
        order = work.order(feedback, each)
        kind, config = (SFTTrainer, SFTConfig) if name in ("sft", "rl") else (DPOTrainer, DPOConfig)
        own: dict[str, Any] = {"completion_only_loss": True}
        if kind is DPOTrainer:
            own = {"precompute_ref_log_probs": precompute, "beta": 0.1}
            own |= {"precompute_ref_batch_size": BATCH, "loss_type": ["sigmoid"]}
            if name == "early_ensemble":
                own |= {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]}

        class Ordered(kind):  # type: ignore[valid-type, misc]
            def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
                return dataset  # tokenised already

            def _get_train_sampler(self, *_: Any) -> Any:
                return order

        data = _sft_rows(work.rows, name) if kind is SFTTrainer else _dpo_rows(work.rows)
        torch.manual_seed(0)
        started = perf_counter()
        trainer = Ordered(
            model=work.policy.causal_lm,
            args=config(**shared, **own),
            train_dataset=Dataset.from_dict(data),
            processing_class=work.policy.tokenizer,
            peft_config=lora_config(settings, work.policy.invocation),
        )
        trainer.train()
        seconds = perf_counter() - started
        weights = _weights(trainer)
        trainer.model.unload()
        work.policy.causal_lm.__dict__.pop("forward", None)
        work.policy.causal_lm.requires_grad_(False)
    return seconds, weights


def _sft_rows(rows: Sequence[Row], name: str) -> dict[str, list[Any]]:
    pairs = [(r.prompt, a) for r in rows for a in (r.candidates if name == "rl" else (r.kept,))]
    labels = [[*[-100] * len(p), *a] for p, a in pairs]
    return {"input_ids": [[*p, *a] for p, a in pairs], "labels": labels}


def _dpo_rows(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {
        "prompt": [""] * len(rows),
        "prompt_ids": [list(r.prompt) for r in rows],
        "chosen_ids": [list(r.kept) for r in rows],
        "rejected_ids": [list(r.offered) for r in rows],
    }


def sweep(work: Work) -> Iterator[tuple[str, float]]:
    """Seconds of trl by its own settings: threads, the whole batch or halves, the reference before or beside."""
    threads = torch.get_num_threads()
    for count in (threads, 1) if threads > 1 else (1,):
        torch.set_num_threads(count)
        for micro in (BATCH, BATCH // 2, 1):
            what = f"{count} thread(s), {micro} at once"
            yield f"sft, {what}", train_trl(work, "sft", micro=micro)[0]
            for precompute in (True, False):
                seconds, _ = train_trl(work, "early_ensemble", micro=micro, precompute=precompute)
                yield f"early_ensemble, {what}, reference {'before' if precompute else 'beside'}", seconds
    torch.set_num_threads(threads)


def prepared(count: int, epochs: int, form: AdapterForm, *, held: int = BATCH) -> Work:
    """SmolLM2 and `count` edits, and `held` others that are held out."""
    home = Path(os.environ.get("REDRAFT_TEST_CACHE") or "build/test-home").absolute()
    base = setup(None, Paths(home, home / "config.toml", home / "run"), lambda words, share: None)
    settings = TrainSettings(TYPES, epochs=epochs, batch_size=BATCH, form=form, trainer="fast")
    policy = load_policy(base, settings)
    found = edits(count + held, policy.tokenizer, policy.invocation)
    return Work(policy, found[:count], found[count:], settings)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """trl prints its figures, which are not rows."""
    with quiet.quiet(), contextlib.redirect_stdout(sys.stderr):
        yield


Peers = dict[str, tuple[float, float]]
"""What trl took for each feedback type: seconds, and CPU seconds of all threads."""


def compared(
    count: int = 8, epochs: int = 1, form: AdapterForm = AdapterForm.ALORA, *, plain: Peers | None = None
) -> Generator[Line, None, Peers]:
    """One line per feedback type and the sum; what trl took. Raises AssertionError where they learn different things.

    With `plain`, which trl took for plain LoRA, activated LoRA is compared with that, trl's default; trl trains
    activated LoRA itself for sft only then, for the equality.
    """
    sums, peers = [0.0] * 3, Peers()
    with silence():
        work = prepared(count, epochs, form)
        warmed = replace(work, rows=work.rows[:1], settings=replace(work.settings, epochs=1))
        train_ours(warmed, "dpo")
        work.policy.reference.clear()
    peak = matmul_peak()
    what = f"{form}, {count} edits, {epochs} epoch(s)"
    beside = f"{what}, beside trl's plain LoRA"
    for name in TYPES:
        with silence():
            begun = process_time()
            ours, loss, _ = train_ours(work, name)
            cpu = process_time() - begun
        steps = flops(work, name)
        figures = _figures(steps, ours, peak)
        if plain is None or name == TYPES[0]:
            with silence():
                begun = process_time()
                peer, weights = train_trl(work, name)
                peers[name] = peer, process_time() - begun
                theirs = judged(work, name, weights)
            assert abs(loss - theirs) <= CLOSE * abs(theirs), f"{name}: held-out loss {loss}, trl's {theirs}"
            losses = f"held-out loss {loss:.4f}, trl's {theirs:.4f}"
            yield Line.of(f"training {name}, {what}; {losses}; {figures}", ours, peer, None, "s")
        if plain is not None:
            yield Line.of(f"training {name}, {beside}; {figures}", ours, plain[name][0], None, "s")
        sums = [a + b for a, b in zip(sums, (ours, cpu, steps), strict=True)]
    yield from _all_four(what, sums, peers, peak) if plain is None else _all_four(beside, sums, plain, peak)
    return peers


def _all_four(what: str, sums: Sequence[float], peers: Peers, peak: float) -> Iterator[Line]:
    ours, cpu, steps = sums
    seconds, theirs = (sum(column) for column in zip(*peers.values(), strict=True))
    yield Line.of(f"training all four, {what}; {_figures(steps, ours, peak)}", ours, seconds, GOAL, "s")
    yield Line.of(f"training all four, {what}, CPU seconds of all threads", cpu, theirs, None, "s")


def _figures(operations: float, seconds: float, peak: float) -> str:
    share = operations / seconds / peak
    return f"{operations / 1e12:.2f} TFLOP in its steps, {share:.0%} of {peak / 1e9:.0f} GFLOP/s"


def rows() -> Iterator[Line]:
    """Both forms of an adapter."""
    plain = yield from compared(form=AdapterForm.LORA)
    yield from compared(plain=plain)


def main() -> None:
    """Print the rows, or with `--sweep` what trl takes by its settings."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edits", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="plain LoRA instead of activated")
    parser.add_argument("--sweep", action="store_true", help="what trl takes by its settings")
    parser.add_argument("--bf16", action="store_true", help="trl with bf16=True, as a GPU wants it")
    arguments = parser.parse_args()
    EXTRA.update({"bf16": True} if arguments.bf16 else {})
    form = AdapterForm.LORA if arguments.plain else AdapterForm.ALORA
    if arguments.sweep:
        with silence():
            for words, seconds in sweep(prepared(arguments.edits, arguments.epochs, form)):
                print(f"{words}: {seconds:.1f} s", file=sys.__stdout__, flush=True)
        return
    for line in compared(arguments.edits, arguments.epochs, form):
        print(json.dumps(asdict(line)), flush=True)


if __name__ == "__main__":
    main()
