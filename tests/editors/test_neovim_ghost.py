"""Ghost text in Neovim: typed through, accepted, dismissed, off; what the rows say is what stands in the buffer."""

from __future__ import annotations

import json

import pytest
from lsp_tap import said
from nvim_desk import BEGUN, MARKS, PICTURES, Desk, Start, keep, shown_ids
from polling import until

from learner.cost import cost_max

pytestmark = MARKS


def test_typed_through_accepted_by_word_then_whole_edited_and_saved(desk: Desk) -> None:
    file = desk.edit("harbour.md")
    desk.nvim.type(f"i{BEGUN}")
    text = desk.offered()
    desk.nvim.sees(BEGUN + text.split("\n")[0][:3])
    offer_id = shown_ids(desk)[-1]
    before = len(said(desk.log, "textDocument/inlineCompletion"))
    for index in range(3):
        desk.nvim.typed(text[index].replace("<", "<lt>"))
        until(lambda index=index: desk.ghost() == text[index + 1 :], "the rest of the same offer")
    asked = said(desk.log, "textDocument/inlineCompletion")[before:]
    assert len({json.dumps(message["params"]["position"]) for message in asked}) == len(asked), (
        "no place is asked twice"
    )
    desk.nvim.typed("<M-Right>")
    rest = until(lambda: desk.ghost() if len(desk.ghost()) < len(text) - 3 else "", "a word less")
    assert desk.nvim.text() == BEGUN + text.removesuffix(rest)
    desk.nvim.typed("<Tab>")
    assert desk.nvim.text() == BEGUN + text
    desk.run("status")  # what was said before has arrived
    accepted = [
        m["params"] for m in said(desk.log, "workspace/executeCommand") if m["params"]["command"] == "redraft.accept"
    ]
    assert accepted[-1]["arguments"] == [{"offerId": offer_id}]
    desk.nvim.typed("<Esc>")
    assert desk.ghost() == ""
    assert desk.nvim.text() == BEGUN + text, "nothing that was only shown is left"
    desk.nvim.typed("$a Well.<Esc>")
    desk.nvim.typed("0f.x")  # elsewhere
    saved = desk.close(file)
    [partial] = [m["params"] for m in said(desk.log, "textDocument/didPartiallyAcceptCompletion")]
    taken = text.removesuffix(rest)
    assert partial["acceptedLength"] == len(taken.encode("utf-16-le")) // 2
    row = next(row for row in desk.rows(file) if row.offer_id == offer_id)
    assert (row.task, row.outcome, row.settled_by) == ("completion", "accepted", "close")
    assert row.kept == row.offered == text
    assert row.kept in saved
    assert shown_ids(desk).count(offer_id) == 1
    assert row.shown_ms is not None


def test_ghost_text_breaks_at_words_where_the_window_does(desk: Desk) -> None:
    file = desk.edit("broken.md")
    desk.nvim.type(f"i{BEGUN}")
    text = desk.offered()
    desk.nvim.typed("<Esc>")
    desk.nvim.command("setlocal linebreak")
    desk.nvim.type("A<BS>o")
    pieces = desk.offered().split("\n")
    assert len(pieces) > 1
    assert all(len(piece) <= 90 for piece in pieces)
    assert " ".join(pieces).split() == text.split()
    desk.nvim.typed("<Tab><Esc>")
    assert desk.nvim.text() == BEGUN + text
    desk.close(file)


def test_accepted_then_edited(desk: Desk) -> None:
    file = desk.edit("edited.md")
    desk.nvim.type(f"i{BEGUN}")
    text = desk.offered()
    desk.nvim.typed("<Tab><Esc>")
    words = text.rstrip().split(" ")
    assert len(words) > 2
    desk.nvim.typed("0")
    desk.nvim.lua("vim.fn.search(..., 'W')", rf"\V{words[-1]}\$")
    desk.nvim.typed("Cat last.<Esc>")
    saved = desk.close(file)
    row = next(row for row in desk.rows(file) if row.outcome == "edited")
    assert row.kept is not None
    assert row.offered == text
    assert saved == BEGUN + row.kept + "\n"
    assert row.cost_max == cost_max(text, row.kept)


def test_one_undo_takes_out_what_was_accepted_and_no_more(desk: Desk) -> None:
    file = desk.edit("undone.md")
    desk.nvim.type(f"i{BEGUN}")
    text = desk.offered()
    desk.nvim.typed("<Tab><Esc>")
    assert desk.nvim.text() == BEGUN + text
    desk.nvim.typed("u")
    assert desk.nvim.text() == BEGUN
    desk.close(file)
    assert "rejected" in [row.outcome for row in desk.rows(file)]
    assert all(row.kept is None for row in desk.rows(file))


