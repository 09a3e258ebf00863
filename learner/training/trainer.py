"""The trainer: trl's DPOTrainer around a feedback type's own loss.

From trl and transformers come the optimiser, the schedule, accelerate's devices and processes and
the peft wrapping. Ours are the batches (`learner.training.batches`), the log-probabilities
(`learner.training.logprobs`) and the loss, which is the plugin's. trl's private members that are
overridden here are why its version is pinned exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from learner.adapter_files import WEIGHTS, servable_lora
from learner.exceptions import PluginError, TrainingError
from learner.feedback import FeedbackType, Signal
from learner.training import batches
from learner.training.computed import Computed
from learner.training.dataset import Row
from learner.training.fast.llama import answer_logprobs
from learner.training.logprobs import Text, answer_head, token_logprobs
from learner.training.prefixes import Prefixes
from learner.training.processes import ALONE, World
from learner.training.reference import Reference
from learner.training.room import halved, step_tokens
from learner.training.sampler import GroupedSampler
from learner.training.settings import TrainSettings, batch_size, learning_rate
from learner.training.sharding import shared_scores

WARMUP = 0.1
"""Share of the steps in which the learning rate rises; then it falls as a cosine."""

Steps = Callable[[int, int], None]
"""Told the steps that are done, and all there are."""


def lora_config(settings: TrainSettings, invocation: Sequence[int]) -> LoraConfig:
    """peft's settings of an adapter, activated by `invocation` if there is one.

    Raises AdapterError when they cannot be served: before any training.
    """
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        alora_invocation_tokens=list(invocation) or None,
    )
    servable_lora(config.to_dict())
    return config


@dataclass(frozen=True, slots=True)
class Policy:
    """The base's weights, to put adapters on one after the other, and what they share.

    `invocation` is empty for plain adapters. `prefixes` is None where prompts must run whole. `fast` says that
    the model takes the pass of `learner.training.fast`. `computed` holds what earlier trainings computed.
    """

    causal_lm: Any
    tokenizer: Any
    device: torch.device
    invocation: tuple[int, ...]
    prefixes: Prefixes | None
    reference: Reference
    fast: bool = False
    computed: Computed | None = None


class EditTrainer(DPOTrainer):  # type: ignore[misc]
    """Trains one adapter by one feedback type. `learner.training.fit` makes one and runs it."""

    def __init__(
        self,
        policy: Policy,
        rows: Sequence[Row],
        feedback: FeedbackType,
        settings: TrainSettings,
        folder: Path,
        steps: Steps | None = None,
        world: World = ALONE,
        *,
        start: Path | None = None,
        at_once: int | None = None,
    ) -> None:
        self.world = world
        self.rows = list(rows)
        self.feedback = feedback
        self.policy = policy
        self.losses: list[float] = []
        self.tokens = 0  # answer tokens that were scored
        self._needs = frozenset(feedback.needs)
        self._whole = policy.prefixes is None
        self._activated = bool(policy.invocation) and self._whole
        self._lengths = [batches.length(r, self._needs, from_start=not self._whole) for r in self.rows]
        self._batch_size = settings.batch_size or batch_size(len(self.rows), settings.epochs)
        self._micro, self._share = self._edits_at_once(at_once or self._batch_size), 1.0
        # several processes take as many micro-batches at once, each a loss of its own
        calls = max(n for n in range(1, world.size + 1) if self._batch_size // self._micro % n == 0)
        # with shared prompts every token that runs is the adapter's, so a plain LoRA computes the
        # same without masking; the folder's settings say what it is
        config = lora_config(settings, policy.invocation if self._activated else ())
        super().__init__(
            model=policy.causal_lm,
            args=_arguments(
                settings,
                _rate(policy, feedback, settings),
                len(self.rows),
                self._batch_size,
                self._micro * calls,
                folder,
                policy.device,
            ),
            data_collator=_collate,
            train_dataset=Dataset.from_dict({"row": list(range(len(self.rows)))}),
            processing_class=policy.tokenizer,
            peft_config=config,
        )
        self.remove_callback(PrinterCallback)
        if steps is not None:
            self.add_callback(_StepsCallback(steps))
        if start is not None:
            set_peft_model_state_dict(self.model, load_file(start / WEIGHTS))
        world.same_start(self.model.parameters())
        # processes that are not of `world` exchange gradients in hooks of the model's own forward
        self._fast = policy.fast and not self._activated and self.accelerator.num_processes == 1
        if policy.prefixes is not None:
            policy.prefixes.off = self.model.disable_adapter

    def _edits_at_once(self, most: int) -> int:
        """As many as memory has room for, `most` at most, so that they divide the batch; the same in all processes."""
        shared = self.policy.fast and not self._activated
        tokens = max(batches.tokens(r, self._needs, from_start=not self._whole, shared=shared) for r in self.rows)
        room = step_tokens(self.policy.causal_lm, self.policy.device, fast=shared) // tokens
        room = min(self.world.gather(min(self._batch_size, max(1, room), most)))
        return max(n for n in range(1, room + 1) if self._batch_size % n == 0)

    @property
    def halved(self) -> int:
        """Edits at once when these were too many for memory. Raises TrainingError where that was one."""
        return halved(self._batch_size, self._micro)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset  # tokenised already, by learner.prompt

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["row"]

    def _get_train_sampler(self, train_dataset: Any = None) -> GroupedSampler:
        return GroupedSampler(self._lengths, self._batch_size, self.args.seed)

    def _send_telemetry(self) -> None:
        """Nobody is told."""

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted."""
        return 0

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """The calls of one step; notes what a micro-batch counts in them, where a call holds several."""
        samples, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._share = len(samples) / max(1, sum(math.ceil(len(s["row"]) / self._micro) for s in samples))
        return samples, items

    def training_step(self, *arguments: Any, **options: Any) -> Tensor:
        """One call's loss and gradients; at the last of a step, those of all processes."""
        loss: Tensor = super().training_step(*arguments, **options)
        if self.accelerator.sync_gradients:
            self.world.sum_gradients(self.model.parameters())
        return loss

    def edit_batch(self, model: Any, rows: Sequence[Row], score: batches.Score | None = None) -> Any:
        """What the loss sees of these rows under `model`; `score` where they are scored already."""

        def own(texts: Sequence[Text]) -> tuple[Tensor, Tensor]:
            return self._score(model, texts)

        score = score or own
        reference = self.policy.reference.get if Signal.REFERENCE in self._needs else None
        return batches.edit_batch(rows, self._needs, score, reference, self.args.device)

    def _score(self, model: Any, texts: Sequence[Text]) -> tuple[Tensor, Tensor]:
        self.tokens += sum(len(t.answer) for t in texts)
        if self._fast:
            causal_lm, device = self.policy.causal_lm, self.args.device
            return answer_logprobs(causal_lm, texts, device=device, prefixes=self.policy.prefixes)
        return token_logprobs(
            model, texts, device=self.args.device, prefixes=self.policy.prefixes, activated=self._activated
        )

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        rows = [self.rows[i] for i in inputs["row"].tolist()]
        loss = torch.zeros((), device=self.args.device)
        with answer_head(self.accelerator.unwrap_model(self.model).get_base_model()):
            score = self._scored_together(model, rows)
            for begin in range(0, len(rows), self._micro):
                part, _ = self.feedback.loss(self.edit_batch(model, rows[begin : begin + self._micro], score))
                check_loss(part, self.feedback.name)
                self.losses.append(part.item())
                loss = loss + self._share * part
        if score is not None and not loss.requires_grad:  # no text of this call was for this process
            loss = loss + 0.0 * next(p for p in self.model.parameters() if p.requires_grad).sum()
        return (loss, {}) if return_outputs else loss

    def _scored_together(self, model: Any, rows: Sequence[Row]) -> batches.Score | None:
        """These rows' texts, scored by all processes; None for one that is alone."""
        texts = [] if self.world.alone else batches.texts(rows, self._needs)
        if not texts:
            return None
        before = self.tokens + sum(len(t.answer) for t in texts)
        score = shared_scores(self.world, texts, lambda own: self._score(model, own), self.args.device)
        self.tokens = before
        return score

    def held_out_loss(self, rows: Sequence[Row]) -> float | None:
        """Mean loss over rows that were not trained on; None without any."""
        if not rows:
            return None
        size, total = self._micro, 0.0
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        with torch.no_grad(), answer_head(model.get_base_model()):
            for begin in range(0, len(rows), size):
                batch = rows[begin : begin + size]
                loss, _ = self.feedback.loss(self.edit_batch(model, batch))
                total += loss.item() * len(batch)
        return total / len(rows)

    def kept_losses(self, rows: Sequence[Row]) -> list[float]:
        """-log pi(y' | x) per token of each row's kept text, in nats, under the adapter as it is."""
        model = self.accelerator.unwrap_model(self.model)
        model.eval()
        found: list[float] = []
        with torch.no_grad(), answer_head(model.get_base_model()):
            for row in rows:
                text = Text(row.prompt, row.start, row.kept)
                logprobs, mask = self._score(model, [text])
                found.append(-float(logprobs.sum()) / max(1, int(mask.sum())))
        return found

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as peft does, with the form that it is served in."""
        model = self.accelerator.unwrap_model(self.model)
        model.peft_config["default"].alora_invocation_tokens = list(self.policy.invocation) or None
        model.save_pretrained(folder, save_embedding_layers=False)

    def release(self) -> None:
        """Take the adapter off, so that the policy is the plain base again."""
        if self.policy.prefixes is not None:
            self.policy.prefixes.restore()
        self.accelerator.unwrap_model(self.model).unload()
        self.policy.causal_lm.__dict__.pop("forward", None)  # trl's own patch
        self.policy.causal_lm.requires_grad_(False)
        self.accelerator.free_memory()


def check_loss(loss: object, name: str) -> None:
    """Raise PluginError for what is no scalar with gradient, TrainingError for what is not finite."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise PluginError(f"feedback type {name!r}: `loss` should return a scalar Tensor, but returned {loss!r:.200}")
    if not math.isfinite(loss.item()):
        raise TrainingError(f"{name}: the loss is {loss.item()}; nothing was saved. Try a lower learning rate")


def _collate(examples: Sequence[dict[str, int]]) -> dict[str, Tensor]:
    return {"row": torch.tensor([e["row"] for e in examples])}


def _rate(policy: Policy, feedback: FeedbackType, settings: TrainSettings) -> float:
    """Peak learning rate: what the settings say, or what suits the model's size and the feedback type."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    scale: float = getattr(feedback, "learning_rate_scale", 1.0)
    return settings.rate_scale * scale * learning_rate(policy.causal_lm.config.get_text_config().hidden_size)


def _arguments(
    settings: TrainSettings, rate: float, rows: int, batch: int, micro: int, folder: Path, device: torch.device
) -> DPOConfig:
    steps = math.ceil(rows / batch) * settings.epochs
    arguments = DPOConfig(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=batch // micro,
        learning_rate=rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, round(WARMUP * steps)),
        weight_decay=0.0,
        max_grad_norm=1.0,
        seed=settings.seed,
        use_cpu=device.type == "cpu",
        bf16=False,  # the weights are in the right format already (learner.training.precision)
        gradient_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # a process trains on one GPU; `accelerate launch` starts one for each
    return arguments


class _StepsCallback(TrainerCallback):  # type: ignore[misc]
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._steps(state.global_step, state.max_steps)
