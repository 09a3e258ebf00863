"""The assistant: open documents, consent, settling; what the features of `server.py` are made of.

Everything runs on the event loop but the store, which has a thread of its own. What happened is
recorded through one queue, in order, so that no outcome overtakes its offer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
from lsprotocol import types

from learner import config
from learner.config import Config, Paths
from learner.exceptions import ConfigError, RedraftError
from learner.records import SettledBy
from lsp_server import settings as options
from lsp_server import status as states
from lsp_server.document import Document, DocumentError, Encoding
from lsp_server.ledger import Ledger
from lsp_server.pace import Pace
from lsp_server.protocol import plain
from lsp_server.recorder import Recorder
from lsp_server.revisions import Revisions
from lsp_server.session import Session
from lsp_server.settings import Changes, Settings, workspace_of
from lsp_server.windows import Windows

if TYPE_CHECKING:
    from lsp_server.host import Host
    from lsp_server.server import RedraftServer

logger = logging.getLogger(__name__)
STATUS_NOTIFICATION = "redraft/status"
TICK_SECONDS = 0.5
CONFIGURATION_SECONDS = 10.0
"""How long a client may take to say what its workspace restricts."""

MOST_CHARACTERS = 20_000_000
"""A larger document is left alone: its mirror would cost the editor memory and every look at it time."""

LATE_CHANGES = frozenset({"Eglot"})
"""Clients that say `willSave` before they have told the user's last changes: a formatter cannot be told apart there."""

SAVE_SECONDS = 3.0
"""Changes between `willSave` and `didSave`, at most so far apart, are a formatter's."""


