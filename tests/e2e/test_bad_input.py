"""What bad input gets: a message that says what, where and what to do; and the next good request works."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from editor_client import Editor, editor, wire
from lsprotocol import types
from polling import until_async
from pygls.exceptions import JsonRpcException
from scripted import scripted

from learner.store import Store

U = "file:///w/a.md"
NOTES = "The pump failed on Tuesday."


def span(a: int, b: int, c: int, d: int) -> dict[str, Any]:
    return {"start": {"line": a, "character": b}, "end": {"line": c, "character": d}}


async def works(it: Editor) -> None:
    """The next good request works."""
    uri = "file:///w/good.md"
    if uri in it.texts:
        it.close(uri)
    it.open(uri, NOTES)
    assert (await it.rewrite(uri, NOTES))["applied"]
    assert it.texts[uri] == "Well said."


async def test_arguments(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, f"{NOTES}\n")
        good = {"uri": U, "range": span(0, 0, 0, 5), "instruction": "x"}
        for name, body, words in [
            ("redraft.rewrite", None, "missing required field `uri`"),
            ("redraft.rewrite", {**good, "range": {"start": 5}}, r"\$\.range"),
            ("redraft.rewrite", {**good, "range": span(-1, 0, 0, 5)}, "holds a number that is no position"),
            ("redraft.rewrite", {**good, "range": span(0, 0, 2**40, 5)}, "holds a number that is no position"),
            ("redraft.rewrite", {**good, "range": span(7, 0, 9, 5)}, r"position 7:0 lies past the last line, 1"),
            ("redraft.rewrite", {**good, "range": span(0, 5, 0, 0)}, "before it begins"),
            ("redraft.rewrite", {**good, "range": span(0, 3, 0, 3)}, "nothing is selected"),
            ("redraft.rewrite", {**good, "instruction": "  "}, "the instruction is empty"),
            ("redraft.rewrite", {**good, "temperature": 1}, "unknown field `temperature`"),
            ("redraft.rewrite", {**good, "uri": "file:///w/none.md"}, r"is not open here: open it first"),
            ("redraft.rewrite", {**good, "uri": "not a uri"}, r"is not open here"),
            ("redraft.draft", {"uri": U, "range": span(0, 0, 0, 5), "kind": "poem"}, "there are: summary, email"),
            ("redraft.accept", {}, "offerId"),
            ("redraft.reject", {"offerId": "nobody"}, "no offer nobody is open"),
            ("redraft.unheard", {}, "there is no command 'redraft.unheard'"),
        ]:
            with pytest.raises(JsonRpcException, match=words):
                await it.command(name, body)
        assert script.count == 0
        assert it.edits == []
        await works(it)


async def test_a_request_before_the_document_is_opened(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.texts[U] = NOTES
        with pytest.raises(JsonRpcException, match=r"file:///w/a\.md is not open here: open it first"):
            await it.inline(U)
        assert (await it.command("redraft.why", {"uri": U}))["why"] == "the document is not open here"
        it.versions[U] = 1
        it.append(U, "!")  # a change of a document that nobody opened
        del it.texts[U], it.versions[U]
        it.open(U, NOTES)
        assert await it.inline(U) is not None
        await works(it)


async def test_malformed_messages_get_an_answer(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        answers: dict[int | str, asyncio.Future[Any]] = {}

        where = {"textDocument": {"uri": U}}
        answers[9001] = it.ask(
            9001, "textDocument/inlineCompletion", {**where, "position": {"line": "x", "character": 0}}
        )
        answers[9002] = it.ask(
            9002, "textDocument/inlineCompletion", {**where, "position": {"line": -1, "character": 0}, "context": 5}
        )
        answers["9003"] = it.ask("9003", "textDocument/codeAction", {**where, "range": 7})
        answers[9004] = it.ask(9004, "workspace/executeCommand", {"arguments": [1]})
        answers[9005] = it.ask(9005, "no/such/method", {})
        answers[9006] = it.ask(9006, "textDocument/inlineCompletion", None)
        for identifier, answer in answers.items():
            with pytest.raises(JsonRpcException) as caught:
                await asyncio.wait_for(answer, 10)
            expected = -32601 if identifier == 9005 else -32602
            assert caught.value.code == expected, (identifier, caught.value)
        for body in (b"{", b"[]", b"5", b'"x"', b"\xff\xfe", b"{}", b'{"jsonrpc": "2.0"}', b"[" * 5000):
            it.raw(body)
        it.raw({"jsonrpc": "2.0", "id": "unheard", "result": 5})
        it.raw({"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"textDocument": 5}})
        await works(it)


async def test_an_impossible_change_costs_its_document_only(bare: Path) -> None:
    impossible: list[Any] = [
        [{"range": span(0, 0, 99, 0), "text": "x"}],
        [{"range": span(0, 5, 0, 1), "text": "x"}],
        [{"range": span(0, -5, 0, 1), "text": "x"}],
        [{"range": span(0, 0, 0, 1)}],
        [{"range": span(0, 0, 0, 1), "text": "fine"}, {"range": span(50, 0, 50, 1), "text": "x"}],
    ]
    async with scripted() as script, editor(bare, script.options) as it:
        for number, changes in enumerate(impossible):
            uri = f"file:///w/{number}.md"
            it.open(uri, f"{NOTES}\nMore.\n")
            await it.rewrite(uri, NOTES)
            change = {"textDocument": {"uri": uri, "version": 9}, "contentChanges": changes}
            it.raw({"jsonrpc": "2.0", "method": "textDocument/didChange", "params": change})
            await it.settled()
            assert (it.row(uri).outcome, it.row(uri).settled_by) == ("censored", "error")
            assert len(it.said) == number + 1
            assert it.said[-1].startswith(f"Redraft lost track of {uri} (")
            assert it.said[-1].endswith("close it and open it again.")
            with pytest.raises(JsonRpcException, match="close it and open it again"):
                await it.rewrite(uri, "More.")
            await works(it)
            it.close(uri)
            it.open(uri, NOTES)
            assert (await it.rewrite(uri, NOTES))["recorded"]


async def test_no_model_set_up(bare: Path) -> None:
    async with editor(bare, {"record": True}) as it:
        it.open(U, NOTES)
        for _ in range(2):
            with pytest.raises(JsonRpcException, match="run `learner setup`"):
                await it.rewrite(U, NOTES)
        assert await it.inline(U, asked=False) is None
        assert "learner setup" in (await it.command("redraft.why", {"uri": U}))["why"]
        status = await it.command("redraft.status")
        assert status["state"] == "error"
        assert "learner setup" in status["text"]
        assert it.rows() == []
        assert not list(bare.glob("run/host*")), "no process was started for nothing"


async def test_a_host_that_answers_badly(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        for how, words, times in [
            ("die", "closed the connection in mid-answer", 1),  # text that arrived is not asked for twice
            ("rubbish", "sent an event that is no answer", 2),
            ("refuse", "refused the request", 2),
        ]:
            script.how, before = how, script.count
            with pytest.raises(JsonRpcException, match=words) as caught:
                await it.rewrite(U, NOTES)
            assert script.host is not None
            assert script.host.url in str(caught.value), "it says where"
            assert script.count - before == times
            assert await it.inline(U, asked=False) is None, "requests that nobody made wait for a while"
            assert "trying again in" in (await it.command("redraft.why", {"uri": U}))["why"]
            assert (await it.command("redraft.status"))["state"] == "error"
            assert it.rows(U) == []
            assert it.texts[U] == NOTES
            script.how = "well"
            await works(it)
            assert (await it.command("redraft.status"))["state"] == "ready"


async def test_a_host_that_hangs_holds_up_nothing_else(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "hang"
        it.open(U, NOTES)
        hanging = asyncio.ensure_future(it.rewrite(U, NOTES))
        await asyncio.wait_for(script.asked.wait(), 20)
        it.append(U, " It was the seal.")
        assert (await asyncio.wait_for(it.command("redraft.status"), 5))["state"] == "ready"
        script.how = "well"
        await works(it)
        script.go.set()
        assert (await hanging)["applied"]


async def test_nobody_listens_at_the_hosts_address(bare: Path) -> None:
    async with editor(bare, {"record": True, "host": {"url": "http://127.0.0.1:9"}}) as it:
        it.open(U, NOTES)
        with pytest.raises(JsonRpcException, match=r"127\.0\.0\.1:9 cannot be reached .*is it running"):
            await it.rewrite(U, NOTES)


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [("refuse", "rejected", "the user said no"), ("raise", "censored", "it answered with an error")],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_refused_edit(bare: Path, answer: str, outcome: str, reason: str) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        it.client.protocol._server._pytest_item = None
        it.answer = answer
        made = await it.rewrite(U, NOTES)
        assert made["applied"] is False
        assert made["reason"] == f"the editor did not put the text in: {reason}"
        await it.settled()
        row = it.row(U)
        assert (row.outcome, row.settled_by, row.kept) == (outcome, "command", None)
        assert (await it.command("redraft.why", {"uri": U}))["why"] == made["reason"]
        it.answer = "change first"
        await works(it)


@pytest.mark.parametrize("changes", [False, True])
async def test_the_order_of_answer_and_change_does_not_matter(bare: Path, changes: bool) -> None:
    async with scripted() as script, editor(bare, script.options, changes=changes) as it:
        for uri, answer in ((U, "change first"), ("file:///w/b.md", "answer first")):
            it.open(uri, f"{NOTES}\n")
            it.answer = answer
            assert (await it.draft(uri, NOTES))["applied"]
            assert (it.edits[-1].edit.document_changes is not None) is changes
            await until_async(lambda uri=uri: "Well said." in it.texts[uri], "the change")
            it.replace(uri, "Well", "Better")
            it.close(uri)
            await it.settled()
            assert (it.row(uri).outcome, it.row(uri).kept) == ("edited", "Better said.")


async def test_an_edit_that_is_never_made_is_censored(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        it.answer = "change later"
        assert (await it.rewrite(U, NOTES))["applied"]
        it.close(U)
        await it.settled()
        assert (it.row(U).outcome, it.row(U).settled_by) == ("censored", "close")


async def test_a_locked_database(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        await it.rewrite(U, NOTES)
        await it.settled()
        lock = sqlite3.connect(bare / "edits.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        it.close(U)  # its outcome cannot be written now
        it.open(U, NOTES)
        made = await it.rewrite(U, NOTES)
        assert (made["applied"], made["recorded"]) == (True, False), "editing goes on"
        [words] = it.said
        assert words.startswith("Redraft does not record for now:")
        assert "was locked by another process" in words
        lock.execute("ROLLBACK")
        lock.close()
        await until_async(lambda: it.row(U).outcome == "accepted", "the outcome that was held")
        await it.settled()
        await until_async(lambda: it.said[1:] == ["Redraft records again."], "the good news")
        await works(it)
        assert len(it.rows()) == 2


async def test_a_newer_database(bare: Path) -> None:
    with Store.open(bare / "edits.db") as store:
        store.set_consent(True, source="test")
        store.db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('redraft', 'm999', '')"
        )
    before = (bare / "edits.db").read_bytes()
    async with scripted() as script, editor(bare, script.options) as it:
        await works(it)
        [words] = it.said
        assert "was written by a newer Redraft" in words
        assert "update this one" in words
        status = await it.command("redraft.status")
        assert "newer Redraft" in status["text"]
        assert status["recording"] is False
    assert (bare / "edits.db").read_bytes() == before


async def test_a_damaged_database(bare: Path) -> None:
    (bare / "edits.db").write_bytes(b"this is no database" * 100)
    async with scripted() as script, editor(bare, script.options) as it:
        await works(it)
        [words] = it.said
        assert "is damaged" in words
    assert (bare / "edits.db").read_bytes() == b"this is no database" * 100


async def test_a_bandit_that_is_not_installed(bare: Path) -> None:
    async with scripted() as script, editor(bare, {**script.options, "bandit": "roulette"}) as it:
        it.open(U, NOTES)
        assert (await it.rewrite(U, NOTES))["recorded"]
        [words] = it.said
        assert "no bandit 'roulette' is installed; there are: thompson, ucb" in words
        row = it.row(U)
        assert (row.arm, row.propensity, row.bandit) == ("base", 1.0, "none")


async def test_before_initialize_and_after_shutdown(bare: Path) -> None:
    it = Editor(bare, "utf-16")
    import os
    import sys

    environment = {**os.environ, "REDRAFT_HOME": str(bare)}
    await it.client.start_io(sys.executable, "-m", "lsp_server.cli", env=environment)
    it.client.capabilities = types.ClientCapabilities()
    with pytest.raises(JsonRpcException, match="initialize first") as early:
        await it.command("redraft.status")
    assert early.value.code == -32002
    await it.client.initialize_session(types.InitializeParams(capabilities=types.ClientCapabilities()))
    assert (await it.command("redraft.status"))["state"] == "ready"
    await it.client.shutdown_async(None)
    with pytest.raises(JsonRpcException, match="the server is shut down"):
        await it.command("redraft.status")
    it.client.exit(None)
    assert await asyncio.wait_for(it.process.wait(), 10) == 0
    await it.client.stop()


async def test_a_model_that_repeats_the_text(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        script.text = NOTES
        with pytest.raises(JsonRpcException, match="the model left the text as it is"):
            await it.rewrite(U, NOTES)
        script.text = "   \n"
        with pytest.raises(JsonRpcException, match="the model had nothing to offer"):
            await it.command("redraft.rewrite", {"uri": U, "range": wire(it.find(U, NOTES)), "instruction": "x"})
        assert it.rows() == []
        script.text = "Well said."
        await works(it)
