"""The client against vLLM's documented wire format: adapters by name, over a real socket (`vllm_stub.py`)."""

from pathlib import Path

import pytest
from rogue_server import CHAT as ROGUE_CHAT
from rogue_server import event, models, rogue, stream
from vllm_stub import BASE, LOAD, VLLM, vllm

from learner.client import Endpoint, HostClient
from learner.exceptions import HostProtocolError, HostUnavailableError, UnknownArmError
from learner.records import Message, Prompt

QUESTION = Prompt((Message("user", "Salve"),))
OURS = {"redraft-sft-3-9f86d081": "sft-3", "redraft-dpo-1-00000000": "dpo-1"}
NAME = "redraft-sft-3-9f86d081"


def client(server: VLLM, **more: str) -> HostClient:
    return HostClient(Endpoint(server.url, key=server.key, **more), ours=OURS)  # type: ignore[arg-type]


async def test_what_is_ours_is_known_by_its_version_id_and_what_is_others_is_left_alone() -> None:
    names = {NAME: "/a", "redraft-sft-3-deadbeef": "/b", "somebodys-lora": "/c"}
    async with vllm(adapters=names) as server, client(server) as it:
        info = await it.connect()
        assert (info.engine, info.model) == ("vllm", BASE)
        assert dict(info.adapters) == {"sft-3": NAME, "somebodys-lora": "somebodys-lora"}
        assert [path for path, _ in server.asked] == ["/v1/models"], "nothing of llama.cpp's is asked for"


async def test_an_arm_is_the_model_and_is_told_by_its_version_id() -> None:
    async with vllm(adapters={NAME: "/a"}) as server, client(server) as it:
        base = await it.generate(QUESTION, adapter=None, max_tokens=20)
        adapted = await it.generate(QUESTION, adapter="sft-3", max_tokens=20)
        assert [body["model"] for body in server.bodies()] == [BASE, NAME]
    assert (base.text, base.adapter) == (f"{BASE} says: Salve.", None)
    assert (adapted.text, adapted.adapter, adapted.engine) == (f"{NAME} says: Salve.", "sft-3", "vllm")
    assert (adapted.finish_reason, adapted.prompt_tokens, adapted.completion_tokens) == ("stop", 1, 3)


async def test_everything_that_changes_an_answer_is_said() -> None:
    """What a request leaves out, vLLM takes from the model's generation_config.json."""
    async with vllm() as server, client(server) as it:
        await it.generate(QUESTION, adapter=None, max_tokens=20)
        (body,) = server.bodies()
    assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"]) == (0.0, 1.0, -1, 0.0)
    assert (body["repetition_penalty"], body["presence_penalty"], body["frequency_penalty"]) == (1.0, 0.0, 0.0)


async def test_length_stop_prefill_seed_and_logprobs() -> None:
    pieces: list[str] = []
    async with vllm() as server, client(server) as it:
        short = await it.generate(QUESTION, adapter=None, max_tokens=2, on_text=pieces.append)
        stopped = await it.generate(QUESTION, adapter=None, max_tokens=20, stop=["Sal"])
        begun = await it.generate(Prompt(QUESTION.messages, prefill="He"), adapter=None, max_tokens=20, seed=3)
        scored = await it.generate(QUESTION, adapter=None, max_tokens=2, logprobs=1)
    assert (short.text, short.finish_reason, pieces) == (f"{BASE} says:", "length", [BASE, " says:"])
    assert (stopped.text, stopped.finish_reason) == (f"{BASE} says:", "stop")
    assert begun.text == f"{BASE} says: He."
    assert scored.logprobs == ((BASE, -0.5), (" says:", -1.5))


async def test_the_key() -> None:
    async with vllm(key="k-1") as server:
        async with client(server) as it:
            assert (await it.connect()).model == BASE
        async with HostClient(Endpoint(server.url, key="k-2")) as it:
            with pytest.raises(HostUnavailableError, match=r"refused the key.*host\.apiKey") as caught:
                await it.connect()
            assert "k-2" not in str(caught.value)


