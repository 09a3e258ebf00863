"""What any number of users takes with an 8B model on shared GPUs, and each of them with a small one of their own.

Nothing is measured here. What was measured stands in `Measured` (`tests.benchmarks.bytes_per_edit` measures bytes
anew), what others published in `Published`, what is simply assumed in `Assumed`. `tests.benchmarks.scale` prints it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from learner.config import Config

DAYS = 365


@dataclass(frozen=True, slots=True)
class Model:
    """Dimensions of a base of the Llama family."""

    name: str
    parameters: float
    layers: int
    hidden: int
    intermediate: int
    kv_width: int
    """Heads of keys times their size."""

    def adapter_parameters(self, rank: int) -> int:
        """rank * (in + out), summed over a layer's seven linear maps, times the layers."""
        hidden, inner, narrow = self.hidden, self.intermediate, self.kv_width
        maps = [(hidden, hidden), (hidden, narrow), (hidden, narrow), (hidden, hidden)]  # q, k, v, o
        maps += [(hidden, inner), (hidden, inner), (inner, hidden)]  # gate, up, down
        return rank * sum(into + out for into, out in maps) * self.layers

    def kv_bytes(self, tokens: int, width: int = 2) -> int:
        """Keys and values of so many tokens, at `width` bytes a number."""
        return 2 * self.layers * self.kv_width * width * tokens


SMOLLM2 = Model("SmolLM2-135M", 134.5e6, 30, 576, 1536, 192)
LLAMA_8B = Model("Llama-3.1-8B", 8.03e9, 32, 4096, 14336, 1024)
FP32, BF16 = 4, 2


@dataclass(frozen=True, slots=True)
class Measured:
    """On this project's machines; each with its command in the table `units`."""

    sqlite: float = 4_984
    parquet: float = 872
    imported: float = 4_499
    bandit_state: float = 1_693
    training_cpu_seconds: float = 95 / 8
    """Of an edit of the benchmark in an epoch, all four types, SmolLM2."""
    training_tokens: float = 1_468
    """That this edit is, all four types: prompts of 143 tokens, answers of 99."""
    prefill: float = 500
    decode: float = 110
    """Tokens a second of SmolLM2 in the embedded engine."""


@dataclass(frozen=True, slots=True)
class Published:
    """By others; docs/scale.md names the sources."""

    decode: float = 1_384.2
    """Tokens a second of an 8B model on an H100, 16 requests at a time, vLLM 0.21."""
    batch: int = 16
    lora_share: float = 3_656.98 / 5_509.93
    """Throughput with LoRA over that without, vLLM on an A100."""
    peak: float = 989e12
    """Multiply-adds counted twice, a second, an H100 in bf16, dense."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """Change one, and run this again."""

    active: float = 0.3
    offers_an_hour: float = 20
    hours: float = 3
    teaching: float = 1 / 3
    busiest: float = 0.15
    writing_then: float = 0.5
    prompt_words: int = 240
    answer_words: int = 60
    tokens_a_word: float = 4 / 3
    types: int = 4
    rank: int = 16
    new_edits: int = 20
    history: int = 200
    epochs: int = 3
    held_out: float = 0.2
    samples: int = 3
    prefill_use: float = 0.4
    training_use: float = 0.3
    start_seconds: float = 60
    night_hours: float = 8
    warm: int = 1_000
    chunk_bytes: int = 250

    @property
    def prompt_tokens(self) -> int:
        """Of an offer."""
        return round(self.prompt_words * self.tokens_a_word)

    @property
    def answer_tokens(self) -> int:
        """Of an offer."""
        return round(self.answer_words * self.tokens_a_word)

    @property
    def tokens(self) -> int:
        """Of an offer, both together."""
        return self.prompt_tokens + self.answer_tokens

    @property
    def offers(self) -> float:
        """A day, of somebody who writes."""
        return self.offers_an_hour * self.hours

    @property
    def edits(self) -> float:
        """A day that teach, of somebody who writes."""
        return self.offers * self.teaching

    @property
    def texts_trained(self) -> int:
        """Answers of an edit in an epoch: sft y'; dpo y and y'; rl y, y' and its samples; early_ensemble y and y'."""
        each = {1: 2, 4: 1 + 2 + (2 + self.samples) + 2}
        return each[self.types]

    @property
    def trained_tokens(self) -> int:
        """Of an edit in an epoch, all its types."""
        return self.types * self.prompt_tokens + self.texts_trained * self.answer_tokens


MEASURED, PUBLISHED, ASSUMED = Measured(), Published(), Assumed()


NAME = "redraft-early_ensemble-12-9f86d081"
CARD = {
    "id": NAME, "object": "model", "created": 1764137000, "owned_by": "vllm", "root": f"/mnt/shared/adapters/{NAME}",
    "parent": "Llama-3.1-8B", "max_model_len": None,
    "permission": [{
        "id": f"modelperm-{'0' * 32}", "object": "model_permission", "created": 1764137000,
        "allow_create_engine": False, "allow_sampling": True, "allow_logprobs": True, "allow_search_indices": False,
        "allow_view": True, "allow_fine_tuning": False, "organization": "*", "group": None, "is_blocking": False,
    }],
}  # fmt: skip
"""An adapter in vLLM's list of models, as its `ModelCard` has it."""
CARD_BYTES = len(json.dumps(CARD, separators=(",", ":")))


