"""Ghost text with the real server and the real model: typed through, accepted, in part, departed from, declined."""

import asyncio
from pathlib import Path

import pytest
from editor_client import Editor, editor, plain
from lsprotocol import types
from polling import until_async

from learner.store import Store

pytestmark = pytest.mark.model
U = "file:///w/a.md"
BEGUN = "The harbour was quiet. Boats lay in the mud and waited for the tide to"
OPTIONS = {"record": True, "inlineCompletion": {"debounceMs": 0}}


def put_in(it: Editor, item: types.InlineCompletionItem) -> None:
    """What VS Code does on Tab: the whole text in place of the item's range, as one change."""
    it.change(U, item.range, item.insert_text)


def events(home: Path) -> list[tuple[str, float | None]]:
    with Store.open(home / "edits.db", read_only=True) as store:
        return [(event.kind, event.loss) for _, event in store.events()]


async def test_typed_through_then_accepted_by_the_items_command(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        text = item.insert_text
        assert len(text) > 6
        assert item.range == it.range(U, len(BEGUN), len(BEGUN))
        for typed in range(1, 4):  # char by char
            it.append(U, text[typed - 1])
            again = await it.inline(U, asked=False)
            assert again.insert_text == text
            assert again.range == it.range(U, len(BEGUN), len(BEGUN) + typed)
            assert again.command.arguments == item.command.arguments
        await it.settled()
        [row] = it.rows()
        put_in(it, again)
        assert it.texts[U] == BEGUN + text
        offer_id = item.command.arguments[0]["offerId"]
        accepted = await it.command(item.command.command, {"offerId": offer_id})
        assert accepted == {"accepted": True}
        it.close(U)
        await it.settled()
        [row] = it.rows()
    assert (row.offer_id, row.outcome, row.settled_by, row.task) == (offer_id, "accepted", "close", "completion")
    assert row.kept == row.offered == text
    assert (row.cost_max, row.propensity, row.bandit) == (0.0, 1.0, "thompson")
    assert row.shown_ms is not None
    assert row.shown_ms > 0
    assert row.chat.prefill == BEGUN
    assert events(home) == [("chosen", None), ("settled", 0.0)]


async def test_accepted_from_the_text_alone_and_edited_later(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        text = item.insert_text
        put_in(it, item)
        it.change(U, it.range(U, len(BEGUN) + len(text) - 3, len(BEGUN) + len(text)), "XYZ")
        it.append(U, "\n\nA new paragraph.")
        it.close(U)
        await it.settled()
        [row] = it.rows()
    assert (row.outcome, row.kept) == ("edited", text[:-3] + "XYZ")
    assert row.appended_chars == len("\n\nA new paragraph.")
    assert row.cost_max is not None
    assert 0 < row.cost_max < 1
    assert [kind for kind, _ in events(home)] == ["chosen", "settled"]


async def test_partial_accept_word_by_word_then_whole(home: Path) -> None:
    """VS Code: Ctrl+Right sends a change only; Tab later replaces the accepted prefix by the whole text."""
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        text = item.insert_text
        first = text.index(" ", 1) if " " in text[1:] else len(text) // 2
        it.append(U, text[:first])
        again = await it.inline(U, asked=False)
        assert again.command.arguments == item.command.arguments
        put_in(it, again)
        assert it.texts[U] == BEGUN + text
        it.close(U)
        await it.settled()
        [row] = it.rows()
    assert (row.outcome, row.offered, row.kept, row.cost_max) == ("accepted", text, text, 0.0)


async def test_partial_accept_and_then_something_else(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        text = item.insert_text
        words = text.split(" ")
        assert len(words) > 2
        part = " ".join(words[:2])
        it.append(U, part)
        it.append(U, "§")
        it.append(U, " else")
        it.close(U)
        await it.settled()
        [row] = it.rows()
        assert (row.outcome, row.offered, row.kept) == ("accepted", part, part)
        assert row.appended_chars == len("§ else")
        assert row.generated.startswith(part), "the whole answer stays in the log"


async def test_departed_is_ignored_with_what_was_typed_instead(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        it.append(U, " § go its own way")
        assert item.insert_text
        it.close(U)
        await it.settled()
        [row] = it.rows()
    assert (row.outcome, row.kept, row.typed) == ("ignored", None, " § go its own way")
    assert (row.cost, row.cost_max) == (None, None)
    assert row.deleted_chars == len(row.offered)


async def test_declined_in_words(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        body = {"offerId": item.command.arguments[0]["offerId"]}
        assert await it.command("redraft.reject", body) == {"rejected": True}
        await it.settled()
        [row] = it.rows()
        assert (row.outcome, row.settled_by, row.kept, row.cost_max) == ("rejected", "command", None, 1.0)
        with pytest.raises(Exception, match="is open: it was settled, or never recorded"):
            await it.command("redraft.reject", body)


async def test_undo_right_after_acceptance_rejects(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        put_in(it, item)
        it.change(U, it.range(U, len(BEGUN), len(BEGUN) + len(item.insert_text)), "")
        assert it.texts[U] == BEGUN
        it.append(U, " rise.")
        it.close(U)
        await it.settled()
        [row] = it.rows()
    assert (row.outcome, row.settled_by, row.kept, row.cost_max) == ("rejected", "undo", None, 1.0)


async def test_two_offers_of_a_window_are_one_decision(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        put_in(it, await it.inline(U))
        it.append(U, "\n\nThe next morning the fishermen came back and")
        put_in(it, await it.inline(U))
        it.close(U)
        await it.settled()
        first, second = it.rows()
    assert first.decision_id == second.decision_id
    assert (first.outcome, second.outcome) == ("accepted", "accepted")
    assert events(home) == [("chosen", None), ("settled", 0.0)]


async def test_completion_for_clients_without_inline_completion(home: Path) -> None:
    async with editor(home, OPTIONS, inline=False) as it:
        it.open(U, BEGUN)
        params = types.CompletionParams(types.TextDocumentIdentifier(uri=U), it.range(U, len(BEGUN), len(BEGUN)).end)
        found = await it.client.text_document_completion_async(params)
        assert found.is_incomplete
        [item] = found.items
        assert item.text_edit.range == it.range(U, len(BEGUN), len(BEGUN))
        it.change(U, item.text_edit.range, item.text_edit.new_text)
        assert await it.command(item.command.command, plain(item.command.arguments[0])) == {"accepted": True}
        it.close(U)
        await it.settled()
        [row] = it.rows()
        assert (row.task, row.outcome, row.kept) == ("completion", "accepted", item.text_edit.new_text)


async def test_completion_is_silent_where_ghost_text_is_shown(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        params = types.CompletionParams(types.TextDocumentIdentifier(uri=U), it.range(U, len(BEGUN), len(BEGUN)).end)
        assert await it.client.text_document_completion_async(params) is None
        await it.settled()
        assert it.rows() == []


async def test_a_client_that_says_what_it_shows_is_believed(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        shown = {"item": {"insertText": item.insert_text, "command": {"arguments": [plain(item.command.arguments[0])]}}}
        it.client.protocol.notify("textDocument/didShowCompletion", shown)
        it.append(U, " § no")
        await it.inline(U)
        it.append(U, " § no")
        it.close(U)
        await it.settled()
        seen, unseen = it.rows()
    assert (seen.outcome, unseen.outcome) == ("ignored", "ignored")
    assert seen.shown_ms is not None
    assert unseen.shown_ms is None, "the client never said that it was shown"
    with Store.open(home / "edits.db", read_only=True) as store:
        assert [at is not None for (at,) in store.read("SELECT shown_at FROM offers ORDER BY id")] == [True, False]


async def test_where_nothing_is_offered_why_says_so(home: Path) -> None:
    async with editor(home, {"record": True, "inlineCompletion": {"languages": ["markdown"], "debounceMs": 0}}) as it:
        it.open(U, "word and more\n")
        it.open("file:///w/b.py", "x = 1 + ", "python")
        it.open("file:///w/.env", "API=", "markdown")
        cases = [
            (U, 2, "the cursor is inside a word"),
            (U, 4, "there is text after the cursor"),
            (U, 0, "there is text after the cursor"),
            ("file:///w/b.py", 8, "ghost text is off for python (inlineCompletion.languages)"),
            ("file:///w/.env", 4, ".env is a file of a kind that holds secrets; Redraft never reads it"),
        ]
        for uri, offset, reason in cases:
            assert await it.inline(uri, offset) is None
            assert (await it.command("redraft.why", {"uri": uri}))["why"] == reason
        await it.settled()
        assert it.rows() == []


async def test_an_answer_that_came_too_late_is_not_shown(home: Path) -> None:
    """The text is changed while the model thinks: nothing is shown, nothing is recorded."""
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
            text_document=types.TextDocumentIdentifier(uri=U),
            position=it.range(U, len(BEGUN), len(BEGUN)).end,
        )
        asked = it.client.protocol.send_request(types.TEXT_DOCUMENT_INLINE_COMPLETION, params)
        it.append(U, "§")
        assert await asyncio.wrap_future(asked) is None
        assert "the text changed" in (await it.command("redraft.why", {"uri": U}))["why"]
        assert it.rows() == []


async def test_a_newer_request_takes_the_place_of_an_older(home: Path) -> None:
    async with editor(home, OPTIONS) as it:
        it.open(U, BEGUN)
        older, newer = await asyncio.gather(it.inline(U), it.inline(U))
        assert older is None
        assert newer is not None
        await until_async(lambda: len(it.rows()) == 1, "one offer is recorded")
