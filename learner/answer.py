"""A streamed answer: reading it within limits of time and size, and checking what the engine says it used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import msgspec

from learner import hostwire, served_names
from learner.exceptions import HostProtocolError, HostUnavailableError

MAX_EVENT_BYTES = 1 << 20
MAX_BODY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a host may take, in seconds. `first_token` includes reading a long prompt and waiting for a slot."""

    connect: float = 3.0
    first_token: float = 120.0
    between_tokens: float = 30.0


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer. `text` is without the prompt's prefill; `adapter` is what was really used, None for the base.

    `logprobs` holds, per generated token, its id (its text where the engine gives no ids) and its
    natural-log probability before sampling.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    latency_ms: float
    adapter: str | None
    engine: str
    logprobs: tuple[tuple[int | str, float], ...] = ()


class Answer:
    """Collects one streamed answer."""

    def __init__(
        self,
        where: str,
        engine: str,
        body: Mapping[str, Any],
        said: Callable[[bytes], str],
        on_text: Callable[[str], None] | None,
    ) -> None:
        self._where, self._engine, self._body, self._said, self._on_text = where, engine, body, said, on_text
        self._by_name = engine == "vllm" or served_names.is_served_name(str(body["model"]))
        self._pieces: list[str] = []
        self._logprobs: list[tuple[int | str, float]] = []
        self._finish: Literal["stop", "length"] | None = None
        self._usage = hostwire.Usage()

    async def read(self, response: httpx2.Response, limits: Limits) -> None:
        """Read events to the end. Progress is text, not bytes: a host that only pings is a host that hangs."""
        events = aiter(httpx2.EventSource(response, max_event_size=MAX_EVENT_BYTES))
        deadline = asyncio.get_running_loop().time() + limits.first_token
        received = 0
        while True:
            async with asyncio.timeout_at(deadline):
                event = await anext(events, None)
            if event is None:
                break
            received += len(event.data)
            if received > MAX_BODY_BYTES:
                raise HostProtocolError(f"{self._where} sent more than {MAX_BODY_BYTES >> 20} MiB; stopped")
            if event.data == "[DONE]":
                break
            if self._take(event.data):
                deadline = asyncio.get_running_loop().time() + limits.between_tokens
        if self._finish is None:
            raise HostUnavailableError(f"{self._where} closed the connection in mid-answer: try again")

    def _take(self, data: str) -> bool:
        """Take one event in; whether it brought the answer forward."""
        try:
            chunk = msgspec.json.decode(data, type=hostwire.Chunk)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise HostProtocolError(f"{self._where} sent an event that is no answer: {error}") from error
        if chunk.error is not None:
            said = self._said(data.encode())
            raise HostProtocolError(f"{self._where} gave up in mid-answer: {said}")
        self._check_echo(chunk)
        if chunk.usage is not None:
            self._usage = chunk.usage
        moved = False
        for choice in chunk.choices:
            if choice.logprobs is not None:
                self._logprobs += [
                    (t.token if t.id is None else t.id, t.logprob) for t in choice.logprobs.content or ()
                ]
            if choice.delta.content:
                moved = True
                self._pieces.append(choice.delta.content)
                if self._on_text is not None:
                    self._on_text(choice.delta.content)
            if choice.finish_reason is not None:
                moved = True
                self._finish = "length" if choice.finish_reason == "length" else "stop"
        return moved

    def _check_echo(self, chunk: hostwire.Chunk) -> None:
        """What the engine says it used must be what was asked for."""
        asked = self._body.get("lora")
        used = chunk.verbose.generation_settings if chunk.verbose is not None else None
        if asked and used is not None and used.lora is not None:
            wanted = {(entry["id"], entry["scale"]) for entry in asked}
            if {(entry.id, entry.scale) for entry in used.lora} != wanted:
                raise HostProtocolError(f"{self._where} did not use the adapters that were asked for")
        if self._by_name and chunk.model and chunk.choices and chunk.model != self._body["model"]:
            raise HostProtocolError(
                f"{self._where} answered as {chunk.model[:80]!r} instead of {self._body['model']!r}"
            )

    def generation(self, adapter: str | None, latency_ms: float) -> Generation:
        """The finished answer."""
        assert self._finish is not None
        usage = self._usage
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
        return Generation(
            text="".join(self._pieces),
            finish_reason=self._finish,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=cached,
            completion_tokens=usage.completion_tokens,
            latency_ms=latency_ms,
            adapter=adapter,
            engine=self._engine,
            logprobs=tuple(self._logprobs),
        )


async def read_capped(response: httpx2.Response, limit: int, where: str) -> bytes:
    """The body of a response from `where`. Raises HostProtocolError past `limit` bytes."""
    raw = bytearray()
    async for piece in response.aiter_bytes():
        raw += piece
        if len(raw) > limit:
            raise HostProtocolError(f"{where} answered with more than {limit} bytes; stopped")
    return bytes(raw)
