"""The server's side of the host: one connection for all, given up without cutting anybody off."""

import asyncio
import sys
from pathlib import Path

import pytest

from learner.client import Limits
from learner.config import Config, HostConfig, Paths
from learner.exceptions import HostError, HostTimeoutError, HostUnavailableError
from learner.records import Message, Prompt
from lsp_server.host import Host

sys.path.append(str(Path(__file__).parents[1] / "learner"))
from rogue_server import CHAT, EVENTS, event, models, reply, rogue, stream

PROMPT = Prompt((Message("user", "x"),))
MODELS = models({"id": "m"})


def host(home: Path, url: str, limits: Limits | None = None) -> Host:
    return Host(Paths(home, home / "config.toml", home / "run"), Config(host=HostConfig(url=url)), limits)


async def test_a_host_that_hangs_is_asked_once(tmp_path: Path) -> None:
    async with rogue({"/v1/models": MODELS, CHAT: stream(hang=True)}) as server:
        it = host(tmp_path, server.url, Limits(first_token=0.2))
        with pytest.raises(HostTimeoutError, match="did not answer in time"):
            await it.generate(PROMPT, adapter=None, max_tokens=5)
        assert len(server.bodies(CHAT)) == 1
        with pytest.raises(HostUnavailableError, match=r"did not answer in time.*\(trying again in 2 s\)"):
            await it.refresh(asked=False)
        assert (await it.refresh()).model == "m", "a person who asks does not wait"
        assert it.last_error is None
        await it.disconnect()


async def test_one_failure_leaves_who_reads_an_answer_alone(tmp_path: Path) -> None:
    go, begun = asyncio.Event(), asyncio.Event()
    count = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == 1:
            writer.write(EVENTS + event("Long "))
            await writer.drain()
            begun.set()
            await go.wait()
            writer.write(event("answer.", "stop") + b"data: [DONE]\n\n")
        else:
            await reply({"error": "no"}, "500 Oh")(writer)

    async with rogue({"/v1/models": MODELS, CHAT: answer}) as server:
        it = host(tmp_path, server.url)
        first = asyncio.create_task(it.generate(PROMPT, adapter=None, max_tokens=5))
        await begun.wait()
        with pytest.raises(HostError, match="refused the request"):
            await it.generate(PROMPT, adapter=None, max_tokens=5)
        assert count == 3, "tried twice"
        await it.disconnect()
        go.set()
        assert (await first).text == "Long answer."


async def test_one_attempt_to_connect_serves_all_who_wait(tmp_path: Path) -> None:
    go, reached = asyncio.Event(), asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        reached.set()
        await go.wait()
        await MODELS(writer)

    async with rogue({"/v1/models": slow}) as server:
        it = host(tmp_path, server.url)
        impatient = asyncio.create_task(it.refresh(asked=False))
        patient = asyncio.create_task(it.refresh())
        await asyncio.wait_for(reached.wait(), 20)
        impatient.cancel()
        go.set()
        assert (await patient).model == "m"
        assert impatient.cancelled()
        assert [path for path, _, _ in server.asked].count("/v1/models") == 1
        await it.disconnect()
