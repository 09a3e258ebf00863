"""What goes over the wire to and from a model host: shapes, and the one place that words a request.

Unknown fields of an answer are ignored, wrong types are refused. Only the fields written here are
ever sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

import msgspec

from learner.records import Prompt

Shape = TypeVar("Shape")


class Model(msgspec.Struct):
    """An entry of /v1/models; vLLM lists adapters beside their base, which is then their `parent`."""

    id: str
    owned_by: str = ""
    parent: str | None = None


class Models(msgspec.Struct):
    """/v1/models."""

    data: list[Model]


class Adapter(msgspec.Struct, frozen=True):
    """An entry of llama.cpp's /lora-adapters; the invocation is that of an activated LoRA, empty otherwise."""

    id: int
    path: str
    invocation_string: str = msgspec.field(default="", name="alora_invocation_string")
    invocation_tokens: tuple[int, ...] = msgspec.field(default=(), name="alora_invocation_tokens")


class Rendered(msgspec.Struct):
    """/apply-template."""

    prompt: str


class Tokens(msgspec.Struct):
    """/tokenize."""

    tokens: list[int]


class Delta(msgspec.Struct):
    """The new part of an answer."""

    content: str | None = None


class TokenLogprob(msgspec.Struct):
    """A generated token and its natural-log probability; llama.cpp gives its id, vLLM its text."""

    token: str
    logprob: float
    id: int | None = None


class Logprobs(msgspec.Struct):
    """The log-probabilities of a chunk's tokens."""

    content: list[TokenLogprob] | None = None


class Choice(msgspec.Struct):
    """We ask for one choice only."""

    delta: Delta = msgspec.field(default_factory=Delta)
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class PromptDetails(msgspec.Struct):
    """How much of the prompt came from the cache."""

    cached_tokens: int = 0


class Usage(msgspec.Struct):
    """Token counts, in the last chunk."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None


class Scale(msgspec.Struct):
    """One adapter's scale."""

    id: int
    scale: float


class Settings(msgspec.Struct):
    """What llama.cpp says it used."""

    lora: list[Scale] | None = None


class Verbose(msgspec.Struct):
    """llama.cpp's echo, asked for with `verbose`."""

    generation_settings: Settings | None = None


class Chunk(msgspec.Struct):
    """One event of the stream."""

    choices: list[Choice] = []
    model: str = ""
    usage: Usage | None = None
    error: Any = None
    verbose: Verbose | None = msgspec.field(default=None, name="__verbose")


def adapter_id(path: str) -> str:
    """The version id in an adapter's path: `.../sft-3/adapter.gguf` and `.../sft-3.gguf` are both `sft-3`."""
    parts = PureWindowsPath(path) if "\\" in path else PurePosixPath(path)
    return parts.parent.name if parts.stem == "adapter" and parts.parent.name else parts.stem


def request_body(
    engine: str,
    model: str,
    prompt: Prompt,
    *,
    max_tokens: int,
    temperature: float,
    seed: int | None,
    stop: Sequence[str],
    logprobs: int,
) -> dict[str, Any]:
    """The JSON of a chat completion, without `lora`.

    The prefill goes as a trailing assistant message, which llama.cpp continues by itself (and does
    not repeat in its answer); vLLM has to be told to.
    """
    messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
    if prompt.prefill:
        messages.append({"role": "assistant", "content": prompt.prefill})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": 1.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if seed is not None:
        body["seed"] = seed
    if stop:
        body["stop"] = list(stop)
    if logprobs > 0:
        body |= {"logprobs": True, "top_logprobs": logprobs}
    if engine == "llama.cpp":
        body |= {"cache_prompt": True, "top_k": 0, "min_p": 0.0, "verbose": True}
    elif engine == "vllm":
        # what is left out, vLLM takes from the model's generation_config.json, whose penalties change greedy answers
        body |= {"top_k": -1, "min_p": 0.0}
        body |= {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
        if prompt.prefill:
            body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


class ErrorBody(msgspec.Struct):
    """vLLM's error: `{"error": {...}}` since 0.10, the inner object alone before."""

    message: str = ""
    type: str | None = None
    error: Any = None


def lacks_model(code: int, raw: bytes) -> bool:
    """Whether an error says that the host has no such model or adapter (vLLM: 404 with the type NotFoundError).

    An address that does not exist is a 404 as well, but says `{"detail": "Not Found"}`. A 400 comes where vLLM
    found an adapter by itself and could not load it.
    """
    try:
        body = msgspec.json.decode(raw, type=ErrorBody)
        if body.error is not None:
            body = msgspec.convert(body.error, ErrorBody)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    if code == 404:
        return body.type == "NotFoundError" or "does not exist" in body.message
    return code == 400 and "was found but could not be loaded" in body.message


def error_text(raw: bytes, key: str | None) -> str:
    """The message in an error's body, at most 300 characters on one line, with the key blotted out."""
    text = raw.decode("utf-8", "replace")
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    while isinstance(found, dict):
        found = found.get("error") or found.get("message") or found.get("detail")
    if isinstance(found, str):
        text = found
    if key:
        text = text.replace(key, "***")
    return re.sub(r"\s+", " ", text).strip()[:300] or "no reason given"
