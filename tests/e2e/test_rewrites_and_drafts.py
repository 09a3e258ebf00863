"""The real server and the real model: rewrites and drafts, from the request to the row in the store."""

import asyncio
from pathlib import Path

import pytest
from editor_client import editor, plain, wire
from lsprotocol import types
from polling import until_async

from learner.cost import cost, cost_max
from learner.prompt import DRAFT_KINDS

pytestmark = pytest.mark.model
U = "file:///w/a.md"
NOTES = "Sales rose 4 percent in May. Two stores opened. Returns fell a little."
RECORD = {"record": True}


async def test_rewrite_put_in_and_left_alone(home: Path) -> None:
    async with editor(home, RECORD) as it:
        it.open(U, f"# Report\n\n{NOTES}\n\nEnd.\n")
        made = await it.rewrite(U, NOTES, "Make this text shorter.")
        assert made["applied"]
        assert made["recorded"]
        assert it.texts[U] == f"# Report\n\n{made['text']}\n\nEnd.\n"
        row = await it.finished(U)
    assert (row.offer_id, row.outcome, row.settled_by) == (made["offerId"], "accepted", "close")
    assert row.kept == row.offered == made["text"]
    assert (row.cost, row.cost_max) == (0.0, 0.0)
    counts = (row.kept_chars, row.modified_chars, row.deleted_chars, row.appended_chars)
    assert counts == (len(made["text"]), 0, 0, 0)
    assert (row.arm, row.adapter_version, row.propensity, row.bandit) == ("base", None, 1.0, "thompson")
    assert (row.task, row.language, row.workspace, row.origin) == ("rewrite", "markdown", "file:///w", "editor")
    assert (row.consent_version, row.engine, row.prompt_version) == (1, "llama.cpp", row.prompt_version)
    assert row.base_model
    assert row.latency_ms is not None
    assert row.latency_ms > 0
    assert [m.role for m in row.chat.messages] == ["system", "user"]
    assert row.chat.messages[1].content == f"Make this text shorter.\n\n{NOTES}"


async def test_a_code_action_runs_as_it_was_offered(home: Path) -> None:
    async with editor(home, RECORD) as it:
        it.open(U, NOTES + "\n")
        params = {"textDocument": {"uri": U}, "range": wire(it.find(U, NOTES)), "context": {"diagnostics": []}}
        # raw, since lsprotocol's client takes an action with a command for a bare command
        actions = plain(await it.ask("actions", "textDocument/codeAction", params))
        titles = [action["title"] for action in actions]
        assert titles[:3] == ["Fix spelling and grammar", "Make it shorter", "Make it clearer"]
        assert titles[3:] == [f"Draft: {kind}" for kind in DRAFT_KINDS]
        assert {action["kind"] for action in actions} == {"refactor.rewrite"}
        chosen = actions[1]["command"]
        assert chosen["command"] == "redraft.rewrite"
        made = await it.command(chosen["command"], chosen["arguments"][0])
        row = await it.finished(U)
        assert (row.task, row.outcome, row.offer_id) == ("rewrite", "accepted", made["offerId"])
        it.open(U, NOTES + "\n")
        params["context"] = {"diagnostics": [], "only": ["quickfix"]}
        assert await it.ask("none", "textDocument/codeAction", params) == []


async def test_a_selected_line_keeps_its_line_end(home: Path) -> None:
    async with editor(home, RECORD) as it:
        it.open(U, f"  {NOTES}\nNext.\n")
        whole_line = types.Range(types.Position(0, 0), types.Position(1, 0))
        body = {"uri": U, "range": wire(whole_line), "instruction": "Make this text shorter."}
        made = await it.command("redraft.rewrite", body)
        assert it.texts[U] == f"  {made['text']}\nNext.\n"


