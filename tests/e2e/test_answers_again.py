"""Going back, typing on and accepting: what the model said, or was asked ahead, is there without asking it again."""

from pathlib import Path

import pytest
from editor_client import editor
from scripted import scripted

U = "file:///w/a.md"
BEGUN = "We wait for the tide to"
LIKES = "My favourite things about the sea are"
"""The model answers with as much as it may, and goes on from there."""


async def test_going_back_is_answered_without_the_model(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.text = " turn before noon."
        it.open(U, BEGUN)
        first = await it.inline(U)
        it.append(U, " rise")
        script.text = " at last."
        assert (await it.inline(U)).insert_text == " at last."
        assert script.count == 2
        it.replace(U, " rise", "")
        again = await it.inline(U, asked=False)
        assert (again.insert_text, script.count) == (first.insert_text, 2)
        assert again.command.arguments != first.command.arguments, "an offer of its own, with an outcome of its own"
        it.change(U, again.range, again.insert_text)
        it.close(U)
        await it.settled()
        rows = it.rows(U)
    assert [(r.offered, r.outcome) for r in rows] == [
        (" turn before noon.", "ignored"), (" at last.", "ignored"), (" turn before noon.", "accepted"),
    ]  # fmt: skip
    assert rows[2].latency_ms == 0
    assert len({r.decision_id for r in rows}) == 1
    assert len({r.arm for r in rows}) == 1


async def test_typing_on_after_a_look_elsewhere(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        script.text = " turn before noon."
        it.open(U, f"Heading\n\n{BEGUN}")
        await it.inline(U)
        script.text = " one."
        await it.inline(U, len("Heading"))  # the cursor goes elsewhere and comes back
        it.append(U, " turn")
        asked = script.count
        again = await it.inline(U, asked=False)
        assert (again.insert_text, script.count) == (" before noon.", asked)
        it.change(U, again.range, again.insert_text)
        it.close(U)
        await it.settled()
        row = it.rows(U)[-1]
    assert (row.offered, row.kept, row.outcome) == (" before noon.", " before noon.", "accepted")
    assert row.chat.prefill == f"{BEGUN} turn"
    assert row.generated == " before noon."


async def test_what_was_declined_is_not_said_again(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, BEGUN)
        item = await it.inline(U)
        await it.command("redraft.reject", item.command.arguments[0])
        script.text = " another way."
        assert (await it.inline(U)).insert_text == " another way."
        assert script.count == 2


async def test_another_document_has_answers_of_its_own(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        for number, uri in enumerate((U, "file:///w/b.md"), 1):
            it.open(uri, BEGUN)
            assert await it.inline(uri)
            assert script.count == number


@pytest.mark.model
async def test_what_follows_an_accepted_offer_was_asked_ahead(home: Path) -> None:
    async with editor(home, {"record": True}) as it:
        it.open(U, LIKES)
        item = await it.inline(U)
        it.change(U, item.range, item.insert_text)
        following = await it.inline(U, asked=False)
        assert following is not None
        it.change(U, following.range, following.insert_text)
        it.close(U)
        await it.settled()
        first, second = it.rows(U)
    assert first.latency_ms is not None
    assert first.latency_ms > 0
    assert second.latency_ms == 0, "its answer was there"
    assert second.chat.prefill.endswith(first.offered.split("\n")[-1])
    assert (second.offered, second.outcome) == (following.insert_text, "accepted")


@pytest.mark.model
async def test_nothing_is_asked_ahead_where_that_is_off(home: Path) -> None:
    async with editor(home, {"record": True, "inlineCompletion": {"prepare": False, "debounceMs": 0}}) as it:
        it.open(U, LIKES)
        item = await it.inline(U)
        it.change(U, item.range, item.insert_text)
        assert await it.inline(U, asked=False)
        await it.settled()
        assert all(row.latency_ms for row in it.rows(U))