@dataclass(frozen=True, slots=True)
class Scale:
    """What so many users take, with an 8B model on shared GPUs."""

    users: int
    a: Assumed = ASSUMED

    @property
    def writers(self) -> float:
        """Users who write on a day."""
        return self.users * self.a.active

    @property
    def offers(self) -> float:
        """A day."""
        return self.writers * self.a.offers

    @property
    def rate(self) -> float:
        """Offers a second in the busiest hour."""
        return self.offers * self.a.busiest / 3600

    def stored(self, each: float) -> float:
        """Bytes after a year, at `each` an offer."""
        return self.offers * DAYS * each

    @property
    def adapters(self) -> float:
        """That serve, one version each."""
        return self.users * self.a.types

    def adapter_bytes(self, width: int) -> float:
        """Of one adapter."""
        return LLAMA_8B.adapter_parameters(self.a.rank) * width

    @property
    def seconds_of_an_offer(self) -> float:
        """Of one GPU: the prompt at a share of the peak, the answer's share of a batch."""
        prompt = 2 * LLAMA_8B.parameters * self.a.prompt_tokens / (PUBLISHED.peak * self.a.prefill_use)
        return prompt + self.a.answer_tokens / (PUBLISHED.decode * PUBLISHED.lora_share)

    @property
    def serving_gpus(self) -> int:
        """In the busiest hour."""
        return math.ceil(self.rate * self.seconds_of_an_offer)

    @property
    def in_flight(self) -> float:
        """Requests at once, with the batch that a GPU was measured with."""
        return self.rate * self.seconds_of_an_offer * PUBLISHED.batch

    @property
    def versions(self) -> float:
        """Bytes after a year, were each version kept, its GGUF as large as its weights."""
        return self.trainings * DAYS * self.a.types * 2 * self.adapter_bytes(FP32)

    @property
    def held(self) -> float:
        """Bytes of the adapters that serve and of the replaced versions that stay, GGUF included."""
        return self.adapters * (1 + Config().keep_versions) * 2 * self.adapter_bytes(FP32)

    @property
    def wanted(self) -> float:
        """Adapters of those who write in the busiest hour."""
        return self.writers * self.a.writing_then * self.a.types

    @property
    def warm_hosts(self) -> int:
        """Machines in whose main memory these lie."""
        return math.ceil(self.wanted * self.adapter_bytes(BF16) / (self.a.warm * Scale(1).adapter_bytes(BF16)))

    @property
    def cold_reads(self) -> float:
        """Bytes a second of adapters where none is warm and each offer draws one."""
        share = self.a.types / (self.a.types + 1)
        return self.rate * share * self.adapter_bytes(FP32)

    @property
    def texts(self) -> float:
        """Bytes a second of prompts and streamed answers in the busiest hour."""
        letters = 6 * self.a.prompt_words + self.a.chunk_bytes * self.a.answer_tokens
        return self.rate * letters

    @property
    def list_bytes(self) -> float:
        """What one server with all adapters answers to /v1/models."""
        return self.adapters * CARD_BYTES

    @property
    def trainings(self) -> float:
        """A night."""
        return self.writers * self.a.edits / self.a.new_edits

    @property
    def training_seconds(self) -> float:
        """Of a GPU, for one person: forward, backward and reference; samples; judging; the start."""
        a = self.a
        steps = 6 * LLAMA_8B.parameters * a.trained_tokens * a.history * a.epochs / (PUBLISHED.peak * a.training_use)
        samples = a.history * a.samples * a.answer_tokens / PUBLISHED.decode if a.types == 4 else 0
        judged = min(60, a.history * a.held_out) * (a.types + 1) * a.answer_tokens
        return steps + samples + judged / (PUBLISHED.decode * PUBLISHED.lora_share) + a.start_seconds

    @property
    def training_hours(self) -> float:
        """GPU hours a night."""
        return self.trainings * self.training_seconds / 3600

    @property
    def training_gpus(self) -> int:
        """That end within the night."""
        return math.ceil(self.training_hours / self.a.night_hours)

    @property
    def written(self) -> float:
        """Bytes of new adapters a night."""
        return self.trainings * self.a.types * self.adapter_bytes(FP32)


def own_offer() -> float:
    """CPU seconds of an offer on one's own machine."""
    return ASSUMED.prompt_tokens / MEASURED.prefill + ASSUMED.answer_tokens / MEASURED.decode


def own_training(edits: float) -> float:
    """CPU hours of a training on one's own machine."""
    longer = ASSUMED.trained_tokens / MEASURED.training_tokens
    return edits * ASSUMED.epochs * MEASURED.training_cpu_seconds * longer / 3600


def year_of_versions() -> float:
    """Of one person, versions of one adapter, those that were pruned too."""
    return year_of_edits() / ASSUMED.new_edits


def year_of_edits() -> float:
    """Of one person, edits that teach."""
    return ASSUMED.active * DAYS * ASSUMED.edits