class Assistant:
    """One per client connection."""

    def __init__(self, server: RedraftServer, paths: Paths | None = None) -> None:
        self.server = server
        self.paths = paths or config.paths()
        self.settings: Settings = Settings(record=False)
        self.config: Config = Config()
        self.sessions: dict[str, Session] = {}
        self.refused: dict[str, str] = {}
        """Open documents that are left alone, and why."""
        self._host: Host | None = None
        self.recorder: Recorder = Recorder(self.paths, self.config.bandit, say=self.say)
        self.ledger = Ledger()
        self.windows = Windows(self)
        self.revisions = Revisions(self)
        self.pace = Pace()
        self.encoding: Encoding = "utf-16"
        self.client_name = "an editor"
        self._restriction: Any = None
        """What the workspace said last."""
        self.announced: tuple[str, str] | None = None
        """The state that the client was told of last; None where it does not want to be told."""
        self.paused_until: float | None = None
        self.problem: str | None = None
        """What is wrong with the settings, in words."""
        self._own: Settings = self.settings
        """The client's settings, before the workspace took away from them."""
        self._said: set[str] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._restricted = asyncio.Event()
        self._tells = False

    # --- life ----------------------------------------------------------------------------------

    def initialize(self, params: types.InitializeParams) -> None:
        """Take the client's options; what is wrong with them is said once, and nothing is recorded then."""
        if params.client_info is not None:
            self.client_name = params.client_info.name
        experimental = plain(params.capabilities.experimental)
        if isinstance(experimental, dict) and experimental.get("redraftStatus") is True:
            self.announced = ("", "")
        encoding = self.server.workspace.position_encoding
        self.encoding = str(getattr(encoding, "value", encoding) or "utf-16")  # type: ignore[assignment]
        try:
            self.config = config.load(self.paths.config_file)
            self.settings = options.from_client(params.initialization_options)
        except ConfigError as error:
            self.problem = f"{error}. Redraft goes on with the defaults and records nothing."
            self.settings = Settings(record=False)
        self._own = self.settings
        if self.settings.host.url is not None:
            self.config = msgspec.structs.replace(self.config, host=self.settings.host)
        self.recorder = Recorder(self.paths, self.settings.bandit or self.config.bandit, say=self.say)

    async def initialized(self) -> None:
        """The client is ready: ask for the workspace's restrictions, take its consent, start the clock."""
        if self.problem:
            self.say(self.problem)
        self.start(self._tick())
        asyncio.get_running_loop().run_in_executor(None, import_module, "lsp_server.host")  # before it is needed
        await self.read_workspace_settings()
        self._restricted.set()
        await self.recorder.start(self.settings.record, self.client_name)
        self.announce()

    async def restricted(self) -> None:
        """Wait until the workspace has said what it takes away: before that nothing is offered unasked."""
        if not self._restricted.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._restricted.wait(), CONFIGURATION_SECONDS)

    async def read_workspace_settings(self) -> None:
        """Ask the client for the section `redraft` of its configuration; it can only restrict."""
        workspace = self.server.client_capabilities.workspace
        if workspace is None or not workspace.configuration:
            self.settings = self._own
            return
        item = types.ConfigurationItem(section="redraft")
        asking = self.server.workspace_configuration_async(types.ConfigurationParams(items=[item]))
        try:
            found = await asyncio.wait_for(asking, CONFIGURATION_SECONDS)
            self._restriction = plain(found[0]) if found else None
        except Exception as error:  # a client that does not answer now has taken nothing back either
            logger.warning("workspace/configuration failed: %s", error)
        self.settings = options.restrict(self._own, self._restriction)
        self.recorder.allow(self.settings.record)
        if self.settings.record is False:
            self.withdraw(None, SettledBy.GATE)

    async def shutdown(self) -> None:
        """Stop what is under way, keep open spans for the next start, let go of host and store. Once is enough."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        for task in [*self._requests, *self._tasks]:
            task.cancel()
        await asyncio.gather(*self._requests, *self._tasks, return_exceptions=True)
        for session in self.sessions.values():
            session.depart(time.monotonic())
            session.settle_departed(time.monotonic(), SettledBy.CLOSE)
            self.drain(session)
        self.windows.close_all()
        self.ledger.save_spans(list(self.sessions.values()), self.recorder, everything=True)
        await self.ledger.stop()
        await self.recorder.stop()
        if self._host is not None:
            await self._host.disconnect()

    @property
    def host(self) -> Host:
        """The connection to the model host; what it is made of is imported when it is first needed."""
        if self._host is None:
            from lsp_server.host import Host

            self._host = Host(self.paths, self.config)
            self._host.changed, self._host.tell = self.announce, self.say
        return self._host

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the requests; it ends with the server."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """The current task is a request, which `shutdown` stops."""
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            with self.ledger.under_way():
                yield
        finally:
            self._requests.discard(task)

    def after_end(self, act: Callable[[], object]) -> None:
        """Call `act` now, or once the shutdown that is under way is over."""
        if self._ending is None or self._ending.done():
            act()
        else:
            self._ending.add_done_callback(lambda _: act())

    @property
    def ending(self) -> bool:
        """Whether the server is shutting down."""
        return self._ending is not None

    # --- words ---------------------------------------------------------------------------------

    def say(self, words: str) -> None:
        """One calm message; the same words are said once per session."""
        if words in self._said or self._ending is not None:
            return
        self._said.add(words)
        kind = types.MessageType.Info if words.startswith("Redraft records") else types.MessageType.Warning
        self.server.window_show_message(types.ShowMessageParams(type=kind, message=words))

    def announce(self) -> None:
        """Tell a client that wants to know what is going on, if that changed (`redraft/status`)."""
        if self.announced is None or self._ending is not None or not self._restricted.is_set():
            return
        now = states.brief(self)
        if now != self.announced:
            self.announced = now
            self.server.protocol.notify(STATUS_NOTIFICATION, {"state": now[0], "text": now[1]})

    def configure(self, changes: Changes) -> None:
        """Take the client's new settings (`redraft.configure`)."""
        self._own = changes.onto(self._own)

    def paused(self) -> str | None:
        """Why everything is off, or None."""
        if self.paused_until is None:
            return None
        if time.monotonic() >= self.paused_until:
            self.paused_until = None
            return None
        left = self.paused_until - time.monotonic()
        return "paused" if left == float("inf") else f"paused for {left / 60:.0f} more minutes"

    # --- documents -----------------------------------------------------------------------------

    def folder(self) -> str:
        """URI of the workspace's first folder, "" where there is none."""
        workspace = self.server.workspace
        return next((folder.uri for folder in workspace.folders.values()), workspace.root_uri or "")

    def session(self, uri: str) -> Session:
        """The open document `uri`. Raises RedraftError, saying what to do, where there is none or it is lost."""
        session = self.sessions.get(uri)
        if uri in self.refused:
            raise RedraftError(self.refused[uri])
        if session is None:
            raise RedraftError(f"{uri} is not open here: open it first (textDocument/didOpen)")
        if session.lost:
            raise RedraftError(f"Redraft lost track of {uri} ({session.lost}): close it and open it again")
        return session

    def did_open(self, item: types.TextDocumentItem) -> None:
        """Mirror a document, and take up the offers of a server that is gone."""
        if item.uri in self.sessions or item.uri in self.refused:
            self.did_close(item.uri)
        if len(item.text) > MOST_CHARACTERS:
            size = f"{len(item.text):,} characters, and documents of up to {MOST_CHARACTERS:,} are followed"
            self.refused[item.uri] = f"Redraft leaves {item.uri} alone: it has {size}"
            return
        document = Document(item.uri, item.text, item.version, str(item.language_id), self.encoding)
        session = Session(
            document, workspace_of(self.server.workspace, item.uri), changed_at=time.monotonic(), tells=self._tells
        )
        self.sessions[item.uri] = session
        self.revisions.opened(item.uri)

        async def resume() -> None:
            for offer_id, state in await self.recorder.orphans(item.uri):
                if self.sessions.get(item.uri) is session and session.lost is None:
                    session.resume(offer_id, state, time.monotonic())
            self.drain(session)

        self.ledger.queue(resume)

    def did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Apply changes one by one. An impossible one costs this document its open offers, nothing else."""
        uri = params.text_document.uri
        session = self.sessions.get(uri)
        if session is None:
            if uri not in self.refused:
                logger.error("didChange for %s, which was never opened: ignored", uri)
            return
        if session.lost:
            return
        if session.tracker.open:
            self.revisions.look(uri)
        if len(params.content_changes) == 1 and len(params.content_changes[0].text) == 1:
            self.pace.typed(time.monotonic())
        try:
            session.change(params.text_document.version, params.content_changes, time.monotonic())
        except Exception as error:
            unexpected = None if isinstance(error, DocumentError) else error
            logger.error("%s, version %s: %s", uri, params.text_document.version, error, exc_info=unexpected)
            self.lose(uri, str(error))
        self.drain(session)

    def lose(self, uri: str, why: str) -> None:
        """A change could not be applied: what the editor shows is no longer known here."""
        session = self.sessions.get(uri)
        if session is None:
            return
        if session.lost is None:
            session.lose(why)
        self.say(f"Redraft lost track of {uri} ({session.lost}): close it and open it again.")
        self.drain(session)

    def will_save(self, uri: str, reason: types.TextDocumentSaveReason) -> None:
        """Note whether the save that comes is a person's, and that a formatter may come before it.

        None comes where the editor saves by itself after a delay, and there people may be typing.
        """
        session = self.sessions.get(uri)
        if session is not None:
            session.autosave = reason != types.TextDocumentSaveReason.Manual
            if reason != types.TextDocumentSaveReason.AfterDelay and self.client_name not in LATE_CHANGES:
                session.saving_until = time.monotonic() + SAVE_SECONDS

    def did_save(self, uri: str) -> None:
        """A person's save settles what has stood for a while."""
        session = self.sessions.get(uri)
        if session is not None:
            session.saving_until = 0.0
            session.saved(time.monotonic(), *self.settle_seconds())
            self.drain(session)

    def did_close(self, uri: str) -> None:
        """Everything in the document settles."""
        session = self.sessions.pop(uri, None)
        self.refused.pop(uri, None)
        self.server.inline.forget(uri)
        if session is not None:
            session.closed(time.monotonic(), *self.settle_seconds())
            self.drain(session)

    def settle_seconds(self) -> tuple[float, float]:
        """After how long without a change an offer settles, and after how long at the latest."""
        settle = self.settings.settle
        return settle.quiet_seconds, settle.limit_seconds

    # --- recording -----------------------------------------------------------------------------

    def drain(self, session: Session) -> None:
        """Queue what has settled in a document, and the offers that are new there."""
        self.ledger.drain(session, self.recorder)

    def tell_shown(self, offer_id: str) -> None:
        """The client says that it shows an offer now; from now on it is believed about what it does not show."""
        at = time.monotonic()
        self._tells = True
        for session in self.sessions.values():
            session.tells = True
            if session.tell(offer_id, at) and session.ghost is not None and session.ghost.recorded:
                self.ledger.queue(partial(self.recorder.shown, offer_id))

    async def _tick(self) -> None:
        """Settle by quiet and limit. Monotonic time, at most one tick's worth: waking from sleep settles nothing."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            at = time.monotonic()
            if at - last > 10 * TICK_SECONDS:  # the machine slept, or we did: give the user a tick to say something
                last = at
                continue
            last = at
            try:
                self._settle_due(at)
            except Exception:  # one bad document must not end the clock for all
                logger.exception("settling failed")
            await self.recorder.retry()

    def _settle_due(self, at: float) -> None:
        for session in list(self.sessions.values()):
            self.revisions.look(session.document.uri)
            session.settle_due(at, *self.settle_seconds())
            self.drain(session)
        self.windows.expire(at)
        self.announce()
        self.ledger.save_spans(list(self.sessions.values()), self.recorder)

    def withdraw(self, uri: str | None, by: SettledBy) -> None:
        """Stop following everything in a document (None: in all), judging nothing."""
        for session in list(self.sessions.values()):
            if uri in (None, session.document.uri):
                session.withdraw(by)
                self.drain(session)
