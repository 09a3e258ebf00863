"""The frozen base as a feedback type's `prepare` sees it: samples from the engine, features from the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import msgspec
import torch
from torch import Tensor

from learner.armset import ArmSet
from learner.config import Config, private_folder
from learner.prompt import answer_ids, prompt_ids
from learner.records import Prompt
from learner.serving import PrivateHost
from learner.training.answers import Question, ask
from learner.training.trainer import Policy

SLOTS = 8
"""Answers that are sampled at once."""
BATCH_TOKENS = 2048


class FrozenBase:
    """Implements `learner.feedback.Base`. `max_tokens` bounds a sampled answer.

    Samples are kept in `cache`, so that a second training on the same edits does not draw them
    again. They hold what the model wrote about the user's texts: `learner forget` removes the folder.
    """

    def __init__(
        self,
        policy: Policy,
        arms: ArmSet,
        config: Config,
        cache: Path,
        *,
        max_tokens: int,
        done: Callable[[int, int], None] | None = None,
    ) -> None:
        self._policy = policy
        # no activated adapter, so that the engine may answer several at once (armset.is_activated)
        self._arms = ArmSet(arms.gguf, arms.fingerprint, None)
        self._config = msgspec.structs.replace(config, slots=SLOTS)
        self._cache = cache
        self._max_tokens = max_tokens
        self._done = done
        self.cut: set[str] = set()
        """Sampled texts that the token limit ended."""

    @property
    def fingerprint(self) -> str:
        """Identifies the base's weights."""
        return self._arms.fingerprint

    def sample(self, prompts: Sequence[Prompt], n: int, *, seed: int) -> list[list[str]]:
        """`n` answers to each prompt at temperature 1. Raises HostError where the engine fails."""
        files = [self._cache / f"{self._key(prompt, n, seed)}.json" for prompt in prompts]
        missing = [i for i, file in enumerate(files) if not file.is_file()]
        if missing:
            private_folder(self._cache)
            questions = [
                Question(prompts[i], None, self._max_tokens, seed * 1_000_003 + j) for i in missing for j in range(n)
            ]
            with PrivateHost(self._arms, self._config) as endpoint:
                answers = ask(endpoint, questions, parallel=SLOTS, done=self._done)
            for number, i in enumerate(missing):
                own = answers[number * n : (number + 1) * n]
                _write(files[i], [[answer.text, answer.finish_reason] for answer in own])
        drawn = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        self.cut |= {text for answers in drawn for text, finish in answers if finish == "length"}
        return [[text for text, _ in answers] for answers in drawn]

    def features(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """(texts, hidden), fp32 on the CPU: the base's last hidden state, averaged over each text's tokens."""
        tokenizer, lm = self._policy.tokenizer, self._policy.causal_lm
        heads = [prompt_ids(p, tokenizer) for p in prompts]
        pairs = [(h, answer_ids(t, tokenizer, ended=False)) for h, t in zip(heads, texts, strict=True)]
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        found: dict[int, Tensor] = {}
        before = lm.training
        lm.eval()
        while order:
            longest = sum(map(len, pairs[order[-1]]))
            count = max(1, BATCH_TOKENS // max(1, longest))
            batch, order = order[-count:], order[:-count]
            found |= zip(batch, self._means([pairs[i] for i in batch]), strict=True)
        lm.train(before)
        return torch.stack([found[i] for i in range(len(pairs))])

    def _means(self, pairs: Sequence[tuple[list[int], list[int]]]) -> list[Tensor]:
        width = max(len(head) + len(text) for head, text in pairs)
        ids = torch.zeros(len(pairs), width, dtype=torch.long)
        attention = torch.zeros_like(ids)
        for i, (head, text) in enumerate(pairs):
            ids[i, : len(head) + len(text)] = torch.tensor([*head, *text])
            attention[i, : len(head) + len(text)] = 1
        device = self._policy.device
        with torch.no_grad():
            hidden = (
                self._policy.causal_lm.base_model(
                    input_ids=ids.to(device), attention_mask=attention.to(device), use_cache=False
                )
                .last_hidden_state.float()
                .cpu()
            )
        # an empty text has the state that would begin it
        return [
            hidden[i, len(head) : len(head) + len(text)].mean(0) if text else hidden[i, len(head) - 1]
            for i, (head, text) in enumerate(pairs)
        ]

    def _key(self, prompt: Prompt, n: int, seed: int) -> str:
        words = json.dumps([self.fingerprint, prompt.to_json(), n, seed, self._max_tokens])
        return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _write(file: Path, answers: Sequence[Sequence[str]]) -> None:
    """Whole or not at all."""
    temporary = file.with_name(f".{uuid4().hex}")
    temporary.touch(0o600)
    temporary.write_text(json.dumps(answers), encoding="utf-8")
    temporary.replace(file)
