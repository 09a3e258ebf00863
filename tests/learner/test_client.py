"""The client against a real engine: SmolLM2 with random adapters, through a Unix socket."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from host_arms import QUESTION, STORY, make_arms
from polling import until_async

from learner.armset import start_engine
from learner.client import Generation, HostClient
from learner.config import Config
from learner.engine import Engine
from learner.exceptions import HostError, HostProtocolError, UnknownArmError
from learner.records import Message, Prompt
from learner.serving import PrivateHost

TOKENS = 6


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("h")
    engine, left_out = start_engine(make_arms(folder), Config(slots=3, context=2048), folder / "host.sock")
    assert left_out == {}
    yield engine
    engine.stop()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[HostClient]:
    async with HostClient(engine.endpoint) as client:
        yield client


async def ask(client: HostClient, adapter: str | None, prompt: Prompt = QUESTION) -> Generation:
    return await client.generate(prompt, adapter=adapter, max_tokens=TOKENS, logprobs=1)


def values(generation: Generation) -> list[float]:
    return [value for _, value in generation.logprobs]


def token_ids(generation: Generation) -> list[int | str]:
    return [token for token, _ in generation.logprobs]


async def test_connect_reads_engine_model_and_adapters(client: HostClient) -> None:
    info = await client.connect()
    assert (info.engine, info.model) == ("llama.cpp", "fingerprint-of-smollm2")
    assert dict(info.adapters) == {"zero": 0, "a-1": 1, "b-1": 2, "plain-1": 3}


async def test_streams_and_counts(client: HostClient) -> None:
    pieces: list[str] = []
    answer = await client.generate(QUESTION, adapter=None, max_tokens=TOKENS, on_text=pieces.append, logprobs=1)
    assert len(pieces) > 3
    assert "".join(pieces) == answer.text
    assert (answer.finish_reason, answer.completion_tokens, len(answer.logprobs)) == ("length", TOKENS, TOKENS)
    assert answer.prompt_tokens > 30
    assert answer.adapter is None
    assert answer.engine == "llama.cpp"
    assert answer.latency_ms > 0


async def test_prefill_is_continued_and_not_repeated(client: HostClient) -> None:
    prompt = Prompt((Message("user", "Count from one to ten in words."),), prefill="one, two, three,")
    answer = await client.generate(prompt, adapter=None, max_tokens=4)
    assert answer.text.startswith(" four")


async def test_stop_sequence_ends_the_answer(client: HostClient) -> None:
    prompt = Prompt((Message("user", "Count from one to ten in words."),), prefill="one, two, three,")
    answer = await client.generate(prompt, adapter=None, max_tokens=40, stop=["six"])
    assert answer.finish_reason == "stop"
    assert "five" in answer.text
    assert "six" not in answer.text


async def test_a_seed_repeats_a_draw_and_another_does_not(client: HostClient) -> None:
    draws = [
        (await client.generate(STORY, adapter=None, max_tokens=12, temperature=1.0, seed=seed)).text
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


async def test_an_unknown_adapter_is_refused_and_nothing_is_asked(client: HostClient, engine: Engine) -> None:
    await client.connect()
    before = engine.activity()
    for name in ("c-1", "zero", "", "a-1 ", "0"):
        with pytest.raises(UnknownArmError, match="has no adapter"):
            await ask(client, name)
    assert before is not None
    assert engine.activity() == before


async def test_a_prefill_that_would_switch_the_adapter_off_is_refused(client: HostClient) -> None:
    """`\\n` of the invocation and the indentation melt into one token, and llama.cpp answers as the base."""
    indented = Prompt(QUESTION.messages, prefill="    return")
    with pytest.raises(UnknownArmError, match="white space"):
        await ask(client, "a-1", indented)
    assert (await ask(client, None, indented)).completion_tokens == TOKENS
    stripped = Prompt(QUESTION.messages, prefill="return")
    base, adapted = await ask(client, None, stripped), await ask(client, "a-1", stripped)
    assert adapted.adapter == "a-1"
    assert values(base) != values(adapted)


async def test_half_a_surrogate_pair_is_refused_in_words(client: HostClient) -> None:
    with pytest.raises(HostError, match="surrogate"):
        await ask(client, None, Prompt((Message("user", "a\ud800b"),)))


async def test_nul_and_astral_characters_are_answered(client: HostClient) -> None:
    assert (await ask(client, "a-1", Prompt((Message("user", "a\0b \U0001f600"),)))).completion_tokens > 0


async def test_a_prompt_beyond_the_context_is_refused_in_words(client: HostClient) -> None:
    with pytest.raises(HostProtocolError, match="context size"):
        await ask(client, None, Prompt((Message("user", "word " * 3000),)))


async def test_no_arm_is_ever_answered_from_anothers_cache(client: HostClient) -> None:
    """B then A equals A then A; A then base equals base: exact, for activated and plain adapters, in any order."""
    arms = (None, "a-1", "b-1", "plain-1")
    alone: dict[str | None, Generation] = {}
    for arm in arms:
        await ask(client, arm)
        alone[arm] = await ask(client, arm)
    assert len({answer.text for answer in alone.values()}) == len(arms), "the adapters change the greedy text"
    for before, arm in itertools.permutations(arms, 2):
        await ask(client, before)
        answer = await ask(client, arm)
        assert answer.adapter == arm
        assert answer.text == alone[arm].text, (before, arm)
        assert token_ids(answer) == token_ids(alone[arm])
        # Activated arms read the same few tokens whatever came before: exact. A plain adapter reads
        # the whole prompt anew or one token of it, which differ by rounding.
        tolerance = 0.02 if "plain-1" in (before, arm) else 0.0
        assert values(answer) == pytest.approx(values(alone[arm]), abs=tolerance), (before, arm)


async def test_no_arm_is_answered_from_a_prompt_that_another_arm_left_in_memory(tmp_path: Path) -> None:
    """With one slot, a second prompt pushes the first out; llama.cpp's RAM cache would bring it back for any arm."""
    arms = make_arms(tmp_path)
    other = Prompt((Message("system", "You know mountains. " * 4), Message("user", "Which is the tallest of Africa?")))
    with PrivateHost(arms, Config(slots=1, context=512)) as endpoint:
        async with HostClient(endpoint) as client:
            for before, arm in (("plain-1", None), ("plain-1", "a-1"), ("a-1", None)):
                await ask(client, arm, other)
                alone = await ask(client, arm)
                await ask(client, before)
                await ask(client, arm, other)
                after = await ask(client, arm)
                assert after.text == alone.text, (before, arm)
                assert values(after) == pytest.approx(values(alone), abs=0.02), (before, arm)


