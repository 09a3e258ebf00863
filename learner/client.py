"""The client of a model host: one request, one arm, one streamed answer.

The same client speaks to our own host (a Unix socket, `learner serve`), to a `llama-server` and to
vLLM by URL. An arm is named in the engine's own way, and what cannot be named is refused here:
llama.cpp answers 200 with the base's text for an adapter it does not have, and a request without
an explicit scale for every adapter may be answered from another arm's prompt cache.

Every request streams, because llama.cpp stops work at once when a streaming client leaves and
runs on otherwise: cancel the task that awaits `HostClient.generate`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec

from learner import endpoint as endpoints
from learner import host_listing, hostwire
from learner.answer import MAX_BODY_BYTES, Answer, Generation, Limits, read_capped
from learner.endpoint import Endpoint, HostInfo
from learner.exceptions import (
    HostError,
    HostProtocolError,
    HostTimeoutError,
    HostUnavailableError,
    UnknownArmError,
)
from learner.host_http import HostHTTP
from learner.host_listing import ZERO_ADAPTER
from learner.records import Prompt

__all__ = ["ZERO_ADAPTER", "Endpoint", "Generation", "HostClient", "HostInfo", "Limits"]


class HostClient:
    """Talks to one model host.

    `ours` are our published adapters, version ids by served name (`served_names`): they are known by their
    version ids then, and published adapters of others are left alone.

    Raises ConfigError for a plain-http URL that is not this machine when a key would be sent.
    """

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None, ours: Mapping[str, str] | None = None) -> None:
        endpoints.check(endpoint)
        self.endpoint = endpoint
        self._ours = ours or {}
        self.limits = limits or Limits()
        self._info: HostInfo | None = None
        self._adapters: tuple[hostwire.Adapter, ...] = ()
        self._turn = asyncio.Lock()
        self._http = HostHTTP(endpoint, connect=self.limits.connect, read=self.limits.first_token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def connect(self) -> HostInfo:
        """Ask the host what it serves.

        Raises HostUnavailableError, HostTimeoutError, or HostProtocolError where it does not
        answer as a host, or has an adapter that its chat template would never activate.
        """
        models = (await self._get("/v1/models", hostwire.Models)).data
        if not models:
            raise HostProtocolError(f"{self.endpoint.where} serves no model: start it with one")
        kind = host_listing.kind_of(self.endpoint, models)
        adapters = await self._llama_adapters() if kind in (None, "llama.cpp") else None
        if adapters is not None:
            await self._check_activation(adapters)
            self._adapters = adapters
        self._info = host_listing.describe(self.endpoint, models, adapters, self._ours)
        return self._info

    async def generate(
        self,
        prompt: Prompt,
        *,
        adapter: str | None,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
        logprobs: int = 0,
    ) -> Generation:
        """Answer `prompt` under `adapter` (a version id such as `sft-3`; None is the base).

        `max_tokens` bounds the answer. At a `temperature` above 0 tokens are drawn from the
        model's whole distribution, without top-k, top-p or min-p. `on_text` gets each piece of
        text as it arrives. `logprobs` > 0 asks for the log-probabilities of the generated tokens.

        Raises UnknownArmError when the host does not have the adapter, or would not apply it to
        this prompt; HostTimeoutError, HostUnavailableError, HostProtocolError as their names say.
        Cancelling the task closes the stream, and the engine stops its work.
        """
        info = self._info or await self.connect()
        body = hostwire.request_body(
            info.engine,
            info.model if adapter is None or info.engine == "llama.cpp" else self._named(info, adapter),
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop=stop,
            logprobs=logprobs,
        )
        if info.engine == "llama.cpp":
            body["lora"] = await self._scales(info, adapter, prompt)
        answer = Answer(self.endpoint.where, info.engine, body, self._said, on_text)
        started = time.perf_counter()
        try:
            async with (
                self._alone(),
                self._errors(),
                self._http.stream("POST", "/v1/chat/completions", body) as response,
            ):
                await self._check_answers(response, info, adapter)
                await answer.read(response, self.limits)
        except UnicodeEncodeError as error:
            raise HostError("the text holds half of a surrogate pair, which no model can read: remove it") from error
        return answer.generation(adapter, (time.perf_counter() - started) * 1000)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One request at a time where there are activated adapters: llama.cpp mixes them up (`armset.is_activated`)."""
        if any(a.invocation_tokens for a in self._adapters):
            async with self._turn:
                yield
        else:
            yield

    def _named(self, info: HostInfo, adapter: str) -> str:
        if adapter == ZERO_ADAPTER or adapter not in info.adapters:
            have = ", ".join(sorted(set(info.adapters) - {ZERO_ADAPTER})) or "none"
            raise UnknownArmError(
                f"{self.endpoint.where} has no adapter {adapter!r} (it has: {have}); nothing was asked"
            )
        return str(info.adapters[adapter])

    async def _scales(self, info: HostInfo, adapter: str | None, prompt: Prompt) -> list[dict[str, float]]:
        """A scale for every adapter of the host: 1 for the one asked for, 0 for all others."""
        if adapter is not None:
            self._named(info, adapter)
        if self.endpoint.socket is None and self._adapters and await self._llama_adapters() != self._adapters:
            self._info = None
            raise HostUnavailableError(f"{self.endpoint.where} was restarted with other adapters: ask again")
        wanted = ZERO_ADAPTER if adapter is None else adapter
        if adapter is not None and prompt.prefill:
            await self._check_prefill(info, adapter, prompt.prefill)
        chosen = info.adapters.get(wanted)
        return [{"id": a.id, "scale": float(a.id == chosen)} for a in self._adapters]

    async def _check_answers(self, response: httpx2.Response, info: HostInfo, adapter: str | None) -> None:
        """As `_check_status`; a model that is gone is an adapter that was unloaded, or a base of another name."""
        try:
            await self._check_status(response)
        except _NoModelError as error:
            self._info = None
            if adapter is None:
                raise HostUnavailableError(
                    f"{self.endpoint.where} no longer serves {info.model!r}: ask again"
                ) from error
            raise UnknownArmError(f"{self.endpoint.where} no longer has {adapter}: {error}") from error

    async def load_adapter(self, name: str, path: str) -> None:
        """Have a running vLLM load the plain LoRA in the folder `path`, as that machine sees it, under `name`.

        Sends `POST /v1/load_lora_adapter` with `{lora_name, lora_path}` (vLLM, "Dynamically serving LoRA
        Adapters"). Raises HostProtocolError, saying what to do, where the server does not load adapters while it
        runs or cannot load this one, and HostError as `connect` does.
        """
        async with (
            self._errors(),
            self._http.stream("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path}) as response,
        ):
            try:
                await self._check_status(response)
            except _NoModelError as error:
                raise HostProtocolError(f"{self.endpoint.where} finds no adapter in {path}: {error}") from error
            except _NotFoundError as error:
                raise HostProtocolError(
                    f"{self.endpoint.where} loads no adapters while it runs: start it with --enable-lora and "
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or publish to a folder and start it with --lora-modules"
                ) from error

    async def _check_prefill(self, info: HostInfo, adapter: str, prefill: str) -> None:
        """An activated LoRA is silently off where its invocation tokens melt into the prefill's first token."""
        chosen = next(a for a in self._adapters if a.id == info.adapters[adapter])
        if not chosen.invocation_tokens:
            return
        tokens = await self._post(
            "/tokenize", {"content": chosen.invocation_string + prefill, "parse_special": True}, hostwire.Tokens
        )
        if tokens.tokens[: len(chosen.invocation_tokens)] != list(chosen.invocation_tokens):
            raise UnknownArmError(
                f"{adapter} would not act on an answer that begins with {prefill[:8]!r}: "
                "leave the leading white space out of the prefill"
            )

    async def _check_activation(self, adapters: Sequence[hostwire.Adapter]) -> None:
        invoked = [a for a in adapters if a.invocation_string]
        if not invoked:
            return
        probe = {"messages": [{"role": "user", "content": "x"}]}
        rendered = await self._post("/apply-template", probe, hostwire.Rendered)
        for adapter in invoked:
            if adapter.invocation_string not in rendered.prompt:
                raise HostProtocolError(
                    f"{self.endpoint.where}: its chat template never activates {hostwire.adapter_id(adapter.path)}; "
                    "the adapter was trained for another base model"
                )

    async def _llama_adapters(self) -> tuple[hostwire.Adapter, ...] | None:
        """The adapters of a llama.cpp server; None for an engine without that list."""
        try:
            return tuple(await self._get("/lora-adapters", list[hostwire.Adapter]))
        except _NotFoundError:
            return None

    async def _get(self, path: str, kind: type[hostwire.Shape]) -> hostwire.Shape:
        return await self._json("GET", path, None, kind)

    async def _post(self, path: str, body: Mapping[str, Any], kind: type[hostwire.Shape]) -> hostwire.Shape:
        return await self._json("POST", path, body, kind)

    async def _json(
        self, method: str, path: str, body: Mapping[str, Any] | None, kind: type[hostwire.Shape]
    ) -> hostwire.Shape:
        async with self._errors(), self._http.stream(method, path, body) as response:
            await self._check_status(response)
            async with asyncio.timeout(self.limits.first_token):
                raw = await read_capped(response, MAX_BODY_BYTES, self.endpoint.where + path)
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise HostProtocolError(f"{self.endpoint.where}{path} is no model host's answer: {error}") from error

    async def _check_status(self, response: httpx2.Response) -> None:
        code = response.status_code
        if code == 200:
            return
        where = f"{self.endpoint.where}{response.request.url.path}"
        if 300 <= code < 400:
            raise HostProtocolError(f"{where} redirects, which is not followed: set host.url to where it really is")
        raw = await read_capped(response, 64 << 10, where)
        text = self._said(raw)
        if hostwire.lacks_model(code, raw):
            raise _NoModelError(text)
        if code in (404, 405):
            raise _NotFoundError(f"{where} does not exist there (HTTP {code}): is it a model host?")
        if code in (401, 403):
            raise HostUnavailableError(f"{where} refused the key (HTTP {code}): set host.apiKey to the host's key")
        if code in (429, 502, 503, 504):
            raise HostUnavailableError(f"{where} is not ready (HTTP {code}): {text}. Try again in a moment")
        raise HostProtocolError(f"{where} refused the request (HTTP {code}): {text}")

    def _said(self, raw: bytes) -> str:
        """What a host said about an error, shortened, on one line, and never with the key in it."""
        return hostwire.error_text(raw, self.endpoint.key)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Everything that a connection can do, as our errors."""
        where = self.endpoint.where
        try:
            yield
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise HostTimeoutError(f"{where} did not answer in time; see `learner serve --status`") from error
        except httpx2.SSEError as error:
            raise HostProtocolError(f"{where} sent something that is no stream of events: {error}") from error
        except (httpx2.DecodingError, httpx2.RemoteProtocolError) as error:
            if "disconnected" in str(error) or "closed connection" in str(error):
                raise HostUnavailableError(f"{where} closed the connection in mid-answer: try again") from error
            raise HostProtocolError(f"{where} does not speak HTTP as a model host does: {error}") from error
        except (httpx2.TransportError, OSError) as error:
            raise HostUnavailableError(f"{where} cannot be reached ({type(error).__name__}): is it running?") from error


class _NotFoundError(HostProtocolError):
    """The host has no such address."""


class _NoModelError(HostProtocolError):
    """The host has no such model, or no such adapter."""