async def test_draft_edited_saved_and_closed(home: Path) -> None:
    async with editor(home, RECORD) as it:
        it.open(U, f"{NOTES}\n")
        made = await it.draft(U, NOTES, "summary")
        text = made["text"]
        assert it.texts[U] == f"{NOTES}\n\n{text}\n"
        first, rest = text.split(" ", 1)
        at = len(NOTES) + 2
        it.change(U, it.range(U, at, at + len(first)), "Well")
        it.append(U, "PS")
        it.save(U)  # within ten seconds of acceptance: settles nothing
        await it.settled()
        assert it.row(U).outcome is None
        row = await it.finished(U)
    kept = f"Well {rest}"
    assert (row.task, row.outcome, row.settled_by) == ("draft", "edited", "close")
    assert (row.offered, row.kept) == (text, kept)
    assert row.cost == cost(text, kept)
    assert row.cost_max == cost_max(text, kept)
    assert 0 < row.cost_max < 1
    assert row.kept_chars + row.deleted_chars == len(text)
    assert row.kept_chars + row.modified_chars == len(kept)
    assert row.propensity == 1.0
    assert row.chat.messages[1].content == f"{DRAFT_KINDS['summary']}\n\n{NOTES}"


async def test_docstring_under_a_python_definition(home: Path) -> None:
    code = "class A:\n    def area(\n        self, width, height\n    ):\n        return width * height\n"
    async with editor(home, RECORD) as it:
        it.open(U, code, "python")
        made = await it.draft(U, code.split("A:\n    ")[1].rstrip(), "docstring")
        start, end = "class A:\n    def area(\n        self, width, height\n    ):\n", "        return width * height\n"
        assert it.texts[U] == f'{start}        """{made["text"]}"""\n{end}'
        compile(it.texts[U], "a.py", "exec")
        assert await it.command("redraft.reject", {"offerId": made["offerId"]}) == {"rejected": True}
        assert it.texts[U] == code, "the quotes go with it"
        await it.settled()
        row = it.row(U)
    assert (row.outcome, row.settled_by, row.kept, row.cost_max) == ("rejected", "command", None, 1.0)
    assert row.deleted_chars == len(made["text"])


async def test_commit_message_goes_on_top(home: Path) -> None:
    comments = "\n# On branch main\n# modified: area.py\n"
    async with editor(home, RECORD) as it:
        it.open(U, comments, "git-commit")
        made = await it.draft(U, "modified: area.py", "commit")
        assert it.texts[U] == made["text"] + "\n" + comments
        row = await it.finished(U)
    assert (row.outcome, row.kept) == ("accepted", made["text"])


async def test_windows_line_ends(home: Path) -> None:
    notes = "The meeting is on Monday.\r\nBring the report.\r\nAnna leads."
    async with editor(home, RECORD) as it:
        it.open(U, f"{notes}\r\n")
        made = await it.draft(U, notes, "email")
        assert "\r" not in made["text"]
        windows = made["text"].replace("\n", "\r\n")
        assert it.texts[U] == f"{notes}\r\n\r\n{windows}\r\n"
        row = await it.finished(U)
    assert (row.outcome, row.kept, row.offered) == ("accepted", made["text"], made["text"])
    assert "\r" not in row.chat.messages[1].content


async def test_undo_right_after_a_rewrite_rejects_it(home: Path) -> None:
    async with editor(home, RECORD) as it:
        it.open(U, NOTES)
        made = await it.rewrite(U, NOTES)
        it.replace(U, made["text"], NOTES)
        it.append(U, " And more was written.")
        row = await it.finished(U)
    assert (row.outcome, row.settled_by, row.kept) == ("rejected", "undo", None)
    assert (row.cost, row.cost_max) == (1.0, 1.0)


async def test_what_settles(home: Path) -> None:
    """Quiet with the cursor elsewhere, the limit, and a person's save ten seconds after acceptance."""

    async def by(uri: str, how: str, settle: dict[str, float]) -> None:
        async with editor(home, {**RECORD, "settle": settle}) as it:
            it.open(uri, f"{NOTES}\n\nB.\n\n\n\nC.\n")
            made = await it.rewrite(uri, NOTES)
            it.append(uri, "The cursor is here now.")

            def settled() -> bool:
                if how == "save":
                    it.save(uri, types.TextDocumentSaveReason.AfterDelay)
                    it.save(uri)
                return it.row(uri).outcome is not None

            await until_async(settled, "something settles", 40)
            row = it.row(uri)
            assert (row.outcome, row.settled_by, row.kept) == ("accepted", how, made["text"])

    await asyncio.gather(
        by("file:///w/b.md", "quiet", {"quietSeconds": 0.5, "limitSeconds": 1000}),
        by("file:///w/c.md", "limit", {"quietSeconds": 1000, "limitSeconds": 0.5}),
        by("file:///w/d.md", "save", {"quietSeconds": 1000, "limitSeconds": 1000}),
    )
