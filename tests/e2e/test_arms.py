"""Adapters: the arm that was chosen is recorded with its propensity, and what was really used is what is recorded."""

import shutil
from pathlib import Path

import pytest
from editor_client import Editor, editor, plain
from host_arms import write_adapter
from polling import until_async

from learner import registry
from learner.launch import read_host_file
from learner.models import BaseModel
from learner.records import AdapterForm, AdapterState, AdapterVersion, Run
from learner.store import Store

pytestmark = pytest.mark.model
NOTES = "Sales rose in May."
OPTIONS = {"record": True, "inlineCompletion": {"debounceMs": 0}}


def publish(home: Path, base: BaseModel, name: str, version: int, state: AdapterState) -> str:
    """Register an adapter that changes what the model writes, as a training would."""
    identifier = f"{name}-{version}"
    folder = home / "adapters" / identifier
    write_adapter(folder / "adapter.gguf", version, 0.3)
    with Store.open(home / "edits.db") as store:
        registry.start_run(store, Run(f"run-{identifier}", 1.0, None, "running", base.fingerprint, {}, {}))
        registry.register(
            store,
            AdapterVersion(
                identifier, name, version, name, base.fingerprint, AdapterForm.ALORA, state, str(folder), "0" * 64,
                1.0, f"run-{identifier}", 10,
            ),
            [],
        )  # fmt: skip
    return identifier


async def one(it: Editor, number: int) -> str:
    """A draft in a document of its own; the document."""
    uri = f"file:///w/{number}.md"
    it.open(uri, NOTES)
    made = await it.draft(uri, NOTES)
    row = it.row(uri)
    assert (row.offer_id, row.arm, row.offered) == (made["offerId"], made["arm"], made["text"])
    return uri


async def test_arms_are_chosen_and_recorded_and_a_promotion_is_seen_at_once(
    own: Path, prepared_base: BaseModel
) -> None:
    with Store.open(own / "edits.db") as store:
        store.set_consent(True, source="test")
    async with editor(own, {**OPTIONS, "bandit": "ucb"}) as it:
        first = it.row(await one(it, 0))
        assert (first.arm, first.adapter_version, first.propensity, first.bandit) == ("base", None, 1.0, "ucb")

        publish(own, prepared_base, "sft", 1, AdapterState.SERVING)
        await until_async(lambda: read_host_file_adapters(own) == ["sft-1"], "the host has it", 40)
        seen = [it.row(await one(it, number)) for number in range(1, 4)]
        status = await it.command("redraft.status")
        assert status["arms"] == ["base", "sft-1"]
        assert "as base, sft-1." in status["text"]
        assert {row.arm for row in seen} >= {"sft"}, "ucb tries what it does not know"
        for row in seen:
            assert row.propensity in (pytest.approx(0.98), pytest.approx(0.02))
            assert row.adapter_version == (None if row.arm == "base" else "sft-1")
        texts = {row.arm: row.offered for row in [first, *seen]}
        assert texts["sft"] != texts["base"], "the adapter really acted"

        await ghost_text_under_an_adapter_in_an_indented_line(it)

        # a new version: the next request has the new arm, and none fails
        publish(own, prepared_base, "sft", 2, AdapterState.SERVING)
        await until_async(lambda: read_host_file_adapters(own) == ["sft-2"], "the host has the new one", 40)
        rows = [it.row(await one(it, number)) for number in range(10, 13)]
        assert "sft-2" in {row.adapter_version for row in rows}
        assert "sft-1" not in {row.adapter_version for row in rows}

        # one that the store promises and the host cannot load is never recorded
        folder = own / "adapters" / "dpo-1"
        publish(own, prepared_base, "dpo", 1, AdapterState.SERVING)
        shutil.rmtree(folder)
        row = it.row(await one(it, 20))
        assert row.arm in ("base", "sft")
        assert it.said == []


async def ghost_text_under_an_adapter_in_an_indented_line(it: Editor) -> None:
    """An answer that begins with white space would switch an activated adapter off: it is asked for without."""
    used = set()
    for number in range(30, 36):
        uri = f"file:///w/{number}.py"
        it.open(uri, "def area(width, height):\n    area = width * height\n    print", "python")
        item = await it.inline(uri)
        if item is not None:
            assert await it.command("redraft.reject", plain(item.command.arguments[0])) == {"rejected": True}
            await it.settled()  # an offer is answered before it is recorded
            used.add(it.row(uri).arm)
        it.close(uri)
    assert "sft" in used


def read_host_file_adapters(home: Path) -> list[str]:
    from learner.config import Paths

    found = read_host_file(Paths(home, home / "config.toml", home / "run"))
    return [] if found is None else found.adapters
