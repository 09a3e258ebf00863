"""A vLLM that lacks an adapter, loses it, or gets it later: what answers is what is recorded and learnt from."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from learner.bandit import Context, key
from learner.config import Config, HostConfig, Paths
from learner.exceptions import HostUnavailableError
from learner.records import (
    Decision,
    Edit,
    Offer,
    Outcome,
    SettledBy,
    Settlement,
    now,
)
from learner.store import Store
from lsp_server import offers
from lsp_server.host import Host
from lsp_server.offers import Place
from lsp_server.recorder import Recorder

sys.path.append(str(Path(__file__).parents[1] / "learner"))
from remote_home import FINGERPRINT, NAME, set_up
from vllm_stub import BASE, VLLM, vllm

ASK = offers.draft(Place("file:///w/a.md", "markdown", "w", 1, (0, 0, 0, 5)), "Notes", "summary")


class Desk:
    """The server's host and recorder, without an editor."""

    def __init__(self, paths: Paths, server: VLLM, look_again: float) -> None:
        self.said: list[str] = []
        self.home = paths.data
        config = Config(host=HostConfig(url=server.url, api_key=server.key))
        self.host = Host(paths, config, look_again=look_again)
        self.host.tell = self.said.append
        self.recorder = Recorder(paths, "ucb", say=self.said.append)

    async def draft(self) -> tuple[Decision, Offer]:
        """Ask, record, and accept."""
        made = await offers.make(ASK, self.host, self.recorder)
        assert made is not None
        decision, offer = made
        assert await self.recorder.offered(decision, offer)
        kept = Settlement(offer.id, Outcome.ACCEPTED, SettledBy.CLOSE, now(), kept=offer.offered)
        await self.recorder.settled(kept, offer.workspace)
        return decision, offer

    async def choose(self, loaded: frozenset[str]) -> Decision:
        return await self.recorder.choose(Context(ASK.task, "", ASK.place.uri), FINGERPRINT, loaded)

    def rows(self) -> list[Edit]:
        with Store.open(self.home / "edits.db", read_only=True) as store:
            return list(store.edits())

    def tally(self, arm: str, version: str | None) -> tuple[float, int]:
        """Settled and open decisions of an arm, as the bandit sees them."""
        with Store.open(self.home / "edits.db", read_only=True) as store:
            found = store.bandit_state().get(key("draft", arm, version))
        return (found.n, found.in_flight) if found else (0, 0)


@asynccontextmanager
async def desk(home: Path, server: VLLM, look_again: float = 0.0) -> AsyncIterator[Desk]:
    it = Desk(set_up(home), server, look_again)
    await it.recorder.start(True, "tests")
    yield it
    await it.recorder.stop()
    await it.host.disconnect()


async def test_what_the_host_lacks_is_answered_by_the_base_recorded_as_such_and_said_once(tmp_path: Path) -> None:
    async with vllm(key="k-1") as server, desk(tmp_path, server) as it:
        for _ in range(3):
            await it.draft()
        assert [body["model"] for body in server.bodies()] == [BASE] * 3
        assert {(r.arm, r.adapter_version, r.propensity, r.base_model, r.engine) for r in it.rows()} == {
            ("base", None, 1.0, FINGERPRINT, "vllm")
        }
        assert (it.tally("base", None), it.tally("sft", "sft-1")) == ((3, 0), (0, 0))
        assert it.host.lacking == ("sft-1",)
        (words,) = it.said
        assert words.startswith(f"The model host {server.url} does not have sft-1")
        assert "k-1" not in words


async def test_it_is_used_as_soon_as_the_host_has_it_and_told_of_again_once_it_is_lost(tmp_path: Path) -> None:
    async with vllm() as server, desk(tmp_path, server) as it:
        await it.draft()
        server.adapters[NAME] = "/somewhere"
        rows = [await it.draft() for _ in range(4)]
        assert it.host.lacking == ()
        assert {offer.adapter_version for _, offer in rows} >= {"sft-1"}, "ucb tries what it does not know"
        for decision, offer in rows:
            assert (offer.arm, offer.adapter_version) == (decision.arm, decision.adapter_version)
            assert offer.generated.startswith(NAME if offer.arm == "sft" else BASE)
            assert decision.propensity in (pytest.approx(0.98), pytest.approx(0.02))
        assert len(it.said) == 1
        server.adapters.clear()
        assert (await it.draft())[1].arm == "base"
        assert it.host.lacking == ("sft-1",)


async def test_one_that_is_lost_between_the_choice_and_the_answer_leaves_no_trace(tmp_path: Path) -> None:
    """The first draw is void: another is made among the rest, and only that is recorded."""
    async with vllm(adapters={NAME: "/somewhere"}) as server, desk(tmp_path, server, look_again=3600.0) as it:
        loaded = frozenset((await it.host.refresh()).adapters)
        chosen = await it.choose(loaded)
        while chosen.arm == "base":  # its floor: one time in fifty
            chosen = await it.choose(loaded)
        server.adapters.clear()
        made = await offers.make(ASK, it.host, it.recorder, held=chosen)
        assert made is not None
        decision, offer = made
        assert [body["model"] for body in server.bodies()] == [NAME, BASE], "the host was asked for it, and had lost it"
        assert (decision.arm, decision.propensity, offer.adapter_version) == ("base", 1.0, None)
        assert decision.id != chosen.id
        assert await it.recorder.offered(decision, offer)
        assert (it.tally("sft", "sft-1"), it.tally("base", None)) == ((0, 0), (0, 1))
        assert it.host.lacking == ("sft-1",)


async def test_an_adapter_of_another_user_with_the_same_id_is_not_taken_for_ours(tmp_path: Path) -> None:
    async with vllm(adapters={"redraft-sft-1-00000000": "/theirs"}) as server, desk(tmp_path, server) as it:
        assert (await it.draft())[1].arm == "base"
        assert it.host.lacking == ("sft-1",)


async def test_a_host_that_is_down_when_it_is_asked_again_is_an_error_and_comes_back(tmp_path: Path) -> None:
    async with vllm(adapters={NAME: "/somewhere"}, key="k-1") as server, desk(tmp_path, server) as it:
        await it.draft()
        server.key = "k-2"
        with pytest.raises(HostUnavailableError, match="refused the key"):
            await it.draft()
        assert it.host.info is None
        server.key = "k-1"
        await it.draft()
        assert len(it.rows()) == 2
