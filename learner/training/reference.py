"""The reference: token log-probabilities under the base, computed once for all feedback types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor

from learner.training.computed import Computed
from learner.training.fast.llama import answer_logprobs
from learner.training.logprobs import Text, answer_head, token_logprobs
from learner.training.prefixes import Prefixes

BATCH_TOKENS = 2048
"""Tokens in one forward pass without gradient."""


class Reference:
    """log pi_ref(token) of every answer that was asked for, in nats, on the CPU.

    Fill it before an adapter is put on the model. What `computed` holds from earlier trainings is not
    computed again.
    """

    def __init__(
        self,
        causal_lm: Any,
        prefixes: Prefixes | None,
        device: torch.device,
        *,
        fast: bool = False,
        computed: Computed | None = None,
    ) -> None:
        self._lm = causal_lm
        self._prefixes = prefixes
        self._device = device
        self._fast = fast
        self._computed = computed
        self._known: dict[Text, Tensor] = {}

    def fill(self, texts: Sequence[Text], done: Callable[[int, int], None] | None = None) -> None:
        """Compute what is missing, in batches of like length; `done` is told texts done and in total."""
        self._recall({t for t in texts if t.answer and t not in self._known})
        missing = sorted({t for t in texts if t.answer and t not in self._known}, key=self._length)
        total, self_before = len(missing), self._lm.training
        self._lm.eval()
        with torch.no_grad(), answer_head(self._lm):
            while missing:
                count = max(1, BATCH_TOKENS // self._length(missing[-1]))
                batch, missing = missing[-count:], missing[:-count]
                logprobs, mask = self._score(batch)
                found = {t: row[own].clone() for t, row, own in zip(batch, logprobs.cpu(), mask.cpu(), strict=True)}
                self._known |= found
                if self._computed is not None:
                    self._computed.put({self._key(text): row for text, row in found.items()})
                if done is not None:
                    done(total - len(missing), total)
        self._lm.train(self_before)

    def _recall(self, texts: Set[Text]) -> None:
        if self._computed is None:
            return
        keys = {self._key(text): text for text in texts}
        self._known |= {keys[key]: row for key, row in self._computed.get(keys).items()}

    def _key(self, text: Text) -> str:
        assert self._computed is not None
        return self._computed.key("logprobs", text.prompt, text.answer)

    def take(self, known: Mapping[Text, Tensor]) -> None:
        """Know what another process has computed."""
        self._known.update(known)

    def clear(self) -> None:
        """Drop what is known."""
        self._known.clear()

    def get(self, text: Text) -> Tensor:
        """(answer tokens,). Raises KeyError for a text that was never asked for."""
        return self._known[text]

    def _score(self, texts: Sequence[Text]) -> tuple[Tensor, Tensor]:
        if self._fast:
            return answer_logprobs(self._lm, texts, device=self._device, prefixes=self._prefixes)
        return token_logprobs(self._lm, texts, device=self._device, prefixes=self._prefixes)

    def _length(self, text: Text) -> int:
        return len(text.answer) + len(text.prompt) - (text.start if self._prefixes is not None else 0)
