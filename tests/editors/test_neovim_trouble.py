"""What can go wrong in Neovim: one calm message each, and typing goes on."""

from __future__ import annotations

from typing import Any

import psutil
import pytest
from lsp_tap import said
from nvim_desk import MARKS, NOTES, Desk, Start, no_lua_error
from polling import until

pytestmark = MARKS


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
    until(lambda: desk.nvim.lua("return #vim.lsp.get_clients({ name = 'redraft' })") == 0, "the server has gone")
    assert "9.1.0" in desk.nvim.lua("return require('redraft').status()")


def test_a_server_that_dies_is_said_once_and_started_again(start: Start) -> None:
    desk = start(consent=True)
    desk.edit("a.md")
    [tap] = [p for p in psutil.Process(desk.nvim.process.pid).children() if "lsp_tap.py" in " ".join(p.cmdline())]
    [server] = tap.children()
    server.kill()
    one_message(desk, "the server ended by itself")
    desk.nvim.typed(":Redraft restart<CR>")
    desk.nvim.until("return require('redraft.server').client() ~= nil", "the server is back")
    assert desk.run("status")["state"] == "ready"


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
