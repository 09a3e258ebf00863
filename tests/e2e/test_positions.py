"""The server's text is the editor's, whatever the characters, the line ends and the units of positions."""

import random
from pathlib import Path

import pytest
from editor_client import Editor, editor, wire
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from scripted import scripted

U = "file:///w/a.txt"
CHARACTERS = ["a", "b", "\t", " ", "é", "e\u0301", "字", "😀", "👩‍👩‍👧", "\f", "\v", "\u2028", "\x85", "\x1c", "\0"]
LINE_ENDS = ["\n", "\r\n", "\r"]


def a_text(rng: random.Random, length: int) -> str:
    pieces = [rng.choice(LINE_ENDS) if rng.random() < 0.15 else rng.choice(CHARACTERS) for _ in range(length)]
    return "".join(pieces)


def cut(text: str, offset: int) -> int:
    """An offset that a client can name: not between \\r and \\n."""
    return offset + 1 if text[offset - 1 : offset + 1] == "\r\n" else offset


async def what_the_server_has(it: Editor, uri: str, length: int) -> str:
    """The prompt of a rewrite of the last `length` characters shows the server's text there."""
    text = it.texts[uri]
    start = cut(text, len(text) - length)
    body = {"uri": uri, "range": wire(it.range(uri, start, len(text))), "instruction": "x"}
    await it.command("redraft.rewrite", body)
    row = it.rows(uri)[-1]
    return row.chat.messages[1].content.removeprefix("x\n\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
async def test_any_text_changed_anywhere(bare: Path, encoding: str) -> None:
    rng = random.Random(f"redraft {encoding}")
    async with scripted() as script, editor(bare, script.options, encoding=encoding) as it:
        assert it.capabilities is not None
        assert it.capabilities.position_encoding == encoding
        it.open(U, a_text(rng, 60), "plaintext")
        for _ in range(120):
            text = it.texts[U]
            a = cut(text, rng.randint(0, len(text)))
            b = cut(text, rng.randint(a, min(len(text), a + 5)))
            if b < a:
                continue
            it.change(U, it.range(U, a, b), a_text(rng, rng.randint(0, 4)))
        it.append(U, "|END")
        it.insert(U, 0, "BEGIN|")
        tail = it.texts[U]
        start = tail[6:].strip()
        body = {"uri": U, "range": wire(it.range(U, 6, len(tail))), "instruction": "x"}
        made = await it.command("redraft.rewrite", body)
        row = it.row(U)
        assert row.chat.messages[1].content == "x\n\n" + start.replace("\r\n", "\n").replace("\r", "\n")
        at = 6 + tail[6:].index(start)
        assert it.texts[U] == tail[:at] + made["text"] + tail[at + len(start) :], "the answer stands just there"
        it.close(U)
        await it.settled()
        assert (it.row(U).outcome, it.row(U).kept) == ("accepted", made["text"])


async def test_the_whole_document_replaced(bare: Path) -> None:
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, "One.\n", "plaintext")
        it.texts[U], it.versions[U] = "Two 😀.\r\nThree.", 2
        it.client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=U, version=2),
                content_changes=[types.TextDocumentContentChangeWholeDocument(text=it.texts[U])],
            )
        )
        await it.rewrite(U, "Three.", "x")
        assert it.row(U).chat.messages[1].content == "x\n\nThree."
        assert it.texts[U] == "Two 😀.\r\nWell said."


async def test_five_megabytes(bare: Path) -> None:
    line = "The quick brown fox 😀 jumps over the lazy dog.\n"
    text = line * (5_000_000 // len(line.encode()))
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, text, "plaintext")
        it.append(U, "Last words.")
        for _ in range(20):
            it.append(U, "!")
        await it.settled()
        made = await it.rewrite(U, "Last words." + "!" * 20, "x")
        assert it.texts[U] == text + made["text"]
        whole = {"uri": U, "range": wire(it.range(U, 0, len(it.texts[U]))), "instruction": "x"}
        with pytest.raises(JsonRpcException, match="characters and the model can take 9,000: select less of it"):
            await it.command("redraft.rewrite", whole)
        assert await it.inline(U) is not None
        it.close(U)
        await it.settled()
        assert [row.outcome for row in it.rows()] == ["accepted", "ignored"]


async def test_nul_and_lone_surrogates(bare: Path) -> None:
    """As far as JSON carries them: the answer comes, the row is stored, and nothing breaks."""
    async with scripted() as script, editor(bare, script.options) as it:
        it.open(U, "A \ud83d B\0C\n\ude00 tail", "plaintext")
        made = await it.rewrite(U, "B\0C", "x")
        assert made["recorded"]
        assert it.texts[U] == f"A \ud83d {made['text']}\n\ude00 tail"
        lone = await it.rewrite(U, "\ude00 tail", "x")
        assert lone["applied"]
        it.append(U, "\udead")
        it.replace(U, script.text, "said \udead so") if it.texts[U].count(script.text) == 1 else it.replace(
            U, "A \ud83d " + script.text, "A \ud83d said \udead so"
        )
        it.close(U)
        await it.settled()
        assert it.said == []
        outcomes = {row.offer_id: (row.outcome, row.settled_by) for row in it.rows()}
        assert outcomes[made["offerId"]] == ("censored", "error"), "a kept text that no store can hold"
        assert outcomes[lone["offerId"]] == ("accepted", "close")
        assert "\ufffd tail" in it.rows()[1].prompt
