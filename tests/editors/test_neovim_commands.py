"""Consent, what was learnt, training, forgetting, health and help in Neovim."""

from __future__ import annotations

import shutil

import pytest
from editor_client import rows
from nvim_desk import BEGUN, MARKS, PLUGIN, Desk, Start, accepted, no_lua_error
from polling import until

from learner import registry
from learner.store import Store

pytestmark = MARKS


def test_learnt_shows_cost_by_week(desk: Desk) -> None:
    accepted(desk, "learnt.md")
    desk.edit("later.md")
    found = desk.run("learnt")
    desk.nvim.typed(":Redraft learnt<CR>")
    text = desk.nvim.until("return vim.bo.buftype == 'nofile' and vim.fn.getline(1, '$')", "the table")
    assert text[0] == "# What Redraft learnt"
    assert found["text"] in text
    week = found["weeks"][-1]
    [line] = [line for line in text if line.startswith(week["week"])]
    assert line.split()[1:3] == [str(week["edits"]), f"{week['cost_max'] * 100:.0f}"]
    desk.nvim.typed("q")
    assert desk.nvim.lua("return vim.bo.buftype") == ""


def test_a_training_can_be_stopped(desk: Desk) -> None:
    desk.edit("train.md")
    desk.nvim.typed(":Redraft train<CR>")
    desk.nvim.typed(":Redraft stop<CR>")
    assert desk.nvim.hears("Redraft: stopped")
    desk.run("status")
    with Store.open(desk.home / "edits.db", read_only=True) as store:
        assert registry.adapters(store) == []


def test_forget_asks_first(desk: Desk) -> None:
    file, _ = accepted(desk, "forgotten.md")
    count = len(desk.rows(file))
    assert count > 0
    desk.edit("forgotten.md", BEGUN)
    desk.nvim.type(":Redraft forget file<CR>")
    desk.nvim.sees("Delete it for good")
    desk.nvim.typed("1<CR>")
    desk.run("status")
    assert len(desk.rows(file)) == count
    desk.nvim.type(":Redraft forget file<CR>")
    desk.nvim.sees("Delete it for good")
    desk.nvim.typed("2<CR>")
    until(lambda: desk.rows(file) == [], "everything of this file is gone")


def test_checkhealth_has_no_error(desk: Desk) -> None:
    desk.edit("health.md")
    desk.nvim.typed(":checkhealth redraft<CR>")
    text = "\n".join(desk.nvim.until("return vim.bo.filetype == 'checkhealth' and vim.fn.getline(1, '$')", "a report"))
    assert "ERROR" not in text
    assert "WARNING" not in text
    for part in ("Neovim 0.11", "server 0.1", "edits are recorded in", "it follows", "accept ghost text"):
        assert part in text


def test_every_subcommand_is_completed_and_in_the_help(desk: Desk) -> None:
    names = desk.nvim.lua("return vim.fn.getcompletion('Redraft ', 'cmdline')")
    assert {"rewrite", "draft", "accept", "pause", "learnt", "forget", "consent"} <= set(names)
    assert desk.nvim.lua("return vim.fn.getcompletion('Redraft forget ', 'cmdline')") == ["everything", "file", "hour"]
    shutil.copytree(PLUGIN / "doc", desk.home / "help" / "doc")
    desk.nvim.command(f"helptags {desk.home / 'help' / 'doc'}")
    desk.nvim.command(f"set runtimepath^={desk.home / 'help'}")
    for tag in [*(f":Redraft-{name}" for name in names), "redraft-consent", "<Plug>(RedraftAccept)"]:
        desk.nvim.command(f"help {tag}")
        assert tag in desk.nvim.lua("return vim.api.nvim_get_current_line()")
        assert desk.nvim.lua("return vim.fn.expand('%:t')") == "redraft.txt"


def test_an_unknown_subcommand_names_those_there_are(desk: Desk) -> None:
    desk.nvim.typed(":Redraft rewrit<CR>")
    assert desk.nvim.hears("there is no :Redraft rewrit; there are accept, consent, draft")


@pytest.mark.parametrize(("answer", "recorded"), [("1", True), ("3", False)])
def test_consent_is_asked_once_and_nothing_is_recorded_before(start: Start, answer: str, recorded: bool) -> None:
    desk = start()
    desk.edit("first.md")
    desk.nvim.type(f"i{BEGUN}")
    desk.offered()
    desk.nvim.typed("<Tab><Esc>")  # nobody is asked while typing
    desk.nvim.sees("record in this workspace?")
    desk.nvim.sees("Yes, record in all workspaces")
    assert "May Redraft record, to learn" in desk.nvim.screen.text()
    assert str(desk.home.name) in desk.nvim.screen.text(), "where it would be recorded"
    desk.nvim.typed(f"{answer}<CR>")
    desk.nvim.hears("Edits are recorded here" if recorded else "Nothing is recorded here")
    assert rows(desk.home) == [], "nothing of what came before"
    file, text = accepted(desk, "second.md")
    kept = [row.kept for row in desk.rows(file) if row.outcome == "accepted"]
    assert kept == ([text] if recorded else [])
    assert desk.run("status", {"workspace": desk.folder.as_uri()})["consent"] == ("granted" if recorded else "refused")
    no_lua_error(desk.nvim)
