"""Somebody at work in a real Neovim with the plugin, the real server and the real model."""

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

import pytest
from editor_client import rows
from lsp_tap import said
from lsprotocol import converters, types
from neovim_here import find_nvim
from nvim_process import Neovim
from polling import until

from learner.models import BaseModel
from learner.records import Edit
from lsp_server.document import Document

MARKS = [
    pytest.mark.model,
    pytest.mark.skipif(find_nvim() is None, reason="no Neovim here (REDRAFT_NVIM)"),
    pytest.mark.xdist_group("neovim"),
]

PLUGIN = Path(__file__).parents[2] / "plugins" / "editors" / "neovim"
TAP = Path(__file__).with_name("lsp_tap.py")
SERVER = [sys.executable, "-m", "lsp_server.cli"]
BEGUN = "The harbour was quiet. Boats lay in the mud and waited for the tide to"
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


def accepted(desk: Desk, name: str) -> tuple[Path, str]:
    """A new file in which ghost text was offered, accepted, saved and closed; and that text."""
    file = desk.edit(name)
    desk.nvim.type(f"i{BEGUN}")
    text = desk.offered()
    desk.nvim.typed("<Tab><Esc>")
    desk.close(file)
    return file, text


def shown_ids(desk: Desk) -> list[str]:
    """Offers that the editor said it showed, in order."""
    desk.run("status")  # what it said before has arrived
    found = said(desk.log, "textDocument/didShowCompletion")
    return [message["params"]["item"]["command"]["arguments"][0]["offerId"] for message in found]
