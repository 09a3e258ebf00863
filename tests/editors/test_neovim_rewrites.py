"""Rewrites and drafts in Neovim: seen as a diff, put in, declined, stopped."""

from __future__ import annotations

import pytest
from nvim_desk import MARKS, NOTES, Desk, keep
from polling import until

from learner.cost import cost_max

pytestmark = MARKS
DIFFS = """return vim.iter(vim.api.nvim_list_wins()):filter(function(w) return vim.wo[w].diff end):fold(0,
  function(count) return count + 1 end) == {}"""
MARKED_WORDS = """
  local space, found = vim.api.nvim_create_namespace('redraft.words'), {}
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true })) do
    local text = vim.api.nvim_buf_get_text(0, mark[2], mark[3], mark[4].end_row, mark[4].end_col, {})[1]
    found[#found + 1] = vim.trim(text)  -- with the blank before the next word that is marked
  end
  return found
"""


def preview(desk: Desk, keys: str) -> tuple[str, str]:
    """Press keys that ask for a rewrite; what stands on the left and on the right once it is shown."""
    desk.nvim.type(keys)
    desk.nvim.until(DIFFS.format(2), "two windows with the texts", 60)
    code = """
      local texts, windows = {}, vim.api.nvim_list_wins()
      table.sort(windows, function(a, b)
        return vim.api.nvim_win_get_position(a)[2] < vim.api.nvim_win_get_position(b)[2]
      end)
      for _, window in ipairs(windows) do
        if vim.wo[window].diff then
          local lines = vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(window), 0, -1, false)
          texts[#texts + 1] = table.concat(lines, '\\n')
        end
      end
      return texts
    """
    now, after = desk.nvim.lua(code)
    return now, after


def test_rewrite_of_a_selection_seen_put_in_edited_and_saved(desk: Desk) -> None:
    file = desk.edit("pump.md", f"# Pump\n\nNote: {NOTES}\n")
    colour = desk.nvim.lua("return vim.api.nvim_get_hl(0, { name = 'DiffText', link = false }).bg")
    now, after = preview(desk, "3Gfwv$h:Redraft rewrite Fix the spelling and grammar of this text.<CR>")
    assert now == f"Note: {NOTES}"
    assert after.startswith("Note: ")
    assert after != now
    assert desk.nvim.lua("return vim.fn.readfile(...)", str(file))[2] == now
    desk.nvim.sees("a puts it in")
    marked = desk.nvim.lua(MARKED_WORDS)
    assert marked, "the words that differ are marked"
    assert all(words in after and words not in now for words in marked)
    on_screen = [words for words in marked if desk.nvim.screen.text().count(words) == 1]
    assert {desk.nvim.screen.paper(words) for words in on_screen} == {colour}
    picture = desk.nvim.screen.svg("pump.md — nvim")
    desk.nvim.typed("a")
    desk.nvim.until(DIFFS.format(0), "the diff is closed")
    until(lambda: desk.nvim.text() == f"# Pump\n\n{after}", "the text is put in")
    offered = after.removeprefix("Note: ")
    desk.nvim.typed("G$a Call the plumber.<Esc>0fNcwRemark<Esc>")
    first = offered.split()[0]
    desk.nvim.typed(f"/{first}<CR>cwWell, they<Esc>")
    saved = desk.close(file)
    row = desk.row(file)
    assert (row.task, row.outcome, row.offered) == ("rewrite", "edited", offered)
    assert row.kept == "Well, they" + offered[len(first) :]
    assert row.kept in saved
    assert row.cost_max == cost_max(offered, row.kept)
    keep("neovim-rewrite.svg", picture)


@pytest.mark.parametrize("keys", ["q", ":q<CR>"])
def test_a_preview_that_is_declined_changes_nothing(desk: Desk, keys: str) -> None:
    file = desk.edit(f"declined{len(keys)}.md", f"{NOTES}\n")
    preview(desk, "gg:Redraft rewrite Fix the spelling and grammar of this text.<CR>")
    desk.nvim.typed(keys)
    desk.nvim.until(DIFFS.format(0), "the diff is closed")
    assert desk.nvim.text() == NOTES
    desk.close(file)
    row = desk.row(file)
    assert (row.outcome, row.settled_by, row.kept, row.cost_max) == ("rejected", "command", None, 1.0)


def test_a_rewrite_chosen_from_the_menu_by_a_motion(desk: Desk) -> None:
    file = desk.edit("menu-rewrite.md", f"{NOTES}\n\nAnother paragraph.\n")
    desk.nvim.command("nmap <Space>r <Plug>(RedraftRewrite)")
    desk.nvim.type("gg<Space>rip")
    desk.nvim.sees("In your own words")
    desk.nvim.sees("1: Fix spelling and grammar")
    now, after = preview(desk, "1<CR>")
    assert now == NOTES
    desk.nvim.typed("<CR>")
    until(lambda: desk.nvim.text() == f"{after}\n\nAnother paragraph.", "the text is put in")
    desk.close(file)
    row = desk.row(file)
    assert (row.outcome, row.kept) == ("accepted", after)


def test_draft(desk: Desk) -> None:
    file = desk.edit("notes.md", "Sales rose 4 percent in May. Two stores opened.\n\nThe end.\n")
    desk.nvim.type("gg:Redraft draft summary<CR>")
    desk.nvim.until("return vim.api.nvim_buf_line_count(0) > 3", "the draft", 60)
    saved = desk.close(file)
    row = desk.row(file)
    assert (row.task, row.outcome) == ("draft", "accepted")
    assert row.kept == row.offered
    assert saved == f"Sales rose 4 percent in May. Two stores opened.\n\n{row.kept}\n\nThe end.\n"


def test_a_long_answer_can_be_stopped(desk: Desk) -> None:
    file = desk.edit("stopped.md", f"{NOTES}\n")
    desk.nvim.typed("gg:Redraft draft email<CR>")
    desk.nvim.typed(":Redraft stop<CR>")
    desk.nvim.hears("Redraft: stopped")
    assert desk.nvim.text() == NOTES
    desk.close(file)
    assert all(row.outcome == "censored" for row in desk.rows(file))
