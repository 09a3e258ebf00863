"""What activated LoRA costs in quality: the edit cost after training it, beside plain LoRA's on the same edits.

    python -m tests.benchmarks.bench_forms [--old N] [--new N] [--epochs N]

The demo's writer edits the base's answers to `old` real texts; sft learns from these edits, once in each form, with
the product's settings; each adapter answers `new` other texts on the engine that serves, and the same writer edits
these answers (`cost_max`: 0 nothing changed, 1 nothing kept). That activated LoRA is no worse than plain LoRA by more
than `WORSE` is the row's goal, that both are better than the base is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from statistics import fmean
from time import perf_counter

import torch

from learner.armset import ArmSet
from learner.client import HostClient
from learner.config import Config
from learner.cost import cost, cost_max
from learner.demo.story import ANSWER_TOKENS, answer_all, prompts_of
from learner.demo.writer import habit
from learner.documents import Text, library_texts, package_texts, shuffled
from learner.feedback import load
from learner.models import BaseModel
from learner.prompt import answer_ids, prompt_ids
from learner.records import BASE_ARM, AdapterForm
from learner.serving import PrivateHost
from learner.training.dataset import Row as Edit
from learner.training.dataset import align
from learner.training.policy import load_policy
from learner.training.publish import publish
from learner.training.settings import TrainSettings
from learner.training.trainer import EditTrainer, Policy
from learner.trimming import trim
from tests.benchmarks.answers import prepared_base
from tests.benchmarks.bench_training import silence
from tests.benchmarks.row import Row

WORDS = 30, 60
PER_SOURCE = 3
WORSE = 0.05


async def _answers(arms: ArmSet, texts: Sequence[Text]) -> list[str]:
    """The base's answers, as a user is offered them."""
    with PrivateHost(arms, Config()) as endpoint:
        async with HostClient(endpoint) as client:
            found = []
            for task, prompt in prompts_of(texts):
                answer = await client.generate(prompt, adapter=None, max_tokens=ANSWER_TOKENS)
                found.append(trim(answer.text, task))
            return found


def _edits(texts: Sequence[Text], offers: Sequence[str], policy: Policy) -> list[Edit]:
    """The writer's edits of what was offered."""
    edits = []
    for (_, prompt), offered in zip(prompts_of(texts), offers, strict=True):
        ids, kept = tuple(prompt_ids(prompt, policy.tokenizer)), habit(offered)
        y, y_kept = (tuple(answer_ids(text, policy.tokenizer, ended=True)) for text in (offered, kept))
        kept_aligned, offered_aligned = align(y_kept, y)
        edits.append(
            Edit(
                offer_id=f"o{len(edits)}", document=str(len(edits)),
                prompt=ids, start=len(ids) - len(policy.invocation), kept=y_kept, offered=y,
                weight=1.0, cost=cost(offered, kept), cost_max=cost_max(offered, kept),
                kept_aligned=kept_aligned, offered_aligned=offered_aligned, candidates=(), tables={},
            )
        )  # fmt: skip
    return edits


def _train(
    base: BaseModel, texts: Sequence[Text], offers: Sequence[str], settings: TrainSettings, folder: Path
) -> tuple[str, Path]:
    """Train sft on the writer's edits; the adapter's id, and where it is published."""
    policy = load_policy(base, settings)
    edits = _edits(texts, offers, policy)
    if policy.prefixes is not None:
        policy.prefixes.fill([edit.prompt[: edit.start] for edit in edits])
    torch.manual_seed(0)
    trainer = EditTrainer(policy, edits, load("sft"), settings, folder / "run")
    try:
        trainer.train()
        trainer.save_adapter(folder / "peft")
    finally:
        trainer.release()
    target = publish(folder / "peft", base, folder / f"{settings.form.value}-1")
    return target.name, target / "adapter.gguf"


def rows(old: int = 24, new: int = 12, epochs: int = 3) -> Iterator[Row]:
    """The edit cost of activated LoRA, its peer plain LoRA's. Raises AssertionError where nothing was learnt."""
    base, _ = prepared_base()
    assert base.gguf is not None
    texts = shuffled(chain(library_texts(*WORDS), package_texts(*WORDS)), PER_SOURCE, 0)[: old + new]
    assert len(texts) == old + new, f"{len(texts)} texts are installed here"
    arms, seconds = ArmSet(base.gguf, base.fingerprint, base.zero_adapter), dict[str, float]()
    offers = asyncio.run(_answers(arms, texts[:old]))
    adapters: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="rd-") as folder:
        for form in AdapterForm:
            settings = TrainSettings(("sft",), epochs=epochs, form=form)
            begun = perf_counter()
            with silence():
                adapters.update([_train(base, texts[:old], offers, settings, Path(folder, form.value))])
            seconds[form.value] = perf_counter() - begun
        every = replace(arms, adapters=adapters)
        costs = asyncio.run(answer_all(every, Config(), texts, range(old, old + new), [], lambda words, share: None))
    mean = {name: fmean(found.values()) for name, found in costs.items()}
    assert max(mean["alora"], mean["lora"]) < mean[BASE_ARM], f"nothing was learnt: {mean}"
    what = f"edit cost on {new} new texts after sft on {old} edits, activated against plain LoRA"
    took = f"trained in {seconds['alora']:.0f} and {seconds['lora']:.0f} s"
    what = f"{what}; the base's {mean[BASE_ARM]:.3f}; {took}"
    yield Row.of(what, mean["alora"], mean["lora"], mean["lora"] + WORSE, "", on="ours")


def main() -> None:
    """Print the row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--old", type=int, default=24)
    parser.add_argument("--new", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=3)
    arguments = parser.parse_args()
    for line in rows(arguments.old, arguments.new, arguments.epochs):
        print(json.dumps(asdict(line)), flush=True)


if __name__ == "__main__":
    main()