def test_dismissed_and_written_on(desk: Desk) -> None:
    file = desk.edit("dismissed.md")
    desk.nvim.type(f"i{BEGUN}")
    desk.offered()
    offer_id = shown_ids(desk)[-1]
    desk.nvim.typed("<C-]>")
    assert desk.ghost() == ""
    desk.run("status")  # what was asked for has been answered
    assert desk.ghost() == "", "it does not come back by itself"
    desk.nvim.typed(" § go its own way")
    saved = desk.close(file)
    assert saved == BEGUN + " § go its own way\n"
    row = next(row for row in desk.rows(file) if row.offer_id == offer_id)
    assert (row.outcome, row.settled_by, row.kept) == ("rejected", "command", None)


def test_tab_and_other_keys_are_what_they_were_without_ghost_text(desk: Desk) -> None:
    file = desk.edit("tab.md")
    desk.run("pause")
    desk.nvim.command("setlocal noexpandtab")
    desk.nvim.typed("ione<Tab>two<C-]><M-Right><Esc>")
    desk.run("resume")
    assert desk.nvim.text() == "one\ttwo"
    desk.close(file)
    assert desk.rows(file) == []


def test_nothing_while_the_popup_menu_is_open(desk: Desk) -> None:
    file = desk.edit("menu.md", "harbourmaster\n\n")
    desk.nvim.typed("Gi")
    desk.nvim.type(f"{BEGUN}")
    desk.offered()
    desk.nvim.typed(" harbo<C-x><C-n>")
    desk.nvim.until("return vim.fn.pumvisible() == 1", "the popup menu")
    assert desk.ghost() == ""
    desk.nvim.typed("<C-e>")
    desk.close(file)


def test_pause_stops_ghost_text_and_resume_brings_it_back(desk: Desk) -> None:
    desk.edit("paused.md")
    desk.nvim.typed(":Redraft pause 5<CR>")
    desk.nvim.hears("Redraft is paused for 5")
    desk.nvim.until("return require('redraft').status() == 'Redraft paused'", "the status line says so")
    desk.nvim.typed(f"i{BEGUN}")
    why = desk.run("why", {"uri": (desk.folder / "paused.md").as_uri()})
    assert "paused" in why["why"]
    assert desk.ghost() == ""
    desk.nvim.typed("<Esc>:Redraft resume<CR>")
    desk.nvim.hears("Redraft is on")
    desk.nvim.until("return require('redraft').status() == 'Redraft ●'", "the status line says so")
    desk.nvim.type("A<BS>o")
    desk.offered()


def test_off_for_a_language_and_on_again_and_why(desk: Desk) -> None:
    file = desk.edit("off.md")
    desk.nvim.typed(":Redraft off<CR>")
    desk.nvim.hears("ghost text is off for markdown")
    asked = len(said(desk.log, "textDocument/inlineCompletion"))
    desk.nvim.typed(f"i{BEGUN}")
    assert len(said(desk.log, "textDocument/inlineCompletion")) == asked
    assert desk.nvim.lua("return require('redraft').status()") == "Redraft off: markdown"
    desk.nvim.command("imap <C-s> <Plug>(RedraftSuggest)")
    desk.nvim.typed("<C-s>")
    said_why = desk.nvim.hears("ghost text is off for markdown (inlineCompletion")
    assert said_why.startswith("Redraft: No suggestion")
    desk.nvim.typed("<Esc>:Redraft on markdown<CR>")
    desk.nvim.hears("ghost text is on for markdown")
    desk.nvim.type("A<BS>o")
    desk.offered()
    desk.nvim.typed("<Esc>")
    desk.close(file)


@pytest.mark.skipif(not PICTURES, reason="no pictures wanted (REDRAFT_PICTURES)")
def test_picture_of_ghost_text(start: Start) -> None:
    desk = start(rows=12, consent=True)
    desk.nvim.command("set linebreak")
    file = desk.edit("harbour.md", "# The harbour\n\nA morning in March.\n\n")
    desk.nvim.type(f"Gi<CR>{BEGUN}")
    text = desk.offered()
    desk.nvim.until("return require('redraft').status() == 'Redraft ●'", "the model rests")
    picture = desk.nvim.screen.svg("harbour.md — nvim")
    desk.nvim.typed("<Tab><Esc>")
    desk.close(file)
    assert text.split() in [row.kept.split() for row in desk.rows(file) if row.kept]
    keep("neovim.svg", picture)
