"""The real .vsix in a real VS Code (code-server in Chromium): keys and clicks in, rows of `edits.db` out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lsp_tap import said
from polling import until
from replay import text_of
from vscode_window import BEGUN, MARKS, NOTES, Window, vscode

from learner.documents import package_texts
from learner.exchange import load
from learner.prompt import rewrite
from learner.store import Store

pytestmark = MARKS


def test_consent_ghost_text_in_part_and_whole_edit_and_row(
    home: Path, folder: Path, tmp_path: Path, log: Path, tapped: Callable[..., dict[str, Any]]
) -> None:
    with vscode(home, folder, tapped(), data=tmp_path / "vs") as window:
        window.status_says("ready")
        page = window.web_page()
        page.get_by_text("May Redraft learn from your edits?").wait_for(timeout=60_000)
        assert page.get_by_text(str(home / "edits.db")).is_visible(), "it says where"
        window.picture("vscode-consent")
        assert not (home / "edits.db").exists(), "nothing is written before a yes"
        window.consent()
        window.open("notes.md")
        window.press("Control+End")
        window.type(" are")
        offered = window.offered()
        assert len(offered.split()) > 2
        window.picture("vscode-ghost-text")
        window.press("Control+ArrowRight")  # a word
        until(lambda: len(offered) > len(window.rest()) > 0, "a word is taken, the rest stays")
        window.press("Tab")
        until(lambda: not window.ghost.count() or offered not in window.lines(), "the offer stands")
        window.press("Escape")
        window.press("Control+End")
        window.press("Backspace", "Backspace", "Backspace")
        window.type("XYZ")
        window.press("Escape")
        window.save()
        window.command("View: Close Editor")
        found = window.settled("notes.md")
        text = (folder / "notes.md").read_text()
        mirror = before_close(log, (folder / "notes.md").as_uri())
    assert text == mirror, "what the editor saved is what it told"
    row = found[0]
    assert row.task == "completion"
    assert row.kept is not None
    assert text.startswith(f"{BEGUN} are{row.kept}") or f"{BEGUN} are{row.kept}" == text
    assert row.outcome in ("edited", "accepted")
    assert text.endswith("XYZ")
    assert sum(r.kept is not None for r in found) == 1, "one offer was taken"
    edited = [r for r in found if r.outcome == "edited"]
    assert [r.kept for r in edited] == [row.kept]
    assert row.kept.endswith("XYZ")
    assert row.offered[: len(row.kept) - 3] == row.kept[:-3]
    assert row.workspace == folder.as_uri()
    accepted = [
        m["params"] for m in said(log, "workspace/executeCommand") if m["params"]["command"] == "redraft.accept"
    ]
    assert {"offerId": row.offer_id} in [a["arguments"][0] for a in accepted], "VS Code ran the item's command"


def before_close(log: Path, uri: str) -> str | None:
    """What the editor's messages added up to when it closed the document."""
    messages = [m for m in said(log) if m.get("method") != "textDocument/didClose"]
    copy = log.with_name("without-close.jsonl")
    copy.write_text("".join(json.dumps(m) + "\n" for m in messages))
    return text_of(copy, uri)


def select_notes(window: Window) -> None:
    """Select the third line of the log, without its line end."""
    window.press("Control+Home", "ArrowDown", "ArrowDown", "Home", "Shift+End", "Shift+End")


def test_rewrites_and_drafts_by_menu_and_by_words(
    home: Path, folder: Path, tmp_path: Path, tapped: Callable[..., dict[str, Any]]
) -> None:
    off = tapped(redraft__inlineCompletion__enabled=False)
    with vscode(home, folder, off, data=tmp_path / "vs") as window:
        window.status_says("Redraft")
        window.consent()
        window.open("log.md")
        select_notes(window)
        window.page.locator(".lightBulbWidget").click()
        menu = window.page.locator(".action-widget")
        menu.get_by_text("Make it shorter").click()
        diff = window.page.locator(".tab.active").filter(has_text="applies, Escape discards")
        diff.wait_for(timeout=90_000)
        window.page.locator(".line-insert, .char-insert").first.wait_for()
        assert (folder / "log.md").read_text() == f"# Log\n\n{NOTES}\n", "nothing is put in before it was seen"
        window.picture("vscode-rewrite")
        window.press("Control+Enter")
        diff.wait_for(state="detached")
        [shown] = window.rows("log.md")
        lines = shown.offered.split("\n")
        place = f"Ln {2 + len(lines)}, Col {len(lines[-1]) + 1}"
        until(lambda: window.cursor == place, "it stands in the document, the cursor behind it")
        window.press("Control+Home", "ArrowDown", "ArrowDown", "Home", "Control+Shift+ArrowRight")
        window.type("Well, ")  # in place of the first word
        window.save()
        # a second one, in words of the user's own, is declined
        window.press("Control+Alt+r")
        window.page.locator(".quick-input-title").filter(has_text="Rewrite the selection").wait_for()
        window.type("Say it as a question")
        window.page.locator(".quick-input-list .monaco-list-row.focused").filter(has_text="Say it as").wait_for()
        window.press("Enter")
        diff.wait_for(timeout=90_000)
        window.page.locator(".line-insert, .char-insert").first.wait_for()
        window.press("Escape")
        diff.wait_for(state="detached")
        # a draft from the notes
        select_notes(window)
        window.command("Redraft: Draft from Selected Notes")
        window.pick("Email")
        diff.wait_for(timeout=90_000)
        window.page.locator(".line-insert, .char-insert").first.wait_for()
        window.press("Control+Enter")
        diff.wait_for(state="detached")
        window.page.locator(".tab.active.dirty").wait_for()
        until(lambda: len(window.rows("log.md")) == 3, "the draft is recorded")
        draft = window.rows("log.md")[2]
        until(lambda: draft.offered.split("\n")[0][:30] in window.lines(), "it stands in the document")
        window.save()
        window.command("View: Close Editor")
        first, second, third = window.settled("log.md", 3)
    text = (folder / "log.md").read_text()
    assert (first.task, first.outcome) == ("rewrite", "edited")
    assert first.kept is not None
    assert first.kept.startswith("Well, ")
    assert text.startswith(f"# Log\n\n{first.kept}\n")
    assert (second.outcome, second.settled_by, second.chat.messages[-1].content.split("\n")[0]) == (
        "rejected", "command", "Say it as a question",
    )  # fmt: skip
    assert (third.task, third.outcome, third.kept) == ("draft", "accepted", third.offered)
    assert third.kept in text


