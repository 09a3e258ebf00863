"""The Neovim plugin: real Neovim, keys, server and model; what the rows say is what stands in the buffer."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from editor_client import rows
from lsp_tap import said
from lsprotocol import converters, types
from nvim_process import Neovim, find_nvim
from polling import until

from learner.cost import cost_max
from learner.models import BaseModel
from learner.records import Edit
from lsp_server.document import Document

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(find_nvim() is None, reason="no Neovim here (REDRAFT_NVIM)"),
    pytest.mark.xdist_group("neovim"),
]

PLUGIN = Path(__file__).parents[2] / "plugins" / "editors" / "neovim"
TAP = Path(__file__).with_name("lsp_tap.py")
SERVER = [sys.executable, "-m", "lsp_server.cli"]
BEGUN = "The harbour was quiet. Boats lay in the mud and waited for the tide to"
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
NOTES = "we seen the pump fail on tuesday and it have not been repair since"
CONVERTER = converters.get_converter()
PICTURES = os.environ.get("REDRAFT_PICTURES")
INIT = """
vim.opt.rtp:append({plugin})
vim.o.swapfile, vim.o.writebackup = false, false
vim.opt.fillchars = {{ eob = ' ' }}
vim.o.ruler = false
vim.o.laststatus, vim.o.statusline = 2, " %t %m%=%{{v:lua.require'redraft'.status()}} "
require('redraft').setup(vim.json.decode({options}))
"""


@dataclass
class Desk:
    """Somebody at work: a home with a database, an editor, and what it said to the server."""

    nvim: Neovim
    home: Path
    folder: Path
    log: Path

    def edit(self, name: str, text: str = "") -> Path:
        """Open a new file and wait until the server follows it."""
        file = self.folder / name
        file.write_text(text)
        self.nvim.command(f"edit {file}")
        self.nvim.until("return require('redraft.server').client() ~= nil", "the server follows the buffer")
        return file

    def run(self, name: str, body: Any = None) -> Any:
        """A command of the server, sent by the editor."""
        code = """
          local client = assert(vim.lsp.get_clients({ name = 'redraft' })[1])
          local name, body = ...
          local arguments = body ~= vim.NIL and { body } or nil
          local answer, problem = client:request_sync('workspace/executeCommand',
            { command = 'redraft.' .. name, arguments = arguments }, 60000)
          assert(answer and not answer.err, problem or answer and vim.inspect(answer.err))
          return answer.result
        """
        return self.nvim.lua(code, name, body)

    def ghost(self) -> str:
        """Ghost text as its extmark has it; empty where there is none."""
        marks = self.nvim.lua("""
          local space = vim.api.nvim_create_namespace('redraft.ghost')
          return vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true })
        """)
        if not marks:
            return ""
        [[_, row, column, details]] = marks
        assert [row + 1, column] == self.nvim.lua("return vim.api.nvim_win_get_cursor(0)"), "it stands at the cursor"
        below = ["".join(piece for piece, _ in line) for line in details.get("virt_lines", [])]
        return "\n".join([details["virt_text"][0][0], *below])

    def offered(self) -> str:
        """Wait for ghost text."""
        found: str = until(self.ghost, f"ghost text; {self.nvim.messages()}", 30)
        return found

    def mirror(self, file: Path) -> str:
        """What the server's own mirror makes of all that the editor told it of a document."""
        self.run("status")
        document = None
        for message in said(self.log):
            body = message.get("params") or {}
            if not isinstance(body, dict) or (body.get("textDocument") or {}).get("uri") != file.as_uri():
                continue
            if message["method"] == "textDocument/didOpen":
                item = body["textDocument"]
                document = Document(item["uri"], item["text"], item["version"], item["languageId"], "utf-8")
            elif message["method"] == "textDocument/didChange":
                assert document is not None
                document.advance_version(body["textDocument"]["version"])
                for change in CONVERTER.structure(body, types.DidChangeTextDocumentParams).content_changes:
                    document.apply(change)
        assert document is not None
        return document.text()

    def close(self, file: Path) -> str:
        """Save and close the document, which settles everything in it; the text that was saved."""
        self.nvim.typed("<C-\\><C-n>:write<CR>")
        text = self.nvim.text() + "\n"
        assert file.read_text() == text
        assert self.mirror(file) == text
        self.nvim.typed(":bdelete<CR>")
        self.run("status")
        return text

    def rows(self, file: Path) -> list[Edit]:
        return rows(self.home, file.as_uri())

    def row(self, file: Path) -> Edit:
        [row] = self.rows(file)
        return row


