"""A host that hangs, dies in mid-stream, answers rubbish, redirects or is no llama.cpp: what the client says."""

import asyncio

import pytest
from host_arms import QUESTION
from rogue_server import CHAT, Answer, event, models, reply, rogue, stream

from learner.client import Endpoint, HostClient, Limits
from learner.exceptions import (
    ConfigError,
    HostError,
    HostProtocolError,
    HostTimeoutError,
    HostUnavailableError,
    UnknownArmError,
)
from learner.records import Prompt

SHORT = Limits(connect=1.0, first_token=0.4, between_tokens=0.3)
KEY = "a-key-that-must-not-be-shown"
OPENAI = models({"id": "some-model", "owned_by": "somebody"})
LLAMA = {
    "/v1/models": models({"id": "fp", "owned_by": "llamacpp"}),
    "/lora-adapters": reply(
        [{"id": 0, "path": "/x/zero/adapter.gguf", "scale": 0}, {"id": 1, "path": "/x/sft-3.gguf"}]
    ),
}
VLLM = models(
    {"id": "base-model", "owned_by": "vllm", "parent": None},
    {"id": "sft-3", "owned_by": "vllm", "parent": "base-model"},
)


async def _drop(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _die_in_a_chunk(writer: asyncio.StreamWriter) -> None:
    piece = event("Salve")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n" % (len(piece) * 2) + piece)
    await writer.drain()


async def _no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


HOSTILE: dict[str, tuple[Answer, type[HostError], str]] = {
    "hangs before the answer": (_hang, HostTimeoutError, "in time"),
    "hangs after the headers": (stream(hang=True), HostTimeoutError, "in time"),
    "only pings": (stream(forever=b": ping\n\n", pause=0.05), HostTimeoutError, "in time"),
    "sends empty events": (stream(forever=event(""), pause=0.05), HostTimeoutError, "in time"),
    "hangs in mid-answer": (stream(event("Salve"), hang=True), HostTimeoutError, "in time"),
    "drops the connection": (_drop, HostUnavailableError, "reached|closed"),
    "closes without an answer": (stream(), HostUnavailableError, "mid-answer"),
    "closes in mid-answer": (stream(event("Salve")), HostUnavailableError, "mid-answer"),
    "says done without a finish": (stream(event("Salve"), b"data: [DONE]\n\n"), HostUnavailableError, "mid-answer"),
    "dies in mid-chunk": (_die_in_a_chunk, HostUnavailableError, "mid-answer"),
    "no JSON": (stream(b"data: hello\n\n"), HostProtocolError, "no answer"),
    "no UTF-8": (stream(b'data: {"choices": "\xff\xfe"}\n\n'), HostProtocolError, "no answer"),
    "wrong shape": (stream(b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'), HostProtocolError, "no answer"),
    "HTML": (reply(b"<html>hello</html>", kind="text/html"), HostProtocolError, "stream of events"),
    "JSON in place of events": (reply({"choices": []}), HostProtocolError, "stream of events"),
    "no HTTP": (_no_http, HostProtocolError, "HTTP"),
    "an endless line": (stream(b"data: ", forever=b"x" * 65536), HostProtocolError, "limit"),
    "an endless answer": (stream(forever=event("x" * 500_000)), HostProtocolError, "MiB"),
    "an error event": (
        stream(b'data: {"error": {"message": "out of memory"}}\n\n'),
        HostProtocolError,
        "out of memory",
    ),
    "a deep event": (stream(b'data: {"error": ' + b"[" * 200_000 + b"\n\n"), HostProtocolError, "no answer"),
    "a deep error": (reply(b"[" * 50_000, "500 Oops"), HostProtocolError, "500"),
    "HTTP 500": (reply({"error": {"message": f"bad {KEY}"}}, "500 Oops"), HostProtocolError, r"500.*bad \*\*\*"),
    "HTTP 503": (reply({"error": {"message": "Loading model"}}, "503 Busy"), HostUnavailableError, "Loading model"),
    "HTTP 401": (reply(f"no {KEY}".encode(), "401 No"), HostUnavailableError, "apiKey"),
    "HTTP 404": (reply(b"", "404 No"), HostProtocolError, "does not exist"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_answer_is_an_error_in_words(case: str) -> None:
    answer, kind, words = HOSTILE[case]
    async with (
        rogue({"/v1/models": OPENAI, CHAT: answer}) as host,
        HostClient(Endpoint(host.url, key=KEY), SHORT) as client,
        asyncio.timeout(10),
    ):
        with pytest.raises(kind, match=words) as caught:
            await client.generate(QUESTION, adapter=None, max_tokens=20)
    assert host.url in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply(b"<html>"), HostProtocolError),
        (reply({"data": "x"}), HostProtocolError),
        (models(), HostProtocolError),
        (reply(b"[" * 100_000), HostProtocolError),
        (reply(b" " * (17 << 20)), HostProtocolError),
        (_hang, HostTimeoutError),
        (_drop, HostUnavailableError),
    ],
    ids=["html", "shape", "no-model", "deep", "huge", "hang", "drop"],
)
async def test_what_is_no_host_is_told_on_connect(answer: Answer, kind: type[HostError]) -> None:
    async with rogue({"/v1/models": answer}) as host, HostClient(Endpoint(host.url), SHORT) as client:
        with pytest.raises(kind, match=host.url):
            await client.connect()


async def test_a_redirect_is_not_followed_and_the_key_stays_here() -> None:
    async with rogue({"/v1/models": OPENAI, CHAT: stream(event("stolen", "stop"))}) as other:
        moved = reply(b"", "307 Moved", Location=other.url + CHAT)
        async with (
            rogue({"/v1/models": OPENAI, CHAT: moved}) as host,
            HostClient(Endpoint(host.url, key=KEY), SHORT) as client,
        ):
            with pytest.raises(HostProtocolError, match="redirects"):
                await client.generate(QUESTION, adapter=None, max_tokens=2)
        assert other.asked == []
        assert host.asked[-1][1]["authorization"] == f"Bearer {KEY}"


async def test_nobody_listens() -> None:
    async with rogue({}) as host:
        pass
    async with HostClient(Endpoint(host.url), SHORT) as client:
        with pytest.raises(HostUnavailableError, match="is it running"):
            await client.connect()


async def test_text_that_came_before_the_end_was_passed_on() -> None:
    pieces: list[str] = []
    async with (
        rogue({"/v1/models": OPENAI, CHAT: stream(event("Sal"), event("ve"))}) as host,
        HostClient(Endpoint(host.url), SHORT) as client,
    ):
        with pytest.raises(HostUnavailableError):
            await client.generate(QUESTION, adapter=None, max_tokens=20, on_text=pieces.append)
    assert pieces == ["Sal", "ve"]


async def test_vllm_names_an_adapter_by_the_model() -> None:
    answer = stream(event("Salve", model="sft-3"), event("", "stop", model="sft-3"))
    async with rogue({"/v1/models": VLLM, CHAT: answer}) as host, HostClient(Endpoint(host.url), SHORT) as client:
        info = await client.connect()
        assert (info.engine, info.model, dict(info.adapters)) == ("vllm", "base-model", {"sft-3": "sft-3"})
        prompt = Prompt(QUESTION.messages, prefill="He said: ")
        answered = await client.generate(prompt, adapter="sft-3", max_tokens=4)
        assert (answered.text, answered.adapter, answered.engine) == ("Salve", "sft-3", "vllm")
        (body,) = host.bodies(CHAT)
        assert body["model"] == "sft-3"
        assert body["continue_final_message"] is True
        assert body["add_generation_prompt"] is False
        assert "lora" not in body
        with pytest.raises(UnknownArmError, match="dpo-1"):
            await client.generate(QUESTION, adapter="dpo-1", max_tokens=4)
        assert len(host.bodies(CHAT)) == 1


async def test_vllm_that_answers_as_another_model_is_caught() -> None:
    answer = stream(event("Salve", "stop", model="base-model"))
    async with rogue({"/v1/models": VLLM, CHAT: answer}) as host, HostClient(Endpoint(host.url), SHORT) as client:
        with pytest.raises(HostProtocolError, match="instead of 'sft-3'"):
            await client.generate(QUESTION, adapter="sft-3", max_tokens=4)


async def test_an_engine_without_adapters_has_only_the_base() -> None:
    async with (
        rogue({"/v1/models": OPENAI, CHAT: stream(event("Salve", "length"))}) as host,
        HostClient(Endpoint(host.url + "/v1/"), SHORT) as client,
    ):
        with pytest.raises(UnknownArmError, match="it has: none"):
            await client.generate(QUESTION, adapter="sft-3", max_tokens=4)
        answer = await client.generate(QUESTION, adapter=None, max_tokens=4)
        assert (answer.text, answer.finish_reason, answer.engine) == ("Salve", "length", "openai")
        assert {"lora", "verbose", "cache_prompt"}.isdisjoint(host.bodies(CHAT)[0])


async def test_every_request_to_llama_cpp_scales_every_adapter() -> None:
    async with (
        rogue({**LLAMA, CHAT: stream(event("Salve", "stop"))}) as host,
        HostClient(Endpoint(host.url), SHORT) as client,
    ):
        await client.generate(QUESTION, adapter="sft-3", max_tokens=4)
        await client.generate(QUESTION, adapter=None, max_tokens=4)
    adapted, base = host.bodies(CHAT)
    assert adapted["lora"] == [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    assert base["lora"] == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}]


async def test_an_echo_of_other_adapters_is_caught() -> None:
    echo = {"generation_settings": {"lora": [{"id": 0, "scale": 1.0}]}}
    answer = stream(event("Salve"), event("", "stop", __verbose=echo))
    async with rogue({**LLAMA, CHAT: answer}) as host, HostClient(Endpoint(host.url), SHORT) as client:
        with pytest.raises(HostProtocolError, match="did not use the adapters"):
            await client.generate(QUESTION, adapter="sft-3", max_tokens=4)


async def test_a_remote_host_restarted_with_other_adapters_is_noticed() -> None:
    answers = {**LLAMA, CHAT: stream(event("Salve", "stop"))}
    async with rogue(answers) as host, HostClient(Endpoint(host.url), SHORT) as client:
        await client.connect()
        answers["/lora-adapters"] = reply([{"id": 0, "path": "sft-3.gguf"}, {"id": 1, "path": "dpo-1.gguf"}])
        with pytest.raises(HostUnavailableError, match="other adapters"):
            await client.generate(QUESTION, adapter="sft-3", max_tokens=4)
        assert host.bodies(CHAT) == []
        await client.generate(QUESTION, adapter="sft-3", max_tokens=4)
        assert host.bodies(CHAT)[0]["lora"] == [{"id": 0, "scale": 1.0}, {"id": 1, "scale": 0.0}]


async def test_an_adapter_that_the_template_never_activates_is_refused() -> None:
    entry = {"id": 0, "path": "sft-3.gguf", "alora_invocation_string": "<assistant>", "alora_invocation_tokens": [5]}
    answers = {**LLAMA, "/lora-adapters": reply([entry]), "/apply-template": reply({"prompt": "<user>x<model>"})}
    async with rogue(answers) as host, HostClient(Endpoint(host.url), SHORT) as client:
        with pytest.raises(HostProtocolError, match="never activates sft-3"):
            await client.connect()


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (Endpoint("http://example.org", key=KEY), "https"),
        (Endpoint("ftp://example.org"), "no http"),
        (Endpoint("http:///x"), "no http"),
        (Endpoint("https://user:secret@example.org"), "apiKey"),
        (Endpoint(), "either"),
    ],
)
def test_an_address_that_would_give_the_key_away_is_refused(endpoint: Endpoint, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        HostClient(endpoint)
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)