async def test_an_adapter_that_was_unloaded_meanwhile_is_an_unknown_arm() -> None:
    async with vllm(adapters={NAME: "/a"}) as server, client(server) as it:
        await it.connect()
        del server.adapters[NAME]
        with pytest.raises(UnknownArmError, match=r"no longer has sft-3.*does not exist"):
            await it.generate(QUESTION, adapter="sft-3", max_tokens=20)
        with pytest.raises(UnknownArmError, match="it has: none"):
            await it.generate(QUESTION, adapter="sft-3", max_tokens=20)
        assert len(server.bodies()) == 1, "the second time nothing was asked"


async def test_a_base_of_another_name_is_asked_for_again() -> None:
    async with vllm() as server, client(server) as it:
        await it.connect()
        server.base = "renamed"
        with pytest.raises(HostUnavailableError, match="no longer serves 'base-model'"):
            await it.generate(QUESTION, adapter=None, max_tokens=20)
        assert (await it.generate(QUESTION, adapter=None, max_tokens=20)).text == "renamed says: Salve."


async def test_a_prompt_beyond_the_context_is_refused_in_vllms_words() -> None:
    async with vllm(max_model_len=50) as server, client(server) as it:
        with pytest.raises(HostProtocolError, match=r"HTTP 400.*maximum context length is 50"):
            await it.generate(Prompt((Message("user", "word " * 60),)), adapter=None, max_tokens=20)


async def test_adapters_are_loaded_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 16}')
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    async with vllm(runtime_loading=True) as server, client(server) as it:
        await it.load_adapter(NAME, str(tmp_path))
        assert server.bodies(LOAD) == [{"lora_name": NAME, "lora_path": str(tmp_path)}]
        assert dict((await it.connect()).adapters) == {"sft-3": NAME}
        with pytest.raises(HostProtocolError, match="already been loaded"):
            await it.load_adapter(NAME, str(tmp_path))
        with pytest.raises(HostProtocolError, match="finds no adapter in /nowhere"):
            await it.load_adapter("redraft-dpo-1-00000000", "/nowhere")
        server.max_lora_rank = 8
        with pytest.raises(HostProtocolError, match="greater than max_lora_rank 8"):
            await it.load_adapter("redraft-dpo-1-00000000", str(tmp_path))


async def test_a_server_that_loads_nothing_while_it_runs_says_how_it_would() -> None:
    async with vllm() as server, client(server) as it:
        with pytest.raises(HostProtocolError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"):
            await it.load_adapter(NAME, "/a")


async def test_a_gateway_that_does_not_say_what_it_is_can_be_told() -> None:
    """By the settings: other models are no adapters, and the base is the one that is named."""
    entries = models({"id": "big"}, {"id": BASE}, {"id": NAME})
    answer = stream(event("Salve", "stop", model=NAME))
    async with rogue({"/v1/models": entries, ROGUE_CHAT: answer}) as server:
        endpoint = Endpoint(server.url, kind="vllm", model=BASE)
        async with HostClient(endpoint, ours=OURS) as it:
            info = await it.connect()
            assert (info.engine, info.model, dict(info.adapters)) == ("vllm", BASE, {"sft-3": NAME})
        async with HostClient(Endpoint(server.url), ours=OURS) as it:
            info = await it.connect()
            assert (info.engine, info.model, dict(info.adapters)) == ("openai", "big", {"sft-3": NAME})
            assert (await it.generate(QUESTION, adapter="sft-3", max_tokens=5)).adapter == "sft-3"
        async with HostClient(Endpoint(server.url, model="huge")) as it:
            with pytest.raises(HostProtocolError, match=r"no model 'huge' \(it has: big, base-model"):
                await it.connect()
        async with HostClient(Endpoint(server.url, kind="llama.cpp")) as it:
            with pytest.raises(HostProtocolError, match="no llama-server"):
                await it.connect()


async def test_a_gateway_that_answers_as_the_base_is_caught() -> None:
    answer = stream(event("Salve", "stop", model=BASE))
    entries = models({"id": BASE}, {"id": NAME})
    async with (
        rogue({"/v1/models": entries, ROGUE_CHAT: answer}) as server,
        HostClient(Endpoint(server.url), ours=OURS) as it,
    ):
        with pytest.raises(HostProtocolError, match="instead of 'redraft-sft-3-9f86d081'"):
            await it.generate(QUESTION, adapter="sft-3", max_tokens=5)
