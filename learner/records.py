"""The records that travel through Redraft: prompt, choice, offer, settlement, edit, adapter, run.

All are frozen. Times are UTC seconds since the epoch; durations are milliseconds where the name
ends in `_ms`. Ids are uuid7 strings, so that they sort by time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import uuid_utils

BASE_ARM = "base"
"""The arm that answers with the base model and no adapter."""


def new_id() -> str:
    """A fresh uuid7 as text: unique, and sorted by the time it was made."""
    return str(uuid_utils.uuid7())


def now() -> float:
    """UTC seconds since the epoch."""
    return time.time()


class Task(StrEnum):
    """What an offer was asked for."""

    COMPLETION = "completion"
    REWRITE = "rewrite"
    DRAFT = "draft"


class Outcome(StrEnum):
    """What became of an offer."""

    ACCEPTED = "accepted"  # put in and left alone
    EDITED = "edited"  # put in and changed
    REJECTED = "rejected"  # put in and taken out, or declined in words
    IGNORED = "ignored"  # shown and never put in
    CENSORED = "censored"  # what became of it cannot be told: in the log, used for nothing


class SettledBy(StrEnum):
    """What settled an offer."""

    QUIET = "quiet"
    SAVE = "save"
    CLOSE = "close"
    COMMIT = "commit"
    LIMIT = "limit"
    UNDO = "undo"
    COMMAND = "command"  # redraft.reject
    SUPERSEDED = "superseded"  # ghost text that typing or a newer offer replaced
    RESTART = "restart"  # a server died, and the span could not be found again
    GATE = "gate"  # the privacy gate, or a withdrawn consent
    ERROR = "error"  # a change that could not be applied


class Origin(StrEnum):
    """Where an edit comes from."""

    EDITOR = "editor"
    IMPORT = "import"
    DEMO = "demo"
    EXPERIMENT = "experiment"


class AdapterState(StrEnum):
    """Life of an adapter version."""

    CANDIDATE = "candidate"  # trained, not judged
    TRIAL = "trial"  # inconclusive: at most a fifth of the choices
    SERVING = "serving"  # clearly better than the base
    RETIRED = "retired"  # replaced, worse, or withdrawn


class AdapterForm(StrEnum):
    """How an adapter acts on the prompt."""

    ALORA = "alora"  # from the invocation tokens on; the prompt runs under the base
    LORA = "lora"  # on every token


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Exactly what the model saw.

    `messages` is the conversation, rendered by the model's own chat template. `prefill` is the
    beginning of the answer that was given to the model (for completions, the current line up to
    the cursor); the offer starts right after it.
    """

    messages: tuple[Message, ...]
    prefill: str = ""

    def to_json(self) -> str:
        """The JSON of the view's column `prompt`: `{"format": "chat", "messages": [...]}`."""
        body: dict[str, Any] = {
            "format": "chat",
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
        }
        if self.prefill:
            body["prefill"] = self.prefill
        return json.dumps(body, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Prompt:
        """Inverse of `to_json`. Raises ValueError, KeyError or TypeError on anything else."""
        body = json.loads(text)
        if body["format"] != "chat":
            raise ValueError(f"unknown prompt format {body['format']!r}")
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        return cls(messages, body.get("prefill", ""))


@dataclass(frozen=True, slots=True)
class Decision:
    """One choice of an arm, logged with the probability it had at the draw.

    One request is one decision; ghost text holds a decision for a window of requests in a
    document (`closed_at` None while the window is open).
    """

    id: str
    task: Task
    arm: str
    adapter_version: str | None
    propensity: float
    bandit: str
    document: str
    chosen_at: float
    closed_at: float | None


@dataclass(frozen=True, slots=True)
class Offer:
    """One answer of the model, as it was offered."""

    id: str
    decision_id: str
    created_at: float
    task: Task
    language: str
    document: str
    workspace: str
    version: int
    range: tuple[int, int, int, int]  # start line, start char, end line, end char; code points
    prompt: Prompt
    prompt_version: str
    generated: str
    offered: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float
    arm: str
    adapter_version: str | None
    base_model: str
    engine: str
    author: str = ""
    origin: Origin = Origin.EDITOR
    instruction: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of an offer, once and for all.

    `kept` is y', null when nothing of the offer and nothing in its place was kept. Characters are
    code points: `kept_chars + deleted_chars == len(offered)`, and for an edited offer
    `kept_chars + modified_chars == len(kept)`; `appended_chars` were typed before or after it.
    `offered` is given when y is less than what was offered (a partial accept): the accepted part.
    """

    offer_id: str
    outcome: Outcome
    settled_by: SettledBy
    settled_at: float
    kept: str | None = None
    typed: str | None = None
    offered: str | None = None
    kept_chars: int = 0
    modified_chars: int = 0
    deleted_chars: int = 0
    appended_chars: int = 0
    shown_ms: float | None = None
    first_change_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A row of the view `edits`: an offer and what became of it. Column names are public."""

    offer_id: str
    decision_id: str | None
    created_at: float
    task: str
    language: str
    document: str
    workspace: str
    author: str
    origin: str
    prompt: str
    prompt_version: str
    generated: str
    offered: str
    kept: str | None
    typed: str | None
    outcome: str | None
    cost: float | None
    cost_max: float | None
    kept_chars: int | None
    modified_chars: int | None
    deleted_chars: int | None
    appended_chars: int | None
    settled_by: str | None
    finish_reason: str
    arm: str | None
    adapter_version: str | None
    propensity: float | None
    bandit: str | None
    base_model: str
    engine: str
    shown_ms: float | None
    latency_ms: float | None
    consent_version: int | None

    @property
    def chat(self) -> Prompt:
        """The prompt, parsed."""
        return Prompt.from_json(self.prompt)


@dataclass(frozen=True, slots=True)
class AdapterVersion:
    """A version of an adapter, as the registry knows it.

    `id` is `NAME-VERSION` (for instance `sft-3`); `name` is the arm. `path` is the folder
    `adapters/ID` with `adapter_model.safetensors`, `adapter_config.json` and `adapter.gguf`.
    `held_out` holds the figures that the promotion was decided by. `rows` counts the edits it saw.
    """

    id: str
    name: str
    version: int
    feedback: str
    base_fingerprint: str
    form: AdapterForm
    state: AdapterState
    path: str
    sha256: str
    created_at: float
    run_id: str
    rows: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    held_out: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One training: when, on what, with which settings, and how it ended."""

    id: str
    started_at: float
    finished_at: float | None
    status: Literal["running", "finished", "failed", "interrupted"]
    base_fingerprint: str
    settings: Mapping[str, Any]
    report: Mapping[str, Any]
