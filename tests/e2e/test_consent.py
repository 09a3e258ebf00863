"""Nothing is recorded before consent, nor what the privacy gate withholds; a workspace can only take away."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from editor_client import editor, rows, wire
from polling import until_async
from pygls.exceptions import JsonRpcException
from scripted import scripted

from learner.store import Store

U = "file:///w/a.md"
NOTES = "The pump failed on Tuesday."


async def learner(home: Path, *arguments: str) -> str:
    """Run the command line, as a user would in a terminal."""
    import os

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "learner", *arguments,
        env={**os.environ, "REDRAFT_HOME": str(home)}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


def without(options: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k not in keys}


async def test_without_consent_everything_works_and_no_file_is_made(bare: Path) -> None:
    async with scripted() as script:
        for options in (without(script.options, "record"), {**script.options, "record": False}):
            async with editor(bare, options) as it:
                it.open(U, NOTES + "\n")
                made = await it.rewrite(U, NOTES)
                assert (made["applied"], made["recorded"]) == (True, False)
                it.append(U, "And then")
                item = await it.inline(U)
                it.change(U, item.range, item.insert_text)
                it.save(U)
                it.close(U)
                status = await it.command("redraft.status")
                assert status["recording"] is False
                assert "Edits are not recorded" in status["text"]
            assert list(bare.iterdir()) == []


async def test_consent_by_the_command_line_and_its_withdrawal(bare: Path) -> None:
    async with scripted() as script, editor(bare, without(script.options, "record")) as it:
        it.open(U, NOTES + "\n")
        assert not (await it.rewrite(U, NOTES))["recorded"]
        await learner(bare, "consent", "yes")
        it.replace(U, script.text, NOTES)
        made = await it.rewrite(U, NOTES)
        assert made["recorded"], "a server that runs sees it at once"
        await it.settled()
        assert it.row(U).consent_version == 1
        await learner(bare, "consent", "no")
        it.replace(U, script.text, "Private words.")
        row = await it.finished(U)
        assert (row.outcome, row.settled_by, row.kept) == ("censored", "gate", None)
        assert b"Private words" not in b"".join(path.read_bytes() for path in bare.glob("edits.db*"))
        it.open(U, NOTES)
        assert not (await it.rewrite(U, NOTES))["recorded"]


async def test_a_setting_of_the_editor_does_not_take_back_a_no(bare: Path) -> None:
    with Store.open(bare / "edits.db") as store:
        store.set_consent(False, source="learner consent no")
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        assert not (await it.rewrite(U, NOTES))["recorded"]
        [words] = it.said
        assert "`learner consent no` was said" in words
        assert rows(bare) == []


async def test_the_clients_word_is_kept_with_its_source(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        await it.settled()
    with Store.open(bare / "edits.db", read_only=True) as store:
        said = store.read("SELECT granted, scope, source FROM consents")
    assert said == [(1, "*", "initializationOptions.record of tests")]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"record": "false"}, "$.record"),
        ({"record": True, "recrod": True}, "recrod"),
    ],
)
async def test_bad_options_are_refused_with_one_message(bare: Path, options: Any, names: str) -> None:
    async with editor(bare, options) as it:
        status = await it.command("redraft.status")
        [words] = it.said
        assert "initializationOptions" in words
        assert names in words
        assert "records nothing" in words
        assert status["recording"] is False
        assert (await it.command("redraft.why"))["why"].startswith("initializationOptions")
    assert list(bare.iterdir()) == []


async def test_a_bad_config_file_is_named(bare: Path) -> None:
    (bare / "config.toml").write_text("bandit = 5\n")
    async with editor(bare, {"record": True}) as it:
        await it.settled()
        [words] = it.said
        assert str(bare / "config.toml") in words
        assert "$.bandit" in words
    assert not (bare / "edits.db").exists()


async def test_a_workspace_can_only_restrict(bare: Path) -> None:
    evil = {"redraft": {"record": True, "host": {"url": "http://127.0.0.1:9"}, "rewrites": []}}
    async with scripted() as script, editor(bare, without(script.options, "record"), configuration=evil) as it:
        it.open(U, NOTES)
        made = await it.rewrite(U, NOTES)
        assert (made["text"], made["recorded"]) == (script.text, False)
    assert not (bare / "edits.db").exists()


async def test_a_workspace_switches_recording_and_ghost_text_off(bare: Path) -> None:
    strict = {"redraft": {"record": False, "inlineCompletion": {"enabled": False}}}
    async with scripted() as script, editor(bare, script.options, configuration=strict) as it:
        it.open(U, NOTES)
        assert await it.inline(U, asked=False) is None
        assert "inlineCompletion.enabled" in (await it.command("redraft.why", {"uri": U}))["why"]
        assert not (await it.rewrite(U, NOTES))["recorded"]
    assert not (bare / "edits.db").exists(), "not even the consent"


async def test_a_workspace_that_changes_its_mind(bare: Path) -> None:
    from lsprotocol import types

    async with scripted() as script, editor(bare, script.options, configuration={"redraft": {}}) as it:
        it.open(U, NOTES)
        assert (await it.rewrite(U, NOTES))["recorded"]
        for record, recorded in ((False, False), (True, True)):
            it.client.set_configuration({"redraft": {"record": record}})
            it.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings=None))
            await until_recording(it, recorded)
        assert it.row(U).outcome == "censored", "what stood when it was switched off is not judged"
        it.open("file:///w/b.md", NOTES)
        assert (await it.rewrite("file:///w/b.md", NOTES))["recorded"]


async def until_recording(it: Any, recorded: bool) -> None:
    async def says_so() -> bool:
        return (await it.command("redraft.status"))["recording"] is recorded

    await until_async(says_so, f"recording is {recorded}")


async def test_pause_and_resume(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, f"{NOTES}\nMore.\n")
        await it.rewrite(U, NOTES)
        assert await it.command("redraft.pause", {"minutes": 5}) == {"text": "Redraft is paused for 5 more minutes."}
        await it.settled()
        assert (it.row(U).outcome, it.row(U).settled_by) == ("censored", "command")
        with pytest.raises(JsonRpcException, match=r"paused for 5 more minutes: run redraft\.resume"):
            await it.rewrite(U, "More.")
        assert await it.inline(U) is None
        assert (await it.command("redraft.status"))["state"] == "paused"
        assert await it.command("redraft.pause") == {"text": "Redraft is paused."}
        assert await it.command("redraft.resume") == {"text": "Redraft is on."}
        assert (await it.rewrite(U, "More."))["recorded"]
        for minutes in (0, -1):
            with pytest.raises(JsonRpcException, match="above 0"):
                await it.command("redraft.pause", {"minutes": minutes})


async def test_forget(bare: Path) -> None:
    other = "file:///w/b.md"
    async with scripted() as script, editor(bare, script.options) as it:
        for uri in (U, other):
            it.open(uri, NOTES)
            await it.rewrite(uri, NOTES)
        with pytest.raises(JsonRpcException, match="one of uri, hours and everything"):
            await it.command("redraft.forget")
        with pytest.raises(JsonRpcException, match="hours should be"):
            await it.command("redraft.forget", {"hours": -1})
        answer = await it.command("redraft.forget", {"uri": U})
        assert "Forgot 1 offer" in answer["text"]
        assert [row.document for row in it.rows()] == [other]
        it.close(U)  # its offer is gone: nothing breaks
        await it.settled()
        assert it.said == []
        await it.command("redraft.forget", {"everything": True})
        assert it.rows() == []
        it.open(U, NOTES)
        assert (await it.rewrite(U, NOTES))["recorded"], "consent stays"


async def test_forgotten_by_the_command_line_while_an_offer_is_open(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        await it.rewrite(U, NOTES)
        await it.settled()
        forget_all(bare)
        it.close(U)
        it.open(U, NOTES)
        assert (await it.rewrite(U, NOTES))["recorded"], "recording goes on"
        assert it.said == []
        assert len(it.rows()) == 1


def forget_all(home: Path) -> None:
    from learner.forget import forget

    with Store.open(home / "edits.db") as store:
        forget(store, everything=True)


async def test_excluded_files_and_secrets(bare: Path, tmp_path: Path) -> None:
    secret = "token ghp_" + "a1B2" * 9
    ignored = tmp_path / "notes.md"
    (tmp_path / ".redraftignore").write_text("notes.md\n")
    async with scripted() as script, editor(bare, script.options) as it:
        it.open("file:///w/.env", "KEY=value\n", "dotenv")
        it.open(ignored.as_uri(), NOTES)
        it.open(U, f"{secret}\n\n{NOTES}\n")
        for uri, part, why in [
            ("file:///w/.env", "KEY=value", "is a file of a kind that holds secrets"),
            (ignored.as_uri(), NOTES, "is excluded by"),
            (U, secret, "the selection holds what looks like"),
        ]:
            with pytest.raises(JsonRpcException, match=why):
                await it.rewrite(uri, part)
        with pytest.raises(JsonRpcException, match="the instruction holds what looks like"):
            await it.rewrite(U, NOTES, secret)
        assert script.count == 0, "nothing was sent"
        body = {"uri": U, "range": wire(it.find(U, NOTES)), "instruction": "Make this shorter."}
        made = await it.command("redraft.rewrite", body)
        it.replace(U, made["text"], secret.replace("token", "password"))
        row = await it.finished(U)
        assert (row.outcome, row.settled_by, row.kept) == ("censored", "gate", None)
    written = b"".join(path.read_bytes() for path in bare.glob("edits.db*"))
    assert b"ghp_" not in written


async def test_a_secret_beside_ghost_text_is_blacked_out(bare: Path) -> None:
    secret = "ghp_" + "a1B2" * 9
    async with scripted() as script, editor(bare, script.options) as it:
        script.text = " is kept safe."
        it.open(U, f"token {secret}\nThe token")
        assert await it.inline(U) is not None
        await it.settled()
        [row] = it.rows()
        assert secret not in row.prompt
        assert script.host is not None
        assert secret.encode() not in b"".join(body for _, _, body in script.host.asked)
