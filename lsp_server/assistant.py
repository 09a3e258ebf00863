"""The assistant: open documents, consent, settling; what the features of `server.py` are made of.

Everything runs on the event loop but the store, which has a thread of its own. What happened is
recorded through one queue, in order, so that no outcome overtakes its offer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from learner import config
from learner.config import Config, Paths
from learner.exceptions import ConfigError, RedraftError
from learner.records import SettledBy
from lsp_server import settings as options
from lsp_server.document import Document, DocumentError, Encoding
from lsp_server.host import Host
from lsp_server.recorder import Recorder
from lsp_server.session import Session
from lsp_server.settings import Settings

if TYPE_CHECKING:
    from lsp_server.server import RedraftServer

logger = logging.getLogger(__name__)
TICK_SECONDS = 0.5
SAVE_SPANS_EVERY = 2.0


class Assistant:
    """One per client connection."""

    def __init__(self, server: RedraftServer, paths: Paths | None = None) -> None:
        self.server = server
        self.paths = paths or config.paths()
        self.settings: Settings = Settings(record=False)
        self.config: Config = Config()
        self.sessions: dict[str, Session] = {}
        self.host: Host = Host(self.paths, self.config)
        self.recorder: Recorder = Recorder(self.paths, self.config.bandit, say=self.say)
        self.encoding: Encoding = "utf-16"
        self.client_name = "an editor"
        self.paused_until: float | None = None
        self.problem: str | None = None
        """What is wrong with the settings, in words."""
        self._said: set[str] = set()
        self._queue: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._spans_saved_at = 0.0

    # --- life ----------------------------------------------------------------------------------

    def initialize(self, params: types.InitializeParams) -> None:
        """Take the client's options; what is wrong with them is said once, and nothing is recorded then."""
        if params.client_info is not None:
            self.client_name = params.client_info.name
        try:
            self.config = config.load(self.paths.config_file)
            self.settings = options.from_client(params.initialization_options)
        except ConfigError as error:
            self.problem = f"{error}. Redraft goes on with the defaults and records nothing."
            self.settings = Settings(record=False)
        if self.settings.host.url is not None:
            import msgspec

            self.config = msgspec.structs.replace(self.config, host=self.settings.host)
        self.host = Host(self.paths, self.config)
        self.recorder = Recorder(self.paths, self.settings.bandit or self.config.bandit, say=self.say)

    async def initialized(self) -> None:
        """The client is ready: take its consent, ask for the workspace's restrictions, start the clock."""
        encoding = self.server.server_capabilities.position_encoding
        self.encoding = str(getattr(encoding, "value", encoding) or "utf-16")  # type: ignore[assignment]
        self._start(self._record_in_order())
        if self.problem:
            self.say(self.problem)
        await self.recorder.start(self.settings.record, self.client_name)
        await self.read_workspace_settings()
        self._start(self._tick())

    async def read_workspace_settings(self) -> None:
        """Ask the client for the section `redraft` of its configuration; it can only restrict."""
        workspace = self.server.client_capabilities.workspace
        if workspace is None or not workspace.configuration:
            return
        item = types.ConfigurationItem(section="redraft")
        try:
            found = await asyncio.wait_for(
                self.server.workspace_configuration_async(types.ConfigurationParams(items=[item])), 10
            )
        except Exception as error:  # a client that cannot say restricts nothing
            logger.warning("workspace/configuration failed: %s", error)
            return
        self.restrict(found[0] if found else None)

    def restrict(self, said: Any) -> None:
        """Apply what the workspace says; it can only take away."""
        self.settings = options.restrict(self.settings, said)
        if self.settings.record is False:
            self.recorder.deny()

    async def shutdown(self) -> None:
        """Keep open spans for the next start, write what is held, let go of host and store."""
        await self._save_spans(everything=True)
        self._drain_settled()
        await self.recorded()
        for task in list(self._tasks):
            task.cancel()
        await self.recorder.stop()
        await self.host.disconnect()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- words ---------------------------------------------------------------------------------

    def say(self, words: str) -> None:
        """One calm message; the same words are said once per session."""
        if words in self._said:
            return
        self._said.add(words)
        kind = types.MessageType.Info if words.startswith("Redraft records") else types.MessageType.Warning
        self.server.window_show_message(types.ShowMessageParams(type=kind, message=words))

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

    def session(self, uri: str) -> Session:
        """The open document `uri`. Raises RedraftError, saying what to do, where there is none or it is lost."""
        session = self.sessions.get(uri)
        if session is None:
            raise RedraftError(f"{uri} is not open here: open it first (textDocument/didOpen)")
        if session.lost:
            raise RedraftError(f"Redraft lost track of {uri} ({session.lost}): close it and open it again")
        return session

    def workspace_of(self, uri: str) -> str:
        """URI of the innermost workspace folder around a document, "" where there is none."""
        folders = [f for f in self.server.workspace.folders if uri == f or uri.startswith(f.rstrip("/") + "/")]
        return max(folders, key=len, default="")

    def did_open(self, item: types.TextDocumentItem) -> None:
        """Mirror a document, and take up the offers of a server that is gone."""
        if item.uri in self.sessions:
            self.did_close(item.uri)
        document = Document(item.uri, item.text, item.version, str(item.language_id), self.encoding)
        session = Session(document, self.workspace_of(item.uri), changed_at=time.monotonic())
        self.sessions[item.uri] = session

        async def resume() -> None:
            for offer_id, state in await self.recorder.orphans(item.uri):
                if self.sessions.get(item.uri) is session and session.lost is None:
                    session.resume(offer_id, state, time.monotonic())
            self.drain(session)

        self.queue(resume)

    def did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """Apply changes one by one. An impossible one costs this document its open offers, and nothing else."""
        uri = params.text_document.uri
        session = self.sessions.get(uri)
        if session is None:
            logger.error("didChange for %s, which was never opened: ignored", uri)
            return
        if session.lost:
            return
        try:
            session.change(params.text_document.version, params.content_changes, time.monotonic())
        except DocumentError as error:
            logger.error("%s, version %s: %s", uri, params.text_document.version, error)
        self.drain(session)

    def will_save(self, uri: str, reason: types.TextDocumentSaveReason) -> None:
        """Note whether the save that comes is a person's."""
        session = self.sessions.get(uri)
        if session is not None:
            session.autosave = reason != types.TextDocumentSaveReason.Manual

    def did_save(self, uri: str) -> None:
        """A person's save settles what has stood for a while."""
        session = self.sessions.get(uri)
        if session is not None:
            session.saved(time.monotonic(), *self._settle())
            self.drain(session)

    def did_close(self, uri: str) -> None:
        """Everything in the document settles."""
        session = self.sessions.pop(uri, None)
        if session is not None:
            session.closed(time.monotonic(), *self._settle())
            self.drain(session)

    def _settle(self) -> tuple[float, float]:
        settle = self.settings.settle
        return settle.quiet_seconds, settle.limit_seconds

    # --- recording -----------------------------------------------------------------------------

    def queue(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do something with the store, after everything that was queued before."""
        self._queue.put_nowait(act)

    async def recorded(self) -> None:
        """Wait until everything that was queued is done."""
        done = asyncio.Event()

        async def finish() -> None:
            done.set()

        self.queue(finish)
        await done.wait()

    async def _record_in_order(self) -> None:
        while True:
            act = await self._queue.get()
            try:
                await act()
            except Exception:
                logger.exception("recording failed")

    def drain(self, session: Session) -> None:
        """Queue what has settled in a document."""
        settled, session.settled = session.settled, []
        for settlement in settled:
            self.queue(lambda s=settlement: self.recorder.settled(s))  # type: ignore[misc]

    def _drain_settled(self) -> None:
        for session in self.sessions.values():
            self.drain(session)

    async def _save_spans(self, *, everything: bool = False) -> None:
        """Keep where open offers stand, so that a restart can take them up."""
        at = time.monotonic()
        if not everything and at - self._spans_saved_at < SAVE_SPANS_EVERY:
            return
        self._spans_saved_at = at
        for uri, session in list(self.sessions.items()):
            dirty, session.dirty = session.dirty, set()
            for offer_id in set(session.tracker.open) if everything else dirty & set(session.tracker.open):
                state = session.tracker.open[offer_id].to_json(at)
                self.queue(lambda o=offer_id, u=uri, s=state: self.recorder.save_span(o, u, s))  # type: ignore[misc]

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
            for session in list(self.sessions.values()):
                session.settle_due(at, *self._settle())
                self.drain(session)
            await self._save_spans()
            await self.recorder.retry()

    # --- words about itself --------------------------------------------------------------------

    async def status(self) -> dict[str, Any]:
        """`redraft.status`: what is going on, for machines and in words (`text`)."""
        info = self.host.info
        recording = await self.recorder.recording(next(iter(self.sessions.values())).workspace if self.sessions else "")
        paused = self.paused()
        error = self.host.last_error
        words = [f"Redraft is {paused}." if paused else "Redraft is on."]
        if recording is not None and self.recorder.problem is None:
            words.append(f"Edits are recorded in {self.paths.database}.")
        elif self.recorder.problem is not None:
            words.append(f"Edits are not recorded for now: {self.recorder.problem}.")
        elif self.settings.record is False:
            words.append("Edits are not recorded: the settings say so.")
        else:
            words.append("Edits are not recorded: there is no consent yet (`learner consent yes`, or `record: true`).")
        if info is not None:
            arms = ", ".join(["base", *(a for a in info.adapters if a != "zero")])
            words.append(f"The model host serves {self.host.model_name} as {arms}.")
        elif error is not None:
            words.append(f"The model host cannot be reached: {error}.")
        else:
            words.append("The model host has not been asked for anything yet; it starts on demand.")
        open_offers = sum(len(s.tracker.open) for s in self.sessions.values())
        words.append(f"{open_offers} offers are open in {len(self.sessions)} documents.")
        return {
            "state": "paused" if paused else "error" if error else "ready",
            "recording": recording is not None and self.recorder.problem is None,
            "model": self.host.model_name,
            "arms": ["base", *(a for a in (info.adapters if info else {}) if a != "zero")],
            "open": open_offers,
            "text": " ".join(words),
        }

    def why(self, uri: str | None) -> dict[str, str]:
        """`redraft.why`: why the last request in a document (the last changed one) was answered with nothing."""
        session = self.sessions.get(uri or "")
        if session is None and self.sessions and uri is None:
            session = max(self.sessions.values(), key=lambda s: s.changed_at)
        reason = self.paused() or self.problem
        if reason is None:
            reason = (session.lost or session.why) if session is not None else "the document is not open here"
        return {"why": reason, "text": f"No suggestion: {reason}."}

    async def withdraw(self, session: Session) -> None:
        """Stop following everything in a document, settling nothing by judgement (a pause, a withdrawn consent)."""
        for offer_id in list(session.tracker.open):
            session.tracker.open[offer_id].censored = True
        session.settle_due(time.monotonic(), 0.0, 0.0, SettledBy.CLOSE)
        self.drain(session)