def keep(name: str, picture: str) -> None:
    """Keep a picture of a run whose rows were looked at, if pictures are wanted."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        (Path(PICTURES) / name).write_text(picture)


def no_lua_error(nvim: Neovim) -> None:
    """Nothing went wrong in Lua, and Neovim reported no error of its own."""
    bad = [line for line in nvim.messages() if line.startswith(("Error", "E5108")) or "stack traceback" in line]
    assert bad == []


Start = Callable[..., Desk]


@pytest.fixture(scope="module")
def start(warm: Path, prepared_base: BaseModel) -> Iterator[Start]:
    """Starts editors; each ends, without a Lua error, when the module does."""
    desks: list[Desk] = []

    def begin(columns: int = 90, rows: int = 18, tap: list[str] | None = None, **options: Any) -> Desk:
        home = Path(tempfile.mkdtemp(prefix="rd-"))
        assert prepared_base.folder is not None
        (home / "models").mkdir()
        (home / "models" / prepared_base.folder.parent.name).symlink_to(prepared_base.folder.parent)
        (home / "run").mkdir(mode=0o700)
        shutil.copyfile(warm / "run" / "host.json", home / "run" / "host.json")
        folder = Path(tempfile.mkdtemp(prefix="rd-work-")).resolve()
        (folder / ".git").mkdir()
        log = home / "said.jsonl"
        options.setdefault("cmd", [sys.executable, str(TAP), str(log), *(tap or []), "--", *SERVER])
        options.setdefault("ghost_text", {"debounce_ms": 30})
        init = INIT.format(plugin=lua_string(str(PLUGIN)), options=lua_string(json.dumps(options)))
        nvim = Neovim(init, home / "nvim", columns, rows, REDRAFT_HOME=str(home))
        nvim.command(f"cd {folder}")
        desks.append(Desk(nvim, home, folder, log))
        return desks[-1]

    yield begin
    for desk in desks:
        desk.nvim.close()
        shutil.rmtree(desk.home, ignore_errors=True)
        shutil.rmtree(desk.folder, ignore_errors=True)


def lua_string(text: str) -> str:
    return f"[==[{text}]==]"


@pytest.fixture(scope="module")
def shared(start: Start) -> Desk:
    """An editor whose user has said yes to recording."""
    return start(rows=14, consent=True)


@pytest.fixture
def desk(shared: Desk) -> Iterator[Desk]:
    """The shared editor, in normal mode before and after."""
    shared.nvim.command("messages clear")
    yield shared
    no_lua_error(shared.nvim)
    shared.nvim.typed("<C-\\><C-n>")
    shared.nvim.command("silent! only! | silent! %bwipeout!")


def shown_ids(desk: Desk) -> list[str]:
    """Offers that the editor said it showed, in order."""
    desk.run("status")  # what it said before has arrived
    found = said(desk.log, "textDocument/didShowCompletion")
    return [message["params"]["item"]["command"]["arguments"][0]["offerId"] for message in found]


# --- ghost text ------------------------------------------------------------------------------------


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


# --- rewrites and drafts ---------------------------------------------------------------------------


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


# --- what was recorded -----------------------------------------------------------------------------


def test_learnt_shows_cost_by_week(desk: Desk) -> None:
    file = desk.edit("learnt.md")
    desk.nvim.type(f"i{BEGUN}")
    desk.offered()
    desk.nvim.typed("<Tab><Esc>")
    desk.close(file)
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


def test_train_says_what_came_of_it(desk: Desk) -> None:
    desk.edit("train.md")
    desk.nvim.typed(":Redraft train<CR>")
    desk.nvim.typed(":Redraft stop<CR>")
    desk.nvim.hears("Redraft: stopped")


def test_forget_asks_first(desk: Desk) -> None:
    file = desk.edit("forgotten.md")
    desk.nvim.type(f"i{BEGUN}")
    desk.offered()
    desk.nvim.typed("<Tab><Esc>")
    desk.close(file)
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


# --- consent ---------------------------------------------------------------------------------------


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
    file = desk.edit("second.md")
    desk.nvim.type(f"i{BEGUN}")
    text = desk.offered()
    desk.nvim.typed("<Tab><Esc>")
    desk.close(file)
    kept = [row.kept for row in desk.rows(file) if row.outcome == "accepted"]
    assert kept == ([text] if recorded else [])
    assert desk.run("status", {"workspace": desk.folder.as_uri()})["consent"] == ("granted" if recorded else "refused")
    no_lua_error(desk.nvim)


# --- bad input -------------------------------------------------------------------------------------


def bare_edit(desk: Desk, name: str, text: str) -> None:
    file = desk.folder / name
    file.write_text(text)
    desk.nvim.command(f"edit {file}")


def one_message(desk: Desk, part: str) -> None:
    """There is exactly one message of ours, and typing goes on."""
    desk.nvim.hears(part)
    desk.nvim.typed("ihello<Esc>")
    assert "hello" in desk.nvim.text()
    assert len(desk.nvim.said("Redraft: ")) == 1, desk.nvim.messages()
    no_lua_error(desk.nvim)


def test_a_missing_executable_is_said_once(start: Start) -> None:
    desk = start(cmd=["redraft-lsp-that-is-not-there"])
    bare_edit(desk, "a.md", "")
    bare_edit(desk, "b.md", "")
    one_message(desk, "redraft-lsp-that-is-not-there is not on the PATH. `pip install redraft`")
    assert "not on the PATH" in desk.nvim.lua("return require('redraft').status()")


def test_a_server_of_another_version_is_said_once(start: Start) -> None:
    desk = start(consent=True, tap=["--version", "9.1.0"])
    bare_edit(desk, "a.md", "")
    desk.nvim.hears("the server is version 9.1.0 and the plugin 0.1")
    bare_edit(desk, "b.md", "")
    one_message(desk, "Install matching ones")
    desk.nvim.until("return #vim.lsp.get_clients({ name = 'redraft' }) == 0", "the server has gone")


def test_a_server_that_dies_is_said_once_and_started_again(start: Start) -> None:
    desk = start(consent=True)
    desk.edit("a.md")
    [tap] = [p for p in psutil.Process(desk.nvim.process.pid).children() if "lsp_tap.py" in " ".join(p.cmdline())]
    [server] = tap.children()
    server.kill()
    one_message(desk, "the server ended by itself")
    desk.nvim.typed(":Redraft restart<CR>")
    desk.nvim.until("return require('redraft.server').client() ~= nil", "the server is back")


def test_a_file_that_is_too_large_is_left_alone(start: Start) -> None:
    desk = start(consent=True, max_file_size=1000)
    bare_edit(desk, "large.md", "word " * 300)
    one_message(desk, "large.md is left alone: 0.0 MiB is more than max_file_size")
    assert said(desk.log) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ghost_text": {"debounce": 3}}, "there is no option ghost_text.debounce; there are debounce_ms, "),
        ({"consent": "yes"}, 'consent should be "ask", true or false, and is "yes"'),
        ({"keymaps": {"akzept": "x"}}, "keymaps should be true, false or a table"),
    ],
)
def test_a_wrong_option_is_named_and_redraft_stays_off(shared: Desk, options: dict[str, Any], words: str) -> None:
    assert words in shared.nvim.lua("return require('redraft.options').set(...)", options)


def test_a_buffer_that_cannot_be_changed(desk: Desk) -> None:
    desk.edit("readonly.md", f"{NOTES}\n")
    desk.nvim.command("setlocal nomodifiable")
    desk.nvim.typed(":Redraft rewrite shorter<CR>")
    desk.nvim.hears("this buffer cannot be changed; :set modifiable first")
    assert len(desk.nvim.said("Redraft: ")) == 1


# --- a picture -------------------------------------------------------------------------------------


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