async def test_another_arm_on_the_same_prompt_reads_five_tokens(client: HostClient) -> None:
    await ask(client, None)
    for arm in ("a-1", None, "b-1", "a-1"):
        answer = await ask(client, arm)
        assert answer.prompt_tokens - answer.cached_tokens <= 5, arm


async def test_arms_asked_for_at_once_are_kept_apart(engine: Engine, client: HostClient) -> None:
    """From one client and from several, each answer is exactly its arm's. (With several slots, half are not.)"""
    arms = (None, "a-1", "b-1", "a-1")
    alone = {arm: await ask(client, arm) for arm in arms}
    assert engine.spec.slots == 1
    async with HostClient(engine.endpoint) as second:
        asked = [(arm, who) for who in (client, second) for arm in arms * 2]
        together = await asyncio.gather(*(ask(who, arm) for arm, who in asked))
    for (arm, _), answer in zip(asked, together, strict=True):
        assert answer.text == alone[arm].text
        assert values(answer) == values(alone[arm])


async def test_without_activated_adapters_several_slots_work_at_once(tmp_path: Path) -> None:
    arms = make_arms(tmp_path)
    plain = replace(arms, zero_adapter=None, adapters={"plain-1": arms.adapters["plain-1"]})
    engine, _ = start_engine(plain, Config(slots=3, context=1024), tmp_path / "host.sock")
    try:
        async with HostClient(engine.endpoint) as client:
            alone = {arm: await ask(client, arm) for arm in (None, "plain-1")}
            assert alone[None].text != alone["plain-1"].text
            begun = [asyncio.Event() for _ in range(3)]
            tasks = [
                asyncio.create_task(
                    client.generate(
                        STORY, adapter=None, max_tokens=60, temperature=1.5, on_text=lambda _, e=event: e.set()
                    )
                )
                for event in begun
            ]
            await asyncio.gather(*(event.wait() for event in begun))
            activity = engine.activity()
            assert activity is not None
            assert activity.busy >= 2
            assert all(answer.completion_tokens > 10 for answer in await asyncio.gather(*tasks))
            arms_twice = (None, "plain-1") * 2
            together = await asyncio.gather(*(ask(client, arm) for arm in arms_twice))
            for arm, answer in zip(arms_twice, together, strict=True):
                assert answer.logprobs[0][1] == pytest.approx(alone[arm].logprobs[0][1], abs=0.4)
    finally:
        engine.stop()


async def test_cancelling_stops_the_engine(client: HostClient, engine: Engine) -> None:
    begun = asyncio.Event()
    task = asyncio.create_task(
        client.generate(STORY, adapter=None, max_tokens=1500, temperature=1.5, on_text=lambda _: begun.set())
    )
    await begun.wait()
    before = engine.activity()
    assert before is not None
    assert before.busy == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_async(lambda: (now := engine.activity()) is not None and now.busy == 0, "the slot is free", 5)
    after = engine.activity()
    assert after is not None
    assert after.total - before.total < 500, "it did not write the story to its end"


async def test_the_socket_and_the_command_line_are_private(engine: Engine) -> None:
    import psutil

    socket = engine.endpoint.socket
    assert isinstance(socket, Path)
    assert socket.stat().st_mode & 0o077 == 0
    assert engine.endpoint.key
    children = psutil.Process().children()
    assert children
    assert not any(engine.endpoint.key in " ".join(child.cmdline()) for child in children)
    assert engine.endpoint.key not in repr(engine.endpoint)
