"""The real server by stdio against a vLLM by URL: told once what is missing there, and used once it is there."""

from pathlib import Path

from editor_client import editor
from remote_home import NAME, set_up
from vllm_stub import BASE, vllm

NOTES = "Sales rose in May."


async def test_a_vllm_by_url(bare: Path) -> None:
    set_up(bare)
    async with vllm(key="k-1") as server:
        host = {"url": server.url, "apiKey": "k-1"}
        async with editor(bare, {"record": True, "host": host, "bandit": "ucb"}) as it:
            for number in range(2):
                uri = f"file:///w/{number}.md"
                it.open(uri, NOTES)
                assert (await it.draft(uri, NOTES))["arm"] == "base"
                row = it.row(uri)
                assert (row.arm, row.adapter_version, row.propensity, row.engine) == ("base", None, 1.0, "vllm")
            status = await it.command("redraft.status")
            assert (status["lacking"], status["arms"], status["host"]) == (["sft-1"], ["base"], server.url)
            assert "It does not have sft-1" in status["text"]
            assert len([words for words in it.said if "does not have sft-1" in words]) == 1
            assert not any("k-1" in words for words in it.said)
        server.adapters[NAME] = "/somewhere"
        async with editor(bare, {"record": True, "host": host, "bandit": "ucb"}) as it:
            arms = set()
            for number in range(10, 14):
                uri = f"file:///w/{number}.md"
                it.open(uri, NOTES)
                arms.add((await it.draft(uri, NOTES))["arm"])
                row = it.row(uri)
                assert row.offered.startswith(NAME if row.arm == "sft" else BASE), "what is recorded is what answered"
            assert "sft" in arms, "ucb tries what it does not know"
            assert (await it.command("redraft.status"))["lacking"] == []
