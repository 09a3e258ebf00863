"""Cancelled while the model works: answered at once, the host stops, nothing is recorded or put in."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from editor_client import Editor, editor, plain, wire
from lsprotocol import types
from polling import until_async
from pygls.exceptions import JsonRpcException
from scripted import scripted

U = "file:///w/a.md"
NOTES = "The pump failed on Tuesday."


def begin(it: Editor, token: str | None = None) -> tuple[str, "asyncio.Future[Any]"]:
    """Send a rewrite without waiting for its answer."""
    it.client.progress_reports.setdefault(token, []) if token else None
    body = {"uri": U, "range": wire(it.find(U, NOTES)), "instruction": "Make this text shorter."}
    params = types.ExecuteCommandParams("redraft.rewrite", [body], work_done_token=token)
    future = it.client.protocol.send_request(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="the-one")
    return "the-one", asyncio.wrap_future(future)


async def refused(answer: "asyncio.Future[Any]", seconds: float = 2.0) -> JsonRpcException:
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wait_for(answer, seconds)
    return caught.value


async def test_cancel_request(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "slow"
        it.open(U, NOTES)
        identifier, answer = begin(it, "progress-1")
        await asyncio.wait_for(script.asked.wait(), 20)
        await until_async(lambda: len(it.client.progress_reports["progress-1"]) >= 2, "a report of progress")
        it.client.cancel_request(types.CancelParams(id=identifier))
        assert (await refused(answer)).code == types.LSPErrorCodes.RequestCancelled
        await asyncio.wait_for(script.left.wait(), 5)
        reports = it.client.progress_reports["progress-1"]
        assert [type(r) for r in (reports[0], reports[-1])] == [
            types.WorkDoneProgressBegin,
            types.WorkDoneProgressEnd,
        ]
        assert reports[0].title == "Rewriting"
        assert reports[0].cancellable
        assert reports[1].message == "4 characters"
        assert reports[-1].message == "stopped"
        await it.settled()
        assert it.rows() == []
        assert it.edits == []
        script.how = "well"
        assert (await it.rewrite(U, NOTES))["applied"], "and the next one works"
        assert it.texts[U] == "Well said."


async def test_cancel_by_the_progress_button_of_a_token_that_the_server_made(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options, progress=True) as it:
        script.how = "slow"
        it.open(U, NOTES)
        _, answer = begin(it)
        await asyncio.wait_for(script.asked.wait(), 20)
        [token] = it.client.progress_reports
        it.client.window_work_done_progress_cancel(types.WorkDoneProgressCancelParams(token=token))
        await refused(answer)
        await asyncio.wait_for(script.left.wait(), 5)
        await until_async(lambda: it.client.progress_reports[token][-1].message == "stopped", "the end")
        await it.settled()
        assert (it.rows(), it.edits, it.texts[U]) == ([], [], NOTES)


async def test_cancelled_while_the_client_is_asked_for_a_place_to_show_progress(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options, progress=True) as it:
        it.open(U, NOTES)
        for _ in range(5):
            identifier, answer = begin(it)
            it.client.cancel_request(types.CancelParams(id=identifier))
            await refused(answer)
        await it.settled()
        assert it.said == [], "the client's late answer is no error"


async def test_the_end_of_progress_says_done(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options, progress=True) as it:
        it.open(U, NOTES)
        await it.draft(U, NOTES)
        [reports] = it.client.progress_reports.values()
        assert reports[0].title == "Drafting"
        assert reports[-1].message == "done"


async def test_cancelled_ghost_text(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "slow"
        it.open(U, NOTES)
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
            text_document=types.TextDocumentIdentifier(uri=U),
            position=it.find(U, NOTES).end,
        )
        future = it.client.protocol.send_request(types.TEXT_DOCUMENT_INLINE_COMPLETION, params, msg_id="ghost")
        await asyncio.wait_for(script.asked.wait(), 20)
        it.client.cancel_request(types.CancelParams(id="ghost"))
        assert (await refused(asyncio.wrap_future(future))).code == types.LSPErrorCodes.RequestCancelled
        await asyncio.wait_for(script.left.wait(), 5)
        await it.settled()
        assert it.rows() == []


async def test_the_selection_may_move_while_the_model_thinks(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "slow"
        it.open(U, f"One.\n{NOTES}\n")
        _, answer = begin(it)
        await asyncio.wait_for(script.asked.wait(), 20)
        it.insert(U, 0, "Zero.\n\n😀 ")
        await it.settled()  # the server knows
        script.go.set()
        assert plain(await asyncio.wait_for(answer, 20))["applied"]
        assert it.texts[U] == "Zero.\n\n😀 One.\nWell said.\n"
        it.close(U)
        await it.settled()
        assert (it.row(U).outcome, it.row(U).kept) == ("accepted", "Well said.")


async def test_a_selection_that_was_changed_gets_nothing(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "slow"
        it.open(U, f"One.\n{NOTES}\n")
        _, answer = begin(it)
        await asyncio.wait_for(script.asked.wait(), 20)
        it.replace(U, "Tuesday", "Wednesday")
        await it.settled()  # the server knows
        script.go.set()
        assert "the selected text was changed meanwhile" in str(await refused(answer, 20))
        await it.settled()
        assert (it.rows(), it.edits) == ([], [])


async def test_closed_while_the_model_thinks(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "slow"
        it.open(U, NOTES)
        _, answer = begin(it)
        await asyncio.wait_for(script.asked.wait(), 20)
        it.close(U)
        await it.settled()  # the server knows
        script.go.set()
        assert "the document was closed meanwhile" in str(await refused(answer, 20))
        await it.settled()
        assert (it.rows(), it.edits) == ([], [])


async def test_the_server_ends_in_order_while_the_model_thinks(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.how = "hang"
        it.open(U, NOTES)
        _, answer = begin(it)
        await asyncio.wait_for(script.asked.wait(), 20)
        await asyncio.wait_for(it.client.shutdown_session(), 5)
        assert it.process.returncode == 0
        await refused(answer)
        assert it.rows() == []
