"""A server that is killed with an offer in the document: taken up again or censored, never lost."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from editor_client import editor, rows
from polling import until_async
from scripted import scripted

from learner.store import Store

U = "file:///w/a.md"
NOTES = "The pump failed on Tuesday and was repaired on Thursday."
ANSWER = "The pump failed on Tuesday; it works again since Thursday."


def moved(text: str) -> str:
    return "A new line.\n\nAnother one.\n" + text


def edited(text: str) -> str:
    return text.replace("works again", "runs again")


EDITED = ANSWER.replace("works again", "runs again")
MEANWHILE: dict[str, tuple[Callable[[str], str], str, str | None, str]] = {
    "unchanged": (lambda text: text, "accepted", ANSWER, "close"),
    "moved": (moved, "accepted", ANSWER, "close"),
    "edited": (edited, "edited", EDITED, "close"),
    "moved-and-edited": (lambda text: moved(edited(text)), "edited", EDITED, "close"),
    "replaced": (lambda text: "Something else altogether stands here now.\n", "censored", None, "restart"),
    "emptied": (lambda text: "", "censored", None, "restart"),
    "changed-later": (moved, "edited", ANSWER.replace("Thursday", "Friday"), "close"),
}


async def test_killed_and_opened_again(bare: Path) -> None:
    async with scripted() as script:
        script.text = ANSWER
        async with editor(bare, script.options) as it:
            for name in MEANWHILE:
                uri = f"file:///w/{name}.md"
                it.open(uri, f"# Log\n\n{NOTES}\n\nEnd.\n")
                assert (await it.rewrite(uri, NOTES))["recorded"]
            await it.settled()
            it.process.send_signal(signal.SIGKILL)
            await it.process.wait()
            texts = dict(it.texts)
        assert {row.outcome for row in rows(bare)} == {None}
        async with editor(bare, script.options) as it:
            for name, (change, outcome, kept, by) in MEANWHILE.items():
                uri = f"file:///w/{name}.md"
                it.open(uri, change(texts[uri]))
                await it.settled()
                if name == "changed-later":
                    it.replace(uri, "Thursday", "Friday")
                row = await it.finished(uri)
                assert (row.outcome, row.kept, row.settled_by) == (outcome, kept, by), name
                assert (row.offered, row.propensity, row.arm) == (ANSWER, 1.0, "base")


async def test_ghost_text_that_a_killed_server_showed_is_censored(bare: Path) -> None:
    async with scripted() as script:
        script.text = " and then it stood still for a week."
        async with editor(bare, script.options) as it:
            it.open(U, "The pump failed")
            assert await it.inline(U) is not None
            it.process.send_signal(signal.SIGKILL)
            await it.process.wait()
        async with editor(bare, script.options) as it:
            it.open(U, "The pump failed")
            await it.settled()
            row = it.row(U)
    assert (row.outcome, row.settled_by) == ("censored", "restart")


@pytest.mark.parametrize("how", ["shutdown", "exit", "pipe", "term", "hangup", "twice"])
async def test_however_a_server_ends_open_offers_are_taken_up_again(bare: Path, how: str) -> None:
    async with scripted() as script:
        script.text = ANSWER
        async with editor(bare, script.options) as it:
            it.open(U, f"{NOTES}\n")
            made = await it.rewrite(U, NOTES)
            it.replace(U, "Thursday", "Friday")  # is written by the tick at the earliest: the end has to do it
            if how == "shutdown":
                await it.client.shutdown_session()
            elif how == "exit":
                it.client.exit(None)
            elif how == "pipe":
                assert it.process.stdin is not None
                it.process.stdin.close()
            else:
                await it.settled()
                it.process.send_signal(signal.SIGHUP if how == "hangup" else signal.SIGTERM)
                if how == "twice":  # as editors do that leave: the second must not cut short what the first began
                    it.process.send_signal(signal.SIGHUP)
            await until_async(lambda: it.process.returncode is not None, "the end of the server")
            assert it.process.returncode == (0 if how == "shutdown" else 1)
            text = it.texts[U]
        [state] = states(bare)
        assert "Fri" in state
        async with editor(bare, script.options) as it:
            it.open(U, text)
            await it.settled()
            row = await it.finished(U)
    assert (row.offer_id, row.outcome) == (made["offerId"], "edited")
    assert row.kept == ANSWER.replace("Thursday", "Friday")


def states(home: Path) -> list[str]:
    with Store.open(home / "edits.db", read_only=True) as store:
        return [state for *_, state in store.open_spans()]


async def test_two_servers_on_one_home(bare: Path) -> None:
    """Each follows its own documents; nobody takes what another holds, and all rows arrive."""
    uris = [f"file:///w/{name}.md" for name in "abcd"]
    async with scripted() as script, editor(bare, script.options) as one, editor(bare, script.options) as two:
        script.text = ANSWER

        async def work(it: Any, own: list[str]) -> None:
            for uri in own:
                it.open(uri, NOTES)
                assert (await it.rewrite(uri, NOTES))["recorded"]

        import asyncio

        await asyncio.gather(work(one, uris[:2]), work(two, uris[2:]))
        two.open(uris[0], one.texts[uris[0]])  # the same document in a second window
        await two.settled()
        assert [row.outcome for row in rows(bare)] == [None] * 4
        two.close(uris[0])
        await two.settled()
        assert [row.outcome for row in rows(bare)] == [None] * 4, "it was not this server's to settle"
        for it, own in ((one, uris[:2]), (two, uris[2:])):
            for uri in own:
                it.replace(uri, "Thursday", "Friday")
                it.close(uri)
            await it.settled()
        assert {(row.document, row.outcome, row.kept) for row in rows(bare)} == {
            (uri, "edited", ANSWER.replace("Thursday", "Friday")) for uri in uris
        }
