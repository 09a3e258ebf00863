"""What editor extensions build on: consent, settings, the state as it changes, what was learnt, training."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from editor_client import editor
from polling import until_async
from pygls.exceptions import JsonRpcException
from scripted import scripted

from learner.config import Paths
from learner.exchange import load
from learner.models import BaseModel
from learner.store import Store

U = "file:///w/a.md"
NOTES = "The pump failed on Tuesday."


async def test_consent_for_one_workspace(bare: Path) -> None:
    async with scripted() as script:
        options = {k: v for k, v in script.options.items() if k != "record"}
        async with editor(bare, options) as it:
            it.open(U, NOTES)
            status = await it.command("redraft.status")
            assert (status["consent"], status["recording"]) == ("unasked", False)
            assert (status["workspace"], status["database"]) == ("file:///w", str(bare / "edits.db"))
            assert list(bare.iterdir()) == []
            said = await it.command("redraft.consent", {"granted": True, "workspace": "file:///w"})
            assert said == {"recording": True, "text": f"Edits are recorded here, in {bare / 'edits.db'}."}
            assert (await it.command("redraft.status"))["consent"] == "granted"
            elsewhere = await it.command("redraft.status", {"workspace": "file:///other"})
            assert (elsewhere["consent"], elsewhere["recording"]) == ("unasked", False)
            assert (await it.rewrite(U, NOTES))["recorded"]
            said = await it.command("redraft.consent", {"granted": False, "workspace": "file:///w"})
            assert said == {"recording": False, "text": "Nothing is recorded here."}
            await it.settled()
            assert (it.row(U).outcome, it.row(U).settled_by) == ("censored", "gate")
            assert (await it.command("redraft.status"))["consent"] == "refused"


async def test_consent_for_all_and_a_no_for_one(bare: Path) -> None:
    async with scripted() as script:
        options = {k: v for k, v in script.options.items() if k != "record"}
        async with editor(bare, options) as it:
            it.open(U, NOTES)
            await it.command("redraft.consent", {"granted": True})
            assert (await it.command("redraft.status", {"workspace": "file:///other"}))["consent"] == "granted"
            await it.command("redraft.consent", {"granted": False, "workspace": "file:///w"})
            assert not (await it.rewrite(U, NOTES))["recorded"]


async def test_a_no_to_all_ends_what_was_granted_for_one(bare: Path) -> None:
    async with scripted() as script:
        options = {k: v for k, v in script.options.items() if k != "record"}
        async with editor(bare, options) as it:
            it.open(U, NOTES)
            await it.command("redraft.consent", {"granted": True, "workspace": "file:///w"})
            await it.command("redraft.consent", {"granted": False})
            assert (await it.command("redraft.status"))["consent"] == "refused"
            assert not (await it.rewrite(U, NOTES))["recorded"]
            await it.command("redraft.consent", {"granted": True, "workspace": "file:///w"})
            assert (await it.command("redraft.status"))["consent"] == "granted"
            assert (await it.command("redraft.status", {"workspace": "file:///other"}))["consent"] == "refused"


async def test_what_was_forgotten_is_not_said_again(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, "We wait for")
        assert await it.inline(U)
        await it.command("redraft.forget", {"uri": U})
        it.append(U, " it")
        await it.inline(U)
        it.replace(U, " it", "")
        asked = script.count
        assert await it.inline(U)
        assert script.count == asked + 1, "the model is asked anew"


async def test_a_repository_with_a_learner_of_its_own_runs_nothing(tmp_path: Path, bare: Path) -> None:
    import sys

    (tmp_path / "learner").mkdir()
    (tmp_path / "learner" / "__init__.py").touch()
    (tmp_path / "learner" / "__main__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        async with editor(bare, server=(sys.executable, "-P", "-m", "lsp_server.cli")) as it:
            with pytest.raises(JsonRpcException, match="nothing to learn from"):
                await it.command("redraft.train")
    finally:
        os.chdir(here)
    assert not (tmp_path / "ran").exists()


async def test_settings_that_say_no_are_not_overruled(bare: Path) -> None:
    async with scripted() as script, editor(bare, {**script.options, "record": False}) as it:
        with pytest.raises(JsonRpcException, match="`record` is false"):
            await it.command("redraft.consent", {"granted": True})
        assert (await it.command("redraft.status"))["consent"] == "refused"
    assert list(bare.iterdir()) == []


async def test_new_settings_are_used_at_once(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, "We wait for")
        assert await it.inline(U)
        await it.command("redraft.configure", {"inlineCompletion": {"disabledLanguages": ["markdown"]}})
        assert await it.inline(U) is None
        why = await it.command("redraft.why")
        assert why["why"] == "ghost text is off for markdown (inlineCompletion.disabledLanguages)"
        await it.command("redraft.configure", {"inlineCompletion": {"enabled": False, "debounceMs": 0}})
        assert await it.inline(U, asked=False) is None
        assert await it.inline(U, asked=True), "off leaves it to explicit requests"
        with pytest.raises(JsonRpcException, match=r"unknown field `host`"):
            await it.command("redraft.configure", {"host": {"url": "http://elsewhere"}})


async def test_what_a_workspace_took_away_stays_away(bare: Path) -> None:
    said = {"inlineCompletion": {"disabledLanguages": ["markdown"]}}
    async with scripted() as script, editor(bare, script.options, configuration={"redraft": said}) as it:
        it.open(U, "We wait for")
        assert await it.inline(U) is None
        await it.command("redraft.configure", {"inlineCompletion": {"disabledLanguages": [], "debounceMs": 0}})
        assert await it.inline(U) is None


async def test_the_state_is_told_as_it_changes(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options, status=True) as it:
        it.open(U, NOTES)
        await until_async(lambda: it.states == ["ready"], "the first state")
        await it.rewrite(U, NOTES)
        await until_async(lambda: it.states == ["ready", "thinking", "ready"], "thinking, then ready")
        await it.command("redraft.pause", {"minutes": 5})
        await it.command("redraft.resume")
        await until_async(lambda: it.states[3:] == ["paused", "ready"], "paused, then ready")
        script.how = "refuse"
        it.replace(U, script.text, NOTES)
        with pytest.raises(JsonRpcException):
            await it.rewrite(U, NOTES)
        await until_async(lambda: it.states[-1] == "error", "the host's trouble")


async def test_what_is_advertised(bare: Path) -> None:
    async with editor(bare) as it:
        assert it.capabilities is not None
        assert it.capabilities.inline_completion_provider is not None, "VS Code asks for ghost text only then"
        assert it.capabilities.completion_provider is not None
        assert it.capabilities.completion_provider.resolve_provider is False, "ALE takes an empty object for no"
        assert it.capabilities.execute_command_provider is not None
        assert "redraft.apply" in it.capabilities.execute_command_provider.commands


async def test_a_client_that_did_not_ask_is_not_told(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        await it.rewrite(U, NOTES)
        await it.command("redraft.pause")
        assert it.states == []


async def test_a_document_that_is_too_large_is_left_alone(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, "x" * 20_000_001)
        for _ in range(2):
            with pytest.raises(JsonRpcException, match=r"leaves file:///w/a\.md alone: it has 20,000,001 characters"):
                await it.inline(U, 5)
        assert it.said == []
        it.close(U)
        it.open(U, "We wait for")
        assert await it.inline(U)


# --- what was learnt, and training -----------------------------------------------------------------


@pytest.fixture
def learner_home(bare: Path, tiny_base: BaseModel, tiny_home: Paths, tmp_path: Path) -> Iterator[Path]:
    """A home with a tiny base and sixty edits of a user who writes Tuesday for Monday."""
    import json

    shutil.copytree(tiny_home.models, bare / "models", copy_function=os.link)
    edits = tmp_path / "edits.jsonl"
    lines = [
        {"prompt": f"Say when, {n}: " + "abcdefgh"[n % 8] * 9, "offered": "On Monday.", "kept": "On Tuesday."}
        for n in range(60)
    ]
    edits.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Store.open(bare / "edits.db") as store:
        store.set_consent(True, source="a test")
        load(store, edits)
    yield bare
    from learner.launch import stop_host

    stop_host(Paths(bare, bare / "config.toml", bare / "run"))


async def test_what_was_learnt(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        assert (await it.command("redraft.learnt"))["text"] == "Nothing was recorded yet."
        it.open(U, NOTES)
        await it.rewrite(U, NOTES)
        it.replace(U, "Well said.", "Well done.")
        await it.finished(U)
        found = await it.command("redraft.learnt")
    [arm], [week] = found["arms"], found["weeks"]
    assert (found["count"], found["outcomes"], arm["arm"], week["edits"]) == (1, {"edited": 1}, "base", 1)
    assert arm["cost_max"] == week["cost_max"] == week["arms"]["base"]
    assert found["text"] == f"1 offer so far. Of what the base wrote you changed {arm['cost_max']:.0%}."


@pytest.mark.model
async def test_train_now_with_progress(learner_home: Path) -> None:
    async with editor(learner_home, None, progress=True) as it:
        body = {"feedback": ["sft"]}
        it.client.progress_reports.setdefault("now", [])
        asking = asyncio.ensure_future(it.command("redraft.train", body, token="now"))
        shown = it.client.progress_reports
        await until_async(lambda: any(r.kind == "report" for r in shown["now"]), "it says how far it is", 150)
        with pytest.raises(JsonRpcException, match="under way already"):
            await it.command("redraft.train", body)
        report = await asking
        reports = [r for r in shown["now"] if r.kind == "report"]
    [adapter] = report["adapters"]
    assert (adapter["feedback"], adapter["error"]) == ("sft", None)
    assert adapter["state"] in ("serving", "trial", "retired")
    assert report["text"].startswith(f"Learnt from {report['edits']} edits. sft: ")
    assert (shown["now"][0].kind, shown["now"][0].title, shown["now"][-1].kind) == ("begin", "Training", "end")
    assert any(r.percentage for r in reports)


@pytest.mark.model
async def test_a_training_that_is_cancelled_leaves_nothing(learner_home: Path) -> None:
    from learner import registry

    async with editor(learner_home, None) as it:
        asked = it.ask("train", "workspace/executeCommand", {"command": "redraft.train", "arguments": []})

        def runs() -> list[str]:
            with Store.open(learner_home / "edits.db", read_only=True) as store:
                return [run.status for run in registry.runs(store)]

        await until_async(lambda: runs() == ["running"], "a run is recorded", 60)
        it.raw({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": "train"}})
        await until_async(lambda: runs() == ["interrupted"], "it stops", 60)
        with pytest.raises(JsonRpcException):
            await asked
    assert [p for p in (learner_home / "adapters").rglob("*") if p.is_file()] == []


async def test_training_that_cannot_begin_says_why(bare: Path) -> None:
    async with editor(bare) as it:
        with pytest.raises(JsonRpcException, match="there is nothing to learn from"):
            await it.command("redraft.train")
        with pytest.raises(JsonRpcException, match="no feedback type 'nope' is installed"):
            await it.command("redraft.train", {"feedback": ["nope"]})
