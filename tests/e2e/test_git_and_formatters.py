"""What others than the user do to an offer, through the real server: git, formatters, moved lines, renames."""

from pathlib import Path
from typing import Any

import pytest
from editor_client import editor
from lsprotocol import types
from polling import until_async

pytestmark = pytest.mark.model
NOTES = "Sales rose 4 percent in May. Two stores opened. Returns fell a little."
RECORD = {"record": True, "settle": {"quietSeconds": 1000, "limitSeconds": 1000}}


async def test_a_commit_settles(home: Path, repository: Any) -> None:
    uri = (repository.folder / "a.md").as_uri()
    async with editor(home, RECORD) as it:
        it.open(uri, f"{NOTES}\n")
        made = await it.rewrite(uri, NOTES)
        first = made["text"].split(" ")[0]
        it.replace(uri, made["text"], made["text"].replace(first, "Now", 1))
        await it.settled()
        assert it.row(uri).outcome is None
        repository.git("commit", "-q", "--allow-empty", "-m", "Second")
        await until_async(lambda: it.row(uri).outcome, "the commit settles it")
        row = it.row(uri)
    assert (row.outcome, row.settled_by, row.kept) == ("edited", "commit", made["text"].replace(first, "Now", 1))


async def test_another_branch_is_not_the_users_edit(home: Path, repository: Any) -> None:
    uri = (repository.folder / "a.md").as_uri()
    async with editor(home, RECORD) as it:
        it.open(uri, f"{NOTES}\n")
        made = await it.rewrite(uri, NOTES)
        await it.settled()
        repository.git("checkout", "-q", "-b", "other")
        it.replace(uri, made["text"], "Another branch says something else here.")
        row = await it.finished(uri)
    assert (row.outcome, row.kept) == ("accepted", made["text"])


async def test_a_formatter_at_a_save_is_not_the_users_edit(home: Path) -> None:
    uri = "file:///w/a.md"
    async with editor(home, RECORD) as it:
        it.open(uri, f"{NOTES}\n")
        made = await it.rewrite(uri, NOTES)
        document = types.TextDocumentIdentifier(uri=uri)
        it.client.text_document_will_save(
            types.WillSaveTextDocumentParams(text_document=document, reason=types.TextDocumentSaveReason.Manual)
        )
        it.replace(uri, made["text"], made["text"].replace(" ", "\n"))
        it.client.text_document_did_save(types.DidSaveTextDocumentParams(text_document=document))
        first = made["text"].split(" ")[0]
        it.change(uri, it.range(uri, 0, len(first)), "Now")
        row = await it.finished(uri)
    assert (row.outcome, row.kept) == ("edited", "Now" + made["text"].removeprefix(first))


async def test_a_client_that_tells_late_loses_no_edit(home: Path) -> None:
    """Eglot says `willSave` first, and only then the changes that the user made before."""
    uri = "file:///w/a.md"
    async with editor(home, RECORD, name="Eglot") as it:
        it.open(uri, f"{NOTES}\n")
        made = await it.rewrite(uri, NOTES)
        document = types.TextDocumentIdentifier(uri=uri)
        it.client.text_document_will_save(
            types.WillSaveTextDocumentParams(text_document=document, reason=types.TextDocumentSaveReason.Manual)
        )
        it.replace(uri, made["text"], f"Well: {made['text']}")
        it.client.text_document_did_save(types.DidSaveTextDocumentParams(text_document=document))
        row = await it.finished(uri)
    assert (row.outcome, row.kept) == ("edited", f"Well: {made['text']}")


async def test_an_offer_that_is_cut_and_pasted_is_followed(home: Path) -> None:
    uri = "file:///w/b.md"
    async with editor(home, RECORD) as it:
        it.open(uri, f"# Head\n\n{NOTES}\n\nEnd.\n")
        made = await it.rewrite(uri, NOTES)
        it.replace(uri, f"{made['text']}\n\n", "")
        it.append(uri, f"\n{made['text']}\n")
        it.append(uri, "\nMore.\n")
        row = await it.finished(uri)
    assert (row.outcome, row.kept, row.cost) == ("accepted", made["text"], 0.0)


async def test_a_renamed_document_settles_as_what_it_held(home: Path) -> None:
    """A rename is a close under the old name and an opening under the new one (LSP 3.17, didRenameFiles)."""
    old, new = "file:///w/old.md", "file:///w/new.md"
    async with editor(home, RECORD) as it:
        it.open(old, f"{NOTES}\n")
        made = await it.rewrite(old, NOTES)
        text = it.texts[old]
        it.close(old)
        it.open(new, text)
        it.append(new, "More.\n")
        await it.settled()
        row = it.row(old)
    assert (row.outcome, row.settled_by, row.kept) == ("accepted", "close", made["text"])
