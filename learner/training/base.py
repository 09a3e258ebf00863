"""The frozen base as a feedback type's `prepare` sees it: samples and features from the weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import uuid4

import torch
from torch import Tensor

from learner.config import private_folder
from learner.prompt import answer_ids, prompt_ids
from learner.records import Prompt
from learner.training.logprobs import Text, answer_inputs
from learner.training.sampling import sample
from learner.training.trainer import Policy

BATCH_TOKENS = 2048


class FrozenBase:
    """Implements `learner.feedback.Base`. `max_tokens` bounds a sampled answer.

    Samples are kept in `cache`, so that a second training on the same edits does not draw them
    again. They hold what the model wrote about the user's texts: `learner forget` removes the folder.
    """

    def __init__(
        self,
        policy: Policy,
        fingerprint: str,
        cache: Path,
        *,
        max_tokens: int,
        done: Callable[[int, int], None] | None = None,
    ) -> None:
        self._policy = policy
        self._fingerprint = fingerprint
        self._cache = cache
        self._max_tokens = max_tokens
        self._done = done
        self.cut: set[str] = set()
        """Sampled texts that the token limit ended."""

    @property
    def fingerprint(self) -> str:
        """Identifies the base's weights."""
        return self._fingerprint

    def sample(self, prompts: Sequence[Prompt], n: int, *, seed: int) -> list[list[str]]:
        """`n` answers to each prompt at temperature 1."""
        files = [self._cache / f"{self._key(prompt, n, seed)}.json" for prompt in prompts]
        missing = [i for i, file in enumerate(files) if not file.is_file()]
        if missing:
            private_folder(self._cache)
            tokenizer = self._policy.tokenizer
            asked = [prompt_ids(prompts[i], tokenizer) for i in missing for _ in range(n)]
            seeds = [_seed(prompts[i], seed, j) for i in missing for j in range(n)]
            answers = sample(
                self._policy.causal_lm, tokenizer, asked, seeds, max_tokens=self._max_tokens, done=self._done
            )
            texts = [tokenizer.decode(answer.ids, skip_special_tokens=True) for answer in answers]
            for number, i in enumerate(missing):
                own = range(number * n, (number + 1) * n)
                _write(files[i], [[texts[k], "length" if answers[k].cut else "stop"] for k in own])
        drawn = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        self.cut |= {text for answers in drawn for text, finish in answers if finish == "length"}
        return [[text for text, _ in answers] for answers in drawn]

    def features(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """(texts, hidden), fp32 on the CPU: the base's last hidden state, averaged over each text's tokens."""
        tokenizer, lm = self._policy.tokenizer, self._policy.causal_lm
        invocation = len(self._policy.invocation)
        asked = []
        for prompt, text in zip(prompts, texts, strict=True):
            head = tuple(prompt_ids(prompt, tokenizer))
            asked.append(Text(head, len(head) - invocation, tuple(answer_ids(text, tokenizer, ended=False))))
        computed = self._policy.computed
        keys = {} if computed is None else {computed.key("features", t.prompt, t.answer): t for t in asked}
        found = {} if computed is None else {keys[key]: row for key, row in computed.get(keys).items()}
        before = lm.training
        lm.eval()
        order = sorted(set(asked) - found.keys(), key=self._length)
        if self._policy.prefixes is not None:
            self._policy.prefixes.fill([t.prompt[: t.start] for t in order])
        while order:
            count = max(1, BATCH_TOKENS // self._length(order[-1]))
            batch, order = order[-count:], order[:-count]
            made = dict(zip(batch, self._means(batch), strict=True))
            found |= made
            if computed is not None:
                computed.put({computed.key("features", t.prompt, t.answer): row for t, row in made.items()})
        lm.train(before)
        return torch.stack([found[text] for text in asked])

    def _length(self, text: Text) -> int:
        return len(text.answer) + len(text.prompt) - (text.start if self._policy.prefixes is not None else 0)

    def _means(self, texts: Sequence[Text]) -> list[Tensor]:
        prefixes, device = self._policy.prefixes, self._policy.device
        inputs, begins = answer_inputs(texts, device, prefixes, self._policy.causal_lm)
        with torch.no_grad():
            hidden = self._policy.causal_lm.base_model(**inputs).last_hidden_state.float().cpu()
        means = []
        for text, begin, own in zip(texts, begins, hidden, strict=True):
            first = len(text.prompt) - begin
            # an empty text has the state that would begin it
            means.append(own[first : first + len(text.answer)].mean(0) if text.answer else own[first - 1])
        return means

    def _key(self, prompt: Prompt, n: int, seed: int) -> str:
        words = json.dumps([self.fingerprint, prompt.to_json(), n, seed, self._max_tokens])
        return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _seed(prompt: Prompt, seed: int, number: int) -> int:
    """Of the prompt's own, so that what is drawn does not depend on which others are asked."""
    words = json.dumps([prompt.to_json(), seed, number])
    return int.from_bytes(hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()[:7], "big")


def _write(file: Path, answers: Sequence[Sequence[str]]) -> None:
    """Whole or not at all."""
    temporary = file.with_name(f".{uuid4().hex}")
    temporary.touch(0o600)
    temporary.write_text(json.dumps(answers), encoding="utf-8")
    temporary.replace(file)
