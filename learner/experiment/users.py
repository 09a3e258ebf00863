"""Simulated users: what each keeps of an answer. Behind one interface, so that an experiment swaps them.

A user knows the hidden kind of a document; nobody else does. What a user does to an answer depends on
the answer and on random numbers that are the round's own, so two methods that answer alike are edited alike.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol
from uuid import uuid4

from learner.config import private_folder
from learner.exceptions import RedraftError
from learner.experiment.rules import resampled
from learner.records import Message

Ask = Callable[[Sequence[Message]], str]
"""Messages -> the answer of a language model at temperature 0. Raises RedraftError."""


class User(Protocol):
    """Edits answers: the paper's q(y'|x, y)."""

    def edit(self, kind: str, offered: str, rng: Random) -> str:
        """What the user keeps of `offered`, an answer about a document of this kind."""


@dataclass(frozen=True)
class RulesUser:
    """Draws a set of rules independently of the answer, and resamples each to hold with probability `firmness`.

    With `subset` None every rule is drawn: the strong user. Else a random `subset` of them, and all of
    them with probability `thorough` (the paper's weak user; without the latter no edit could reach the
    optimum, and gamma_min would be 0). That the set does not depend on the answer is what the balance
    assumption asks for.
    """

    rules: Mapping[str, Sequence[str]]
    firmness: float = 0.97
    subset: int | None = None
    thorough: float = 0.05

    def edit(self, kind: str, offered: str, rng: Random) -> str:
        """`offered` with the drawn rules resampled."""
        names = list(self.rules[kind])
        # all numbers are drawn whatever the answer is, so that they are common to all methods
        order, thorough = rng.sample(names, len(names)), rng.random() < self.thorough
        holds = {name: rng.random() < self.firmness for name in names}
        drawn = order if self.subset is None or thorough else order[: self.subset]
        return resampled(offered, names, {name: holds[name] for name in drawn})


@dataclass(frozen=True)
class GibbsUser:
    """Draws each rule with probability `reach`, and resamples it from pi* = pi_ref exp(-c/beta).

    logit p_k = logit b_k + w_k / beta, with b_k the base's rate of the rule and w_k what it costs where it
    does not hold: a user of finite beta, who minds what is small less.
    """

    rules: Mapping[str, Sequence[str]]
    beta: float = 0.05
    base_rate: float = 0.05
    weight: float = 0.3
    reach: float = 1.0

    def edit(self, kind: str, offered: str, rng: Random) -> str:
        """`offered` with the drawn rules resampled."""
        names = list(self.rules[kind])
        p = 1 / (1 + math.exp(-(math.log(self.base_rate / (1 - self.base_rate)) + self.weight / self.beta)))
        draws = [(rng.random() < self.reach, rng.random() < p) for _ in names]
        wanted = {name: holds for name, (drawn, holds) in zip(names, draws, strict=True) if drawn}
        return resampled(offered, names, wanted)


LIKES = (
    "Here is a text:\n\n{text}\n\nIs this text good for someone who prefers the following style: {style}? "
    "Answer with yes or no only."
)
REVISES = (
    "Here is a text:\n\n{text}\n\nRevise it to this style: {style}. Change no more than that asks for. "
    "Answer with the revised text only."
)


@dataclass(frozen=True)
class LlmUser:
    """The paper's user: a language model that is asked whether it likes the text, and if not, to revise it.

    The second question does not show the document either. `styles` are PRELUDE's preference strings by
    kind; the weak user names a random `subset` of a string's wishes, and all of them with probability
    `thorough`. Answers are kept in `cache`, one file for each question, so that the same run is the same run.
    """

    styles: Mapping[str, str]
    ask: Ask
    cache: Path
    model: str = ""
    subset: int | None = None
    thorough: float = 0.05

    def edit(self, kind: str, offered: str, rng: Random) -> str:
        """The offer if it is liked, else its revision; the offer too where the revision is empty."""
        wishes = self.styles[kind].split(", ")
        drawn, thorough = rng.sample(wishes, min(self.subset or len(wishes), len(wishes))), rng.random() < self.thorough
        style = ", ".join(wishes if thorough else [wish for wish in wishes if wish in drawn])
        liked = self._asked(LIKES.format(text=offered, style=style))
        if liked.strip().lower().lstrip("\"'*").startswith("yes"):
            return offered
        return self._asked(REVISES.format(text=offered, style=style)).strip() or offered

    def _asked(self, question: str) -> str:
        key = hashlib.sha256(json.dumps([self.model, question]).encode("utf-8", "surrogatepass")).hexdigest()[:32]
        file = private_folder(self.cache) / f"{key}.json"
        if file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8")))
        answer = self.ask([Message("user", question)])
        part = file.with_name(f".{uuid4().hex}")
        part.write_text(json.dumps(answer), encoding="utf-8")
        part.replace(file)
        return answer


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A language model as the user: where it answers. `key_variable` names the environment variable of its key."""

    url: str
    model: str
    key_variable: str = ""

    def ask(self) -> Ask:
        """How it is asked."""
        return ask_url(self.url, self.model, os.environ.get(self.key_variable, "") if self.key_variable else "")


def ask_url(url: str, model: str, api_key: str = "", *, seconds: float = 300.0) -> Ask:
    """A model behind an OpenAI-compatible URL (`.../v1` or the host's own).

    Its calls raise RedraftError when the URL does not answer, naming it and what to do; what was answered
    before is cached, so the run goes on from there.
    """
    import httpx2

    root = url.rstrip("/")
    address = f"{root if root.endswith('/v1') else root + '/v1'}/chat/completions"

    def ask(messages: Sequence[Message]) -> str:
        body = {
            "model": model,
            "temperature": 0,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
        }
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            response = httpx2.post(address, json=body, headers=headers, timeout=seconds)
            response.raise_for_status()
            return str(response.json()["choices"][0]["message"]["content"])
        except (httpx2.HTTPError, KeyError, IndexError, TypeError, ValueError) as error:
            raise RedraftError(
                f"the user's model at {url} did not answer ({type(error).__name__}: {error}). Start it, or check "
                "--user-url and --user-model; then run the same command again: it goes on from here"
            ) from error

    return ask
