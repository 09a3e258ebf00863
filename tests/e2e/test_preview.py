"""A rewrite or draft is shown before it is put in: applied, declined, overtaken by the user, forgotten."""

from pathlib import Path
from typing import Any

import pytest
from editor_client import Editor, editor, wire
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from scripted import scripted

U = "file:///w/a.md"
NOTES = "The pump failed on Tuesday."


async def preview(it: Editor, command: str = "redraft.rewrite", **more: Any) -> Any:
    body = {"uri": U, "range": wire(it.find(U, NOTES)), "preview": True, **more}
    return await it.command(command, body)


async def asked(it: Editor) -> Any:
    return await preview(it, instruction="Make it shorter.")


async def test_applied_edited_and_saved(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, f"# Log\n\n{NOTES}\n")
        shown = await asked(it)
        assert (shown["applied"], shown["recorded"], shown["uri"]) == (False, True, U)
        assert it.texts[U] == f"# Log\n\n{NOTES}\n", "nothing is put in before it was seen"
        assert (shown["range"], shown["newText"]) == (wire(it.find(U, NOTES)), script.text)
        it.insert(U, 0, "Note. ")  # elsewhere: the text is followed
        made = await it.command("redraft.apply", {"offerId": shown["offerId"]})
        assert made == {key: shown[key] for key in ("offerId", "arm", "text", "recorded")} | {"applied": True}
        assert it.texts[U] == f"Note. # Log\n\n{script.text}\n"
        it.replace(U, "Well said", "Well done")
        row = await it.finished(U)
    assert (row.offer_id, row.outcome, row.offered, row.kept) == (
        shown["offerId"], "edited", script.text, "Well done.",
    )  # fmt: skip


async def test_declined(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        shown = await asked(it)
        assert await it.command("redraft.reject", {"offerId": shown["offerId"]}) == {"rejected": True}
        row = await it.finished(U)
        assert it.edits == []
    assert (row.outcome, row.settled_by, row.kept, row.cost_max) == ("rejected", "command", None, 1.0)


async def test_the_text_was_changed_meanwhile(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        shown = await asked(it)
        it.replace(U, "Tuesday", "Friday")
        with pytest.raises(JsonRpcException, match="changed meanwhile; nothing was put in"):
            await it.command("redraft.apply", {"offerId": shown["offerId"]})
        row = await it.finished(U)
        assert it.edits == []
    assert (row.outcome, row.settled_by) == ("censored", "superseded")


@pytest.mark.parametrize("how", ["apply", "reject", "never made"])
async def test_only_once(bare: Path, how: str) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        offer_id = "nothing"
        if how != "never made":
            offer_id = (await asked(it))["offerId"]
            await it.command(f"redraft.{how}", {"offerId": offer_id})
        with pytest.raises(JsonRpcException, match=f"no offer {offer_id} waits to be put in"):
            await it.command("redraft.apply", {"offerId": offer_id})


async def test_neither_applied_nor_declined(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        shown = await asked(it)
        row = await it.finished(U)
        assert (row.outcome, row.settled_by) == ("censored", "close")
        with pytest.raises(JsonRpcException, match="waits to be put in"):
            await it.command("redraft.apply", {"offerId": shown["offerId"]})
        it.open(U, NOTES)
        await asked(it)
        await it.command("redraft.pause")
        await it.settled()
        assert [r.outcome for r in it.rows(U)] == ["censored", "censored"]


async def test_a_limit_ends_the_wait(bare: Path) -> None:
    async with scripted() as script:
        options = {**script.options, "settle": {"limitSeconds": 0.2}}
        async with editor(bare, options) as it:
            it.open(U, NOTES)
            await asked(it)

            async def settled() -> bool:
                await it.settled()
                return it.row(U).outcome is not None

            from polling import until_async

            await until_async(settled, "the preview settles")
            assert (it.row(U).outcome, it.row(U).settled_by) == ("censored", "limit")


async def test_a_draft_says_where_it_will_stand(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, f"{NOTES}\nEnd.\n")
        shown = await preview(it, "redraft.draft", kind="email")
        end = it.find(U, NOTES).end
        assert shown["range"] == wire(types.Range(end, end))
        before = it.texts[U]
        await it.command("redraft.apply", {"offerId": shown["offerId"]})
        assert it.texts[U] == before.replace(NOTES, NOTES + shown["newText"])
        assert shown["newText"] == f"\n\n{script.text}"


async def test_without_consent_it_is_the_same_and_nothing_is_written(bare: Path) -> None:
    async with scripted() as script, editor(bare, {**script.options, "record": False}) as it:
        it.open(U, NOTES)
        shown = await asked(it)
        assert not shown["recorded"]
        assert (await it.command("redraft.apply", {"offerId": shown["offerId"]}))["applied"]
        assert it.texts[U] == script.text
    assert list(bare.iterdir()) == []


async def test_the_editor_refuses_what_the_user_applied(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, NOTES)
        shown = await asked(it)
        it.answer = "refuse"
        made = await it.command("redraft.apply", {"offerId": shown["offerId"]})
        assert (made["applied"], made["reason"]) == (False, "the editor did not put the text in: the user said no")
        assert (await it.finished(U)).outcome == "rejected"
