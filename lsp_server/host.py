"""The server's side of the model host: found or started on demand, asked, and asked again once.

A host by URL loads and loses adapters on its own clock, so it is asked every few seconds, when there is a
request, which of ours it has. The bandit draws among those; what the host lacks is said once.

The host may die, hang or be restarted (a promoted adapter) at any time. A request that fails
before its first character is tried once more on a fresh connection; after that the error is the
answer, and requests that nobody asked for wait for a back-off, so that a broken host costs
nothing while typing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from learner import launch, model_files, registry
from learner.client import Endpoint, Generation, HostClient, HostInfo, Limits
from learner.config import Config, Paths
from learner.exceptions import (
    HostError,
    HostTimeoutError,
    HostUnavailableError,
    RedraftError,
    UnknownArmError,
)
from learner.records import AdapterForm, Prompt
from learner.store import Store

logger = logging.getLogger(__name__)
LOOK_AGAIN_SECONDS = 10.0
"""After how long a host by URL is asked again what it serves."""
FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 60.0


@dataclass(slots=True)
class Connection:
    """A client of one host, closed when it is given up and nobody uses it any more."""

    client: HostClient
    info: HostInfo
    made_at: float
    users: int = 0
    given_up: bool = False

    @property
    def endpoint(self) -> Endpoint:
        """Where that host listens."""
        return self.client.endpoint


class Host:
    """The connection to the model host, shared by all requests of this server."""

    def __init__(
        self,
        paths: Paths,
        config: Config,
        limits: Limits | None = None,
        *,
        look_again: float = LOOK_AGAIN_SECONDS,
    ) -> None:
        self._paths = paths
        self._config = config
        self._limits = limits
        self._look_again = look_again
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._backoff = 0.0
        self._not_before = 0.0
        self.last_error: RedraftError | None = None
        self.busy = 0
        """Answers that somebody waits for."""
        self.changed: Callable[[], None] = lambda: None
        """Called whenever `busy` or `last_error` did."""
        self.lacking: tuple[str, ...] = ()
        """Live adapters that the host by URL does not serve, by version id: the others answer in their place."""
        self.tell: Callable[[str], None] = lambda words: None
        """Called with a sentence for the user, when `lacking` gained something."""
        self._ahead: set[asyncio.Task[Any]] = set()

    @property
    def info(self) -> HostInfo | None:
        """What the connected host said of itself, None while there is no connection."""
        return self._connection.info if self._connection else None

    @property
    def fingerprint(self) -> str:
        """The base model's fingerprint: which adapters fit. A host by URL with no model here has its model's name."""
        try:
            return model_files.current(self._paths, self._config).fingerprint
        except RedraftError:
            return f"url:{self.info.model}" if self.info else ""

    @property
    def model_name(self) -> str:
        """The base model's name."""
        try:
            return model_files.current(self._paths, self._config).name
        except RedraftError:
            return self.info.model if self.info else ""

    async def refresh(self, *, asked: bool = True) -> HostInfo:
        """Connect to the host that serves now (another one after a promotion), starting it if need be.

        `asked` is False for requests that the editor makes by itself: they wait for the back-off.
        Raises HostError or ModelMissingError, saying what to do.
        """
        return (await self._current(asked=asked)).info

    async def _current(self, *, asked: bool) -> Connection:
        current = launch.published(self._paths) if self._config.host.url is None else None
        held = self._connection
        if held is not None and current is not None and current.socket != held.endpoint.socket:
            await self._give_up(held)
        if self._connection is not None and not self._old(self._connection):
            return self._connection
        wait = self._not_before - time.monotonic()
        if wait > 0 and not asked and self.last_error is not None:
            raise HostUnavailableError(f"{self.last_error} (trying again in {wait:.0f} s)")
        if self._connecting is None or self._connecting.done():
            # one attempt for all who wait, which goes on when they stop waiting: a start takes a second
            self._connecting = asyncio.ensure_future(self._connect())
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._connecting)

    def _old(self, connection: Connection) -> bool:
        """Whether a host by URL may have loaded or unloaded adapters since it was asked."""
        return self._config.host.url is not None and time.monotonic() - connection.made_at >= self._look_again

    async def _connect(self) -> Connection:
        older = self._connection
        try:
            if self._config.host.url is None:
                model_files.current(self._paths, self._config)  # says what is missing before a process is started
            nothing = dict[str, str](), frozenset[str]()
            ours, activated = await asyncio.to_thread(self._published) if self._config.host.url is not None else nothing
            client = HostClient(await launch.ensure_host(self._paths, self._config), self._limits, ours)
            try:
                info = await client.connect()
            except BaseException:
                await client.aclose()
                raise
        except RedraftError as error:
            if older is not None and not older.given_up:  # it answered a moment ago: whoever asks will find out
                logger.info("the model host did not say what it serves now: %s", error)
                older.made_at = time.monotonic()
                return older
            self._note(error)
            raise
        if info.engine == "vllm":  # it would apply them to the whole prompt, without a word
            info = replace(info, adapters={n: a for n, a in info.adapters.items() if n not in activated})
        self._backoff, self._not_before, self.last_error = 0.0, 0.0, None
        self._connection = Connection(client, info, time.monotonic())
        if older is not None:
            await self._give_up(older)
        self._compare(ours, info, activated)
        return self._connection

    def _published(self) -> tuple[dict[str, str], frozenset[str]]:
        """Our live adapters, version ids by served name, and which of them are activated LoRAs.

        Nothing where the store cannot be read now, and where no base is set up to train any.
        """
        if not self._paths.database.exists() or not model_files.prepared(self._paths):
            return {}, frozenset()
        try:
            base = model_files.current(self._paths, self._config)
            with Store.open(self._paths.database, read_only=True) as store:
                adapters = registry.adapters(store, base_fingerprint=base.fingerprint)
                activated = frozenset(a.id for a in adapters if a.form is AdapterForm.ALORA)
                return registry.served_names(store, base.fingerprint), activated
        except RedraftError as error:
            logger.warning("which adapters are published cannot be told: %s", error)
            return {}, frozenset()

    def _compare(self, ours: Mapping[str, str], info: HostInfo, activated: frozenset[str]) -> None:
        """Note which of our live adapters the host lacks, and say so when there are more than before."""
        lacking = tuple(sorted(version for version in ours.values() if version not in info.adapters))
        gained, self.lacking = set(lacking) - set(self.lacking), lacking
        if gained:
            plain = info.engine == "vllm" and not activated.isdisjoint(lacking)
            ready = "`learner train --form lora` makes adapters that it can serve, and" if plain else ""
            words = (
                f"The model host {self._config.host.url} does not have {', '.join(lacking)}: what it has answers in "
                f"their place, and is recorded as what it is. {ready} `learner adapters publish` makes them ready."
            )
            logger.warning("%s", words)
            self.tell(words)

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
        asked: bool = True,
        ahead: bool = False,
    ) -> Generation:
        """The greedy answer to `prompt` under `adapter` (None: the base).

        What is asked `ahead` of a request that may never come is cancelled as soon as somebody waits for
        something else: the engine has few slots. Raises HostError when the host fails twice, is too slow, or
        fails in mid-answer, and UnknownArmError when it lost the adapter.
        """
        with self._under_way(ahead=ahead):
            return await self._generate(prompt, adapter, max_tokens, stop, on_text, asked)

    @contextlib.contextmanager
    def _under_way(self, *, ahead: bool) -> Iterator[None]:
        task = asyncio.current_task()
        if ahead and task is not None:
            self._ahead.add(task)
            try:
                yield
            finally:
                self._ahead.discard(task)
            return
        for other in self._ahead:
            other.cancel()
        self.busy += 1
        self.changed()
        try:
            yield
        finally:
            self.busy -= 1
            self.changed()

    async def _generate(
        self,
        prompt: Prompt,
        adapter: str | None,
        max_tokens: int,
        stop: Sequence[str],
        on_text: Callable[[str], None] | None,
        asked: bool,
    ) -> Generation:
        started = False

        def note(text: str) -> None:
            nonlocal started
            started = True
            if on_text is not None:
                on_text(text)

        for attempt in (1, 2):
            connection = await self._current(asked=asked)
            async with self._using(connection) as client:
                try:
                    return await client.generate(
                        prompt, adapter=adapter, max_tokens=max_tokens, stop=stop, on_text=note
                    )
                except UnknownArmError:
                    await self._give_up(connection)
                    raise
                except HostError as error:
                    await self._give_up(connection)
                    if attempt == 2 or started or isinstance(error, HostTimeoutError):
                        self._note(error)
                        raise
        raise HostUnavailableError("the model host went away twice during one request; see `learner doctor`")

    @contextlib.asynccontextmanager
    async def _using(self, connection: Connection) -> AsyncIterator[HostClient]:
        connection.users += 1
        try:
            yield connection.client
        finally:
            connection.users -= 1
            if connection.given_up and not connection.users:
                await connection.client.aclose()

    async def _give_up(self, connection: Connection) -> None:
        """Let go of a connection; who still reads an answer from it reads on."""
        connection.given_up = True
        if self._connection is connection:
            self._connection = None
        if not connection.users:
            await connection.client.aclose()

    async def disconnect(self) -> None:
        """Drop the connection; the next request connects anew."""
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        if self._connection is not None:
            await self._give_up(self._connection)
