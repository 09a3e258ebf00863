"""The server's side of the model host: found or started on demand, asked, and asked again once.

The host may die, hang or be restarted (a promoted adapter) at any time. A request that fails
before its first character is tried once more on a fresh connection; after that the error is the
answer, and further requests wait for a back-off, so that a broken host costs nothing while typing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from learner import launch, model_files
from learner.client import Generation, HostClient, HostInfo
from learner.config import Config, Paths
from learner.exceptions import HostError, HostUnavailableError, ModelMissingError, RedraftError, UnknownArmError
from learner.records import Prompt

FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 60.0


class Host:
    """One connection to the model host, shared by all requests of this server."""

    def __init__(self, paths: Paths, config: Config) -> None:
        self._paths = paths
        self._config = config
        self._client: HostClient | None = None
        self._info: HostInfo | None = None
        self._connecting = asyncio.Lock()
        self._backoff = 0.0
        self._not_before = 0.0
        self.last_error: RedraftError | None = None

    @property
    def info(self) -> HostInfo | None:
        """What the connected host said of itself, None while there is no connection."""
        return self._info

    @property
    def fingerprint(self) -> str:
        """The base model's fingerprint: which adapters fit. A host by URL with no model here has its model's name."""
        try:
            return model_files.current(self._paths, self._config).fingerprint
        except RedraftError:
            return f"url:{self._info.model}" if self._info else ""

    @property
    def model_name(self) -> str:
        """The base model's name."""
        try:
            return model_files.current(self._paths, self._config).name
        except RedraftError:
            return self._info.model if self._info else ""

    async def connect(self) -> HostInfo:
        """Connect, starting the host if need be. Raises HostError or ModelMissingError saying what to do."""
        async with self._connecting:
            if self._client is not None and self._info is not None:
                return self._info
            wait = self._not_before - time.monotonic()
            if wait > 0 and self.last_error is not None:
                raise HostUnavailableError(f"{self.last_error} (trying again in {wait:.0f} s)")
            try:
                if self._config.host.url is None:
                    model_files.current(self._paths, self._config)  # says what is missing before a process is started
                client = HostClient(await launch.ensure_host(self._paths, self._config))
                try:
                    self._info = await client.connect()
                except BaseException:
                    await client.aclose()
                    raise
                self._client = client
            except (HostError, ModelMissingError) as error:
                self._note(error)
                raise
            self._backoff, self.last_error = 0.0, None
            return self._info

    def _note(self, error: RedraftError) -> None:
        self.last_error = error
        self._backoff = min(LONGEST_BACKOFF, max(FIRST_BACKOFF, self._backoff * 2))
        self._not_before = time.monotonic() + self._backoff

    async def generate(
        self,
        prompt: Prompt,
        *,
        adapter: str | None,
        max_tokens: int,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> Generation:
        """The greedy answer to `prompt` under `adapter` (None: the base).

        Raises HostError when the host fails twice, UnknownArmError when it lost the adapter.
        """
        for attempt in (1, 2):
            await self.connect()
            client = self._client
            if client is None:
                continue
            started = False

            def note(text: str) -> None:
                nonlocal started
                started = True
                if on_text is not None:
                    on_text(text)

            try:
                return await client.generate(prompt, adapter=adapter, max_tokens=max_tokens, stop=stop, on_text=note)
            except UnknownArmError:
                await self.disconnect()
                raise
            except HostError as error:
                await self.disconnect()
                if attempt == 2 or started:
                    self._note(error)
                    raise
        raise HostUnavailableError("the model host went away twice during one request; see `learner doctor`")

    async def disconnect(self) -> None:
        """Drop the connection; the next request connects anew (and sees new adapters)."""
        client, self._client, self._info = self._client, None, None
        if client is not None:
            await client.aclose()

    async def refresh(self) -> HostInfo:
        """Connect to the host that serves now: another one after a promotion."""
        current = launch.published(self._paths) if self._config.host.url is None else None
        if self._client is not None and current is not None and current.socket != self._client.endpoint.socket:
            await self.disconnect()
        return await self.connect()