def test_pause_language_why_learnt_and_forget(
    home: Path, folder: Path, tmp_path: Path, log: Path, tapped: Callable[..., dict[str, Any]]
) -> None:
    with vscode(home, folder, tapped(), data=tmp_path / "vs") as window:
        window.status_says("ready")
        window.consent("Record Everywhere")
        window.open("notes.md")
        window.press("Control+End")
        window.status.click()
        window.pick("Pause")
        window.status_says("paused")
        window.type(" are")
        window.command("Redraft: Why No Suggestion?")
        window.notification("No suggestion: paused")
        assert not window.ghost.count()
        window.press("Escape")
        window.status.click()
        window.pick("Resume")
        window.status_says("ready")
        window.command("Redraft: Snooze")
        window.pick("10 minutes")
        window.status_says("paused")
        window.command("Redraft: Pause or Resume")
        window.status_says("ready")
        window.status.click()
        window.pick("Ghost Text Off for markdown")
        window.status_says("off for markdown")
        window.type(" the")
        until(lambda: told(log, "redraft.configure"), "the server is told")
        window.command("Trigger Inline Suggestion")
        window.command("Redraft: Why No Suggestion?")
        window.notification("ghost text is off for markdown (inlineCompletion.disabledLanguages)")
        assert window.rows("notes.md") == []
        window.status.click()
        window.pick("Ghost Text On for markdown")
        window.status_says("ready")
        window.type(" waves")
        offered = window.offered()
        window.press("Control+Alt+ArrowRight")  # a line, which is all there is
        until(lambda: not window.ghost.count(), "the line is taken")
        window.press("Escape")
        window.save()
        assert offered.strip()[:20] in (folder / "notes.md").read_text()
        window.command("View: Close Editor")
        window.settled("notes.md")
        window.command("Redraft: What Did I Teach It?")
        page = window.web_page()
        page.get_by_text("What did I teach it?").wait_for()
        assert page.locator("svg polyline").count() == 1
        window.command("View: Close Editor")
        window.open("notes.md")
        window.command("Redraft: Forget")
        window.pick("This file")
        window.button("Forget")
        window.notification("Redraft: ")
        until(lambda: window.rows("notes.md") == [], "the rows are gone")


def told(log: Path, command: str) -> list[Any]:
    return [m for m in said(log, "workspace/executeCommand") if m["params"]["command"] == command]


def habit(home: Path, tmp_path: Path, count: int = 36) -> None:
    """Edits of a user who begins every shorter text with "In short:"."""
    lines = []
    for text in itertools.islice(package_texts(), count):
        first = text.body.split(". ")[0].rstrip(".") + "."
        prompt = rewrite(text.body, "Make this text shorter.")
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        lines.append({"prompt": messages, "offered": first, "kept": f"In short: {first[0].lower()}{first[1:]}"})
    file = tmp_path / "habit.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with Store.open(home / "edits.db") as store:
        store.set_consent(True, source="a test")
        load(store, file)


def test_train_now_and_the_new_adapter_is_in_use(own: Path, folder: Path, tmp_path: Path) -> None:
    habit(own, tmp_path)
    (own / "config.toml").write_text('feedback = ["sft"]\n')
    settings = {"redraft.inlineCompletion.enabled": False, "redraft.preview": False}
    with vscode(own, folder, settings, data=tmp_path / "vs") as window:
        window.status_says("ready")
        window.command("Redraft: Train Now")
        window.notification("Redraft learns from your edits", 60)
        window.notification("Learnt from 3", 800)
        window.button("What Did I Teach It?")
        page = window.web_page()
        page.get_by_text("sft-1").wait_for()
        assert page.get_by_text("serves: clearly better than the base").is_visible()
        window.command("View: Close Editor")
        window.open("log.md")
        for count in range(1, 9):
            select_notes(window)
            window.command("Redraft: Rewrite Selection")
            window.pick("Make it shorter")
            until(lambda n=count: len(window.rows("log.md")) == n, "it is recorded", 60)
            row = window.rows("log.md")[-1]
            until(lambda text=row.offered: text[:20] in window.lines(), "it stands in the document", 30)
            if row.arm == "sft":
                break
            window.press("Control+z")
            until(lambda: NOTES[:40] in window.lines(), "undone")
        assert (row.arm, row.adapter_version) == ("sft", "sft-1")
        assert row.offered.startswith("In short: ")
        window.save()
        window.command("View: Close Editor")
        kept = window.settled("log.md")[-1]
        window.command("Redraft: What Did I Teach It?")
        window.web_page().get_by_text("sft-1").wait_for()
        window.picture("vscode-learnt")
    assert kept.kept == row.offered
    assert kept.kept in (folder / "log.md").read_text()
