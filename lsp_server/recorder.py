"""The recorder: the consent and privacy gate, and the one thread that talks to the store.

Nothing is written before consent, nothing of an excluded document, and no text that looks like a
secret. A store that is locked, full or newer pauses recording and says so; editing goes on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from random import SystemRandom
from typing import TYPE_CHECKING, Any, TypeVar

from learner import bandit as bandits
from learner import privacy
from learner.bandit import Arm, Bandit, Context
from learner.config import Paths
from learner.exceptions import PluginError, RedraftError, StoreLockedError
from learner.records import BASE_ARM, Decision, Offer, Outcome, SettledBy, Settlement, new_id, now
from lsp_server import orphans
from lsp_server.kept import Tracked

if TYPE_CHECKING:
    from learner.store import Store

logger = logging.getLogger(__name__)
T = TypeVar("T")
RETRY_SECONDS = 30.0
READY_SECONDS = 15.0
"""How long the first offer waits for the client's word about recording."""
MOST_HELD = 10_000
"""Settlements that are held while the store cannot be written."""


class Recorder:
    """Records offers and outcomes, and chooses arms. All store access runs on one thread."""

    def __init__(self, paths: Paths, bandit: str, *, say: Callable[[str], None]) -> None:
        self._paths = paths
        self._bandit_name = bandit
        self._bandit: Bandit | None = None
        self._say = say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._store: Store | None = None
        self._record: bool | None = None
        self._ready = asyncio.Event()
        self._rng = SystemRandom()
        self._paused_until = 0.0
        self._held: deque[tuple[Settlement, str]] = deque()
        self._warm = False
        self.problem: str | None = None

    @cached_property
    def owner(self) -> str:
        """Whose open spans are this server's (`orphans.owner`)."""
        return orphans.owner()

    # --- consent -------------------------------------------------------------------------------

    async def start(self, record: bool | None, client: str) -> None:
        """Take the client's word about consent: True is a yes, False a no for this session, None is silence."""
        self._record = record
        if record:
            await self._try(self._consent, client)
        if record is not False:
            await self._try(lambda: self._with(orphans.sweep))
        self._ready.set()

    def allow(self, record: bool | None) -> None:
        """The client's settings changed: the word of `start`, restricted by the workspace's."""
        self._record = record

    def _consent(self, client: str) -> None:
        store = self._open(create=True)
        if store is None or store.consent("*") is not None:
            return
        said = store.read("SELECT granted FROM consents WHERE scope = '*' ORDER BY id DESC LIMIT 1")
        if said and not said[0][0]:
            self._say(
                "Redraft does not record: `record` is on in the editor, but `learner consent no` was said. "
                "`learner consent yes` takes it back."
            )
            return
        store.set_consent(True, source=f"initializationOptions.record of {client}")

    async def recording(self, workspace: str) -> int | None:
        """The consent that covers `workspace`, or None: then nothing may be written."""
        return await self._try(self._consent_id, workspace) if await self._may_record() else None

    async def _may_record(self) -> bool:
        """Whether the client's word, once it has come, leaves the choice to the store's consents."""
        if not self._ready.is_set():
            try:
                await asyncio.wait_for(self._ready.wait(), READY_SECONDS)
            except TimeoutError:
                return False
        return self._record is not False

    def _consent_id(self, workspace: str) -> int | None:
        store = self._open(create=False)
        return store.consent(workspace) if store else None

    async def consented(self, workspace: str) -> str:
        """The user's word about `workspace`: `granted`, `refused` or `unasked`."""
        if self._record is False:
            return "refused"
        return await self._try(self._consented, workspace) or "unasked"

    def _consented(self, workspace: str) -> str:
        store = self._open(create=False)
        if store is None:
            return "unasked"
        if store.consent(workspace) is not None:
            return "granted"
        said = store.consent_word(workspace)
        return "refused" if said is not None and not said[1] else "unasked"

    async def consent(self, granted: bool, workspace: str | None, client: str) -> None:
        """The user's word about a workspace, None for all. Raises RedraftError where it cannot be taken."""
        if granted and self._record is False:
            raise RedraftError("`record` is false in the editor's settings: change that first")
        run = asyncio.get_running_loop().run_in_executor
        await run(self._thread, self._say_consent, granted, workspace, client)

    def _say_consent(self, granted: bool, workspace: str | None, client: str) -> None:
        store = self._open(create=True)  # a no is kept as well, so that nobody is asked again
        assert store is not None
        store.set_consent(granted, scope="*" if workspace is None else workspace, source=f"redraft.consent of {client}")

    # --- choices -------------------------------------------------------------------------------

    async def choose(self, context: Context, fingerprint: str, loaded: frozenset[str]) -> Decision:
        """Choose an arm among those that the host has loaded. Writes nothing; the base if nobody can say."""
        try:
            chosen = await self._try(self._choose, context, fingerprint, loaded)
        except PluginError as error:
            logger.error("%s", error)
            self._say(f"Redraft answers with the base model only: {error}")
            chosen = None
        return chosen or self._decision(context, Arm(BASE_ARM), 1.0, "none")

    def _choose(self, context: Context, fingerprint: str, loaded: frozenset[str]) -> Decision:
        from learner import registry

        if self._bandit is None:
            self._bandit = bandits.load(self._bandit_name)
        store = self._open(create=False)
        arms = registry.arms(store, fingerprint) if store else [Arm(BASE_ARM)]
        arms = [arm for arm in arms if arm.version is None or arm.version in loaded]
        state = store.bandit_state() if store else {}
        choice = bandits.choose(self._bandit, context, arms, state, self._rng)
        return self._decision(context, choice.arm, choice.propensity, self._bandit_name)

    def _decision(self, context: Context, arm: Arm, propensity: float, bandit: str) -> Decision:
        at = now()
        return Decision(new_id(), context.task, arm.name, arm.version, propensity, bandit, context.document, at, at)

    # --- offers and outcomes -------------------------------------------------------------------

    async def offered(self, decision: Decision | None, offer: Offer) -> bool:
        """Record an offer (and its decision, unless it joins one that is recorded). False: not recorded."""
        recorded = await self._may_record() and bool(await self._try(self._offered, decision, offer))
        if recorded and not self._warm:
            self._warm = True
            asyncio.get_running_loop().run_in_executor(self._thread, _warm)
        return recorded

    def _offered(self, decision: Decision | None, offer: Offer) -> bool:
        if self._consent_id(offer.workspace) is None or privacy.excluded(offer.document):
            return False
        texts = [*(m.content for m in offer.prompt.messages), offer.prompt.prefill, offer.generated, offer.offered]
        if any(privacy.secret_in(text) for text in texts) or not _storable(offer.document, *texts):
            return False
        store = self._open(create=True)
        if store is None:
            return False
        with store.transaction():
            consent = store.consent(offer.workspace)  # a no may have come since it was asked for
            if consent is None or self._record is False:
                return False
            if decision is not None:
                store.add_decision(decision)
            store.add_offer(offer, consent_id=consent)
            store.save_span(offer.id, offer.document, self.owner, orphans.NOT_PUT_IN)
        return True

    async def settled(self, settlement: Settlement, workspace: str) -> None:
        """Record what became of an offer. While the store cannot be written it is held, and tried again.

        A text that looks like a secret or cannot be stored is not kept: the row is censored. So it
        is when consent was withdrawn meanwhile.
        """
        texts = [text for text in (settlement.kept, settlement.typed, settlement.offered) if text]
        if any(privacy.secret_in(text) for text in texts):
            settlement = _censored(settlement, SettledBy.GATE)
        elif not _storable(*texts):
            settlement = _censored(settlement, SettledBy.ERROR)
        if len(self._held) < MOST_HELD:
            self._held.append((settlement, workspace))
        await self.flush()

    async def flush(self) -> None:
        """Write the settlements that are held, in order."""
        while self._held:
            first = self._held[0]
            if await self._try(self._settle, *first) is None:
                return  # kept for later
            if self._held and self._held[0] is first:  # two may be flushing; a second settlement changes nothing
                self._held.popleft()

    async def retry(self) -> None:
        """Once the pause after a failure is over, see whether the store can be written, and write what is held."""
        if self.problem is not None and time.monotonic() >= self._paused_until:
            await self._try(lambda: self._with(_probe))
            if time.monotonic() < self._paused_until:
                return
            self.problem = None
            self._say("Redraft records again.")
        await self.flush()

    def _settle(self, settlement: Settlement, workspace: str) -> bool:
        store = self._open(create=False)
        if store is None or not store.read("SELECT 1 FROM offers WHERE id = ?", [settlement.offer_id]):
            return False  # forgotten meanwhile
        if self._record is False or store.consent(workspace) is None:
            settlement = _censored(settlement, SettledBy.GATE)
        return store.settle(settlement)

    async def shown(self, offer_id: str) -> None:
        """Note that the client showed an offer now."""
        at = now()
        await self._try(lambda: self._with(lambda s: s.mark_shown(offer_id, at)))

    async def close_decision(self, decision_id: str) -> None:
        """End a window of ghost-text requests."""
        await self._try(lambda: self._with(lambda s: s.close_decision(decision_id)))

    async def save_span(self, offer_id: str, document: str, workspace: str, tracked: Tracked, at: float) -> None:
        """Keep where an open offer stands, for a restart. Not a text that looks like a secret."""
        state = tracked.to_json(at)
        span = tracked.span
        if any(
            privacy.secret_in(text) for text in (span.text, span.replaced, span.undone and span.undone.text) if text
        ):
            state = orphans.NOT_PUT_IN

        def save(store: Store) -> None:
            if self._record is not False and store.consent(workspace) is not None:
                store.save_span(offer_id, document, self.owner, state)

        await self._try(lambda: self._with(save))

    async def orphans(self, document: str) -> list[tuple[str, str]]:
        """(offer id, state) of open offers in `document` whose server is gone."""
        found = await self._try(lambda: self._with(lambda s: s.open_spans(document)))
        return [(offer_id, state) for offer_id, _, owner, state in found or [] if not orphans.is_alive(owner)]

    async def learnt(self, fingerprint: str) -> dict[str, Any]:
        """What became of the edit cost, for `redraft.learnt`."""
        from lsp_server import learnt  # only when somebody looks

        store = await self._try(lambda: self._open(create=False))
        if store is None:
            return learnt.NOTHING
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, learnt.summary, store, fingerprint)

    async def forget(self, document: str | None, since: float | None, everything: bool) -> str:
        """Delete rows; a sentence that says what was deleted. Raises RedraftError when it failed."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, self._forget, document, since, everything)

    def _forget(self, document: str | None, since: float | None, everything: bool) -> str:
        store = self._open(create=False)
        if store is None:
            return "There is nothing to forget: nothing was recorded."
        from learner.forget import forget  # only when something is forgotten

        return str(forget(store, document=document, since=since, everything=everything))

    # --- the store's thread --------------------------------------------------------------------

    def _with(self, act: Callable[[Store], T]) -> T | None:
        store = self._open(create=False)
        return act(store) if store is not None else None

    def _open(self, *, create: bool) -> Store | None:
        from learner.store import Store  # on its own thread, while the editor is answered

        if self._store is None and (create or self._paths.database.exists()):
            self._store = Store.open(self._paths.database)
        return self._store

    async def _try(self, act: Callable[..., T], *args: Any) -> T | None:
        """Run on the store's thread; a failure pauses recording, is said once, and answers None."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: act(*args))
        except PluginError:
            raise  # no fault of the store's
        except RedraftError as error:
            self._failed(str(error), brief=isinstance(error, StoreLockedError))
            return None
        except Exception as error:
            logger.exception("the store failed")
            self._failed(f"the store failed: {type(error).__name__}: {error}", brief=False)
            return None

    def _failed(self, problem: str, *, brief: bool) -> None:
        if self.problem != problem:
            logger.error("%s", problem)
            self._say(f"Redraft does not record for now: {problem}")
        self.problem = problem
        self._paused_until = time.monotonic() + (1.0 if brief else RETRY_SECONDS)

    async def stop(self) -> None:
        """Flush, and close the store."""
        self._paused_until = 0.0
        await self.flush()
        if self._held:
            logger.error("%d outcomes could not be written; their offers wait for the next start", len(self._held))
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=True)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _probe(store: Store) -> None:
    """Raises if the store cannot be written now."""
    with store.without_waiting(), store.transaction():
        pass


def _censored(settlement: Settlement, by: SettledBy) -> Settlement:
    """The same offer, with nothing told of it."""
    return Settlement(settlement.offer_id, Outcome.CENSORED, by, settlement.settled_at)


def _warm() -> None:
    """Import what the first cost needs, so that whoever waits for it (an editor that closes) waits less."""
    from learner import cost

    cost.warm()


def _storable(*texts: str) -> bool:
    """Whether SQLite can hold them: a lone surrogate is no text to it."""
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True
