"""The recorder: the consent and privacy gate, and the one thread that talks to the store.

Nothing is written before consent, nothing of an excluded document, and no text that looks like a
secret. A store that is locked, full or newer pauses recording and says so; editing goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import SystemRandom
from typing import TypeVar

import psutil

from learner import bandit as bandits
from learner import privacy, registry
from learner.bandit import Arm, Context
from learner.config import Paths
from learner.exceptions import RedraftError, StoreLockedError
from learner.records import BASE_ARM, Decision, Offer, Outcome, SettledBy, Settlement, new_id, now
from learner.store import Store

logger = logging.getLogger(__name__)
T = TypeVar("T")
RETRY_SECONDS = 30.0


def owner() -> str:
    """Identifies this process among all, so that a restart knows whose spans are orphans."""
    return f"{os.getpid()}:{psutil.Process().create_time():.3f}"


def is_alive(owned_by: str) -> bool:
    """Whether the process that an `owner()` string names still runs."""
    pid, _, created = owned_by.partition(":")
    try:
        return f"{psutil.Process(int(pid)).create_time():.3f}" == created
    except (psutil.Error, ValueError):
        return False


class Recorder:
    """Records offers and outcomes, and chooses arms. All store access runs on one thread."""

    def __init__(self, paths: Paths, bandit: str, *, say: Callable[[str], None]) -> None:
        self._paths = paths
        self._bandit_name = bandit
        self._say = say
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._store: Store | None = None
        self._record: bool | None = None
        self._rng = SystemRandom()
        self._paused_until = 0.0
        self._held: list[Settlement] = []
        self.owner = owner()
        self.problem: str | None = None

    async def start(self, record: bool | None, client: str) -> None:
        """Take the client's word about consent: True is a yes, False a no for this session, None is silence."""
        self._record = record
        if record:
            await self._try(self._consent, client)

    def deny(self) -> None:
        """A workspace or the client said no: nothing more is recorded in this session."""
        self._record = False

    def _consent(self, client: str) -> None:
        store = self._open(create=True)
        if store is not None and store.consent("*") is None:
            store.set_consent(True, source=f"initializationOptions.record of {client}")

    async def recording(self, workspace: str) -> int | None:
        """The consent that covers `workspace`, or None: then nothing may be written."""
        if self._record is False:
            return None
        return await self._try(self._consent_id, workspace)

    def _consent_id(self, workspace: str) -> int | None:
        store = self._open(create=False)
        return store.consent(workspace) if store else None

    async def choose(self, context: Context, fingerprint: str, loaded: frozenset[str]) -> Decision:
        """Choose an arm among those that the host has loaded. Writes nothing; the base if the store cannot say."""
        chosen = await self._try(self._choose, context, fingerprint, loaded)
        return chosen or self._decision(context, Arm(BASE_ARM), 1.0)

    def _choose(self, context: Context, fingerprint: str, loaded: frozenset[str]) -> Decision:
        store = self._open(create=False)
        arms = registry.arms(store, fingerprint) if store else [Arm(BASE_ARM)]
        arms = [arm for arm in arms if arm.version is None or arm.version in loaded]
        state = store.bandit_state() if store else {}
        plugin = bandits.load(self._bandit_name)
        choice = bandits.choose(plugin, context, arms, state, self._rng)
        return self._decision(context, choice.arm, choice.propensity)

    def _decision(self, context: Context, arm: Arm, propensity: float) -> Decision:
        at = now()
        return Decision(
            new_id(), context.task, arm.name, arm.version, propensity, self._bandit_name, context.document, at, at
        )

    async def offered(self, decision: Decision | None, offer: Offer) -> bool:
        """Record an offer (and its decision, unless it joins one that is recorded). False: not recorded."""
        consent = await self.recording(offer.workspace)
        if consent is None or privacy.excluded(offer.document):
            return False
        texts = [*(m.content for m in offer.prompt.messages), offer.prompt.prefill, offer.generated]
        if any(privacy.secret_in(text) for text in texts):
            return False
        return bool(await self._try(self._offered, decision, offer, consent))

    def _offered(self, decision: Decision | None, offer: Offer, consent: int) -> bool:
        store = self._open(create=True)
        if store is None:
            return False
        with store.transaction():
            if decision is not None:
                store.add_decision(decision)
            store.add_offer(offer, consent_id=consent)
        return True

    async def settled(self, settlement: Settlement) -> None:
        """Record what became of an offer. A text that looks like a secret is never kept: the row is censored.

        While the store cannot be written the settlement is held and tried again.
        """
        texts = [settlement.kept or "", settlement.typed or "", settlement.offered or ""]
        if any(privacy.secret_in(text) for text in texts):
            settlement = Settlement(settlement.offer_id, Outcome.CENSORED, SettledBy.GATE, settlement.settled_at)
        self._held.append(settlement)
        await self.flush()

    async def flush(self) -> None:
        """Write the settlements that are held."""
        while self._held:
            settlement = self._held[0]
            done = await self._try(self._settle, settlement)
            if done is None and self.problem is not None:
                return  # kept for later
            if self._held and self._held[0] is settlement:
                self._held.pop(0)

    async def retry(self) -> None:
        """Try again to write what is held, once the pause after a failure is over."""
        if self._held and time.monotonic() >= self._paused_until:
            await self.flush()

    def _settle(self, settlement: Settlement) -> bool:
        store = self._open(create=False)
        return store.settle(settlement) if store else False

    async def shown(self, offer_id: str) -> None:
        """Note that the client showed an offer now."""
        await self._try(lambda: self._with(lambda s: s.mark_shown(offer_id, now())))

    async def close_decision(self, decision_id: str) -> None:
        """End a window of ghost-text requests."""
        await self._try(lambda: self._with(lambda s: s.close_decision(decision_id)))

    async def save_span(self, offer_id: str, document: str, state: str) -> None:
        """Keep where an open offer stands, for a restart."""
        await self._try(lambda: self._with(lambda s: s.save_span(offer_id, document, self.owner, state)))

    async def orphans(self, document: str) -> list[tuple[str, str]]:
        """(offer id, state) of open spans in `document` whose server is gone."""
        found = await self._try(lambda: self._with(lambda s: s.open_spans(document)))
        return [(offer_id, state) for offer_id, _, owned_by, state in found or [] if not is_alive(owned_by)]

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

    def _with(self, act: Callable[[Store], T]) -> T | None:
        store = self._open(create=False)
        return act(store) if store is not None else None

    def _open(self, *, create: bool) -> Store | None:
        if self._store is None and (create or self._paths.database.exists()):
            self._store = Store.open(self._paths.database)
        return self._store

    async def _try(self, act: Callable[..., T], *args: object) -> T | None:
        """Run on the store's thread; a failure pauses recording, is said once, and answers None."""
        if time.monotonic() < self._paused_until:
            return None
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._thread, lambda: act(*args))
        except RedraftError as error:
            self._failed(str(error), brief=isinstance(error, StoreLockedError))
            return None
        except Exception as error:
            logger.exception("the store failed")
            self._failed(f"the store failed: {type(error).__name__}: {error}", brief=False)
            return None
        if self.problem is not None:
            self.problem = None
            self._say("Redraft records again.")
        return result

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
        await self._try(self._close)
        self._thread.shutdown(wait=True)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
